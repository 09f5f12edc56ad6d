"""Makes a folder of JPEGs to collect: smooth colour noise of mixed sizes, the same files for the same arguments.

    python bench/make_jpegs.py FOLDER --count 20000
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def make(folder, index):
    draw = np.random.default_rng(index)
    # Sides from 160 to 320 pixels, and detail at several scales, so that a file is about as large as a photograph.
    height, width = (int(side) for side in draw.integers(160, 321, 2))
    picture = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 60.0), (16, 30.0), (64, 12.0)):
        coarse = draw.standard_normal((cells, cells, 3)).astype(np.float32) * weight
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
            picture[..., channel] += np.asarray(plane)
    pixels = np.clip(picture + 128, 0, 255).astype(np.uint8)
    path = folder / f"{index // 1000:03}" / f"{index:06}.jpg"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, quality=85)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(make, given.folder), range(given.count), chunksize=100))


if __name__ == "__main__":
    main()
