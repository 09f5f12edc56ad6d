"""nanoGPT's published CPU recipe for tinyshakespeare in PyTorch: seconds of training until a validation loss.

4 layers × 128, 4 heads, context 64, batches of 12 windows from random places, 2,000 steps, no dropout, AdamW (β 0.9 and
0.99, weight decay 0.1 on matrices, gradients clipped to norm 1), learning rate warmed up to 1e-3 in 100 steps, then
cosine decay to 1e-4. Characters; the first 90 % are for training, the rest for validation. Tied embeddings.

Every `--every` steps the clock stops and the validation loss is computed on the whole held-out text, in windows of the
context that overlap by half, whose second halves count.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformer import Decoder

STEPS, WARMUP, BATCH, CONTEXT, LAYERS = 2000, 100, 12, 64, 4


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--target", type=float, default=1.88)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps to stop after; the schedule is that of all")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)

    text = given.text.read_text()
    numbers = {character: number for number, character in enumerate(sorted(set(text)))}
    text = torch.tensor([numbers[character] for character in text])
    train, held_out = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    decoder = Decoder(LAYERS, 128, 4, CONTEXT)
    initialise(decoder)
    matrices = [p for p in decoder.parameters() if p.dim() > 1]
    others = [p for p in decoder.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def bound(window):
        return cross_entropy(decoder(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())

    objective = torch.compile(bound) if given.mode == "compile" else bound
    offsets = torch.arange(CONTEXT + 1)
    seconds, reached, losses = 0.0, None, []
    for step in range(given.steps + 1):
        if step % given.every == 0:
            losses.append((step, seconds, validate(decoder, held_out)))
            print(*losses[-1], file=sys.stderr, flush=True)
            if reached is None and losses[-1][2] <= given.target:
                reached = losses[-1]
        began = time.perf_counter()
        for group in adam.param_groups:
            group["lr"] = rate(step)
        starts = torch.randint(0, len(train) - CONTEXT, (BATCH, 1))
        loss = objective(train[starts + offsets])
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        adam.step()
        seconds += time.perf_counter() - began
    json.dump({"reached": reached, "last": losses[-1], "target": given.target, "mode": given.mode}, sys.stdout)
    print()


def initialise(decoder):
    """Weights from N(0, 0.02²), divided by √(2 layers) at the end of a residual branch; tied embeddings."""
    for name, parameter in decoder.named_parameters():
        if parameter.dim() > 1:
            ends = name.endswith(("attended.weight", "down.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if ends else 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    decoder.head.weight = decoder.tokens.weight


def rate(step):
    if step < WARMUP:
        return 1e-3 * (step + 1) / (WARMUP + 1)
    passed = (step - WARMUP) / (STEPS - WARMUP)
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * passed)) * 9e-4


@torch.no_grad()
def validate(decoder, text):
    half = CONTEXT // 2
    starts = torch.arange(0, len(text) - CONTEXT - 1, half)
    total, count = 0.0, 0
    for part in starts.split(256):
        window = text[part[:, None] + torch.arange(CONTEXT + 1)]
        losses = cross_entropy(decoder(window[:, :-1]).transpose(1, 2), window[:, 1:], reduction="none")[:, half:]
        total, count = total + losses.sum().item(), count + losses.numel()
    return total / count


if __name__ == "__main__":
    main()
