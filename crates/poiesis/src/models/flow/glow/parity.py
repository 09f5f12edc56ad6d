# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Glow written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/flow/glow/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, images and noise of ten steps, latents, log-determinants, every
gradient at the first weights, and the losses and weights of ten steps. PyTorch computes in f64, so a difference is an error of ours.
Arrays have our names and layouts: channels last.

Kingma and Dhariwal 2018, arXiv:1807.03039, with the sizes of a toy.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import logsigmoid, relu

sys.path[:0] = [str(Path(__file__).resolve().parents[4] / "fixtures"), str(Path(__file__).resolve().parents[1])]
from layers import (  # noqa: E402
    actnorm, bound, conv, dequantizer_shapes, draw, halves, noise_of, normal_log_prob, squeeze,
)
from saving import make, put  # noqa: E402

SEED, STEPS = 37, 10
CASES = {
    # Sides that differ, so that rows and columns cannot be confused.
    "uniform": {"batch": 2, "shape": [16, 24, 1], "config": {"depth": 2, "width": 4, "dequantization": "uniform"}},
    "variational": {
        "batch": 2,
        "shape": [8, 12, 3],
        "config": {"depth": 1, "width": 5, "dequantization": "variational", "dequantization_width": 3},
    },
}


def scales_of(settings):
    """The channels of each scale behind its squeeze."""
    height, width, channels = settings["shape"]
    found, side = [], min(height, width)
    while side >= 8:
        found.append(4 * channels)
        channels, side = 2 * channels, side // 2
    return found


def shapes_of(settings):
    config, found = settings["config"], {}
    width, scales = config["width"], scales_of(settings)
    for scale, channels in enumerate(scales):
        for number in range(config["depth"]):
            name = f"scales.{scale}.steps.{number}"
            half = channels // 2
            found[f"{name}.norm.log_scale"] = found[f"{name}.norm.bias"] = [channels]
            found[f"{name}.mix.lower"] = found[f"{name}.mix.upper"] = [channels, channels]
            found[f"{name}.mix.log_scale"] = [channels]
            found[f"{name}.coupling.input.weight"] = [3, 3, half, width]
            found[f"{name}.coupling.hidden.weight"] = [1, 1, width, width]
            for layer in ("input", "hidden"):
                found[f"{name}.coupling.{layer}.log_scale"] = found[f"{name}.coupling.{layer}.bias"] = [width]
            found[f"{name}.coupling.output.weight"] = [3, 3, width, channels]
            found[f"{name}.coupling.output.bias"] = [channels]
        name = f"scales.{scale}.prior"
        if scale + 1 == len(scales):
            found[f"{name}.All.log_scale"] = found[f"{name}.All.bias"] = [channels]
        else:
            found[f"{name}.Half.weight"], found[f"{name}.Half.bias"] = [3, 3, channels // 2, channels], [channels]
    if config["dequantization"] == "variational":
        found |= dequantizer_shapes(settings["shape"][2], config["dequantization_width"])
    return found


def mix(p, name, x):
    """The 1×1 convolution; its determinant is computed from the matrix itself."""
    lower = torch.tril(p[f"{name}.lower"], -1) + torch.eye(x.shape[3])
    upper = torch.triu(p[f"{name}.upper"], 1) + torch.diag(torch.exp(p[f"{name}.log_scale"]))
    weight = torch.flip(lower @ upper, [0])
    _, log_det = torch.linalg.slogdet(weight)
    return x @ weight, log_det * x.shape[1] * x.shape[2]


def glow_coupling(p, name, x):
    moved, kept = halves(x)
    h = kept
    for layer in ("input", "hidden"):
        scaled = conv(h, p[f"{name}.{layer}.weight"], None) * torch.exp(p[f"{name}.{layer}.log_scale"])
        h = relu(scaled + p[f"{name}.{layer}.bias"])
    raw, shift = conv(h, p[f"{name}.output.weight"], p[f"{name}.output.bias"]).chunk(2, 3)
    y = torch.cat([moved * torch.sigmoid(raw + 2) + shift, kept], 3)
    return y, logsigmoid(raw + 2).sum((1, 2, 3))


def forward(p, settings, y):
    """Latents and log-determinants."""
    h, z, log_det = y - 0.5, [], torch.zeros(len(y))
    scales = scales_of(settings)
    for scale in range(len(scales)):
        h = squeeze(h)
        for number in range(settings["config"]["depth"]):
            name = f"scales.{scale}.steps.{number}"
            for part, of in ((actnorm, "norm"), (mix, "mix"), (glow_coupling, "coupling")):
                h, of_part = part(p, f"{name}.{of}", h)
                log_det = log_det + of_part
        name = f"scales.{scale}.prior"
        if scale + 1 == len(scales):
            h, of_prior = actnorm(p, f"{name}.All", h)
            return torch.cat([*z, h.flatten(1)], 1), log_det + of_prior
        h, left = halves(h)
        log_scale, shift = conv(h, p[f"{name}.Half.weight"], p[f"{name}.Half.bias"]).chunk(2, 3)
        z.append((left * torch.exp(log_scale) + shift).flatten(1))
        log_det = log_det + log_scale.sum((1, 2, 3))


def loss(p, settings, x, noise):
    def log_prob(y):
        z, log_det = forward(p, settings, y)
        return normal_log_prob(z) + log_det

    return bound(p, settings["config"]["dequantization"], x, noise, log_prob)


def run(case, settings, into):
    shape = (STEPS, settings["batch"], *settings["shape"])
    p = draw(shapes_of(settings))
    put(into, f"{case}.initial", p)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    into[f"{case}.pixels"] = pixels.numpy()
    # To [-1, 1] in f32, as the data set does.
    x = (pixels.float() / 127.5 - 1).double()
    noise = noise_of(settings["config"]["dequantization"], shape)
    put(into, case, {"noise": noise})

    z, log_det = forward(p, settings, (pixels[0].double() + 0.5) / 256)
    first = loss(p, settings, x[0], noise[0])
    put(into, f"{case}.first", {"z": z, "log_det": log_det, "loss": first[None]})
    put(into, f"{case}.gradient", dict(zip(p, torch.autograd.grad(first, list(p.values())))))

    adam = torch.optim.Adam(p.values(), lr=1e-3)
    losses = []
    for step in range(STEPS):
        value = loss(p, settings, x[step], noise[step])
        adam.zero_grad()
        value.backward()
        adam.step()
        losses.append(value.detach())
    put(into, case, {"losses": torch.stack(losses)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
