# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "numpy", "safetensors"]
# ///
"""Draws an image in PyTorch with the generator of a run of `dcgan`: `uv run docs/python/draw_dcgan.py RUN image.png`.

It is for images without classes.
"""

import sys

import torch
from load_weights import load, newest, state_dict
from run_files import halved, read, write_picture
from torch import nn


def doubling(inputs, outputs, kernel):
    """A transposed convolution without bias that doubles the sides."""
    padding = (kernel - 1) // 2
    extra = 2 + 2 * padding - kernel
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, output_padding=extra, bias=False)


class Up(nn.Module):
    def __init__(self, inputs, outputs, config):
        super().__init__()
        self.conv = doubling(inputs, outputs, config["kernel"])
        self.norm = nn.BatchNorm2d(outputs, eps=config["norm_epsilon"])

    def forward(self, h):
        return torch.relu(self.norm(self.conv(h)))


class Generator(nn.Module):
    """Latents, [batch, latent_dim], to images in [-1, 1], [batch, channels, height, width]."""

    def __init__(self, config, shape):
        super().__init__()
        halvings, (height, width) = halved(shape)
        features = [config["width"] << level for level in range(halvings)]
        self.base = (height, width, features[-1])
        self.project = nn.Linear(config["latent_dim"], height * width * features[-1], bias=False)
        self.project_norm = nn.BatchNorm2d(features[-1], eps=config["norm_epsilon"])
        levels = reversed(range(1, halvings))
        self.up = nn.Sequential(*(Up(features[n], features[n - 1], config) for n in levels))
        self.output = doubling(features[0], shape["channels"], config["kernel"])

    def forward(self, z):
        # Maps are channels last in Poiesis, and the linear layer gives them in this order.
        maps = self.project(z).unflatten(1, self.base).permute(0, 3, 1, 2)
        return torch.tanh(self.output(self.up(torch.relu(self.project_norm(maps)))))


def generator(run):
    """The generator of a run, with its averaged weights. It normalises by the running statistics."""
    network = Generator(*read(run, "dcgan"))
    network.load_state_dict(state_dict(network, load(newest(run)), "generator"))
    return network.eval()


if __name__ == "__main__":
    network, (config, _) = generator(sys.argv[1]), read(sys.argv[1], "dcgan")
    latents = torch.randn(1, config["latent_dim"])
    if config["prior"] == "uniform":
        latents = 2 * torch.rand(1, config["latent_dim"]) - 1
    with torch.no_grad():
        write_picture(sys.argv[2], network(latents)[0])
