"""Sampling from a gated PixelCNN in PyTorch without a cache: the whole network for every pixel.

The network of gated_pixelcnn.py, 16 images of 28×28. Prints the seconds for all 784 pixels.
"""

import argparse
import json
import sys
import time

import torch
from gated_pixelcnn import MODES, SIDE, GatedPixelCnn


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pixels", type=int, default=SIDE * SIDE)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    network, x = GatedPixelCnn(), torch.zeros(given.batch, 1, SIDE, SIDE)
    if given.mode != "eager":
        network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    forward = torch.compile(network) if given.mode == "compile" else network
    with torch.inference_mode():
        forward(x)
        began = time.perf_counter()
        for pixel in range(given.pixels):
            row, column = divmod(pixel, SIDE)
            p = forward(x)[:, 0, row, column].sigmoid()
            x[:, 0, row, column] = torch.bernoulli(p)
        seconds = time.perf_counter() - began
    json.dump({"seconds": seconds * SIDE * SIDE / given.pixels, "ms_per_pixel": 1e3 * seconds / given.pixels}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
