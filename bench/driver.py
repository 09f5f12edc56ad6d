"""Runs Poiesis and other programs in alternation on the same work and writes RESULTS.md. Started by bench/run.

Each program runs in its own process. PyTorch first runs once in each of its modes; its fastest mode is then compared
with Poiesis in alternation, A B A B …, and the median over the rounds is reported. Peak memory is that of the process
and its children.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
DATA = BENCH / ".data"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
EMOJI = ROOT.parent / "shared" / "data" / "noto-emoji"

# Names of the training steps, our example and its arguments, PyTorch's script and its arguments, batches, steps of each process.
SMALL, LARGE = "--layers 4 --width 128 --heads 4 --context 64", "--layers 6 --width 384 --heads 6 --context 256"
TRAIN = [
    (
        "DCGAN 64×64×3, width 64, kernel 4",
        "train_speed dcgan 64x64x3 kernel=4 width=64 prior=normal weight_decay=0",
        "dcgan.py",
        [16, 64, 128],
        6,
    ),
    (
        "improved GAN, fully connected, 784 values, labels of all",
        "train_speed improved-gan 28x28x1",
        "improved_gan.py",
        [100],
        60,
    ),
    (
        "R3GAN 32×32×3, 32 to 256 features, with R₁ and R₂",
        "train_speed r3gan 32x32x3 width=32 max_width=256 gamma=0.5",
        "r3gan.py",
        [64],
        6,
    ),
    (
        "IAF VAE 28×28×1, 32 latents with four steps of 2 × 640, Bernoulli, AdaMax",
        "train_speed iaf-vae 28x28x1 latent_dim=32 maps=0 width=48 residual_scale=0.5 flow_steps=4 flow_layers=2 flow_width=640 free_bits=0.03 likelihood=bernoulli",
        "iaf_vae.py --recipe mnist",
        [100],
        12,
    ),
    (
        "IAF VAE 32×32×3, eight layers of 16 maps with one step each, 256 levels, AdaMax",
        "train_speed iaf-vae 32x32x3 maps=16 blocks=4 width=48 flow_width=48",
        "iaf_vae.py --recipe cifar10",
        [32],
        6,
    ),
    (
        "Glow 32×32×3, 3 scales of 12 steps, width 64",
        "train_speed glow 32x32x3 depth=12 width=64",
        "glow.py",
        [64],
        6,
    ),
    (
        "VAE MLP 784-500-500-50, Bernoulli",
        "train_speed vae 28x28x1 body=mlp latent_dim=50 likelihood=bernoulli",
        "vae.py --body mlp --latent 50",
        [128],
        200,
    ),
    (
        "VAE MLP 784-400-20, Bernoulli",
        "train_speed vae 28x28x1 body=mlp hidden=400 layers=1 latent_dim=20 likelihood=bernoulli",
        "vae.py --body mlp --hidden 400 --layers 1 --latent 20",
        [128],
        300,
    ),
    (
        "VAE convolutional 28×28×1, width 32, Bernoulli",
        "train_speed vae 28x28x1 body=conv latent_dim=40 width=32 likelihood=bernoulli",
        "vae.py --body conv --latent 40 --width 32",
        [128],
        20,
    ),
    (
        "gated PixelCNN 28×28×1, 8 layers of 32, Bernoulli",
        "train_speed gated-pixelcnn 28x28x1 distribution=binary width=32 layers=8 head=64",
        "gated_pixelcnn.py",
        [32],
        12,
    ),
    (
        "char-rnn, LSTM 2 × 128, 50 characters, Adam",
        "train_speed char-rnn text optimizer=adamw width=128",
        "lstm.py --hidden 128",
        [50],
        100,
    ),
    ("the same, 2 × 512", "train_speed char-rnn text optimizer=adamw width=512", "lstm.py", [50], 8),
    (
        "transformer 4 × 128, context 64, AdamW; PyTorch's with layer norms and GELU",
        "train_speed transformer text optimizer=adamw layers=4 width=128 heads=4 context=64",
        f"transformer.py {SMALL}",
        [12],
        40,
    ),
    (
        "the same, 6 × 384, context 256",
        "train_speed transformer text optimizer=adamw layers=6 width=384 heads=6 context=256",
        f"transformer.py {LARGE}",
        [16],
        4,
    ),
]
KERNELS = [
    ("PixelCNN body: 7 residual 3×3 layers, 64 channels, 28×28, mask B", "pixelcnn_body", "pixelcnn.py", [64], 8),
    ("the same without a mask", "pixelcnn_body full", "pixelcnn.py --full", [64], 8),
    ("transformer 4 × 128, context 64", f"transformer_step {SMALL}", f"transformer.py {SMALL}", [12], 40),
    ("transformer 6 × 384, context 256", f"transformer_step {LARGE}", f"transformer.py {LARGE}", [16], 4),
    ("LSTM 2 × 512, 50 steps", "lstm_step", "lstm.py", [50], 8),
]
# Each process runs a thousand forward passes in a step, so its milliseconds are microseconds of one pass.
FORWARD = [
    ("policy 17-64-64-6, tanh, `Mlp`", "policy mlp", "policy.py", [1], 20),
    ("the same through tensors", "policy tensor", "policy.py", [1], 20),
]
MODES = {
    "dcgan.py": ["eager", "channels_last", "compile"],
    "improved_gan.py": ["eager", "compile"],
    "r3gan.py": ["eager", "channels_last", "compile"],
    "iaf_vae.py": ["eager", "channels_last", "compile"],
    "glow.py": ["eager", "channels_last", "compile"],
    "vae.py": ["eager", "channels_last", "compile"],
    "pixelcnn.py": ["eager", "channels_last", "compile"],
    "transformer.py": ["eager", "compile"],
    "lstm.py": ["eager", "compile", "loop"],
    "policy.py": ["eager", "compile", "script"],
    "gated_pixelcnn.py": ["eager", "channels_last", "compile"],
}

# What is generated with caches: name, arguments of `poiesis train` for one step, settings of the model, arguments of
# `poiesis sample`, PyTorch's script and its arguments, its modes.
SAMPLING = [
    (
        "16 images of 28×28 from a gated PixelCNN; PyTorch: the whole network for each pixel",
        ["gated-pixelcnn", "--data", "shapes", "--size", "28", "--channels", "1", "--batch-size", "1"],
        ["distribution=binary", "width=32", "layers=8", "head=64"],
        ["--count", "16", "--out", "{out}.png"],
        ["sample_pixels.py"],
        ["eager", "channels_last", "compile"],
    ),
    (
        "10,000 characters from a char-rnn, LSTM 2 × 128; PyTorch: its state kept",
        ["char-rnn", "--data", "{text}", "--batch-size", "1"],
        ["width=128"],
        ["--length", "10000", "--out", "{out}.txt"],
        ["generate.py", "lstm"],
        [None],
    ),
    (
        "10,000 characters from a transformer 4 × 128, context 256; PyTorch: keys and values kept",
        ["transformer", "--data", "{text}", "--batch-size", "1"],
        ["layers=4", "width=128", "heads=4", "context=256"],
        ["--length", "10000", "--out", "{out}.txt"],
        ["generate.py", "transformer"],
        [None],
    ),
]
# The validation loss, in nats per character, at which nanoGPT's recipe for a CPU ends.
QUALITY = 1.88
SHAKESPEARE = ROOT.parent / "shared" / "data" / "text" / "tinyshakespeare.txt"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS)}")
    parser.add_argument("--work", default="", help="only training steps whose commands have one of these words, such as dcgan,char-rnn")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs in the alternation")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="a few steps and images, to check that everything works")
    parser.add_argument("--out", type=Path, default=BENCH / "RESULTS.md")
    given = parser.parse_args()
    parts = given.only.split(",")
    sections = [section(given) for name, section in PARTS.items() if name in parts]
    text = "\n\n".join([heading(given), *sections]) + "\n"
    given.out.write_text(text)
    print(text)


def train(given):
    rows, notes = compare(given, TRAIN)
    return "\n".join(
        [
            "## Training",
            "",
            "Milliseconds of a whole training step (fetch a batch, forward, backward, optimizer), f32.",
            "Every mode of PyTorch has its fused Adam, or AdaMax over all parameters at once; `channels_last` and `compile` use channels-last tensors.",
            "The ratio is PyTorch's time divided by ours, so above 1 we are faster.",
            "Memory is the peak of the process in MiB.",
            "",
            *table("ms", rows),
            "",
            *notes,
        ]
    )


def bf16(given):
    rows, notes = compare(given, TRAIN, "precision=bf16", "--precision bf16")
    return "\n".join(
        [
            "## Training with bf16",
            "",
            "Training steps as above with `train.precision = bf16`, against PyTorch's autocast to bf16 of the forward pass and the loss.",
            "Matrix products round their factors, including those of Winograd's F(2, 2) and F(2, 3).",
            "",
            *table("ms", rows),
            "",
            *notes,
        ]
    )


def kernels(given):
    rows, notes = compare(given, KERNELS)
    forward_rows, forward_notes = compare(given, FORWARD, repeats=1000)
    return "\n".join(
        [
            "## Training steps of the kernels alone",
            "",
            "Bodies of models on `poiesis-kernels` without the rest of Poiesis: forward, backward and Adam.",
            "The columns are as above.",
            "",
            *table("ms", rows),
            "",
            *notes,
            "",
            "One forward pass for one input, without gradients, in microseconds.",
            "`Mlp` takes slices, PyTorch a tensor.",
            "",
            *table("µs", forward_rows),
            "",
            *forward_notes,
        ]
    )


def compare(given, works, our_option="", their_option="", repeats=1):
    """Rows of a table and notes for each batch of `works`; a step does `repeats` times its work."""
    rows, notes = [], []
    batches = [(*work, batch) for work in works for batch in work[3]]
    for name, ours, theirs, _, steps, batch in batches:
        ours, theirs = ours.split() + our_option.split(), theirs.split() + their_option.split()
        if given.work and not set(given.work.split(",")) & set(ours):
            continue
        work = name if repeats > 1 else f"{name}, batch {batch}"
        common = ["--batch", batch, "--steps", 2 if given.quick else steps, "--threads", given.threads]
        us = [TARGET / "examples" / ours[0], *ours[1:], *common]
        them = [sys.executable, BENCH / "pytorch" / theirs[0], *theirs[1:], *common]
        say(work)
        modes = {mode: measured([*them, "--mode", mode], given) for mode in MODES[theirs[0]]}
        worked = {mode: run for mode, run in modes.items() if run is not None}
        best = min(worked, key=lambda mode: worked[mode]["ms"])
        runs = {"us": [], "them": []}
        for _ in range(1 if given.quick else given.rounds):
            runs["us"].append(expect(measured(us, given), us))
            runs["them"].append(expect(measured([*them, "--mode", best], given), them))
        ms = {who: statistics.median(run["ms"] for run in them) for who, them in runs.items()}
        peak = {who: max(run["peak"] for run in them) for who, them in runs.items()}
        spread = {who: f"{min(r['ms'] for r in rs):.4g}–{max(r['ms'] for r in rs):.4g}" for who, rs in runs.items()}
        rows.append(
            f"| {work} | {ms['us']:.4g} ({spread['us']}) | {1e3 * repeats * batch / ms['us']:.0f} "
            f"| {ms['them']:.4g} ({spread['them']}) | {1e3 * repeats * batch / ms['them']:.0f} | {best} "
            f"| **{ms['them'] / ms['us']:.2f}** | {mib(peak['us'])} | {mib(peak['them'])} "
            f"| {peak['us'] / peak['them']:.2f} |"
        )
        tried = ", ".join(
            f"{mode} {run['ms']:.4g}" if run else f"{mode} did not run" for mode, run in modes.items()
        )
        idle = statistics.median(run["idle"] for run in runs["them"])
        notes.append(f"- {work}: each of PyTorch's modes once: {tried}; {idle:.0f} MiB of its peak are there after the import.")
    return rows, notes


def table(unit, rows):
    return [
        f"| work | ours, {unit} | examples/s | PyTorch, {unit} | examples/s | its best mode | ratio | our peak | its peak | peak ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def sampling(given):
    text = DATA / "letters.txt"
    DATA.mkdir(exist_ok=True)
    generator = random.Random(0)
    text.write_text("".join(chr(generator.randrange(48, 113)) for _ in range(100_000)))
    rows = []
    for name, train_words, settings, words, theirs, modes in SAMPLING:
        say(name)
        run, out = DATA / "run", DATA / "generated"
        discard(run)
        fill = lambda words: [word.format(text=text, out=out) for word in words]
        sets = [part for setting in settings for part in ("--set", setting)]
        once = [TARGET / "poiesis", "train", *fill(train_words), *sets, "--steps", 1, "--out", run]
        expect(tree(once), once)
        us = [TARGET / "poiesis", "sample", run, "--seed", 1, "--force", *fill(words)]
        them = [sys.executable, BENCH / "pytorch" / theirs[0], *theirs[1:], "--threads", given.threads]
        if given.quick:
            them += ["--pixels", 4] if theirs[0] == "sample_pixels.py" else ["--characters", 200]
        mode = lambda mode: [*them, "--mode", mode] if mode else them
        best = modes[0]
        if len(modes) > 1:
            tried = {one: measured([*mode(one), "--pixels", 4 if given.quick else 40], given) for one in modes}
            best = min((one for one in tried if tried[one]), key=lambda one: tried[one]["seconds"])
        runs = {"us": [], "them": []}
        for _ in range(1 if given.quick else given.rounds):
            runs["us"].append(expect(tree(us), us)["seconds"])
            runs["them"].append(expect(measured(mode(best), given), them)["seconds"])
        ours, others = (statistics.median(runs[who]) for who in ("us", "them"))
        spread = {who: f"{min(rs):.3g}–{max(rs):.3g}" for who, rs in runs.items()}
        rows.append(
            f"| {name} | {ours:.3f} ({spread['us']}) | {others:.2f} ({spread['them']}) | {best or 'eager'} | **{others / ours:.1f}** |"
        )
    return "\n".join(
        [
            "## Generating",
            "",
            "Seconds.",
            "Ours is the whole command `poiesis sample`, including its start, reading the weights and writing the result.",
            "PyTorch's is the loop alone.",
            "Weights are random on both sides.",
            "",
            "| work | ours, s | PyTorch, s | its best mode | ratio |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def quality(given):
    title = ["## Time to quality", ""]
    if not SHAKESPEARE.exists():
        return "\n".join([*title, f"Not measured: {SHAKESPEARE} is not there."])
    recipe = ["transformer", "--recipe", "tinyshakespeare-fast", "--data", SHAKESPEARE]
    rows = []
    for steps in [300, 500]:
        say(f"{steps} steps of tinyshakespeare-fast")
        times, nats = [], None
        for _ in range(1 if given.quick else given.rounds):
            run = DATA / "run"
            discard(run)
            command = [TARGET / "poiesis", "train", *recipe, "--out", run, "--steps", 5 if given.quick else steps]
            times.append(expect(tree(command), command)["seconds"])
            command = [TARGET / "poiesis", "evaluate", run, "--data", SHAKESPEARE, "--json"]
            evaluated = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True, cwd=ROOT)
            nats = json.loads(evaluated.stdout)["token_nll"]["nats"]
        rows.append(f"| `poiesis train transformer --recipe tinyshakespeare-fast --steps {steps}`, whole command | {statistics.median(times):.1f} | {nats:.3f} |")
    for mode in MODES["transformer.py"]:
        say(f"nanoGPT's recipe, {mode}")
        command = [sys.executable, BENCH / "pytorch" / "shakespeare.py", SHAKESPEARE, "--mode", mode, "--threads", given.threads]
        command += ["--steps", 100] if given.quick else []
        result = expect(measured(command, given), command)
        reached = result["reached"]
        if reached:
            rows.append(f"| nanoGPT's recipe in PyTorch, {mode}, to {QUALITY}: step {reached[0]} | {reached[1]:.1f} | {reached[2]:.3f} |")
        rows.append(f"| nanoGPT's recipe in PyTorch, {mode}, all its {result['last'][0]} steps | {result['last'][1]:.1f} | {result['last'][2]:.3f} |")
    return "\n".join(
        [
            *title,
            "A transformer of 4 × 128 on the characters of tinyshakespeare, context 64.",
            "The table has seconds of training, and nats per character of the whole held-out tenth in windows that overlap by half.",
            "PyTorch runs nanoGPT's published settings for a CPU; its clock stops while it validates.",
            "",
            "| what | seconds | nats |",
            "|---|---|---|",
            *rows,
        ]
    )


def convolutions(given):
    file = BENCH / "convolutions.txt"
    steps = ["--steps", 1 if given.quick else 9, "--threads", given.threads]
    us = [TARGET / "examples" / "convolutions", file, *steps]
    them = [sys.executable, BENCH / "pytorch" / "convolutions.py", file, *steps]
    runs = {"us": [], "them": []}
    for _ in range(1 if given.quick else given.rounds):
        say("convolutions")
        runs["us"].append(expect(measured(us, given), us)["times"])
        runs["them"].append(expect(measured(them, given), them)["times"])
    rows = []
    for i, line in enumerate(line for line in file.read_text().splitlines() if not line.startswith("#")):
        kind, kernel, stride, padding, size, channels, out, batch = line.split()
        name = f"{kernel}×{kernel}/{stride}{' transposed' if kind == 'transposed' else ''}, {channels} → {out}, {size}×{size}, batch {batch}"
        cells = []
        for direction in range(3):
            ours, theirs = (statistics.median(run[i][direction] for run in runs[who]) for who in ("us", "them"))
            cells.append(f"{ours:.2f} | {theirs:.2f} | **{theirs / ours:.2f}**")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(
        [
            "## Single convolutions",
            "",
            "Milliseconds of the result, of the gradient of the input and of the gradient of the weights.",
            "PyTorch uses the better of its two layouts, chosen for each direction.",
            "The size is that of the input.",
            "",
            "| kernel/stride, channels, size | ours | PyTorch | ratio | input's gradient | PyTorch | ratio | weights' gradient | PyTorch | ratio |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def collect(given):
    count = 500 if given.quick else 20_000
    jpegs = DATA / f"jpegs-{count}"
    if not jpegs.exists():
        say(f"making {count} JPEGs")
        partial = jpegs.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([sys.executable, BENCH / "make_jpegs.py", partial, "--count", str(count)], check=True)
        partial.rename(jpegs)
    sources = [(f"{count:,} JPEGs in folders, 160 to 320 pixels a side", jpegs, True)]
    emoji = sorted(EMOJI.glob("*.tar.gz"))
    if emoji:
        sources.insert(0, ("noto-emoji, tar.gz of 3,583 PNGs with alpha, 72×72", emoji[0], False))
    rows = []
    for name, source, jpeg in sources:
        say(name)
        read_through(source)
        programs = {
            "poiesis collect": lambda out: [TARGET / "poiesis", "collect", source, out, "--size", "64"],
            "Pillow, process pool": lambda out: [sys.executable, BENCH / "collect.py", source, out],
        }
        if jpeg:
            programs["Pillow with draft"] = lambda out: [*programs["Pillow, process pool"](out), "--draft"]
        runs = {who: [] for who in programs}
        for _ in range(1 if given.quick else given.rounds):
            for who, command in programs.items():
                out = DATA / "out"
                discard(out)
                runs[who].append(expect(tree(command(out)), command(out)))
                discard(out)
        seconds = {who: statistics.median(run["seconds"] for run in them) for who, them in runs.items()}
        for who, them in runs.items():
            ratio = seconds[who] / seconds["poiesis collect"]
            peak = max(run["peak"] for run in them)
            rows.append(f"| {name} | {who} | {seconds[who]:.2f} | {mib(peak)} | {ratio:.2f} |")
    return "\n".join(
        [
            "## Collecting",
            "",
            "Each program decodes, puts a white background behind transparent pixels, crops the centre, resizes to 64×64 with an antialiasing cubic filter, and writes.",
            "The files are in the page cache.",
            "Poiesis also hashes each image, splits, finds duplicates and computes statistics.",
            "`draft` lets the JPEG decoder reduce the size while decoding, which blurs.",
            "Memory is the peak of all processes together in MiB, with shared pages counted once.",
            "",
            "| source | with | seconds | peak | time over ours |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def measured(command, given):
    """Runs a program that ends with a line of JSON, and adds its peak memory in bytes; None when it fails."""
    threads = str(given.threads)
    environment = os.environ | {"RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [str(word) for word in command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        return None
    return json.loads(output.strip().splitlines()[-1]) | {"peak": usage.ru_maxrss * 1024}


def tree(command):
    """Runs a program and watches the memory of it and its children together; None when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, cwd=ROOT)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of_tree(process.pid))
        time.sleep(0.05)
    return {"seconds": time.perf_counter() - began, "peak": peak} if process.returncode == 0 else None


