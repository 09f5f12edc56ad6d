"""What every PyTorch contender shares: arguments, threads, timing, and the line of JSON it ends with."""

import argparse
import json
import resource
import statistics
import sys
import time

import torch

# MiB that the process took before it made anything.
IDLE = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arguments(modes):
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    given, model = parser.parse_known_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    return given, model


def numbers(words, **defaults):
    """The whole numbers of a model, from the words that `arguments` left."""
    parser = argparse.ArgumentParser()
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args(words)


def autocast(given):
    """For the forward pass and the loss; the backward pass follows its number types."""
    return torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16")


def measure(given, step):
    """Times `step(i)`, which returns a loss; reading it ends the step."""
    times = []
    for i in range(given.warmup + given.steps):
        began = time.perf_counter()
        loss = step(i).item()
        times.append(1e3 * (time.perf_counter() - began))
    times = times[given.warmup :]
    json.dump({"ms": statistics.median(times), "min_ms": min(times), "loss": loss, "idle": IDLE}, sys.stdout)
    print()


def train(given, optimizer, objective, batch):
    """Times whole steps of training: `objective` gives the loss of what `batch` fetches."""
    objective = torch.compile(objective) if given.mode == "compile" else objective

    def step(_):
        inputs = batch()
        with autocast(given):
            loss = objective(*inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    measure(given, step)
