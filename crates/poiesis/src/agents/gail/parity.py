# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The discriminator of GAIL in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/gail/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, the pairs of expert and policy of ten steps, and outputs:
standardised inputs, logits, loss and every gradient at the first weights, then the metrics of ten steps and the last weights. PyTorch
computes in f64, so a difference is an error of ours. Arrays have our names and layouts.

Ho and Ermon 2016, arXiv:1606.03476, with the sizes of a toy. A high logit means expert.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, sigmoid

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 29, 10, 8
ADAM = {"lr": 0.01, "betas": (0.9, 0.999)}
CASES = {
    "continuous": {
        "observation": 3,
        "actions": 2,
        "discrete": False,
        "config": {"discriminator_hidden_dims": [7, 5], "discriminator_entropy_weight": 0.3},
    },
    "discrete": {
        "observation": 4,
        "actions": 3,
        "discrete": True,
        "config": {"discriminator_hidden_dims": [6], "discriminator_entropy_weight": 0.0},
    },
}


def shapes_of(settings):
    sizes = [settings["observation"] + settings["actions"], *settings["config"]["discriminator_hidden_dims"]]
    found = {}
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        found[f"hidden.{i}.weight"], found[f"hidden.{i}.bias"] = [a, b], [b]
    found["output.weight"], found["output.bias"] = [sizes[-1], 1], [1]
    return found


def logits_of(p, layers, x):
    for i in range(layers):
        x = torch.tanh(x @ p[f"hidden.{i}.weight"] + p[f"hidden.{i}.bias"])
    return (x @ p["output.weight"] + p["output.bias"]).squeeze(1)


def loss_of(expert, policy, entropy_weight):
    """The logistic loss over all pairs, less the entropy of the discriminator's answers."""
    logits = torch.cat([expert, policy])
    labels = torch.cat([torch.ones_like(expert), torch.zeros_like(policy)])
    prob = sigmoid(logits)
    entropy = -(prob * torch.log(prob) + (1 - prob) * torch.log(1 - prob)).mean()
    return binary_cross_entropy_with_logits(logits, labels) - entropy_weight * entropy


def pairs(settings, shift):
    observations = shift + 1.5 * torch.randn(STEPS, BATCH, settings["observation"])
    if settings["discrete"]:
        actions = torch.randint(settings["actions"], (STEPS, BATCH, 1)).double()
    else:
        actions = 0.7 * torch.randn(STEPS, BATCH, settings["actions"])
    return observations.float().double(), actions.float().double()


def inputs(settings, observations, actions):
    if settings["discrete"]:
        actions = torch.nn.functional.one_hot(actions.squeeze(1).long(), settings["actions"]).double()
    return torch.cat([observations, actions], 1)


def run(case, settings, into):
    config = settings["config"]
    layers, weight = len(config["discriminator_hidden_dims"]), config["discriminator_entropy_weight"]
    shapes = shapes_of(settings)
    p = {name: (0.5 * torch.randn(shape)).float().double().requires_grad_() for name, shape in shapes.items()}
    put(into, f"{case}.initial.discriminator", p)
    (e_obs, e_act), (p_obs, p_act) = pairs(settings, 0.4), pairs(settings, -0.2)
    put(into, f"{case}.expert", {"observations": e_obs, "actions": e_act})
    put(into, f"{case}.policy", {"observations": p_obs, "actions": p_act})

    adam, seen, reports = torch.optim.Adam(p.values(), **ADAM), [], []
    for step in range(STEPS):
        expert, policy = inputs(settings, e_obs[step], e_act[step]), inputs(settings, p_obs[step], p_act[step])
        # Running mean and variance of all pairs so far, those of expert and policy.
        seen += [expert, policy]
        everything = torch.cat(seen)
        mean, sd = everything.mean(0), everything.var(0, correction=0).sqrt()
        expert, policy = (expert - mean) / sd, (policy - mean) / sd
        expert_logits, policy_logits = logits_of(p, layers, expert), logits_of(p, layers, policy)
        loss = loss_of(expert_logits, policy_logits, weight)
        gradients = dict(zip(p, torch.autograd.grad(loss, list(p.values()))))
        if step == 0:
            put(into, f"{case}.first", {"expert": expert, "policy": policy, "loss": loss.reshape(1)})
            put(into, f"{case}.first", {"expert_logits": expert_logits, "policy_logits": policy_logits})
            put(into, f"{case}.gradient.discriminator", gradients)
        reports.append(
            torch.stack(
                [
                    loss,
                    sigmoid(expert_logits).mean(),
                    sigmoid(policy_logits).mean(),
                    (expert_logits > 0).double().mean(),
                    (policy_logits < 0).double().mean(),
                ]
            )
        )
        for name, parameter in p.items():
            parameter.grad = gradients[name]
        adam.step()
    put(into, case, {"reports": torch.stack(reports)})
    put(into, f"{case}.final.discriminator", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
