# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The PixelCNN written anew in PyTorch, to hold ours against:
`uv run crates/poiesis/src/models/autoregressive/pixelcnn/parity.py`.

Writes `parity.safetensors` beside this file; `fixtures/masked.py` says what is in it.

Van den Oord et al. 2016, arXiv:1601.06759 (Table 1, Figure 5), with the sizes of a toy.
"""

import sys
from functools import partial
from pathlib import Path

from torch import nn
from torch.nn.functional import relu

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))

from masked import COMMON, Masked, Table, case, run  # noqa: E402
from saving import make  # noqa: E402

SEED = 5
# Sides that differ, so that rows and columns cannot be confused, and features that channels do not divide.
CASES = {
    "plain": case(
        4, [6, 5, 1], 0, COMMON, width=3, blocks=2, law="binary", conditional=False, optimizer="rmsprop"
    ),
    "plain_colour": case(3, [4, 5, 3], 3, COMMON, width=4, blocks=2, law="softmax", levels=8, conditional=True),
}


class Residual(nn.Module):
    def __init__(self, config, channels):
        super().__init__()
        h, side = config["width"], config["kernel"]
        self.narrow = Masked((1, 1), (0, 0), 2 * h, h, 1, "B", channels)
        self.around = Masked((side, side), (side // 2, side // 2), h, h, 1, "B", channels)
        self.widen = Masked((1, 1), (0, 0), h, 2 * h, 1, "B", channels)

    def forward(self, h):
        return h + self.widen(relu(self.around(relu(self.narrow(relu(h))))))


class Plain(nn.Module):
    def __init__(self, config, shape, classes, logits):
        super().__init__()
        channels, h, side = shape[2], config["width"], config["first_kernel"]
        self.first = Masked((side, side), (side // 2, side // 2), channels, 2 * h, 1, "A", channels)
        self.classes = classes
        if classes:
            self.class_table = Table(classes, 2 * h)
        self.blocks = nn.ModuleList(Residual(config, channels) for _ in range(config["blocks"]))
        self.hidden = Masked((1, 1), (0, 0), 2 * h, config["head"], 1, "B", channels)
        self.output = Masked((1, 1), (0, 0), config["head"], logits * channels, 1, "B", channels)

    def forward(self, x, classes):
        h = self.first(x)
        if self.classes:
            h = h + self.class_table(classes)
        for block in self.blocks:
            h = block(h)
        return self.output(relu(self.hidden(relu(h))))


if __name__ == "__main__":
    make(__file__, SEED, CASES, partial(run, Plain))
