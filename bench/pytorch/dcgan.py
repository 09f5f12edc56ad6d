"""A DCGAN step in PyTorch: 64x64x3, kernels of 4, 64 features, as in common PyTorch implementations.

A whole step: fetch a batch, discriminator on data and on generated images, then the generator with the
discriminator's parameters frozen, so that PyTorch computes no gradients for them. Fused Adam in every mode.
"""

import torch
from measure import arguments, autocast, measure
from torch import nn
from torch.nn.functional import softplus

SIZE, CHANNELS, WIDTH, LATENT = 64, 3, 64, 100
MODES = ["eager", "channels_last", "compile"]


def generator():
    layers = [nn.ConvTranspose2d(LATENT, 8 * WIDTH, 4, 1, 0, bias=False), nn.BatchNorm2d(8 * WIDTH), nn.ReLU(True)]
    for features in (4 * WIDTH, 2 * WIDTH, WIDTH):
        layers += [nn.ConvTranspose2d(2 * features, features, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(features), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(WIDTH, CHANNELS, 4, 2, 1, bias=False), nn.Tanh())


def discriminator():
    layers = [nn.Conv2d(CHANNELS, WIDTH, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for features in (2 * WIDTH, 4 * WIDTH, 8 * WIDTH):
        layers += [nn.Conv2d(features // 2, features, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(features), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * WIDTH, 1, 4, 1, 0, bias=False), nn.Flatten(0))


def main():
    given = arguments(MODES)
    layout = torch.contiguous_format if given.mode == "eager" else torch.channels_last
    g, d = (network.to(memory_format=layout) for network in (generator(), discriminator()))
    for parameter in [*g.parameters(), *d.parameters()]:
        nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.02)
    adam = lambda network: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
    g_adam, d_adam = adam(g), adam(d)
    make, score = (torch.compile(g), torch.compile(d)) if given.mode == "compile" else (g, d)
    data = torch.randint(0, 256, (2048, SIZE, SIZE, CHANNELS), dtype=torch.uint8)

    def step(i):
        batch = data[torch.randint(0, len(data), (given.batch,))].permute(0, 3, 1, 2)
        real = (batch.float() / 127.5 - 1).contiguous(memory_format=layout)
        d.requires_grad_(True)
        with autocast(given):
            fake = make(torch.randn(given.batch, LATENT, 1, 1))
            d_loss = softplus(-score(real)).mean() + softplus(score(fake.detach())).mean()
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        d.requires_grad_(False)
        with autocast(given):
            g_loss = softplus(-score(fake)).mean()
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        return d_loss + g_loss

    measure(given, step)


if __name__ == "__main__":
    main()
