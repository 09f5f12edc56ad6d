# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The two networks of RND written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/rnd/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, observations of ten steps, the error of each observation,
every gradient of the predictor, and losses and weights of ten steps. PyTorch computes in f64, so a difference is an error of ours.
Arrays have our names and layouts.

Burda et al. 2018, arXiv:1810.12894, with the sizes of a toy.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 43, 10, 7
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999)}
CASES = {
    "small": {"observation": 3, "feature_dim": 4, "target_hidden_dims": [6], "predictor_hidden_dims": [5, 6]},
    "deep": {"observation": 2, "feature_dim": 5, "target_hidden_dims": [4, 4], "predictor_hidden_dims": [6, 5, 4]},
}


def layers_of(case, network):
    sizes = [case["observation"], *case[f"{network}_hidden_dims"], case["feature_dim"]]
    names = [f"{network}.hidden.{i}" for i in range(len(sizes) - 2)] + [f"{network}.output"]
    return list(zip(names, sizes, sizes[1:]))


def first_weights(case):
    p = {}
    for network in ["target", "predictor"]:
        for name, inputs, outputs in layers_of(case, network):
            p[f"{name}.weight"] = torch.randn(inputs, outputs)
            p[f"{name}.bias"] = 0.3 * torch.randn(outputs)
    return {name: tensor.float().double().requires_grad_() for name, tensor in p.items()}


def features(p, case, network, x):
    for name, _, _ in layers_of(case, network):
        x = x @ p[f"{name}.weight"] + p[f"{name}.bias"]
        if not name.endswith("output"):
            x = torch.relu(x)
    return x


def errors(p, case, x):
    x = x.clamp(-5, 5)
    return (features(p, case, "predictor", x) - features(p, case, "target", x).detach()).square().mean(1)


def run(case, settings, into):
    p = first_weights(settings)
    put(into, f"{case}.initial", p)
    # Some are outside of the limits.
    x = (3 * torch.randn(STEPS, BATCH, settings["observation"])).float().double()
    put(into, case, {"observations": x})

    first = errors(p, settings, x[0])
    trained = {name: tensor for name, tensor in p.items() if name.startswith("predictor")}
    gradients = torch.autograd.grad(first.mean(), list(trained.values()))
    put(into, f"{case}.gradient", dict(zip(trained, gradients)))
    put(into, f"{case}.first", {"errors": first})

    adam, losses = torch.optim.Adam(trained.values(), **ADAM), []
    for step in range(STEPS):
        loss = errors(p, settings, x[step]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss)
    put(into, case, {"losses": torch.stack(losses)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
