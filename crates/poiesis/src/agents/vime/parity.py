# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The Bayesian network of VIME written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/agents/vime/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, inputs, targets and noise of ten steps, predictions, the two
terms of the bound, every gradient, information gains of ten rows, and losses and weights of ten steps. The gains come from automatic
differentiation by μ and ρ, one row at a time, and from the Hessian that the paper states for ρ. PyTorch computes in f64, so a
difference is an error of ours. Arrays have our names and layouts.

Houthooft et al. 2016, arXiv:1605.09674, with the sizes of a toy.
"""

import math
import sys
from pathlib import Path

import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 41, 10, 6
ADAM = {"lr": 1e-2, "betas": (0.9, 0.999)}
STEP_SIZE, KL_WEIGHT = 0.01, 0.2
CASES = {
    "linear": {"inputs": 4, "hidden_dims": [], "outputs": 3, "prior_sd": 0.5, "likelihood_sd": 5.0, "samples": 1},
    "one-layer": {"inputs": 4, "hidden_dims": [7], "outputs": 3, "prior_sd": 0.5, "likelihood_sd": 5.0, "samples": 10},
    "two-layers": {"inputs": 3, "hidden_dims": [6, 5], "outputs": 2, "prior_sd": 0.8, "likelihood_sd": 0.7, "samples": 4},
}


def layers_of(case):
    sizes = [case["inputs"], *case["hidden_dims"], case["outputs"]]
    names = [f"hidden.{i}" for i in range(len(case["hidden_dims"]))] + ["output"]
    return list(zip(names, sizes, sizes[1:]))


def first_weights(case):
    rho = math.log(math.expm1(case["prior_sd"]))
    p = {}
    for name, inputs, outputs in layers_of(case):
        # The deviations differ, so that their places cannot be confused.
        p[f"{name}.mean"] = torch.randn(inputs, outputs)
        p[f"{name}.rho"] = rho + 0.5 * torch.randn(inputs, outputs)
        p[f"{name}.bias_mean"] = torch.randn(outputs)
        p[f"{name}.bias_rho"] = rho + 0.5 * torch.randn(outputs)
    return {name: tensor.float().double().requires_grad_() for name, tensor in p.items()}


def draw_noise(case, rows):
    return {name: torch.randn(rows, case["samples"], outputs).float().double() for name, _, outputs in layers_of(case)}


def predict(p, case, x, noise):
    """[rows, inputs] to [rows, samples, outputs]."""
    h = x[:, None].expand(-1, case["samples"], -1)
    for name, _, _ in layers_of(case):
        mean = h @ p[f"{name}.mean"] + p[f"{name}.bias_mean"]
        var = h**2 @ softplus(p[f"{name}.rho"]) ** 2 + softplus(p[f"{name}.bias_rho"]) ** 2
        h = mean + var.sqrt() * noise[name]
        if name != "output":
            h = torch.relu(h)
    return h


def log_likelihood(p, case, x, y, noise):
    predicted = Normal(predict(p, case, x, noise), case["likelihood_sd"])
    return predicted.log_prob(y[:, None]).sum() / case["samples"]


def kl(p, case):
    prior = Normal(0.0, case["prior_sd"])
    posteriors = [
        Normal(p[f"{name}.{mean}"], softplus(p[f"{name}.{rho}"]))
        for name, _, _ in layers_of(case)
        for mean, rho in [("mean", "rho"), ("bias_mean", "bias_rho")]
    ]
    return sum(kl_divergence(posterior, prior).sum() for posterior in posteriors)


def gains(p, case, x, y, noise):
    found = []
    for row in range(len(x)):
        one = {name: drawn[row : row + 1] for name, drawn in noise.items()}
        loss = -log_likelihood(p, case, x[row : row + 1], y[row : row + 1], one)
        gradients = dict(zip(p, torch.autograd.grad(loss, list(p.values()))))
        gain = 0.0
        for name, gradient in gradients.items():
            rho = p[name if name.endswith("rho") else name.replace("mean", "rho")]
            hessian = 1 / softplus(rho) ** 2
            if name.endswith("rho"):
                hessian = 2 * torch.exp(2 * rho) / (1 + torch.exp(rho)) ** 2 * hessian
            gain += (STEP_SIZE**2 * gradient**2 / hessian).sum()
        found.append(gain)
    return torch.stack(found)


def run(case, settings, into):
    p = first_weights(settings)
    put(into, f"{case}.initial", p)
    x = torch.randn(STEPS, BATCH, settings["inputs"]).float().double()
    y = torch.randn(STEPS, BATCH, settings["outputs"]).float().double()
    noises = [draw_noise(settings, BATCH) for _ in range(STEPS)]
    put(into, case, {"inputs": x, "targets": y})
    put(into, f"{case}.noise", {name: torch.stack([noise[name].flatten(0, 1) for noise in noises]) for name in noises[0]})

    def bound(step):
        return log_likelihood(p, settings, x[step], y[step], noises[step]), kl(p, settings)

    likelihood, divergence = bound(0)
    gradients = torch.autograd.grad(KL_WEIGHT * divergence - likelihood, list(p.values()))
    put(into, f"{case}.gradient", dict(zip(p, gradients)))
    put(
        into,
        f"{case}.first",
        {
            "predicted": predict(p, settings, x[0], noises[0]).flatten(0, 1),
            "bound": torch.stack([likelihood, divergence]),
            "gains": gains(p, settings, x[0], y[0], noises[0]),
        },
    )

    adam, losses = torch.optim.Adam(p.values(), **ADAM), []
    for step in range(STEPS):
        likelihood, divergence = bound(step)
        loss = KL_WEIGHT * divergence - likelihood
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss)
    put(into, case, {"losses": torch.stack(losses)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
