"""Runs our agents and environments and those of other programs in alternation on the same work. Started by `bench/run agents`.

Writes a section of Markdown for each part, and beside it a file of JSON with every single measurement.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from driver import BENCH, DATA, ROOT, TARGET, discard, expect, heading, measured, say

REINFORCEMENT = BENCH / "reinforcement"
PACKAGES = ["gymnasium", "mujoco", "envpool", "stable-baselines3", "torch", "numpy"]

# Environments with the modes of each other program for many of them; see `reinforcement/steps.py`.
ENVIRONMENTS = {
    "cartpole": {"gymnasium": ["sync", "async", "array"], "envpool": ["sync", "async", "one_thread"]},
    "hopper": {"gymnasium": ["sync", "async"], "envpool": ["sync", "async", "one_thread"]},
}
COUNTS = [1, 64]
# What each mode is called, and whether it has one thread however many are given.
MODES = {
    ("gymnasium", "one"): ("Gymnasium", True),
    ("gymnasium", "sync"): ("Gymnasium, one after another", True),
    ("gymnasium", "async"): ("Gymnasium, a process for each", False),
    ("gymnasium", "array"): ("Gymnasium, all in one array", True),
    ("envpool", "one"): ("EnvPool", True),
    ("envpool", "sync"): ("EnvPool, a step waits for all", False),
    ("envpool", "async"): ("EnvPool, a step waits for half", False),
    ("envpool", "one_thread"): ("EnvPool, one thread", True),
}

# The return that counts as solved, and the number of episodes whose mean it is, as Gymnasium defines it for CartPole-v1.
GOAL, EPISODES = 475.0, 100
OURS, THEIRS = "`poiesis train ppo --recipe cartpole`", "Stable-Baselines3, settings of RL Baselines3 Zoo"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often the steps of an environment are timed")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long they are timed")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds are trained")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="moments and one seed, to check that everything works")
    parser.add_argument("--out", type=Path, default=DATA / "agents.md")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.seeds = 1, 0.2, 1
    parts = given.only.split(",")
    DATA.mkdir(exist_ok=True)
    sections, runs = [], {}
    for name in (name for name in PARTS if name in parts):
        section, runs[name] = PARTS[name](given)
        sections.append(section)
    text = "\n\n".join([heading(given, "bench/run agents", PACKAGES, "threads as in the tables"), *sections]) + "\n"
    given.out.write_text(text)
    given.out.with_suffix(".json").write_text(json.dumps(runs, indent=1) + "\n")
    print(text)


def environments(given):
    """Steps a second of environments, ours and others in alternation."""
    rows, runs = [], []
    for environment, modes in ENVIRONMENTS.items():
        for count in COUNTS:
            say(f"{count} × {environment}")
            works = works_of(environment, count, modes, given)
            found = {who: [] for who in works}
            for _ in range(given.rounds):
                for who, (command, _) in works.items():
                    run = expect(measured(command, given), command)
                    found[who].append(run["steps_per_second"])
                    runs.append({"with": who, **run})
            ours = statistics.median(found["poiesis-envs"])
            for who, rates in found.items():
                median, threads = statistics.median(rates), works[who][1]
                spread = f"{thousands(min(rates))}–{thousands(max(rates))}"
                rows.append(
                    f"| {environment} | {count} | {who} | {threads} | {thousands(median)} ({spread}) | {ours / median:.2f} |"
                )
    section = [
        "## Steps of environments",
        "",
        "Thousands of steps a second of all environments together, with random actions that were drawn beforehand.",
        "An environment that ends is reset.",
        "EnvPool does that in a step of its own, which counts; elsewhere it is part of the step before.",
        "The last column is our rate divided by that of the row, so above 1 we are faster.",
        "",
        "| environment | at a time | with | threads | thousand steps/s | ours over it |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(section), runs


def works_of(environment, count, modes, given):
    """The command and the threads of each program by its name, ours first."""
    many = count > 1
    works = {}

    def add(name, threads, *command):
        common = [environment, "--envs", count, "--seconds", given.seconds, "--threads", threads]
        works[name] = [*command, *common], threads

    add("poiesis-envs", given.threads if many else 1, TARGET / "examples" / "steps")
    script = [sys.executable, REINFORCEMENT / "steps.py"]
    for program, its_modes in modes.items():
        for mode in its_modes if many else ["one"]:
            name, one_thread = MODES[program, mode]
            add(name, 1 if one_thread else given.threads, *script, "--mode", mode if many else "sync", program)
    return works


def ppo(given):
    """PPO on CartPole up to its goal, in wall time, ours and Stable-Baselines3's in alternation over seeds."""
    say("how many threads")
    both = [1, given.threads]
    threads = {
        OURS: min(both, key=lambda threads: ours(0, threads, given.quick)["seconds"]),
        THEIRS: min(both, key=lambda threads: theirs(0, threads, given.quick, steps=20_000)["seconds"]),
    }
    runs = {OURS: [], THEIRS: []}
    for seed in range(given.seeds):
        for who, train in {OURS: ours, THEIRS: theirs}.items():
            say(f"{who}, seed {seed}")
            runs[who].append(train(seed, threads[who], given.quick))
    rows = [row_of(who, runs, threads) for who in runs]
    section = [
        "## PPO on CartPole to its goal",
        "",
        f"Training until the mean return of the last {EPISODES} episodes of training is {GOAL:.0f}; medians over {given.seeds} seeds.",
        "The seconds of training are those of the training loop; the others begin with the start of the program.",
        f"Each program runs with 1 or {given.threads} threads, whichever takes it less time.",
        "The return at the end is that of the most likely actions: ours after the whole recipe, the other's where it stopped.",
        "",
        "| with | threads | seeds that reach it | seconds of training | from the start | steps | return at the end | time over ours |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(section), {"threads": threads, "runs": runs}


def row_of(who, runs, threads):
    reached = [run["goal_seconds"] for run in runs[who] if run["goal_seconds"] is not None]
    # A seed that does not reach the goal counts as slower than all that do.
    median = lambda who, key: statistics.median_high(math.inf if run[key] is None else run[key] for run in runs[who])
    shown = lambda value: f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    said = lambda key: shown(median(who, key)) if math.isfinite(median(who, key)) else "not reached"
    spread = f" ({shown(min(reached))}–{shown(max(reached))})" if reached else ""
    ours, its = median(OURS, "goal_seconds"), median(who, "goal_seconds")
    ratio = f"{its / ours:.2f}" if math.isfinite(its) and math.isfinite(ours) else ""
    at_end = statistics.median(run["evaluated"] for run in runs[who])
    return (
        f"| {who} | {threads[who]} | {len(reached)} of {len(runs[who])} | {said('goal_seconds')}{spread} "
        f"| {said('whole_seconds')} | {said('goal_steps')} | {at_end:.0f} | {ratio} |"
    )


def ours(seed, threads, quick):
    """Trains the whole recipe, and finds in its metrics when the goal was reached."""
    run = DATA / "run"
    discard(run)
    command = [TARGET / "poiesis", "train", "ppo", "--recipe", "cartpole", "--seed", seed, "--out", run, "--set", "train.log_every=1"]
    command = [str(word) for word in command] + (["--steps", "20"] if quick else [])
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment, cwd=ROOT)
    whole = time.perf_counter() - began
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "return" in row]
    config = tomllib.loads((run / "config.toml").read_text())
    per_row = config["data"]["environments"] * config["ppo"]["rollout_steps"]
    reached = first_reached(rows, per_row)
    seconds = rows[-1]["elapsed"]
    return {
        "goal_seconds": reached and reached["elapsed"],
        "goal_steps": reached and reached["step"] * per_row,
        # What is not training counts as if all of it came before.
        "whole_seconds": reached and reached["elapsed"] + whole - seconds,
        "steps": rows[-1]["step"] * per_row,
        "seconds": seconds,
        "evaluated": evaluated(run),
        "seed": seed,
    }


