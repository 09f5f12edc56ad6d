# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Behavioural cloning in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/bc/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, the expert's pairs of ten steps, the metrics and every
gradient at the first weights, then the metrics of ten steps and the last weights. Observations are standardised by the mean and the
variance of all of them. PyTorch computes in f64, so a difference is an error of ours. Arrays have our names and layouts.
"""

import sys
from pathlib import Path

import torch
from torch.distributions import Categorical, Normal

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 31, 10, 8
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999)}
CASES = {
    "gaussian": {
        "observation": 3,
        "actions": 2,
        "discrete": False,
        "config": {"hidden_dims": [7, 5], "entropy_weight": 0.1},
    },
    "squared-error": {
        "observation": 3,
        "actions": 2,
        "discrete": False,
        "config": {"hidden_dims": [7], "loss": "squared-error", "entropy_weight": 0.0},
    },
    "discrete": {
        "observation": 4,
        "actions": 3,
        "discrete": True,
        "config": {"hidden_dims": [6, 6], "entropy_weight": 0.1},
    },
}
# Where the policy keeps its layers.
HIDDEN, OUTPUT, LOG_STD = "policy.network.hidden.{}", "policy.network.output", "policy.log_std"


def shapes_of(settings):
    sizes = [settings["observation"], *settings["config"]["hidden_dims"]]
    found = {}
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        found[f"{HIDDEN.format(i)}.weight"], found[f"{HIDDEN.format(i)}.bias"] = [a, b], [b]
    found[f"{OUTPUT}.weight"], found[f"{OUTPUT}.bias"] = [sizes[-1], settings["actions"]], [settings["actions"]]
    if not settings["discrete"]:
        found[LOG_STD] = [settings["actions"]]
    return found


def output_of(p, layers, x):
    for i in range(layers):
        x = torch.tanh(x @ p[f"{HIDDEN.format(i)}.weight"] + p[f"{HIDDEN.format(i)}.bias"])
    return x @ p[f"{OUTPUT}.weight"] + p[f"{OUTPUT}.bias"]


def loss_of(p, settings, x, actions):
    """What is minimised, and the metrics."""
    config = settings["config"]
    output = output_of(p, len(config["hidden_dims"]), x)
    if settings["discrete"]:
        policy = Categorical(logits=output)
        log_probs, entropy = policy.log_prob(actions.squeeze(1)), policy.entropy()
    else:
        policy = Normal(output, torch.exp(p[LOG_STD]).expand_as(output))
        log_probs, entropy = policy.log_prob(actions).sum(1), policy.entropy().sum(1)
    nll, entropy = -log_probs.mean(), entropy.mean()
    if config.get("loss") == "squared-error":
        return ((output - actions) ** 2).sum(1).mean(), nll, entropy
    return nll - config["entropy_weight"] * entropy, nll, entropy


def run(case, settings, into):
    shapes = shapes_of(settings)
    p = {name: (0.5 * torch.randn(shape)).float().double().requires_grad_() for name, shape in shapes.items()}
    put(into, f"{case}.initial", p)
    observations = (0.7 + 2 * torch.randn(STEPS, BATCH, settings["observation"])).float().double()
    if settings["discrete"]:
        actions = torch.randint(settings["actions"], (STEPS, BATCH, 1)).double()
    else:
        actions = (0.8 * torch.randn(STEPS, BATCH, settings["actions"])).float().double()
    put(into, case, {"observations": observations, "actions": actions})
    everything = observations.flatten(0, 1)
    standardised = (observations - everything.mean(0)) / everything.var(0, correction=0).sqrt()

    adam, reports = torch.optim.Adam(p.values(), **ADAM), []
    for step in range(STEPS):
        found = loss_of(p, settings, standardised[step], actions[step])
        gradients = torch.autograd.grad(found[0], list(p.values()), allow_unused=True)
        gradients = {name: gradient for name, gradient in zip(p, gradients) if gradient is not None}
        if step == 0:
            put(into, f"{case}.gradient", gradients)
        reports.append(torch.stack(found))
        for name, gradient in gradients.items():
            p[name].grad = gradient
        adam.step()
    put(into, case, {"reports": torch.stack(reports)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
