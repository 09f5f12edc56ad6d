"""Collecting with Pillow and a pool of processes: what one would write without Poiesis.

    python bench/collect.py SOURCE OUT --size 64 [--draft]

Decodes every image of a folder or a tar, turns it upright, lays it over white, crops its centre, resizes it with an
antialiasing cubic filter and writes it to one array on disk, in the order of the source. `--draft` lets the JPEG
decoder shrink by a power of two while decoding, which is faster and blurs. Hashes, splits and statistics, which
`poiesis collect` adds, are left out.
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
    """The pixels of one image: a path, or the bytes of a file."""
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
            # A bounded number of chunks is under way, so that memory stays bounded too.
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
