# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The Inception network of 2015-12-05 written anew in PyTorch, to hold ours against:
`uv run crates/poiesis/src/features/inception/parity.py`.

Writes `parity.safetensors` beside this file: features and logits of three images. Weights and images are computed by a formula on
both sides, so that none have to be kept. PyTorch computes in f64, so a difference is an error of ours.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, relu


def uniform(name, count):
    """Numbers in [0, 1): SplitMix64 of the CRC-32 of the name and the position, 24 bits of each."""
    with np.errstate(over="ignore"):
        z = (np.uint64(zlib.crc32(name.encode())) << np.uint64(32)) + np.arange(count, dtype=np.uint64)
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) / 2**24


def array(name, shape):
    """An array as f32, from which both sides start."""
    u = uniform(name, int(np.prod(shape)))
    part = name.rsplit(".", 1)[1]
    if name.endswith("bn.weight") or part == "running_var":
        values = 0.75 + 0.5 * u
    elif part in ("bias", "running_mean"):
        values = 0.2 * u - 0.1
    else:
        values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32).astype(np.float64).reshape(shape))


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return relu(self.bn(self.conv(x)))


def mean3(x):
    return avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, inputs, pooled):
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(inputs, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = Conv(64, 96, 3, padding=1), Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(mean3(x))], 1)


class B(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, 2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = Conv(64, 96, 3, padding=1), Conv(96, 96, 3, 2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, inputs, inner):
        super().__init__()
        wide, tall = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1 = Conv(inputs, inner, 1)
        self.branch7x7_2, self.branch7x7_3 = Conv(inner, inner, *wide), Conv(inner, 192, *tall)
        self.branch7x7dbl_1 = Conv(inputs, inner, 1)
        self.branch7x7dbl_2, self.branch7x7dbl_3 = Conv(inner, inner, *tall), Conv(inner, inner, *wide)
        self.branch7x7dbl_4, self.branch7x7dbl_5 = Conv(inner, inner, *tall), Conv(inner, 192, *wide)
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(mean3(x))], 1)


class D(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(inputs, 192, 1), Conv(192, 320, 3, 2)
        self.branch7x7x3_1 = Conv(inputs, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), 1, (0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), 1, (3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, 2)

    def forward(self, x):
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(seven), max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, inputs, pool):
        super().__init__()
        wide, tall = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        self.pool = pool
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, *wide), Conv(384, 384, *tall)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 448, 1), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, *wide), Conv(384, 384, *tall)
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x):
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(self.pool(x))]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c = C(768, 128), C(768, 160)
        self.Mixed_6d, self.Mixed_6e = C(768, 160), C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b = E(1280, mean3)
        self.Mixed_7c = E(2048, lambda x: max_pool2d(x, 3, 1, 1))
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x):
        x = 2 * interpolate(x, size=(299, 299), mode="bilinear", align_corners=False) - 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(max_pool2d(x, 3, 2)))
        x = max_pool2d(x, 3, 2)
        for block in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{block}")(x)
        features = x.mean((2, 3))
        # The logits of the Inception score have no bias.
        return features, features @ self.fc.weight.T


def main():
    network = Inception().double().eval()
    state = {name: array(name, tuple(old.shape)) for name, old in network.state_dict().items() if old.dim()}
    network.load_state_dict(state, strict=False)
    found = {}
    # Larger and smaller than 299 pixels, and sides that differ.
    for name, (height, width) in {"small": (32, 24), "large": (310, 340), "exact": (299, 299)}.items():
        u = uniform(f"image.{name}", height * width * 3)
        pixels = torch.from_numpy(np.floor(256 * u).reshape(1, height, width, 3)).permute(0, 3, 1, 2)
        with torch.no_grad():
            features, logits = network(pixels / 255)
        found[f"{name}.features"] = features[0].numpy().astype(np.float32)
        found[f"{name}.logits"] = logits[0].numpy().astype(np.float32)
        print(name, features.mean().item(), features.std().item(), logits.std().item())
    convs = {name: list(part.conv.weight.shape) for name, part in network.named_modules() if isinstance(part, Conv)}
    save_file(found, Path(__file__).resolve().parent / "parity.safetensors", {"convs": json.dumps(convs)})


main()
