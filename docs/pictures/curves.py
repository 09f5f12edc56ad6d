#!/usr/bin/env python3
"""Draws a metric of several runs against the steps in the environment: the median of the runs of a group, and all of them as a band.

Needs matplotlib:
`python docs/pictures/curves.py OUT.png --title "…" --steps 5000 "TRPO + VIME=runs/vime-*-s?" "TRPO=runs/trpo-*-s?"`.
A value is the mean of the iterations around it, as one iteration ends few episodes.
"""

import argparse
import glob
import json
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# One colour for each group, told apart by colour-blind eyes too.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#8c959f"]


def series(run, metric, window):
    """The metric of each step of a run, averaged over the `window` steps before it."""
    found, last = {}, []
    for line in (Path(run) / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if metric in row:
            last = (last + [row[metric]])[-window:]
        if last:
            found[row["step"]] = sum(last) / len(last)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("groups", nargs="+", metavar="LABEL=PATTERN")
    parser.add_argument("--metric", default="return")
    parser.add_argument("--title", default="")
    parser.add_argument("--steps", type=int, default=1, help="steps in the environment of one step of training")
    parser.add_argument("--window", type=int, default=5, help="iterations that a value is averaged over")
    options = parser.parse_args()
    paper, ink, faint = "#fafafa", "#24292f", "#8c959f"
    plt.rcParams.update({"font.size": 10, "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink})
    figure, axes = plt.subplots(figsize=(6.4, 3.6), facecolor=paper)
    axes.set_facecolor(paper)
    for colour, group in zip(COLOURS, options.groups):
        label, pattern = group.split("=", 1)
        runs = sorted(glob.glob(pattern))
        if not runs:
            raise SystemExit(f"no run is called {pattern}")
        all_series = [series(run, options.metric, options.window) for run in runs]
        at = sorted(set.intersection(*(set(one) for one in all_series)))
        x = [step * options.steps for step in at]
        values = [[one[step] for one in all_series] for step in at]
        axes.fill_between(x, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, [median(v) for v in values], color=colour, label=f"{label} ({len(runs)} seeds)")
    axes.set_xlabel("steps in the environment")
    axes.set_ylabel(options.metric)
    axes.set_title(options.title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(faint)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
