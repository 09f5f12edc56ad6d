#!/usr/bin/env python3
"""Makes strip.png, the picture at the top of README.md, from the other pictures in this folder.

Needs Pillow: `python docs/pictures/strip.py`.
Each panel shows cells of a grid as they are; none were drawn for this picture.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
CELL, PITCH, ROWS, GAP = 64, 66, 4, 10
HEIGHT = PITCH * ROWS - (PITCH - CELL)
CAPTION = 28
GREY = (128, 128, 128, 255)


def cells(name, pitch, border, size, left, top, columns, factor):
    """Cuts `columns` x ROWS cells out of a grid; `size` is a cell there, `factor` its enlargement here."""
    grid = Image.open(HERE / name).convert("RGB")
    panel = Image.new("RGB", (PITCH * columns - (PITCH - CELL), HEIGHT), (48, 48, 48))
    for row in range(ROWS):
        for column in range(columns):
            x, y = border + pitch * (left + column), border + pitch * (top + row)
            cell = grid.crop((x, y, x + size, y + size))
            side = round(size * factor)
            tile = Image.new("RGB", (CELL, CELL))
            tile.paste(cell.resize((side, side), Image.Resampling.NEAREST), ((CELL - side) // 2,) * 2)
            panel.paste(tile, (PITCH * column, PITCH * row))
    return panel


def clips(name, places, size, width):
    """Puts clips, each a waveform above its spectrogram, one above the other, without their axes."""
    picture = Image.open(HERE / name).convert("RGB")
    panel = Image.new("RGB", (width, HEIGHT), (48, 48, 48))
    height = (HEIGHT - (PITCH - CELL) * (len(places) - 1)) // len(places)
    for number, (x, y) in enumerate(places):
        clip = picture.crop((x, y, x + size[0], y + size[1]))
        panel.paste(clip.resize((width, height), Image.Resampling.LANCZOS), (0, number * (height + PITCH - CELL)))
    return panel


PANELS = [
    ("dcgan, emoji", cells("dcgan-emoji64.png", 66, 2, 64, 4, 0, 4, 1)),
    ("vae, digits", cells("vae-mnist-conv.png", 90, 6, 84, 0, 0, 3, 2 / 3)),
    ("gated-pixelcnn, lower halves", cells("gated-pixelcnn-mnist-complete.png", 90, 6, 84, 0, 1, 4, 2 / 3)),
    ("pixelcnn-pp, CIFAR-10", cells("pixelcnn-pp-cifar10.png", 68, 4, 64, 0, 0, 3, 1)),
    ("wavenet, spoken digits", clips("wavenet-fsdd.png", [(614, 8), (48, 234)], (512, 198), 236)),
]

width = sum(panel.width for _, panel in PANELS) + GAP * (len(PANELS) - 1)
strip = Image.new("RGBA", (width, HEIGHT + CAPTION), (0, 0, 0, 0))
draw = ImageDraw.Draw(strip)
x = 0
for caption, panel in PANELS:
    strip.paste(panel, (x, 0))
    draw.text((x + panel.width / 2, HEIGHT + 7), caption, GREY, ImageFont.load_default(15), anchor="ma")
    x += panel.width + GAP
strip.quantize(256, Image.Quantize.FASTOCTREE).save(HERE / "strip.png", optimize=True)
