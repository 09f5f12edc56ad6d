# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""PPO's loss and steps written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/ppo/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, ten minibatches, the terms of the loss and every gradient at
the first weights, and the objectives and weights of ten steps. PyTorch computes in f64, so a difference is an error of ours. Arrays
have our names and layouts.

Schulman et al. 2017, arXiv:1707.06347, with the sizes of a toy.
"""

import sys
from pathlib import Path

import torch
from torch.distributions import Categorical, Normal

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, ROWS, OBSERVATION = 31, 10, 12, 3
HIDDEN = [5, 4]
ADAM = {"lr": 3e-3, "betas": (0.9, 0.999), "eps": 1e-5}
CLIP_NORM = 0.5
CASES = {
    "choices": {"actions": 3, "discrete": True, "config": {"entropy_coefficient": 0.01, "clip_value_loss": True}},
    "vectors": {"actions": 2, "discrete": False, "config": {"entropy_coefficient": 0.0, "clip_value_loss": False}},
}


def shapes_of(settings):
    found = {}
    for network, end in [("policy.network", settings["actions"]), ("baseline.network", 1)]:
        sizes = [OBSERVATION, *HIDDEN]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            found[f"{network}.hidden.{i}.weight"], found[f"{network}.hidden.{i}.bias"] = [a, b], [b]
        found[f"{network}.output.weight"], found[f"{network}.output.bias"] = [sizes[-1], end], [end]
    if not settings["discrete"]:
        found["policy.log_std"] = [settings["actions"]]
    return found


def network(p, name, x):
    for i in range(len(HIDDEN)):
        x = torch.tanh(x @ p[f"{name}.hidden.{i}.weight"] + p[f"{name}.hidden.{i}.bias"])
    return x @ p[f"{name}.output.weight"] + p[f"{name}.output.bias"]


def policy(p, settings, x, actions):
    """log π(a|s) and the entropy of each row."""
    outputs = network(p, "policy.network", x)
    if settings["discrete"]:
        distribution = Categorical(logits=outputs)
        return distribution.log_prob(actions[:, 0].long()), distribution.entropy()
    distribution = Normal(outputs, p["policy.log_std"].exp())
    return distribution.log_prob(actions).sum(1), distribution.entropy().sum(1)


def loss(p, settings, batch):
    config = settings["config"]
    advantages = (batch["advantages"] - batch["advantages"].mean()) / (batch["advantages"].std() + 1e-8)
    log_probs, entropy = policy(p, settings, batch["inputs"], batch["actions"])
    ratio = (log_probs - batch["log_probs"]).exp()
    of_policy = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
    values = network(p, "baseline.network", batch["inputs"]).squeeze(1)
    squares = (values - batch["returns"]) ** 2
    if config["clip_value_loss"]:
        moved = batch["values"] + (values - batch["values"]).clamp(-0.2, 0.2)
        squares = torch.max(squares, (moved - batch["returns"]) ** 2)
    of_value = 0.5 * squares.mean()
    entropy = entropy.mean()
    kl = (ratio - 1 - ratio.log()).mean()
    clipped = ((ratio - 1).abs() > 0.2).double().mean()
    objective = of_policy + 0.5 * of_value - config["entropy_coefficient"] * entropy
    return torch.stack([objective, of_policy, of_value, entropy, kl, clipped])


def run(case, settings, into):
    width = 1 if settings["discrete"] else settings["actions"]
    p = {
        name: (0.5 * torch.randn(shape)).float().double().requires_grad_() for name, shape in shapes_of(settings).items()
    }
    put(into, f"{case}.initial", p)
    inputs = torch.randn(STEPS, ROWS, OBSERVATION).float().double()
    if settings["discrete"]:
        actions = torch.randint(settings["actions"], (STEPS, ROWS, width)).double()
    else:
        actions = torch.randn(STEPS, ROWS, width).float().double()
    old = [policy(p, settings, x, a)[0].detach() for x, a in zip(inputs, actions)]
    data = {
        "inputs": inputs,
        "actions": actions,
        "log_probs": (torch.stack(old) + 0.3 * torch.randn(STEPS, ROWS)).float().double(),
        "advantages": (2 * torch.randn(STEPS, ROWS) + 0.5).float().double(),
        "returns": torch.randn(STEPS, ROWS).float().double(),
        "values": (0.5 * torch.randn(STEPS, ROWS)).float().double(),
    }
    put(into, case, data)
    batches = [{name: values[step] for name, values in data.items()} for step in range(STEPS)]

    terms = loss(p, settings, batches[0])
    gradients = torch.autograd.grad(terms[0], list(p.values()))
    put(into, f"{case}.first", {"terms": terms})
    put(into, f"{case}.gradient", dict(zip(p, gradients)))

    adam, objectives = torch.optim.Adam(p.values(), **ADAM), []
    for batch in batches:
        adam.zero_grad()
        terms = loss(p, settings, batch)
        terms[0].backward()
        norm = torch.stack([parameter.grad.square().sum() for parameter in p.values()]).sum().sqrt()
        for parameter in p.values():
            parameter.grad *= min(1.0, CLIP_NORM / norm.item())
        adam.step()
        objectives.append(terms[0].detach())
    put(into, case, {"objectives": torch.stack(objectives)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
