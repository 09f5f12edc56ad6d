"""What the examples beside this file read of a run, and how they write a picture."""

import json
import struct
import sys
import tomllib
import zlib
from pathlib import Path


def read(run, model):
    """The settings of the model of a run, and the shape of its images: height, width and channels."""
    config = tomllib.loads(Path(run, "config.toml").read_text())
    if config["model"] != model:
        sys.exit(f"{run} is a run of {config['model']}, and this is for {model}")
    if config[model].get("conditional", False):
        sys.exit(f"{run} is conditioned on classes ({model}.conditional), and this network takes none")
    shape = json.loads(Path(run, "run.json").read_text())["data"]["spec"]["content"]["images"]
    return config[model], shape


def halved(shape):
    """How often a convolutional network halves the sides, which leaves at least 4 pixels, and the sides that are left."""
    halvings, height, width = 0, shape["height"], shape["width"]
    while height % 2 == width % 2 == 0 and min(height, width) >= 8:
        halvings, height, width = halvings + 1, height // 2, width // 2
    return halvings, (height, width)


def write_picture(path, image):
    """Writes an image in [-1, 1], [channels, height, width], in the format of its name: .png, .pgm if it is grey, .ppm in colour."""
    pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte()
    channels, height, width = pixels.shape
    values = bytes(pixels.permute(1, 2, 0).flatten().tolist())
    ending = Path(path).suffix.lower()
    if ending == ".png":
        Path(path).write_bytes(png(values, height, width, channels))
        return
    plain = {1: (".pgm", "P5"), 3: (".ppm", "P6")}
    if channels not in plain or plain[channels][0] != ending:
        others = f" or {plain[channels][0]}" if channels in plain else ""
        sys.exit(f"{path}: give a name that ends in .png{others}")
    Path(path).write_bytes(f"{plain[channels][1]} {width} {height} 255\n".encode() + values)


def png(values, height, width, channels):
    """The bytes of a PNG file with these values, row by row: grey, RGB or RGBA."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = width * channels
    # Each row begins with the number of its filter, none.
    rows = b"".join(b"\0" + values[start : start + row] for start in range(0, height * row, row))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
