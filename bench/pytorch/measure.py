"""What the PyTorch scripts share: arguments, the training step, timing, and the line of JSON they end with."""

import argparse
import json
import resource
import statistics
import sys
import time

import torch

# Peak memory after the imports, in MiB.
IDLE = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arguments(modes, work=None, **options):
    """Parses the arguments of every script, those of this one, and its words where `work` describes them.

    `options` has the default of each by its name, a list of choices that begins with the default, or False for a switch.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    for name, default in options.items():
        if default is False:
            parser.add_argument(f"--{name}", action="store_true")
        elif isinstance(default, list):
            parser.add_argument(f"--{name}", choices=default, default=default[0])
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    if work:
        parser.add_argument("work", nargs="+", help=work)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    return given


def autocast(given):
    """For the forward pass and the loss; the backward pass uses the same dtypes."""
    return torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16")


def train(given, adam, objective):
    """Times training steps, where `objective()` fetches a batch and returns its loss."""

    def step(i):
        with autocast(given):
            loss = objective()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach()

    measure(given, step)


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
