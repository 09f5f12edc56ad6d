"""A VAE step in PyTorch: the fully connected and the convolutional body of our MNIST recipes.

A whole step: fetch a batch, binarise it anew, forward, backward, Adam, which is PyTorch's fused one in every mode.
"""

import argparse

import torch
from measure import arguments, train
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, elu

SIDE = 28
MODES = ["eager", "channels_last", "compile"]


def mlp(inputs, outputs, hidden, layers):
    sizes = [inputs] + [hidden] * layers
    between = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*between, nn.Linear(sizes[-1], outputs))


class Residual(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, h):
        return h + self.second(elu(self.first(elu(h))))


def conv_encoder(width, outputs):
    return nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        Residual(width),
        nn.ELU(),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        Residual(2 * width),
        nn.ELU(),
        nn.Flatten(),
        nn.Linear(2 * width * 49, outputs),
    )


def conv_decoder(width, inputs):
    return nn.Sequential(
        nn.Linear(inputs, 2 * width * 49),
        nn.Unflatten(1, (2 * width, 7, 7)),
        Residual(2 * width),
        nn.ELU(),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        Residual(width),
        nn.ELU(),
        nn.ConvTranspose2d(width, 1, 4, 2, 1),
        nn.Flatten(),
    )


def main():
    given, model = arguments(MODES)
    parser = argparse.ArgumentParser()
    parser.add_argument("--body", choices=["mlp", "conv"], required=True)
    parser.add_argument("--latent", type=int, default=50)
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=32)
    model = parser.parse_args(model)
    layout = torch.contiguous_format if given.mode == "eager" else torch.channels_last
    if model.body == "mlp":
        encoder = nn.Sequential(nn.Flatten(), mlp(SIDE * SIDE, 2 * model.latent, model.hidden, model.layers))
        decoder = mlp(model.latent, SIDE * SIDE, model.hidden, model.layers)
    else:
        encoder = conv_encoder(model.width, 2 * model.latent)
        decoder = conv_decoder(model.width, model.latent)
    networks = nn.ModuleList([encoder, decoder]).to(memory_format=layout)
    adam = torch.optim.Adam(networks.parameters(), lr=1e-3, fused=True)
    data = torch.randint(0, 256, (10_000, 1, SIDE, SIDE), dtype=torch.uint8)

    def bound(x, eps):
        mean, log_var = encoder(x).chunk(2, 1)
        logits = decoder(mean + torch.exp(log_var / 2) * eps)
        reconstruction = binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="sum")
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum()
        return (reconstruction + kl) / len(x)

    def batch():
        pixels = data[torch.randint(0, len(data), (given.batch,))]
        x = (pixels.float() / 255 > torch.rand(pixels.shape)).float().contiguous(memory_format=layout)
        return x, torch.randn(given.batch, model.latent)

    train(given, adam, bound, batch)


if __name__ == "__main__":
    main()