def memory_of_tree(pid):
    """Memory of a process and its descendants in bytes, with shared pages counted once (PSS)."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(memory_of_tree(int(child)) for child in (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return total


def expect(run, command):
    if run is None:
        sys.exit(f"this failed: {' '.join(str(word) for word in command)}")
    return run


def discard(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def read_through(path):
    """Reads files, so that they are in the page cache."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            file.read_bytes()


def mib(count):
    return f"{count / 2**20:.0f}"


def say(text):
    print(f"{datetime.now():%H:%M:%S}  {text}", file=sys.stderr, flush=True)


def heading(given, script="bench/run", packages=("torch", "pillow", "numpy"), threads=None):
    run = lambda *command: subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    commit = run("git", "rev-parse", "--short=12", "HEAD")
    if run("git", "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    cpu = next((line.split(":")[1].strip() for line in run("lscpu").splitlines() if line.startswith("Model name")), "")
    family = next((line.split(":")[1].strip() for line in run("lscpu").splitlines() if line.startswith("CPU family")), "")
    command = " ".join([script, *sys.argv[1:]])
    threads = threads or f"{given.threads} threads for every program"
    peers = ", ".join(f"{package} {version(package)}" for package in packages)
    return "\n".join(
        [
            "# Results",
            "",
            f"Measured on {datetime.now(timezone.utc):%Y-%m-%d} at {datetime.now(timezone.utc):%H:%M} UTC with `{command}`.",
            "",
            f"- Poiesis {commit}, {run('rustc', '--version')}",
            f"- {peers}, Python {platform.python_version()}",
            f"- {cpu} (family {family}), {os.cpu_count()} cores, {threads}; {platform.system()} {platform.release()}",
            f"- medians of {1 if given.quick else given.rounds} processes each, in alternation"
            + ("; with `--quick`, too short to compare" if given.quick else ""),
        ]
    )


PARTS = {part.__name__: part for part in (train, bf16, kernels, sampling, quality, convolutions, collect)}


if __name__ == "__main__":
    main()
