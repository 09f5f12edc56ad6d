"""Packs images with Pillow and a pool of processes, as one would without Poiesis.

    python bench/collect.py SOURCE OUT --size 64 [--draft]

Decodes every image of a folder or a tar, applies its EXIF orientation, puts a white background behind transparent
pixels, crops the centre, resizes with an antialiasing cubic filter and appends the result to one file, in the order of
the source. `--draft` lets the JPEG decoder shrink by a power of two while decoding, which is faster and blurs. Unlike
`poiesis collect` it computes no hashes, splits or statistics.
"""

import argparse
import io
import os
import tarfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tiff"}


def prepare(size, draft, source):
    """The pixels of one image, given its path or the bytes of its file."""
    with Image.open(source if isinstance(source, str) else io.BytesIO(source)) as image:
        if draft:
            image.draft("RGB", (size, size))
        image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
        return image.tobytes()


def prepare_many(size, draft, sources):
    return b"".join(prepare(size, draft, source) for source in sources)


def chunks(sources, size):
    sources = iter(sources)
    return iter(lambda: list(islice(sources, size)), [])


def sources_of(path):
    if path.is_dir():
        found = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        yield from sorted(str(file) for file in found if file.suffix.lower() in SUFFIXES)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                yield archive.extractfile(member).read()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--draft", action="store_true")
    given = parser.parse_args()
    count = 0
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers) as pool, open(given.out, "wb") as out:
        work = partial(prepare_many, given.size, given.draft)
        waiting = []
        for chunk in chunks(sources_of(given.source), 64):
            waiting.append(pool.submit(work, chunk))
            # The number of pending chunks is bounded, and so is memory.
            if len(waiting) > 4 * workers:
                count += write(waiting.pop(0).result(), out, given.size)
        for future in waiting:
            count += write(future.result(), out, given.size)
    print(f'{{"images": {count}}}')


def write(pixels, out, size):
    out.write(pixels)
    return len(pixels) // (3 * size * size)


if __name__ == "__main__":
    main()
