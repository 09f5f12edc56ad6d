# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Real NVP written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/flow/realnvp/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, examples and noise of ten steps, latents, log-determinants,
every gradient at the first weights, and the losses and weights of ten steps. PyTorch computes in f64, so a difference is an error of
ours. Arrays have our names and layouts: channels last.

Dinh et al. 2016, arXiv:1605.08803, with the sizes of a toy.
"""

import math
import sys
from pathlib import Path

import torch
from torch.nn.functional import relu

sys.path[:0] = [str(Path(__file__).resolve().parents[4] / "fixtures"), str(Path(__file__).resolve().parents[1])]
from layers import (  # noqa: E402
    actnorm, alternating, bound, coupling, dequantizer_shapes, draw, halves, noise_of, normal_log_prob, residual,
    residual_shapes, squeeze,
)
from saving import make, put  # noqa: E402

SEED, STEPS, ALPHA = 31, 10, 0.05
CASES = {
    "points": {"batch": 6, "shape": [1, 1, 3], "config": {"couplings": 3, "hidden_dim": 5, "layers": 2}},
    # Sides that differ, so that rows and columns cannot be confused.
    "images": {"batch": 2, "shape": [16, 24, 1], "config": {"width": 2, "blocks": 0, "dequantization": "uniform"}},
    "variational": {"batch": 2, "shape": [8, 12, 1], "config": {"width": 2, "blocks": 1, "dequantization": "variational"}},
}
CHECKERBOARDS, HALVES = ("even", "odd"), ("first", "second")


def layers_of(settings):
    """For each scale the couplings before and behind its squeeze: name, kept values, channels, width."""
    height, width, channels = settings["shape"]
    config = settings["config"]
    if height == 1:
        layers = [(f"scales.0.before.{i}", alternating(i, HALVES), channels, 0) for i in range(config["couplings"])]
        return [(layers, [])]
    found = []
    features, side = config["width"], min(height, width)
    while side >= 8:
        name = f"scales.{len(found)}"
        before = [(f"{name}.before.{i}", alternating(i, CHECKERBOARDS), channels, features) for i in range(3)]
        after = [(f"{name}.after.{i}", alternating(i, HALVES), 4 * channels, 2 * features) for i in range(3)]
        found.append((before, after))
        channels, features, side = 2 * channels, 2 * features, side // 2
    last = [(f"scales.{len(found)}.before.{i}", alternating(i, CHECKERBOARDS), channels, features) for i in range(4)]
    return found + [(last, [])]


def shapes_of(settings):
    config, found = settings["config"], {}
    for before, after in layers_of(settings):
        for name, kept, channels, width in before + after:
            found[f"{name}.norm.log_scale"] = found[f"{name}.norm.bias"] = [channels]
            first, second = channels // 2, channels - channels // 2
            inputs, moved = {"first": (first, second), "second": (second, first)}.get(kept, (channels, channels))
            found[f"{name}.coupling.amplitude"] = [moved]
            network = f"{name}.coupling.network"
            if width > 0:
                found |= residual_shapes(f"{network}.Residual", inputs, moved, width, config["blocks"])
                continue
            sizes = [inputs] + [config["hidden_dim"]] * config["layers"]
            for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
                found[f"{network}.Mlp.hidden.{i}.weight"], found[f"{network}.Mlp.hidden.{i}.bias"] = [a, b], [b]
            found[f"{network}.Mlp.output.weight"] = [sizes[-1], 2 * moved]
            found[f"{network}.Mlp.output.bias"] = [2 * moved]
    if config.get("dequantization") == "variational":
        found |= dequantizer_shapes(settings["shape"][2], config["width"])
    return found


def layer(p, settings, named, x):
    name, kept, _, width = named
    config = settings["config"]

    def network(h):
        of = f"{name}.coupling.network"
        if width > 0:
            return residual(p, f"{of}.Residual", h, config["blocks"])
        for i in range(config["layers"]):
            h = relu(h @ p[f"{of}.Mlp.hidden.{i}.weight"] + p[f"{of}.Mlp.hidden.{i}.bias"])
        return h @ p[f"{of}.Mlp.output.weight"] + p[f"{of}.Mlp.output.bias"]

    x, of_norm = actnorm(p, f"{name}.norm", x)
    y, of_coupling = coupling(p, f"{name}.coupling", x, kept, network)
    return y, of_norm + of_coupling


def forward(p, settings, y):
    """Latents and log-determinants."""
    log_det = torch.zeros(len(y))
    h = y
    if settings["shape"][0] > 1:
        scaled = ALPHA + (1 - 2 * ALPHA) * y
        h = torch.log(scaled / (1 - scaled))
        log_det = (math.log(1 - 2 * ALPHA) - torch.log(scaled * (1 - scaled))).flatten(1).sum(1)
    z = []
    for before, after in layers_of(settings):
        for named in before:
            h, of_layer = layer(p, settings, named, h)
            log_det = log_det + of_layer
        if not after:
            return torch.cat([*z, h.flatten(1)], 1), log_det
        h = squeeze(h)
        for named in after:
            h, of_layer = layer(p, settings, named, h)
            log_det = log_det + of_layer
        left, h = halves(h)
        z.append(left.flatten(1))


def loss(p, settings, x, noise):
    def log_prob(y):
        z, log_det = forward(p, settings, y)
        return normal_log_prob(z) + log_det

    if settings["shape"][0] == 1:
        return -log_prob(x).mean()
    return bound(p, settings["config"]["dequantization"], x, noise, log_prob)


def run(case, settings, into):
    shape = (STEPS, settings["batch"], *settings["shape"])
    p = draw(shapes_of(settings))
    put(into, f"{case}.initial", p)
    if settings["shape"][0] == 1:
        x = torch.randn(shape).float().double()
        noise = [None] * STEPS
        put(into, case, {"points": x})
        y = x[0]
    else:
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        into[f"{case}.pixels"] = pixels.numpy()
        # To [-1, 1] in f32, as the data set does.
        x = (pixels.float() / 127.5 - 1).double()
        noise = noise_of(settings["config"]["dequantization"], shape)
        put(into, case, {"noise": noise})
        y = (pixels[0].double() + 0.5) / 256

    z, log_det = forward(p, settings, y)
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
