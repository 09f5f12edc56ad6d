#!/usr/bin/env python3
"""Draws docs/pictures/speed.png from the first two tables of training in bench/RESULTS.md.

Needs matplotlib: `python bench/chart.py`.
A missing row, or a ratio that cannot be read, is an error, so that the chart never shows old numbers.
"""

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent

# How a row of RESULTS.md begins, and its label in the chart. A row that begins with "the same" belongs to the row before it.
LABELS = [
    ("DCGAN 64×64×3, width 64, kernel 4, batch 16", "DCGAN 64×64, batch 16"),
    ("DCGAN 64×64×3, width 64, kernel 4, batch 64", "DCGAN, batch 64"),
    ("DCGAN 64×64×3, width 64, kernel 4, batch 128", "DCGAN, batch 128"),
    ("VAE MLP 784-500-500-50", "VAE, 784-500-500-50"),
    ("VAE MLP 784-400-20", "VAE, 784-400-20"),
    ("VAE convolutional", "VAE, convolutional"),
    ("gated PixelCNN", "gated PixelCNN, 8 × 32"),
    ("char-rnn, LSTM 2 × 128", "char-rnn, LSTM 2 × 128"),
    ("the same, 2 × 512", "char-rnn, LSTM 2 × 512"),
    ("transformer 4 × 128", "transformer, 4 × 128"),
    ("the same, 6 × 384", "transformer, 6 × 384"),
]


def section(text, heading):
    """Returns the first section under `heading`, up to the next heading."""
    begin = re.search(rf"^{re.escape(heading)}$", text, re.MULTILINE)
    if begin is None:
        raise SystemExit(f"bench/RESULTS.md has no section {heading}")
    return re.split(r"^#", text[begin.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def ratios(text, heading):
    """Returns the speed relative to PyTorch in each row of the section's table, in the order of LABELS."""
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in section(text, heading).splitlines() if line.startswith("|")]
    column = rows[0].index("ratio")
    found = []
    for start, _ in LABELS:
        row = [row for row in rows if row[0] == start or row[0].startswith(start + ",") or row[0].startswith(start + " ")]
        if len(row) != 1:
            raise SystemExit(f"{heading}: {len(row)} rows begin with {start}")
        found.append(float(row[0][column].strip("*")))
    return found


def main():
    text = (ROOT / "bench/RESULTS.md").read_text()
    f32, bf16 = ratios(text, "## Training"), ratios(text, "## Training with bf16")
    # A light background, readable on white and dark pages.
    paper, ink, faint = "#fafafa", "#24292f", "#8c959f"
    plt.rcParams.update({"font.size": 11, "font.family": "DejaVu Sans", "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink})
    figure, axes = plt.subplots(figsize=(9, 5.6), facecolor=paper)
    axes.set_facecolor(paper)
    places = range(len(LABELS))
    for values, shift, colour, name in [(f32, -0.2, "#1f6feb", "f32"), (bf16, 0.2, "#bf8700", "bf16 against autocast")]:
        bars = axes.barh([place + shift for place in places], values, height=0.36, color=colour, label=name)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9, color=ink)
    axes.axvline(1, color=ink, linewidth=1.2, linestyle="--")
    axes.text(1.0, -0.66, "PyTorch = 1", ha="center", va="bottom", fontsize=10)
    axes.set_yticks(list(places), [label for _, label in LABELS])
    axes.set_ylim(len(LABELS) - 0.4, -0.6)
    axes.set_xlim(0, max(f32 + bf16) * 1.08)
    axes.set_xlabel("training speed relative to PyTorch on two CPU cores (longer is faster)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(faint)
    axes.tick_params(axis="both", color=faint)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    figure.tight_layout()
    figure.savefig(ROOT / "docs/pictures/speed.png", dpi=120, facecolor=paper, metadata={"Software": None})


if __name__ == "__main__":
    main()
