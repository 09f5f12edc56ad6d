"""A training step of a gated PixelCNN in PyTorch, the network of recipes/gated-pixelcnn/mnist.toml by default: two stacks,
7×7 then 3×3 kernels cut to what lies before, black and white images of 28×28.

A whole step: fetch a batch, forward, Bernoulli log-likelihood, backward, Adam, which is PyTorch's fused one in every mode.
"""

import torch
from measure import arguments, numbers, train
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, pad, relu

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
    def __init__(self, first, width):
        super().__init__()
        kernel, inputs = (FIRST, 1) if first else (KERNEL, width)
        reach, self.first = kernel // 2, first
        rows = [reach, reach, reach, 0]
        # The first layer sees the rows above in the image, the others also the row they stand in.
        self.vertical = Causal(inputs, 2 * width, (reach + 1, kernel), rows, reach * kernel if first else None)
        self.link = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.horizontal = Causal(inputs, 2 * width, (1, reach + 1), [reach, 0, 0, 0], reach if first else None)
        self.merge = nn.Conv2d(width, width, 1)

    def forward(self, v, h):
        rows = self.vertical(v)
        left = self.horizontal(h) + self.link(rows)
        next_h = self.merge(gate(left))
        return gate(rows), next_h if self.first else h + next_h


def gate(x):
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class GatedPixelCnn(nn.Module):
    def __init__(self, layers=LAYERS, width=WIDTH, head=HEAD):
        super().__init__()
        self.layers = nn.ModuleList(Layer(number == 0, width) for number in range(layers))
        self.hidden, self.output = nn.Conv2d(width, head, 1), nn.Conv2d(head, 1, 1)

    def forward(self, x):
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h)
        return self.output(relu(self.hidden(relu(h))))


def main():
    given, words = arguments(MODES)
    model = numbers(words, layers=LAYERS, width=WIDTH, head=HEAD)
    network = GatedPixelCnn(model.layers, model.width, model.head)
    images = torch.randint(0, 2, (2048, 1, SIDE, SIDE)).float()
    if given.mode != "eager":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def bound(x):
        return binary_cross_entropy_with_logits(network(2 * x - 1), x, reduction="sum") / len(x)

    train(given, adam, bound, lambda: (images[torch.randint(0, len(images), (given.batch,))],))


if __name__ == "__main__":
    main()
