"""Times of single convolutions in PyTorch, forward and both gradients, each in both layouts; ends with a line of JSON."""

import argparse
import json
import statistics
import time

import torch


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with open(given.file) as file:
        lines = [line.split() for line in file if not line.startswith("#")]
    times = []
    for kind, *numbers in lines:
        layouts = [
            measure(kind == "transposed", [int(n) for n in numbers], layout, given.steps)
            for layout in (torch.contiguous_format, torch.channels_last)
        ]
        # The better layout, chosen for each direction.
        times.append([min(pair) for pair in zip(*layouts)])
    print(json.dumps({"times": times}))


def measure(transposed, numbers, layout, rounds):
    kernel, stride, padding, size, channels, out, batch = numbers
    x = torch.randn(batch, channels, size, size).to(memory_format=layout)
    shape = (channels, out, kernel, kernel) if transposed else (out, channels, kernel, kernel)
    weight = torch.randn(shape).to(memory_format=layout)
    rest = ([stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], 1)
    convolve = lambda: torch.ops.aten.convolution(x, weight, None, *rest)
    dy = torch.randn_like(convolve())
    back = lambda mask: torch.ops.aten.convolution_backward(dy, x, weight, None, *rest, mask)
    works = [convolve, lambda: back([True, False, False]), lambda: back([False, True, False])]
    return [median(work, rounds) for work in works]


def median(work, rounds):
    times = []
    with torch.no_grad():
        for _ in range(rounds + 1):
            began = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
