# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""An update of TRPO written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/trpo/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, a batch, the gradient of the surrogate, a product with the
Fisher matrix by double backward, the direction of conjugate gradients, and the weights after the line search. PyTorch computes in f64,
so a difference is an error of ours. Arrays have our names and layouts.

Schulman et al. 2015, arXiv:1502.05477, with the sizes of a toy, and five iterations of conjugate gradients: with more, what rounding in f32
does to the direction is all that would be compared.
"""

import sys
from pathlib import Path

import torch
from torch.distributions import Categorical, Normal, kl_divergence

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, ROWS, OBSERVATION = 37, 40, 3
HIDDEN = [6, 5]
KL_LIMIT, KL_WALL, ITERATIONS, DAMPING, BACKTRACKS, ACCEPT = 0.01, 2.0, 5, 0.1, 10, 0.1
CASES = {
    "choices": {"actions": 4, "discrete": True, "activation": "tanh"},
    "vectors": {"actions": 2, "discrete": False, "activation": "tanh"},
    "relu": {"actions": 2, "discrete": False, "activation": "relu"},
}


def shapes_of(settings):
    found, sizes = {}, [OBSERVATION, *HIDDEN]
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        found[f"network.hidden.{i}.weight"], found[f"network.hidden.{i}.bias"] = [a, b], [b]
    found["network.output.weight"], found["network.output.bias"] = [sizes[-1], settings["actions"]], [settings["actions"]]
    if not settings["discrete"]:
        found["log_std"] = [settings["actions"]]
    return found


def distribution(p, settings, x):
    act = torch.tanh if settings["activation"] == "tanh" else torch.relu
    for i in range(len(HIDDEN)):
        x = act(x @ p[f"network.hidden.{i}.weight"] + p[f"network.hidden.{i}.bias"])
    outputs = x @ p["network.output.weight"] + p["network.output.bias"]
    return Categorical(logits=outputs) if settings["discrete"] else Normal(outputs, p["log_std"].exp())


def log_probs(distribution, settings, actions):
    if settings["discrete"]:
        return distribution.log_prob(actions[:, 0].long())
    return distribution.log_prob(actions).sum(1)


def fixed(d):
    return Categorical(logits=d.logits.detach()) if isinstance(d, Categorical) else Normal(d.loc.detach(), d.scale.detach())


def mean_kl(old, new):
    kl = kl_divergence(old, new)
    return (kl if kl.dim() == 1 else kl.sum(1)).mean()


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def moved(p, step):
    parts, at = {}, 0
    for name, value in p.items():
        parts[name] = value.detach() + step[at : at + value.numel()].view(value.shape)
        at += value.numel()
    return parts


def run(case, settings, into):
    p = {
        name: (0.5 * torch.randn(shape)).float().double().requires_grad_() for name, shape in shapes_of(settings).items()
    }
    put(into, f"{case}.initial", p)
    x = torch.randn(ROWS, OBSERVATION).float().double()
    if settings["discrete"]:
        actions = torch.randint(settings["actions"], (ROWS, 1)).double()
    else:
        actions = torch.randn(ROWS, settings["actions"]).float().double()
    advantages = torch.randn(ROWS).float().double()
    weights = list(p.values())
    old = fixed(distribution(p, settings, x))
    old_log_probs = log_probs(old, settings, actions)

    def surrogate(parameters):
        return ((log_probs(distribution(parameters, settings, x), settings, actions) - old_log_probs).exp() * advantages).mean()

    def product(v):
        kl = mean_kl(old, distribution(p, settings, x))
        first = flat(torch.autograd.grad(kl, weights, create_graph=True))
        return flat(torch.autograd.grad(first @ v, weights))

    gradient = flat(torch.autograd.grad(surrogate(p), weights)).detach()
    vector = torch.randn(len(gradient)).float().double()
    found = {"inputs": x, "actions": actions, "advantages": advantages, "log_probs": old_log_probs}
    found |= {"gradient": gradient, "vector": vector, "product": product(vector)}

    s, residual, direction = torch.zeros_like(gradient), gradient.clone(), gradient.clone()
    squares = residual @ residual
    for _ in range(ITERATIONS):
        image = product(direction) + DAMPING * direction
        alpha = squares / (direction @ image)
        s, residual = s + alpha * direction, residual - alpha * image
        after = residual @ residual
        direction, squares = residual + after / squares * direction, after
    found["direction"] = s
    step = s * (2 * KL_LIMIT / (s @ (product(s) + DAMPING * s))).sqrt()

    before, promised = surrogate(p).detach(), gradient @ step
    for halvings in range(BACKTRACKS + 1):
        part = 0.5**halvings
        candidate = moved(p, part * step)
        gain = surrogate(candidate) - before
        kl = mean_kl(old, distribution(candidate, settings, x))
        if gain > 0 and gain >= ACCEPT * part * promised and kl <= KL_WALL * KL_LIMIT:
            break
    else:
        raise SystemExit(f"{case}: no step was accepted")
    put(into, case, found | {"step": step, "measured": torch.stack([before + gain, kl]), "part": torch.tensor([part])})
    put(into, f"{case}.final", candidate)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
