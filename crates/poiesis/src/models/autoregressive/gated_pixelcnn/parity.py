# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The gated PixelCNN written anew in PyTorch, to hold ours against:
`uv run crates/poiesis/src/models/autoregressive/gated_pixelcnn/parity.py`.

Writes `parity.safetensors` beside this file; `fixtures/masked.py` says what is in it.

Van den Oord et al. 2016, arXiv:1606.05328 (Figure 2), with the sizes of a toy. The vertical stack is written as the paper draws it,
on whole kernels under a mask.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import relu

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))

from masked import COMMON, Masked, Table, case, run  # noqa: E402
from saving import make  # noqa: E402

SEED = 5
# Sides that differ, so that rows and columns cannot be confused, and features that channels do not divide.
CASES = {
    "gated": case(4, [6, 5, 1], 0, COMMON, width=4, layers=3, law="binary", conditional=False, clip_norm=2.0),
    "gated_colour": case(3, [4, 5, 3], 3, COMMON, width=5, layers=2, law="softmax", levels=8, conditional=True),
    "gated_muon": case(
        3, [5, 4, 3], 2, COMMON, width=5, layers=2, law="binary", conditional=True, optimizer="muon", muon_learning_rate=0.01
    ),
}


class Link(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, features))

    def forward(self, v):
        return torch.einsum("bihw,io->bohw", v, self.weight)


def gate(x):
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    def __init__(self, first, config, channels, classes):
        super().__init__()
        p = config["width"]
        side = config["first_kernel"] if first else config["kernel"]
        inputs = channels if first else p
        half = side // 2
        self.first = first
        self.vertical = Masked(
            (half + 1, side), (half, half), inputs, 2 * p, 2, "above" if first else "row", channels
        )
        self.link = Link(2 * p)
        self.horizontal = Masked((1, half + 1), (0, half), inputs, 2 * p, 2, "A" if first else "B", channels)
        self.merge = Masked((1, 1), (0, 0), p, p, 1, "B", channels)
        self.classes = classes
        if classes:
            self.class_vertical, self.class_horizontal = Table(classes, 2 * p), Table(classes, 2 * p)

    def forward(self, v, h, classes):
        rows = self.vertical(v)
        left = self.horizontal(h) + self.link(rows)
        if self.classes:
            rows, left = rows + self.class_vertical(classes), left + self.class_horizontal(classes)
        merged = self.merge(gate(left))
        return (gate(rows), merged) if self.first else (v + gate(rows), h + merged)


class Gated(nn.Module):
    def __init__(self, config, shape, classes, logits):
        super().__init__()
        channels = shape[2]
        self.layers = nn.ModuleList(
            GatedLayer(n == 0, config, channels, classes) for n in range(config["layers"])
        )
        self.hidden = Masked((1, 1), (0, 0), config["width"], config["head"], 1, "B", channels)
        self.output = Masked((1, 1), (0, 0), config["head"], logits * channels, 1, "B", channels)

    def forward(self, x, classes):
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, classes)
        return self.output(relu(self.hidden(relu(h))))


if __name__ == "__main__":
    make(__file__, SEED, CASES, partial(run, Gated))
