"""1000 forward passes of a small policy network in PyTorch, for one observation each, without gradients."""

import warnings

import torch
from measure import arguments, measure
from torch import nn

MODES = ["eager", "compile", "script"]
SIZES = [17, 64, 64, 6]
PASSES = 1000


def main():
    given = arguments(MODES)
    layers = [layer for a, b in zip(SIZES, SIZES[1:]) for layer in (nn.Linear(a, b), nn.Tanh())]
    policy = nn.Sequential(*layers[:-1]).eval()
    observation = torch.randn(given.batch, SIZES[0])
    with torch.inference_mode():
        if given.mode == "compile":
            policy = torch.compile(policy, mode="max-autotune")
        elif given.mode == "script":
            warnings.simplefilter("ignore")
            policy = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(policy, observation)))

        def step(i):
            for _ in range(PASSES):
                action = policy(observation)
            return action.sum()

        measure(given, step)


if __name__ == "__main__":
    main()
