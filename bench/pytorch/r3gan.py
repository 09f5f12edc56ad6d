"""An R3GAN step in PyTorch: 32x32x3, 32 to 256 features, one block for each size, expansion 2, groups of 16.

A whole step: fetch a batch, the discriminator on pairs of data and generated images with the penalties R1 and R2 by double
backpropagation, then the generator with the discriminator's parameters frozen. Fused Adam in every mode. torch.compile cannot
differentiate twice, so it compiles the generator alone.
"""

import torch
from measure import arguments, autocast, measure
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, pad, softplus

SIZE, CHANNELS, LATENT, WIDTH, MAX_WIDTH, GROUP, GAMMA = 32, 3, 64, 32, 256, 16, 0.5
MODES = ["eager", "channels_last", "compile"]
WIDTHS = [min(WIDTH << level, MAX_WIDTH) for level in range(4)]


class Block(nn.Module):
    def __init__(self, features):
        super().__init__()
        inside = 2 * features
        self.inner = nn.Sequential(
            nn.Conv2d(features, inside, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inside, inside, 3, padding=1, groups=inside // GROUP),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inside, features, 1, bias=False),
        )

    def forward(self, x):
        return x + self.inner(x)


class Resample(nn.Module):
    def __init__(self, features, up):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / (2 if up else 4)
        self.register_buffer("filter", torch.outer(line, line).expand(features, 1, 3, 3).contiguous())
        self.up = up

    def forward(self, x):
        if self.up:
            height, width = x.shape[2:]
            return conv_transpose2d(x, self.filter, stride=2, groups=x.shape[1])[:, :, : 2 * height, : 2 * width]
        return conv2d(pad(x, (1, 0, 1, 0)), self.filter, stride=2, groups=x.shape[1])


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(LATENT, WIDTHS[-1], bias=False)
        self.basis = nn.Parameter(torch.randn(WIDTHS[-1], 4, 4))
        layers = [Block(WIDTHS[-1])]
        for inputs, outputs in zip(WIDTHS[::-1], WIDTHS[-2::-1]):
            layers += [nn.Conv2d(inputs, outputs, 1, bias=False), Resample(outputs, True), Block(outputs)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(WIDTHS[0], CHANNELS, 1, bias=False))

    def forward(self, z):
        return self.layers(self.project(z)[:, :, None, None] * self.basis)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(CHANNELS, WIDTHS[0], 1, bias=False), Block(WIDTHS[0])]
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            layers += [Resample(inputs, False), nn.Conv2d(inputs, outputs, 1, bias=False), Block(outputs)]
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.randn(WIDTHS[-1], 4, 4) / 4)
        self.output = nn.Linear(WIDTHS[-1], 1, bias=False)

    def forward(self, x):
        return self.output((self.layers(x) * self.basis).sum((2, 3))).squeeze(1)


def main():
    given = arguments(MODES)
    layout = torch.contiguous_format if given.mode == "eager" else torch.channels_last
    g, d = (network.to(memory_format=layout) for network in (Generator(), Discriminator()))
    adam = lambda network: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.0, 0.99), fused=True)
    g_adam, d_adam = adam(g), adam(d)
    make = torch.compile(g) if given.mode == "compile" else g
    data = torch.randint(0, 256, (2048, SIZE, SIZE, CHANNELS), dtype=torch.uint8)

    def step(i):
        batch = data[torch.randint(0, len(data), (given.batch,))].permute(0, 3, 1, 2)
        real = (batch.float() / 127.5 - 1).contiguous(memory_format=layout)
        d.requires_grad_(True)
        with autocast(given):
            fake = make(torch.randn(given.batch, LATENT))
            both = torch.cat([real, fake.detach()]).requires_grad_()
            logits = d(both)
            (gradient,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
            penalty = gradient.square().sum() / given.batch
            of_real, of_fake = logits.chunk(2)
            d_loss = softplus(of_fake - of_real).mean()
        d_adam.zero_grad()
        (d_loss + GAMMA / 2 * penalty).backward()
        d_adam.step()
        d.requires_grad_(False)
        with torch.no_grad(), autocast(given):
            above = d(real)
        with autocast(given):
            g_loss = softplus(above - d(fake)).mean()
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        return d_loss + g_loss

    measure(given, step)


if __name__ == "__main__":
    main()
