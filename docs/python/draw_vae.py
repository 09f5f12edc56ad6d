# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "numpy", "safetensors"]
# ///
"""Draws an image in PyTorch with the decoder of a run of `vae`: `uv run docs/python/draw_vae.py RUN image.png`.

It is for the convolutional body and a prior that is N(0, 1), which are the defaults, without classes.
"""

import sys

import torch
from load_weights import load, newest, state_dict
from run_files import halved, read, write_picture
from torch import nn
from torch.nn.functional import elu


class Residual(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, h):
        return h + self.second(elu(self.first(elu(h))))


class Level(nn.Module):
    def __init__(self, inputs, outputs, blocks):
        super().__init__()
        self.blocks = nn.Sequential(*(Residual(inputs) for _ in range(blocks)))
        self.up = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, h):
        return self.up(elu(self.blocks(h)))


class Decoder(nn.Module):
    """Latents, [batch, latent_dim], to the expected images in [-1, 1], [batch, channels, height, width]."""

    def __init__(self, config, shape):
        super().__init__()
        halvings, (height, width) = halved(shape)
        self.channels, self.bernoulli = shape["channels"], config["likelihood"] == "bernoulli"
        features = [config["width"] << level for level in range(halvings)]
        outputs = [self.channels if self.bernoulli else 2 * self.channels, *features]
        self.base = (height, width, features[-1])
        self.input = nn.Linear(config["latent_dim"], height * width * features[-1])
        levels = reversed(range(halvings))
        self.levels = nn.Sequential(*(Level(features[n], outputs[n], config["blocks"]) for n in levels))

    def forward(self, z):
        # Maps are channels last in Poiesis, and the linear layer gives them in this order.
        maps = self.levels(self.input(z).unflatten(1, self.base).permute(0, 3, 1, 2))
        if self.bernoulli:
            return 2 * torch.sigmoid(maps) - 1
        # Behind the means are the logarithms of the scales.
        return maps[:, : self.channels].clamp(-1, 1)


def decoder(run):
    """The decoder of a run, with its averaged weights."""
    config, shape = read(run, "vae")
    if config["body"] != "conv":
        sys.exit(f"{run} has the body {config['body']}, and this is for conv")
    network = Decoder(config, shape)
    network.load_state_dict(state_dict(network, load(newest(run)), "decoder.Conv"))
    return network.eval()


if __name__ == "__main__":
    network = decoder(sys.argv[1])
    with torch.no_grad():
        write_picture(sys.argv[2], network(torch.randn(1, network.input.in_features))[0])
