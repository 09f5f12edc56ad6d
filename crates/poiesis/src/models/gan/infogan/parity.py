# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""InfoGAN written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/gan/infogan/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, images and latents of ten steps, outputs, losses, every
gradient at the first weights, the losses and weights of ten steps, and codes read by the trained network. PyTorch computes in f64, so a
difference is an error of ours. Arrays have our names and layouts: channels last.

Chen et al. 2016, arXiv:1606.03657, with the sizes of a toy.
"""

import math
import sys
from pathlib import Path

import torch
from torch.distributions import Normal
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, log_softmax, relu, softmax, softplus

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 29, 10, 4
CASES = {
    # Sides that differ, so that rows and columns cannot be confused.
    "mnist": {
        "shape": [8, 12, 1],
        "config": {
            "noise_dim": 3,
            "categorical": [4],
            "continuous": 2,
            "generator_widths": [4, 3],
            "discriminator_widths": [3, 4],
            "hidden_dim": 6,
            "q_dim": 5,
        },
    },
    "colour": {
        "shape": [8, 16, 3],
        "config": {
            "noise_dim": 2,
            "categorical": [3, 2],
            "continuous": 1,
            "categorical_weight": 0.7,
            "continuous_weight": 0.3,
            "learned_deviation": False,
            "generator_widths": [5, 4, 3],
            "discriminator_widths": [3, 4],
            "hidden_dim": 0,
            "q_dim": 5,
        },
    },
}


def shapes_of(config, shape):
    height, width, channels = shape
    found = {}

    def normed(name, size):
        found[f"{name}.layer.weight"] = size
        found[f"{name}.norm.gamma"], found[f"{name}.norm.beta"] = [size[-1]], [size[-1]]

    ups, downs, hidden = config["generator_widths"], config["discriminator_widths"], config["hidden_dim"]
    inputs = config["noise_dim"] + sum(config["categorical"]) + config["continuous"]
    if hidden:
        normed("generator.hidden", [inputs, hidden])
    small = height * width // 4 ** len(ups)
    found["generator.project.weight"] = [hidden or inputs, small * ups[0]]
    found["generator.project_norm.gamma"], found["generator.project_norm.beta"] = [ups[0]], [ups[0]]
    for i, (a, b) in enumerate(zip(ups, ups[1:])):
        normed(f"generator.up.{i}", [4, 4, a, b])
    found["generator.output.weight"], found["generator.output.bias"] = [4, 4, ups[-1], channels], [channels]

    found["discriminator.input.weight"], found["discriminator.input.bias"] = [4, 4, channels, downs[0]], [downs[0]]
    for i, (a, b) in enumerate(zip(downs, downs[1:])):
        normed(f"discriminator.down.{i}", [4, 4, a, b])
    flat = height * width // 4 ** len(downs) * downs[-1]
    if hidden:
        normed("discriminator.hidden", [flat, hidden])
    normed("discriminator.q_hidden", [hidden or flat, config["q_dim"]])
    of_code = 2 if config.get("learned_deviation", True) else 1
    outputs = sum(config["categorical"]) + of_code * config["continuous"]
    for name, a, b in [("output", hidden or flat, 1), ("q_output", config["q_dim"], outputs)]:
        found[f"discriminator.{name}.weight"], found[f"discriminator.{name}.bias"] = [a, b], [b]
    return found


class Networks:
    def __init__(self, config, shape, parameters):
        self.config, self.shape, self.p, self.running, self.training = config, shape, parameters, {}, True

    def norm(self, name, h):
        """Over all axes but the second, with running statistics as ours."""
        axes = [axis for axis in range(h.dim()) if axis != 1]
        view = [1, -1] + [1] * (h.dim() - 2)
        count = h.numel() // h.shape[1]
        old = self.running.get(name, (torch.zeros(h.shape[1]), torch.ones(h.shape[1])))
        if self.training:
            mean, variance = h.mean(axes), h.var(axes, unbiased=False)
            unbiased = variance.detach() * count / (count - 1)
            self.running[name] = 0.9 * old[0] + 0.1 * mean.detach(), 0.9 * old[1] + 0.1 * unbiased
        else:
            mean, variance = old
        h = (h - mean.view(view)) / torch.sqrt(variance.view(view) + 1e-5)
        return h * self.p[f"{name}.gamma"].view(view) + self.p[f"{name}.beta"].view(view)

    def generate(self, z):
        p, ups = self.p, self.config["generator_widths"]
        if self.config["hidden_dim"]:
            z = relu(self.norm("generator.hidden.norm", z @ p["generator.hidden.layer.weight"]))
        height, width = (side // 2 ** len(ups) for side in self.shape[:2])
        h = (z @ p["generator.project.weight"]).view(len(z), height, width, -1).permute(0, 3, 1, 2)
        h = relu(self.norm("generator.project_norm", h))
        for i in range(len(ups) - 1):
            h = up(h, p[f"generator.up.{i}.layer.weight"], None)
            h = relu(self.norm(f"generator.up.{i}.norm", h))
        return torch.tanh(up(h, p["generator.output.weight"], p["generator.output.bias"]))

    def discriminate(self, x):
        """The logit, and what Q says."""
        p, leaky = self.p, lambda x: leaky_relu(x, 0.1)
        h = leaky(down(x, p["discriminator.input.weight"], p["discriminator.input.bias"]))
        for i in range(len(self.config["discriminator_widths"]) - 1):
            h = down(h, p[f"discriminator.down.{i}.layer.weight"], None)
            h = leaky(self.norm(f"discriminator.down.{i}.norm", h))
        h = h.permute(0, 2, 3, 1).flatten(1)
        if self.config["hidden_dim"]:
            h = leaky(self.norm("discriminator.hidden.norm", h @ p["discriminator.hidden.layer.weight"]))
        logits = (h @ p["discriminator.output.weight"] + p["discriminator.output.bias"]).squeeze(1)
        q = leaky(self.norm("discriminator.q_hidden.norm", h @ p["discriminator.q_hidden.layer.weight"]))
        return logits, q @ p["discriminator.q_output.weight"] + p["discriminator.q_output.bias"]

    def information(self, q, z):
        """The bounds of the categorical and of the continuous codes (Eq. 5)."""
        config = self.config
        sizes = config["categorical"]
        code = z[:, config["noise_dim"] :]
        categorical = sum(math.log(size) for size in sizes)
        for logits, chosen in zip(q[:, : sum(sizes)].split(sizes, 1), code[:, : sum(sizes)].split(sizes, 1)):
            categorical = categorical + (log_softmax(logits, 1) * chosen).sum(1).mean()
        count = config["continuous"]
        rest, code = q[:, sum(sizes) :], code[:, sum(sizes) :]
        deviation = rest[:, count:].exp() if config.get("learned_deviation", True) else torch.ones(1, count)
        continuous = Normal(rest[:, :count], deviation).log_prob(code).sum(1).mean() + count * math.log(2)
        return categorical, continuous

    def weighted(self, information):
        categorical, continuous = information
        weights = self.config.get("categorical_weight", 1.0), self.config.get("continuous_weight", 0.1)
        return weights[0] * categorical + weights[1] * continuous


def up(x, weight, bias):
    return conv_transpose2d(x, weight.permute(2, 3, 0, 1), bias, stride=2, padding=1)


def down(x, weight, bias):
    return conv2d(x, weight.permute(3, 2, 0, 1), bias, stride=2, padding=1)


def run(case, settings, into):
    config, shape = settings["config"], settings["shape"]
    p = {}
    for name, size in shapes_of(config, shape).items():
        around = 1.0 if name.endswith("gamma") else 0.0
        p[name] = (around + 0.3 * torch.randn(size)).float().double().requires_grad_()
    networks = Networks(config, shape, p)
    statistics = {}
    for name in p:
        if name.endswith(".gamma"):
            norm = name.removesuffix(".gamma")
            statistics[f"{norm}.running_mean"], statistics[f"{norm}.running_var"] = torch.zeros(p[name].shape), torch.ones(p[name].shape)
    put(into, f"{case}.initial", p | statistics)
    pixels = torch.randint(0, 256, (STEPS, BATCH, *shape), dtype=torch.uint8)
    into[f"{case}.real"] = pixels.numpy()
    real = (pixels.float() / 127.5 - 1).double().permute(0, 1, 4, 2, 3)
    uniform = lambda *size: (2 * torch.rand(STEPS, BATCH, *size) - 1).float().double()
    one_hot = lambda size: torch.eye(size)[torch.randint(0, size, (STEPS, BATCH))]
    parts = [uniform(config["noise_dim"]), *map(one_hot, config["categorical"]), uniform(config["continuous"])]
    z = torch.cat(parts, 2)
    put(into, case, {"z": z})

    def losses(step, network):
        """Those of one network, as the other is now."""
        fake = networks.generate(z[step])
        if network == "discriminator":
            (real_logits, _), (fake_logits, q) = networks.discriminate(real[step]), networks.discriminate(fake.detach())
            loss = softplus(-real_logits).mean() + softplus(fake_logits).mean()
            information = networks.information(q, z[step])
            return loss, information, [torch.sigmoid(logits).mean() for logits in (real_logits, fake_logits)]
        logits, q = networks.discriminate(fake)
        return softplus(-logits).mean(), networks.information(q, z[step]), fake

    gradients, first = {}, []
    for network in ["discriminator", "generator"]:
        loss, information, extra = losses(0, network)
        names = [name for name in p if name.startswith(network)]
        total = loss - networks.weighted(information)
        gradients |= dict(zip(names, torch.autograd.grad(total, [p[name] for name in names])))
        first += [loss, *information]
    put(into, f"{case}.gradient", gradients)
    put(into, f"{case}.first", {"fake": extra.permute(0, 2, 3, 1), "losses": torch.stack(first)})

    networks.running = {}
    rates = {"discriminator": 2e-4, "generator": 1e-3}
    adams = {
        network: torch.optim.Adam([p[k] for k in p if k.startswith(network)], lr=rate, betas=(0.5, 0.999))
        for network, rate in rates.items()
    }
    reports = []
    for step in range(STEPS):
        # Ours makes the images once for both steps, so running statistics follow them once.
        before = dict(networks.running)
        d_loss, information, beliefs = losses(step, "discriminator")
        minimise(adams["discriminator"], p, d_loss - networks.weighted(information))
        for name in [name for name in networks.running if name.startswith("generator")]:
            if name in before:
                networks.running[name] = before[name]
            else:
                del networks.running[name]
        g_loss, information, _ = losses(step, "generator")
        minimise(adams["generator"], p, g_loss - networks.weighted(information))
        reports.append(torch.stack([d_loss, g_loss, *information, *beliefs]))
    put(into, case, {"losses": torch.stack(reports)})
    statistics = {}
    for name, (mean, variance) in networks.running.items():
        statistics |= {f"{name}.running_mean": mean, f"{name}.running_var": variance}
    put(into, f"{case}.final", p | statistics)

    networks.training = False
    _, q = networks.discriminate(real[0])
    sizes = config["categorical"]
    codes = [softmax(logits, 1) for logits in q[:, : sum(sizes)].split(sizes, 1)]
    codes.append(q[:, sum(sizes) : sum(sizes) + config["continuous"]])
    put(into, case, {"codes": torch.cat([torch.zeros(BATCH, config["noise_dim"]), *codes], 1)})


def minimise(adam, parameters, loss):
    for parameter in parameters.values():
        parameter.grad = None
    loss.backward()
    adam.step()


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
