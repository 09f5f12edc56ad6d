"""A Glow step in PyTorch, by default the network of the model's recipe cifar10: 32x32x3, three scales of 12 steps, width 64.

A whole step: fetch a batch, dequantise it with uniform noise, forward, log-density, backward, fused Adam in every mode. The 1x1
convolutions are kept as LU factors. Squeezing is PyTorch's `pixel_unshuffle`, which orders channels in another way than ours.
"""

import math

import torch
from measure import arguments, train
from torch import nn
from torch.nn.functional import conv2d, logsigmoid, pixel_unshuffle, relu

MODES = ["eager", "channels_last", "compile"]
SIDE, CHANNELS, SCALES, DEPTH, WIDTH, LEVELS = 32, 3, 3, 12, 64, 256


class ActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.log_scale, self.bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        y = x * self.log_scale.exp()[:, None, None] + self.bias[:, None, None]
        return y, self.log_scale.sum() * x[0, 0].numel()


class OneByOne(nn.Module):
    def __init__(self, channels):
        super().__init__()
        # A rotation, with rows exchanged and turned around so that the diagonal is positive.
        _, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        signs = upper.diagonal().sign()
        lower, upper = signs[:, None] * lower * signs, signs[:, None] * upper
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(upper.diagonal().log())
        self.register_buffer("eye", torch.eye(channels))

    def forward(self, x):
        lower = self.lower.tril(-1) + self.eye
        upper = self.upper.triu(1) + self.eye * self.log_scale.exp()
        weight = (lower @ upper).flip(0)
        return conv2d(x, weight.T[:, :, None, None]), self.log_scale.sum() * x[0, 0].numel()


class NormedConv(nn.Module):
    """A convolution whose outputs have a scale and a bias of their own."""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.weight = nn.Parameter(0.05 * torch.randn(outputs, inputs, kernel, kernel))
        self.log_scale, self.bias = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        weight = self.weight * self.log_scale.exp()[:, None, None, None]
        return conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)


def zero_conv(inputs, outputs):
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


class Coupling(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.input, self.hidden = NormedConv(channels // 2, width, 3), NormedConv(width, width, 1)
        self.output = zero_conv(width, channels)

    def forward(self, x):
        moved, kept = x.chunk(2, 1)
        raw, shift = self.output(relu(self.hidden(relu(self.input(kept))))).chunk(2, 1)
        log_scale = logsigmoid(raw + 2)
        return torch.cat([moved * log_scale.exp() + shift, kept], 1), log_scale.sum((1, 2, 3))


class Scale(nn.Module):
    def __init__(self, channels, depth, width, last):
        super().__init__()
        self.steps = nn.ModuleList()
        for _ in range(depth):
            self.steps += [ActNorm(channels), OneByOne(channels), Coupling(channels, width)]
        self.prior = ActNorm(channels) if last else zero_conv(channels // 2, channels)
        self.last = last

    def forward(self, x):
        """What is left as latents, what is passed on, and the log-determinant."""
        h, log_det = pixel_unshuffle(x, 2), 0
        for step in self.steps:
            h, of_step = step(h)
            log_det = log_det + of_step
        if self.last:
            z, of_prior = self.prior(h)
            return z, None, log_det + of_prior
        passed, left = h.chunk(2, 1)
        log_scale, shift = self.prior(passed).chunk(2, 1)
        return left * log_scale.exp() + shift, passed, log_det + log_scale.sum((1, 2, 3))


class Glow(nn.Module):
    def __init__(self, channels, scales, depth, width):
        super().__init__()
        last = scales - 1
        self.scales = nn.ModuleList(Scale(4 * channels << i, depth, width, i == last) for i in range(scales))

    def forward(self, x, noise):
        """The bound on -log P of images of 256 levels in nats, averaged over the batch."""
        h, log_p = (x + noise) / LEVELS - 0.5, 0
        for scale in self.scales:
            z, h, log_det = scale(h)
            log_p = log_p + log_det - (0.5 * z.square() + 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))
        return x[0].numel() * math.log(LEVELS) - log_p.mean()


def main():
    given = arguments(MODES, side=SIDE, channels=CHANNELS, scales=SCALES, depth=DEPTH, width=WIDTH)
    layout = torch.contiguous_format if given.mode == "eager" else torch.channels_last
    network = Glow(given.channels, given.scales, given.depth, given.width).to(memory_format=layout)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    objective = torch.compile(network) if given.mode == "compile" else network
    data = torch.randint(0, LEVELS, (2048, given.channels, given.side, given.side), dtype=torch.uint8)

    def loss():
        x = data[torch.randint(0, len(data), (given.batch,))].float().contiguous(memory_format=layout)
        return objective(x, torch.rand_like(x))

    train(given, adam, loss)


if __name__ == "__main__":
    main()
