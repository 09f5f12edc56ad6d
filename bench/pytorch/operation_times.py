"""One operation forward and backward in PyTorch, or one update, as the example `operation_times` does.

Takes an operation and its sizes: `operation_times.py --batch 1 layer_norm 768 128`.
"""

import torch
from measure import arguments, measure
from torch import nn
from torch.nn.functional import embedding, group_norm, layer_norm, logsigmoid, rms_norm, silu, softplus

MODES = ["eager", "compile"]


def logistic_mixture(parameters, x):
    """Salimans et al. 2017, with the exact mass of a bin."""
    pixels = len(x)
    blocks = parameters.view(pixels, 10, -1)
    logits, means, log_scales = blocks[:, 0], blocks[:, 1:4], blocks[:, 4:7].clamp(min=-7)
    c = blocks[:, 7:].tanh()
    red, green = x[:, 0:1], x[:, 1:2]
    moved = [means[:, 0], means[:, 1] + c[:, 0] * red, means[:, 2] + c[:, 1] * red + c[:, 2] * green]
    inverse = torch.exp(-log_scales)
    centered = x.unsqueeze(2) - torch.stack(moved, 1)
    upper, lower = logsigmoid((centered + 1 / 255) * inverse), -softplus((centered - 1 / 255) * inverse)
    between = torch.log(-torch.expm1(-2 / 255 * inverse))
    x = x.unsqueeze(2)
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, lower, upper + lower + between))
    return (mass.sum(1) + logits.log_softmax(1)).logsumexp(1)


def work_of(name, sizes):
    """Leaves, the gradient of the result, and the operation."""
    if name in ("layer_norm", "rms_norm"):
        rows, channels = sizes
        leaves = [torch.randn(rows, channels), torch.ones(channels), torch.zeros(channels)]
        dy = torch.randn(rows, channels)
        if name == "layer_norm":
            return leaves, dy, lambda x, gamma, beta: layer_norm(x, [channels], gamma, beta, 1e-5)
        return leaves[:2], dy, lambda x, gamma: rms_norm(x, [channels], gamma, 1e-5)
    if name == "group_norm":
        batch, positions, channels = sizes
        # Channels first, PyTorch's own layout.
        leaves = [torch.randn(batch, channels, positions), torch.ones(channels), torch.zeros(channels)]
        return leaves, torch.randn(leaves[0].shape), lambda x, g, b: silu(group_norm(x, 32, g, b, 1e-5))
    if name == "categorical":
        rows, classes = sizes
        targets = torch.arange(rows) % classes
        negative = nn.CrossEntropyLoss(reduction="none")
        return [torch.randn(rows, classes)], torch.randn(rows), lambda x: -negative(x, targets)
    if name == "logistic_mixture":
        pixels, mixtures = sizes
        x = (torch.arange(3 * pixels) % 256).view(pixels, 3) * (2 / 255) - 1
        return [torch.randn(pixels, 10 * mixtures)], torch.randn(pixels), lambda p: logistic_mixture(p, x)
    rows, dim = sizes
    indices = (torch.arange(rows) % 1000).view(rows, 1)
    return [torch.randn(1000, dim)], torch.randn(rows, 1, dim), lambda weight: embedding(indices, weight)


def main():
    given = arguments(MODES, work="an operation and its sizes")
    name, sizes = given.work[0], [int(size) for size in given.work[1:]]
    if name in ("uniform", "normal"):
        make = torch.rand if name == "uniform" else torch.randn
        measure(given, lambda i: make(sizes[0])[0])
        return
    if name == "adamw":
        parameter = nn.Parameter(torch.randn(sizes[0]))
        parameter.grad = torch.randn(sizes[0])
        optimizer = torch.optim.AdamW([parameter], fused=True)

        def update(i):
            optimizer.step()
            return parameter.detach()[0]

        measure(given, update)
        return
    leaves, dy, operation = work_of(name, sizes)
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def total(*leaves):
        return (operation(*leaves) * dy).sum()

    total = torch.compile(total) if given.mode == "compile" else total

    def step(i):
        for leaf in leaves:
            leaf.grad = None
        total(*leaves).backward()
        return leaves[0].grad.flatten()[0]

    measure(given, step)


if __name__ == "__main__":
    main()
