# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The policy gradient written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/reinforce/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, ten batches, the loss and every gradient at the first
weights, and the losses and weights of ten steps. PyTorch computes in f64, so a difference is an error of ours. Arrays have our names
and layouts.

Williams 1992, with the sizes of a toy.
"""

import sys
from pathlib import Path

import torch
from torch.distributions import Categorical, Normal

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, ROWS, OBSERVATION = 41, 10, 14, 3
HIDDEN = [5]
ADAM = {"lr": 3e-3, "betas": (0.9, 0.999), "eps": 1e-8}
CASES = {
    "choices": {"actions": 3, "discrete": True, "config": {"entropy_coefficient": 0.02}},
    "vectors": {"actions": 2, "discrete": False, "config": {"entropy_coefficient": 0.0}},
}


def shapes_of(settings):
    found, sizes = {}, [OBSERVATION, *HIDDEN]
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        found[f"policy.network.hidden.{i}.weight"], found[f"policy.network.hidden.{i}.bias"] = [a, b], [b]
    end = settings["actions"]
    found["policy.network.output.weight"], found["policy.network.output.bias"] = [sizes[-1], end], [end]
    if not settings["discrete"]:
        found["policy.log_std"] = [end]
    return found


def loss(p, settings, batch):
    x = batch["inputs"]
    for i in range(len(HIDDEN)):
        x = torch.tanh(x @ p[f"policy.network.hidden.{i}.weight"] + p[f"policy.network.hidden.{i}.bias"])
    outputs = x @ p["policy.network.output.weight"] + p["policy.network.output.bias"]
    if settings["discrete"]:
        distribution = Categorical(logits=outputs)
        log_probs, entropy = distribution.log_prob(batch["actions"][:, 0].long()), distribution.entropy()
    else:
        distribution = Normal(outputs, p["policy.log_std"].exp())
        log_probs, entropy = distribution.log_prob(batch["actions"]).sum(1), distribution.entropy().sum(1)
    advantages = (batch["advantages"] - batch["advantages"].mean()) / (batch["advantages"].std() + 1e-8)
    return -(log_probs * advantages).mean() - settings["config"]["entropy_coefficient"] * entropy.mean()


def run(case, settings, into):
    width = 1 if settings["discrete"] else settings["actions"]
    p = {
        name: (0.5 * torch.randn(shape)).float().double().requires_grad_() for name, shape in shapes_of(settings).items()
    }
    put(into, f"{case}.initial", p)
    if settings["discrete"]:
        actions = torch.randint(settings["actions"], (STEPS, ROWS, width)).double()
    else:
        actions = torch.randn(STEPS, ROWS, width).float().double()
    data = {
        "inputs": torch.randn(STEPS, ROWS, OBSERVATION).float().double(),
        "actions": actions,
        "advantages": (2 * torch.randn(STEPS, ROWS) + 0.5).float().double(),
    }
    put(into, case, data)
    batches = [{name: values[step] for name, values in data.items()} for step in range(STEPS)]
    put(into, f"{case}.gradient", dict(zip(p, torch.autograd.grad(loss(p, settings, batches[0]), list(p.values())))))

    adam, losses = torch.optim.Adam(p.values(), **ADAM), []
    for batch in batches:
        adam.zero_grad()
        value = loss(p, settings, batch)
        value.backward()
        adam.step()
        losses.append(value.detach())
    put(into, case, {"losses": torch.stack(losses)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
