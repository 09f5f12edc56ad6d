"""What the examples beside this file read of a run, and how they write a picture."""

import json
import sys
import tomllib
from pathlib import Path


def read(run, model):
    """The settings of the model of a run, and the shape of its images: height, width and channels."""
    config = tomllib.loads(Path(run, "config.toml").read_text())
    if config["model"] != model or config[model].get("conditional", False):
        sys.exit(f"{run} is a run of {config['model']}, and this is for {model} on images without classes")
    shape = json.loads(Path(run, "run.json").read_text())["data"]["spec"]["content"]["images"]
    return config[model], shape


def halved(shape):
    """How often a convolutional network halves the sides, which leaves at least 4 pixels, and the sides that are left."""
    halvings, height, width = 0, shape["height"], shape["width"]
    while height % 2 == width % 2 == 0 and min(height, width) >= 8:
        halvings, height, width = halvings + 1, height // 2, width // 2
    return halvings, (height, width)


def write_ppm(path, image):
    """Writes an image in [-1, 1], [channels, height, width], as a file that most programs for pictures open."""
    pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte()
    channels, height, width = pixels.shape
    kind = "P6" if channels == 3 else "P5"
    header = f"{kind} {width} {height} 255\n".encode()
    Path(path).write_bytes(header + bytes(pixels.permute(1, 2, 0).flatten().tolist()))