def first_reached(rows, per_row):
    """The first row up to which the last episodes have the mean return that is asked for; `per_row` steps are those of a rollout.

    A row has the mean of the episodes that ended in its rollout. How many those are follows from their mean length and the steps since the
    row before, as there is no row where no episode ended.
    """
    last, episodes, returns, before = [], 0.0, 0.0, 0
    for row in rows:
        ended, mean = (row["step"] - before) * per_row / row["length"], row["return"]
        last.append((ended, mean))
        episodes, returns, before = episodes + ended, returns + ended * mean, row["step"]
        while episodes - last[0][0] >= EPISODES:
            ended, mean = last.pop(0)
            episodes, returns = episodes - ended, returns - ended * mean
        if episodes >= EPISODES and returns / episodes >= GOAL:
            return row
    return None


def evaluated(run):
    command = [str(TARGET / "poiesis"), "evaluate", str(run), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return first_value(json.loads(done.stdout), "mean")


def first_value(value, key):
    """The first value of this key, wherever it is."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        return next((found for one in value if (found := first_value(one, key)) is not None), None)
    return None


def theirs(seed, threads, quick, steps=0):
    """Trains until the goal or to the end of the settings, or for `steps` environment steps unless they are 0."""
    command = [sys.executable, REINFORCEMENT / "ppo.py", "--seed", seed, "--threads", threads, "--steps", 2000 if quick else steps]
    command += ["--goal", GOAL, "--episodes", EPISODES]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=ROOT)
    run = json.loads(done.stdout.strip().splitlines()[-1])
    # Both clocks are the system's monotonic one.
    clock = run.pop("clock")
    return {**run, "whole_seconds": clock and clock - began}


def thousands(rate):
    return f"{rate / 1e3:.4g}"


PARTS = {part.__name__: part for part in (environments, ppo)}


if __name__ == "__main__":
    main()
