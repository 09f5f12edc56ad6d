# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""AIR written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/vae/air/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, scenes and noise of ten steps, what is found, the terms of
the bound, every gradient at the first weights, and the terms and weights of ten steps. Windows are those of PyTorch's `grid_sample`.
PyTorch computes in f64, so a difference is an error of ours. Arrays have our names and layouts: channels last, and the two biases
of PyTorch's LSTM are one.

Eslami et al. 2016, arXiv:1603.08575, with the sizes of a toy.
"""

import copy
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import affine_grid, grid_sample, logsigmoid

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, DARK = 31, 10, 2.0
COMMON = {
    "max_objects": 3,
    "width": 7,
    "what_dim": 2,
    "object_size": 4,
    "hidden_dim": 5,
    "side": 0.5,
    "side_deviation": 0.3,
    "place_deviation": 0.4,
    "presence": 0.4,
    "first_presence": 0.9,
    "presence_steps": 6,
    "deviation": 0.3,
    "learning_rate": 1e-3,
    "baseline_learning_rate": 2e-3,
}
# Sides that differ, so that rows and columns cannot be confused.
CASES = {
    "grey": {"batch": 5, "shape": [9, 12, 1], "config": COMMON | {"clip_norm": 0.0}},
    "colour": {"batch": 3, "shape": [8, 6, 3], "config": COMMON | {"max_objects": 2, "clip_norm": 5.0}},
}


class Perceptron(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.hidden, self.output = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.output(torch.relu(self.hidden(x)))


class Network(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        before = 4 + config["what_dim"]
        pixels = config["object_size"] ** 2 * shape[2]
        self.lstm = nn.LSTMCell(math.prod(shape) + before, config["width"])
        self.place = nn.Linear(config["width"], 7)
        self.reader = Perceptron(pixels, config["hidden_dim"], 2 * config["what_dim"])
        self.object = Perceptron(config["what_dim"], config["hidden_dim"], pixels)


class Air(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        self.config, self.shape = config, shape
        self.network = Network(config, shape)
        self.baseline = Perceptron(config["width"], config["hidden_dim"], 1)
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.4)
            if "bias_hh" in name:
                nn.init.zeros_(parameter)
                parameter.requires_grad_(False)
            parameter.data = parameter.data.float().double()

    def window(self, place):
        config = self.config
        scale = config["side"] * torch.exp(config["side_deviation"] * place[:, 0])
        return scale, config["place_deviation"] * place[:, 1], config["place_deviation"] * place[:, 2]

    def read(self, images, place):
        """`affine_grid` has for each point of the result the point of the source, x before y."""
        scale, x, y = self.window(place)
        size, channels = self.config["object_size"], self.shape[2]
        grid = affine_grid(matrix(scale, x, y), (len(scale), channels, size, size), align_corners=False)
        return last(grid_sample(first(images), grid, align_corners=False))

    def write(self, objects, place):
        scale, x, y = self.window(place)
        height, width, channels = self.shape
        inverse = matrix(1 / scale, -x / scale, -y / scale)
        grid = affine_grid(inverse, (len(scale), channels, height, width), align_corners=False)
        return last(grid_sample(first(objects), grid, align_corners=False))

    def terms(self, x, noise, prior):
        config, network = self.config, self.network
        batch, size = len(x), config["object_size"]
        state = (torch.zeros(batch, config["width"]), torch.zeros(batch, config["width"]))
        known, canvas = torch.zeros(batch, 4 + config["what_dim"]), torch.zeros_like(x)
        before, steps, found = torch.ones(batch), [], {"presence": [], "logit": [], "place": [], "what": []}
        standard = torch.distributions.Normal(0.0, 1.0)
        for i in range(config["max_objects"]):
            state = network.lstm(torch.cat([x.flatten(1), known], 1), state)
            logit, mean, log_variance = network.place(state[0]).split([1, 3, 3], 1)
            logit = logit[:, 0]
            presence = before * (noise["presence"][:, i] < torch.sigmoid(logit).detach()).double()
            where = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
            place = mean + where.scale * noise["place"][:, 3 * i : 3 * i + 3]
            mean, log_variance = network.reader(self.read(x, place).flatten(1)).chunk(2, 1)
            q = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
            dim = config["what_dim"]
            what = mean + q.scale * noise["what"][:, dim * i : dim * i + dim]
            objects = torch.sigmoid(network.object(what) - DARK).unflatten(1, (size, size, self.shape[2]))
            canvas = canvas + presence[:, None, None, None] * self.write(objects, place)
            known = torch.cat([presence[:, None], place, what], 1)
            kl = sum(torch.distributions.kl_divergence(d, standard).sum(1) for d in (where, q))
            bernoulli = torch.distributions.Bernoulli(logits=logit)
            kl_presence = torch.distributions.kl_divergence(bernoulli, torch.distributions.Bernoulli(prior))
            log_q = presence * logsigmoid(logit) + (1 - presence) * logsigmoid(-logit)
            guess = self.baseline(state[0].detach())[:, 0]
            steps.append((before, presence, kl, kl_presence, log_q, guess))
            for name, value in {"presence": presence, "logit": logit, "place": place, "what": mean}.items():
                found[name].append(value)
            before = presence
        normal = torch.distributions.Normal(canvas, config["deviation"])
        reconstruction = -normal.log_prob(x).sum((1, 2, 3))
        total = reconstruction + sum(p * kl + b * kl_p for b, p, kl, kl_p, _, _ in steps)
        estimate, baseline = 0.0, 0.0
        for i, (before, _, _, _, log_q, guess) in enumerate(steps):
            later = sum(b * kl_p for b, _, _, kl_p, _, _ in steps[i + 1 :])
            cost = (reconstruction + sum(p * kl for _, p, kl, _, _, _ in steps[i:]) + later).detach()
            left = cost - guess.detach()
            # The mean over the others, image by image.
            advantage = torch.stack([left[k] - others_mean(left, before, k) for k in range(batch)])
            estimate = estimate + before * log_q * advantage
            mean = (before * cost).sum() / before.sum().clamp(min=1)
            baseline = baseline + before * (cost - mean - guess) ** 2
        losses = torch.stack([total.mean(), reconstruction.mean(), baseline.mean()])
        found = {name: torch.stack(values) for name, values in found.items()} | {"canvas": canvas}
        return (total + estimate).mean(), baseline.mean(), losses, found


def others_mean(values, chosen, k):
    others = [values[j] for j in range(len(values)) if j != k and chosen[j] == 1]
    return sum(others) / len(others) if others else torch.tensor(0.0)


def matrix(scale, x, y):
    zero = torch.zeros_like(scale)
    return torch.stack([torch.stack([scale, zero, x], 1), torch.stack([zero, scale, y], 1)], 1)


def first(images):
    return images.permute(0, 3, 1, 2)


def last(images):
    return images.permute(0, 2, 3, 1)


def arrays(air, gradients=False):
    """Parameters, or their gradients, by our names in our layouts."""
    read = lambda parameter: parameter.grad if gradients else parameter
    found = {}
    for name, layer in air.named_modules():
        if isinstance(layer, nn.LSTMCell):
            found[f"{name}.w_input"], found[f"{name}.w_hidden"] = read(layer.weight_ih).T, read(layer.weight_hh).T
            found[f"{name}.bias"] = read(layer.bias_ih)
        elif isinstance(layer, nn.Linear):
            found[f"{name}.weight"], found[f"{name}.bias"] = read(layer.weight).T, read(layer.bias)
    return found


def run(case, settings, into):
    batch, shape, config = settings["batch"], settings["shape"], settings["config"]
    air = Air(config, shape)
    count, dim = config["max_objects"], config["what_dim"]
    pixels = torch.randint(0, 256, (STEPS, batch, *shape), dtype=torch.uint8)
    x = (pixels.float() / 255).double()
    noise = {
        "presence": torch.rand(STEPS, batch, count).float().double(),
        "place": torch.randn(STEPS, batch, 3 * count).float().double(),
        "what": torch.randn(STEPS, batch, dim * count).float().double(),
    }
    into[f"{case}.pixels"] = pixels.numpy()
    put(into, f"{case}.noise", noise)
    put(into, f"{case}.initial", arrays(air))
    of_step = lambda step: {name: value[step] for name, value in noise.items()}

    start = copy.deepcopy(air)
    objective, baseline, losses, found = start.terms(x[0], of_step(0), config["presence"])
    (objective + baseline).backward()
    put(into, f"{case}.first", found | {"losses": losses})
    put(into, f"{case}.gradient", arrays(start, gradients=True))

    networks = [
        ([p for p in air.network.parameters() if p.requires_grad], config["learning_rate"]),
        (list(air.baseline.parameters()), config["baseline_learning_rate"]),
    ]
    optimizers = [torch.optim.Adam(parameters, lr=rate) for parameters, rate in networks]
    all_losses = []
    for step in range(STEPS):
        part = min(step / config["presence_steps"], 1.0)
        prior = config["first_presence"] + (config["presence"] - config["first_presence"]) * part
        objective, baseline, losses, _ = air.terms(x[step], of_step(step), prior)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (objective + baseline).backward()
        for (parameters, _), optimizer in zip(networks, optimizers):
            if config["clip_norm"] > 0:
                nn.utils.clip_grad_norm_(parameters, config["clip_norm"])
            optimizer.step()
        all_losses.append(losses)
    put(into, f"{case}.final", arrays(air))
    put(into, case, {"losses": torch.stack(all_losses)})


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
