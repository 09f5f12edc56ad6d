"""A step of the improved GAN in PyTorch: the fully connected networks with which it classifies MNIST from few labels.

A whole step: fetch labelled and unlabelled batches, the discriminator with its noise and normalised weights on labelled, real and
generated images, then the generator by feature matching with the discriminator's parameters frozen. Fused Adam in every mode.
"""

import torch
from measure import arguments, autocast, measure
from torch import nn
from torch.nn.functional import cross_entropy, linear, softplus

SIZE, CLASSES, LATENT, WIDTHS = 784, 5, 100, [1000, 500, 250, 250, 250]
MODES = ["eager", "compile"]


class Normed(nn.Module):
    """A linear layer whose weights are normalised for each output."""

    def __init__(self, inputs, outputs, gain):
        super().__init__()
        self.direction = nn.Parameter(0.1 * torch.randn(outputs, inputs))
        self.gain = nn.Parameter(torch.ones(outputs), requires_grad=gain)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return linear(x, self.direction * (self.gain / self.direction.norm(dim=1))[:, None], self.bias)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList(Normed(a, b, False) for a, b in zip([SIZE, *WIDTHS], WIDTHS))
        self.output = Normed(WIDTHS[-1], CLASSES, True)

    def forward(self, x):
        x = x + 0.3 * torch.randn_like(x)
        for layer in self.hidden:
            x = torch.relu(layer(x))
            x = x + 0.5 * torch.randn_like(x)
        return x, self.output(x)


def main():
    given = arguments(MODES)
    hidden = lambda a, b: [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.Softplus()]
    g = nn.Sequential(*hidden(LATENT, 500), *hidden(500, 500), Normed(500, SIZE, False), nn.Sigmoid())
    d = Discriminator()
    adam = lambda network: torch.optim.Adam(network.parameters(), lr=3e-3, betas=(0.5, 0.999), fused=True)
    g_adam, d_adam = adam(g), adam(d)
    make, judge = (torch.compile(g), torch.compile(d)) if given.mode == "compile" else (g, d)
    data = torch.randint(0, 256, (2048, SIZE), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (2048,))

    def images():
        chosen = torch.randint(0, len(data), (given.batch,))
        return data[chosen].float() / 255, labels[chosen]

    def step(i):
        labelled, classes = images()
        (real, _), (matched, _) = images(), images()
        d.requires_grad_(True)
        with autocast(given):
            fake = make(2 * torch.rand(given.batch, LATENT) - 1).detach()
            _, logits = judge(torch.cat([labelled, real, fake]))
            of_labels, of_real, of_fake = logits.chunk(3)
            of_real, of_fake = of_real.logsumexp(1), of_fake.logsumexp(1)
            unsupervised = 0.5 * (softplus(of_real).mean() - of_real.mean() + softplus(of_fake).mean())
            d_loss = cross_entropy(of_labels, classes) + unsupervised
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        d.requires_grad_(False)
        with autocast(given):
            features, _ = judge(torch.cat([matched, make(2 * torch.rand(given.batch, LATENT) - 1)]))
            of_real, of_fake = features.chunk(2)
            g_loss = (of_real.mean(0) - of_fake.mean(0)).square().mean()
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        return d_loss + g_loss

    measure(given, step)


if __name__ == "__main__":
    main()
