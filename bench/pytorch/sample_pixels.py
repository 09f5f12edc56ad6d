"""Sampling from a gated PixelCNN in PyTorch as it is usually done: the whole network again for every pixel.

The network of recipes/gated-pixelcnn/mnist.toml: 8 gated layers of 32 features in two stacks, 7×7 then 3×3 kernels, head
of 64, black and white, 16 images of 28×28. Prints the seconds of all 784 pixels.
"""

import argparse
import json
import sys
import time

import torch
from torch import nn
from torch.nn.functional import conv2d, pad, relu

MODES = ["eager", "channels_last", "compile"]
SIDE, LAYERS, WIDTH, HEAD, FIRST, KERNEL = 28, 8, 32, 64, 7, 3


class Causal(nn.Conv2d):
    """A convolution over what `padding` [left, right, top, bottom] lets it see; `live` elements of a row take part."""

    def __init__(self, inputs, outputs, size, padding, live=None):
        super().__init__(inputs, outputs, size)
        self.around = padding
        mask = torch.ones(size)
        mask.view(-1)[live if live is not None else mask.numel() :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        return conv2d(pad(x, self.around), self.weight * self.mask, self.bias)


class Layer(nn.Module):
    def __init__(self, first):
        super().__init__()
        kernel, inputs = (FIRST, 1) if first else (KERNEL, WIDTH)
        reach, self.first = kernel // 2, first
        rows = [reach, reach, reach, 0]
        # The first layer sees the rows above in the image, the others also the row they stand in.
        self.vertical = Causal(inputs, 2 * WIDTH, (reach + 1, kernel), rows, reach * kernel if first else None)
        self.link = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 1, bias=False)
        self.horizontal = Causal(inputs, 2 * WIDTH, (1, reach + 1), [reach, 0, 0, 0], reach if first else None)
        self.merge = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, v, h):
        rows = self.vertical(v)
        left = self.horizontal(h) + self.link(rows)
        next_h = self.merge(gate(left))
        return gate(rows), next_h if self.first else h + next_h


def gate(x):
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class GatedPixelCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer(number == 0) for number in range(LAYERS))
        self.hidden, self.output = nn.Conv2d(WIDTH, HEAD, 1), nn.Conv2d(HEAD, 1, 1)

    def forward(self, x):
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h)
        return self.output(relu(self.hidden(relu(h))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pixels", type=int, default=SIDE * SIDE)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    network, x = GatedPixelCnn(), torch.zeros(given.batch, 1, SIDE, SIDE)
    if given.mode != "eager":
        network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    forward = torch.compile(network) if given.mode == "compile" else network
    with torch.inference_mode():
        forward(x)
        began = time.perf_counter()
        for pixel in range(given.pixels):
            row, column = divmod(pixel, SIDE)
            p = forward(x)[:, 0, row, column].sigmoid()
            x[:, 0, row, column] = torch.bernoulli(p)
        seconds = time.perf_counter() - began
    json.dump({"seconds": seconds * SIDE * SIDE / given.pixels, "ms_per_pixel": 1e3 * seconds / given.pixels}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
