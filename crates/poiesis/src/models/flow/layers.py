"""Layers of flows written anew in PyTorch, for the scripts `parity.py` beside this folder's models.

Arrays have our names and layouts: channels last, inputs before outputs. A layer takes `p`, all parameters by name, and the `name` of its
own, and returns its result with the log-determinant of each example.
"""

import math

import torch
from torch.nn import functional as F

LEVELS = 256


def conv(x, weight, bias):
    y = F.conv2d(x.permute(0, 3, 1, 2), weight.permute(3, 2, 0, 1), bias, padding=weight.shape[0] // 2)
    return y.permute(0, 2, 3, 1)


def squeeze(x):
    """Pixels of a block become channels: upper left, upper right, lower left, lower right."""
    return torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], 3)


def unsqueeze(y):
    batch, height, width, channels = y.shape
    x = y.new_zeros(batch, 2 * height, 2 * width, channels // 4)
    for part, (i, j) in zip(y.chunk(4, 3), [(0, 0), (0, 1), (1, 0), (1, 1)]):
        x[:, i::2, j::2] = part
    return x


def halves(x):
    return x[..., : x.shape[3] // 2], x[..., x.shape[3] // 2 :]


def actnorm(p, name, x):
    log_scale = p[f"{name}.log_scale"]
    y = x * torch.exp(log_scale) + p[f"{name}.bias"]
    return y, log_scale.sum() * x.shape[1] * x.shape[2] * torch.ones(len(x))


def normed_conv(p, name, x):
    """Weight normalisation: a direction, a gain and a bias for each output."""
    direction = p[f"{name}.direction"]
    norm = direction.flatten(0, 2).norm(dim=0)
    return conv(x, p[f"{name}.gain"] * direction / norm, p[f"{name}.bias"])


def residual(p, name, x, blocks):
    h = normed_conv(p, f"{name}.input", x)
    for i in range(blocks):
        inner = normed_conv(p, f"{name}.blocks.{i}.first", F.relu(h))
        h = h + normed_conv(p, f"{name}.blocks.{i}.second", F.relu(inner))
    return F.relu(h) @ p[f"{name}.output.weight"] + p[f"{name}.output.bias"]


def residual_shapes(name, inputs, moved, width, blocks):
    found = {}
    convs = [("input", inputs)] + [(f"blocks.{i}.{which}", width) for i in range(blocks) for which in ("first", "second")]
    for layer, features in convs:
        found[f"{name}.{layer}.direction"] = [3, 3, features, width]
        found[f"{name}.{layer}.gain"] = found[f"{name}.{layer}.bias"] = [width]
    found[f"{name}.output.weight"], found[f"{name}.output.bias"] = [width, 2 * moved], [2 * moved]
    return found


def affine(outputs, amplitude):
    raw, shift = outputs.chunk(2, -1)
    return amplitude * torch.tanh(raw), shift


def coupling(p, name, x, kept, network, context=None):
    """`kept` is first, second, even or odd: what stays and is read by `network`."""
    amplitude = p[f"{name}.amplitude"]
    with_context = lambda h: h if context is None else torch.cat([h, context], 3)
    if kept in ("even", "odd"):
        rows, columns = torch.meshgrid(torch.arange(x.shape[1]), torch.arange(x.shape[2]), indexing="ij")
        parity = (rows + columns) % 2 == (0 if kept == "even" else 1)
        stays = parity.double()[None, :, :, None]
        log_scale, shift = affine(network(with_context(x * stays)), amplitude)
        log_scale, shift = log_scale * (1 - stays), shift * (1 - stays)
        return x * torch.exp(log_scale) + shift, log_scale.sum((1, 2, 3))
    first, second = halves(x)
    stays, moved = (first, second) if kept == "first" else (second, first)
    log_scale, shift = affine(network(with_context(stays)), amplitude)
    moved = moved * torch.exp(log_scale) + shift
    y = torch.cat([stays, moved] if kept == "first" else [moved, stays], 3)
    return y, log_scale.sum((1, 2, 3))


def normal_log_prob(z):
    return (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def alternating(number, kinds):
    return kinds[number % 2]


def dequantizer_shapes(channels, width):
    found = {}
    for i in range(4):
        name = f"dequantizer.couplings.{i}"
        found |= residual_shapes(f"{name}.network.Residual", 6 * channels, 2 * channels, width, 1)
        found[f"{name}.amplitude"] = [2 * channels]
    return found


def dequantize(p, kind, images, noise):
    """y in [0, 1], and log q of the noise."""
    levels = torch.round((images + 1) * 127.5)
    if kind == "uniform":
        return (levels + noise) / LEVELS, torch.zeros(len(images))
    context, v, log_q = squeeze(images), squeeze(noise), normal_log_prob(noise)
    for i in range(4):
        name = f"dequantizer.couplings.{i}"
        network = lambda h: residual(p, f"{name}.network.Residual", h, 1)
        v, log_det = coupling(p, name, v, alternating(i, ("first", "second")), network, context)
        log_q = log_q - log_det
    u = torch.sigmoid(v)
    log_q = log_q - torch.log(u * (1 - u)).flatten(1).sum(1)
    return (levels + unsqueeze(u)) / LEVELS, log_q


def bound(p, kind, images, noise, log_prob):
    """−log of the probability of images or more, in nats, averaged over the batch."""
    y, log_q = dequantize(p, kind, images, noise)
    dims = images[0].numel()
    return -(log_prob(y) - dims * math.log(LEVELS) - log_q).mean()


def draw(shapes):
    """Parameters at which every layer matters, that f32 holds exactly."""
    # A mean and a deviation for each kind. Couplings follow one another, so that their scales multiply.
    kinds = {"direction": (0, 1), "gain": (0.7, 0.2), "amplitude": (0.3, 0.1), "log_scale": (0, 0.2), "bias": (0, 0.2)}
    p = {}
    for name, shape in shapes.items():
        mean, deviation = kinds.get(name.rsplit(".", 1)[1], (0, 0.3))
        p[name] = (mean + deviation * torch.randn(shape)).float().double().requires_grad_()
    return p


def noise_of(kind, shape):
    return (torch.rand(shape) if kind == "uniform" else torch.randn(shape)).float().double()
