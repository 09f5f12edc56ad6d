# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The ResNet VAE with flows written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/vae/iaf_vae/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, images and noise of ten steps, terms of the bound, every
gradient at the first weights, the terms and weights of ten steps of AdaMax, and data-dependent first values. PyTorch computes in f64, so
a difference is an error of ours. Arrays have our names and layouts; features are channels first here.

Kingma et al. 2016, arXiv:1606.04934, Rezende and Mohamed 2015, arXiv:1505.05770, and Salimans and Kingma 2016, arXiv:1602.07868, with
the sizes of a toy.
"""

import copy
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import elu, softplus

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 12, 10, 4
VECTOR = {"latent_dim": 3, "maps": 0, "levels": 1, "blocks": 1, "width": 2, "hidden_dim": 5, "residual_scale": 0.7}
VECTOR |= {"likelihood": "bernoulli", "free_bits": 0.0}
MAPS = {"latent_dim": 0, "maps": 2, "levels": 1, "blocks": 1, "width": 2, "residual_scale": 0.7}
MAPS |= {"likelihood": "discretized_logistic", "free_bits": 0.8}
IAF = {"posterior": "iaf", "flow_steps": 2, "flow_layers": 2, "flow_width": 4, "forget_bias": 1.0}
PLANAR = {"posterior": "planar", "flow_steps": 2}
# Sides that differ, so that rows and columns cannot be confused.
CASES = {
    "vector-diagonal": {"shape": [6, 8, 1], "config": VECTOR | {"posterior": "diagonal"}},
    "vector-iaf": {"shape": [6, 8, 1], "config": VECTOR | IAF},
    "maps-planar": {"shape": [6, 8, 3], "config": MAPS | PLANAR},
    "maps-iaf": {"shape": [6, 8, 3], "config": MAPS | IAF},
    "both-levels": {
        "shape": [8, 12, 1],
        "config": MAPS | IAF | {"levels": 2, "latent_dim": 3, "hidden_dim": 5, "flow_steps": 1, "flow_layers": 1},
    },
}


class Normed(nn.Module):
    """A weight-normalised layer; its direction is [inputs, outputs] or [kernel, kernel, inputs, outputs], as ours."""

    def __init__(self, shape, deviation=1.0, stride=1, transposed=False, mask=None):
        super().__init__()
        self.normed = nn.ParameterDict(
            {"direction": torch.zeros(shape), "gain": torch.zeros(shape[-1]), "bias": torch.zeros(shape[-1])}
        )
        self.deviation, self.stride, self.transposed, self.mask = deviation, stride, transposed, mask
        self.finding = False

    def forward(self, x):
        if not self.finding:
            return self.product(x, self.normed["gain"]) + self.normed["bias"][:, None, None]
        with torch.no_grad():
            y = self.product(x, torch.ones_like(self.normed["gain"]))
            mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
            self.normed["gain"][:] = torch.clamp(1 / torch.sqrt(var + 1e-10), max=10) * self.deviation
            self.normed["bias"][:] = -mean * self.normed["gain"]
            return y * self.normed["gain"][:, None, None] + self.normed["bias"][:, None, None]

    def product(self, x, gain):
        v = self.normed["direction"]
        v = v if self.mask is None else v * self.mask
        weight = gain * v / torch.sqrt((v * v).flatten(0, -2).sum(0) + 1e-12)
        if weight.dim() == 2:
            return torch.einsum("bihw,io->bohw", x, weight)
        size, padding = weight.shape[0], (weight.shape[0] - 1) // 2
        if self.transposed:
            extra = self.stride + 2 * padding - size
            kernel = weight.permute(2, 3, 0, 1)
            return F.conv_transpose2d(x, kernel, stride=self.stride, padding=padding, output_padding=extra)
        return F.conv2d(x, weight.permute(3, 2, 0, 1), stride=self.stride, padding=padding)


def masked(kernel, inputs, outputs, parts, groups, own, deviation=1.0):
    """Reads the pixels before its own, and of its own the groups before, with `own` that of the output too."""
    features = outputs // parts
    mask = torch.zeros(kernel, kernel, inputs, outputs)
    centre = kernel // 2
    for row in range(kernel):
        for column in range(kernel):
            if (row, column) < (centre, centre):
                mask[row, column] = 1
    for i in range(inputs):
        for o in range(outputs):
            source, target = i * groups // inputs, (o % features) * groups // features
            mask[centre, centre, i, o] = source < target or (own and source == target)
    return Normed([kernel, kernel, inputs, outputs], deviation, mask=mask)


class Made(nn.Module):
    def __init__(self, values, context, width, layers, kernel):
        super().__init__()
        self.input = masked(kernel, values, width, 1, values, own=False)
        self.context = Normed([context, width])
        self.hidden = nn.ModuleList(masked(kernel, width, width, 1, values, own=True) for _ in range(layers - 1))
        self.output = masked(kernel, width, 2 * values, 2, values, own=True, deviation=0.1)

    def forward(self, z, context):
        h = self.input(z) + self.context(context)
        for layer in self.hidden:
            h = layer(elu(h))
        return self.output(elu(h))


class Iaf(nn.Module):
    def __init__(self, config, number, values, context, kernel):
        super().__init__()
        self.made = Made(values, context, config["flow_width"], config["flow_layers"], kernel)
        self.reversed, self.bias = number % 2 == 1, config["forget_bias"]

    def forward(self, z, context):
        if self.reversed:
            z, context = z.flip(1, 2, 3), context.flip(2, 3)
        m, s = self.made(z, context).chunk(2, 1)
        sigma = torch.sigmoid(s + self.bias)
        z, log_det = sigma * z + (1 - sigma) * m, torch.log(sigma)
        return (z.flip(1, 2, 3), log_det.flip(1, 2, 3)) if self.reversed else (z, log_det)


def planar(parameters, z):
    """The log-determinant is shared out among the maps."""
    maps = z.shape[1]
    u, w, b = parameters.split([maps, maps, 1], 1)
    wu = (w * u).sum(1, keepdim=True)
    u = u + (softplus(wu) - 1 - wu) * w / (w * w).sum(1, keepdim=True)
    inner = (w * z).sum(1, keepdim=True) + b
    slope = (u * w).sum(1, keepdim=True) * (1 - torch.tanh(inner) ** 2)
    return z + u * torch.tanh(inner), (torch.log(torch.abs(1 + slope)) / maps).expand_as(z)


class Flow(nn.Module):
    def __init__(self, config, values, context, kernel):
        super().__init__()
        steps, self.kind = [], config["posterior"]
        for number in range(config.get("flow_steps", 0)):
            if self.kind == "iaf":
                steps.append(nn.ModuleDict({"Iaf": Iaf(config, number, values, context, kernel)}))
            else:
                steps.append(nn.ModuleDict({"Planar": Normed([context, 2 * values + 1], 0.3)}))
        self.steps = nn.ModuleList(steps)

    def draw(self, base, context, prior, eps):
        """z and log q − log p of each value."""
        mean, log_std = base
        q = torch.distributions.Normal(mean, torch.exp(log_std))
        z = mean + torch.exp(log_std) * eps
        log_q = q.log_prob(z)
        for step in self.steps:
            if self.kind == "iaf":
                z, log_det = step["Iaf"](z, context)
            else:
                z, log_det = planar(step["Planar"](context), z)
            log_q = log_q - log_det
        p = torch.distributions.Normal(prior[0], torch.exp(prior[1]))
        return z, log_q - p.log_prob(z)


class UpMaps(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["width"]
        self.base = Normed([3, 3, width, 2 * config["maps"]], 0.1)
        if config["posterior"] != "diagonal":
            self.context = Normed([3, 3, width, width])


class UpBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["width"]
        self.hidden, self.output = Normed([3, 3, width, width]), Normed([3, 3, width, width])
        if config["maps"] > 0:
            self.maps = UpMaps(config)


class BottomUp(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        width, levels = config["width"], config["levels"]
        self.scale = config["residual_scale"]
        self.input = Normed([5, 5, shape[2], width], stride=2)
        self.levels = nn.ModuleList()
        for level in range(levels):
            parts = {"blocks": nn.ModuleList(UpBlock(config) for _ in range(config["blocks"]))}
            if level > 0:
                parts["down"] = Normed([4, 4, width, width], stride=2)
            self.levels.append(nn.ModuleDict(parts))
        if config["latent_dim"] > 0:
            flat = (shape[0] >> levels) * (shape[1] >> levels) * width
            hidden = Normed([flat, config["hidden_dim"]])
            base = Normed([config["hidden_dim"], 2 * config["latent_dim"]], 0.1)
            self.vector = nn.ModuleDict({"hidden": hidden, "base": base})

    def forward(self, x):
        """Means, log deviations and contexts of all layers, the top last."""
        found, h = [], self.input(x)
        for level in self.levels:
            if "down" in level:
                h = level["down"](elu(h))
            for block in level["blocks"]:
                h = h + self.scale * block.output(elu(block.hidden(elu(h))))
                if hasattr(block, "maps"):
                    context = block.maps.context(elu(h)) if hasattr(block.maps, "context") else 0
                    found.append((*block.maps.base(elu(h)).chunk(2, 1), context))
        if hasattr(self, "vector"):
            flat = elu(h).permute(0, 2, 3, 1).flatten(1)[:, :, None, None]
            context = elu(self.vector["hidden"](flat))
            found.append((*self.vector["base"](context).chunk(2, 1), context))
        return found


class DownMaps(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, maps = config["width"], config["maps"]
        self.prior_and_base = Normed([3, 3, width, 4 * maps], 0.1)
        if config["posterior"] != "diagonal":
            self.context = Normed([3, 3, width, width])
        self.flow = Flow(config, maps, width, 3)


class DownBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, maps = config["width"], config["maps"]
        self.hidden, self.output = Normed([3, 3, width, width]), Normed([3, 3, width + maps, width])
        if maps > 0:
            self.maps = DownMaps(config)


class DownVector(nn.Module):
    def __init__(self, config, flat):
        super().__init__()
        self.flow = Flow(config, config["latent_dim"], config["hidden_dim"], 1)
        self.hidden = Normed([config["latent_dim"], config["hidden_dim"]])
        self.output = Normed([config["hidden_dim"], flat])


class TopDown(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        width, levels = config["width"], config["levels"]
        self.scale, self.deepest = config["residual_scale"], (shape[0] >> levels, shape[1] >> levels, width)
        if config["latent_dim"] > 0:
            self.vector = DownVector(config, math.prod(self.deepest))
        else:
            self.top = nn.Parameter(torch.zeros(width))
        self.levels = nn.ModuleList()
        for level in reversed(range(levels)):
            parts = {"blocks": nn.ModuleList(DownBlock(config) for _ in range(config["blocks"]))}
            if level > 0:
                parts["up"] = Normed([4, 4, width, width], stride=2, transposed=True)
            self.levels.append(nn.ModuleDict(parts))
        self.output = Normed([5, 5, width, shape[2]], 0.1, stride=2, transposed=True)
        if config["likelihood"] == "discretized_logistic":
            self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, evidence, noise):
        """The parameters of the pixels, and log q − log p of each value of each layer, the top first."""
        evidence, noise, kl = list(evidence), iter(noise), []
        height, width, features = self.deepest
        if hasattr(self, "vector"):
            mean, log_std, context = evidence.pop()
            prior = torch.zeros_like(mean), torch.zeros_like(mean)
            z, of_vector = self.vector.flow.draw((mean, log_std), context, prior, next(noise))
            kl.append(of_vector)
            h = self.vector.output(elu(self.vector.hidden(z)))
            h = h.reshape(-1, height, width, features).permute(0, 3, 1, 2)
        else:
            h = self.top[None, :, None, None].expand(BATCH, features, height, width)
        for level in self.levels:
            for block in level["blocks"]:
                active = elu(h)
                inside = block.hidden(active)
                if hasattr(block, "maps"):
                    prior_mean, prior_log_std, mean, log_std = block.maps.prior_and_base(active).chunk(4, 1)
                    up_mean, up_log_std, context = evidence.pop()
                    if hasattr(block.maps, "context"):
                        context = context + block.maps.context(active)
                    base, prior = (mean + up_mean, log_std + up_log_std), (prior_mean, prior_log_std)
                    z, of_maps = block.maps.flow.draw(base, context, prior, next(noise))
                    kl.append(of_maps)
                    inside = torch.cat([inside, z], 1)
                h = h + self.scale * block.output(elu(inside))
            if "up" in level:
                h = level["up"](elu(h))
        return self.output(elu(h)), kl


class IafVae(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        self.config = config
        self.bottom_up, self.top_down = BottomUp(config, shape), TopDown(config, shape)

    def terms(self, x, noise):
        """The objective, −log p(x|z) and log q − log p of each map, averaged over the batch."""
        x = x.permute(0, 3, 1, 2)
        parameters, kl = self.top_down(self.bottom_up(x), [eps.permute(0, 3, 1, 2) for eps in noise])
        if self.config["likelihood"] == "bernoulli":
            p = torch.distributions.Bernoulli(logits=parameters, validate_args=False)
            log_x = p.log_prob(x)
        else:
            log_x = levels_log_prob(x, parameters, torch.clamp(self.top_down.log_scale, min=-7))
        reconstruction = -log_x.sum((1, 2, 3)).mean()
        kl = torch.cat([layer.sum((2, 3)).mean(0) for layer in kl])
        free = self.config["free_bits"]
        charged = torch.clamp(kl, min=free) if free > 0 else kl
        return reconstruction + charged.sum(), reconstruction, kl, parameters.permute(0, 2, 3, 1).flatten(1)


def levels_log_prob(x, location, log_scale):
    """log of the mass a logistic distribution puts on the bin of x, as the definition says it."""
    cdf = lambda edge: torch.sigmoid((edge - location) / torch.exp(log_scale))
    upper, lower = cdf(x + 1 / 255), cdf(x - 1 / 255)
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return torch.log(mass)


def arrays(model, gradients=False):
    return {name: p.grad if gradients else p for name, p in model.named_parameters()}


def noise_shapes(config, shape):
    shapes = [[1, 1, config["latent_dim"]]] if config["latent_dim"] > 0 else []
    if config["maps"] > 0:
        for level in reversed(range(config["levels"])):
            sides = [side >> (level + 1) for side in shape[:2]]
            shapes += [[*sides, config["maps"]]] * config["blocks"]
    return shapes


def run(case, settings, into):
    shape, config = settings["shape"], settings["config"]
    model = IafVae(config, shape)
    for name, parameter in model.named_parameters():
        # Numbers that f32 holds exactly; gains that keep features from growing, biases that are not zero.
        mean, std = {"gain": (0.6, 0.1), "bias": (0.0, 0.2), "direction": (0.0, 0.5)}.get(name.split(".")[-1], (0.0, 0.5))
        nn.init.normal_(parameter, mean, std)
        parameter.data = parameter.data.float().double()
    if config["likelihood"] == "bernoulli":
        pixels = torch.randint(0, 2, (STEPS, BATCH, *shape), dtype=torch.uint8)
        x = pixels.double()
    else:
        pixels = torch.randint(0, 256, (STEPS, BATCH, *shape), dtype=torch.uint8)
        # To [-1, 1] in f32, as the data set does.
        x = (pixels.float() / 127.5 - 1).double()
    noise = [torch.randn(STEPS, BATCH, *layer).float().double() for layer in noise_shapes(config, shape)]
    at = lambda step: [layer[step] for layer in noise]
    into[f"{case}.pixels"] = pixels.numpy()
    put(into, case, {f"noise{number}": layer for number, layer in enumerate(noise)})
    put(into, f"{case}.initial", arrays(model))

    start = copy.deepcopy(model)
    objective, reconstruction, kl, parameters = start.terms(x[0], at(0))
    objective.backward()
    losses = torch.stack([objective, reconstruction])
    put(into, f"{case}.first", {"losses": losses, "kl": kl, "parameters": parameters})
    put(into, f"{case}.gradient", arrays(start, gradients=True))

    found = copy.deepcopy(model)
    for layer in found.modules():
        if isinstance(layer, Normed):
            layer.finding = True
    found.terms(x[0], at(0))
    values = {name: value for name, value in arrays(found).items() if name.split(".")[-1] in ("gain", "bias")}
    put(into, f"{case}.first_values", values)

    # A direction with one input has a gradient of 0: its rounding must not become a step.
    adamax = torch.optim.Adamax(model.parameters(), lr=0.002, eps=1e-4)
    losses = []
    for step in range(STEPS):
        objective, reconstruction, kl, _ = model.terms(x[step], at(step))
        adamax.zero_grad()
        objective.backward()
        adamax.step()
        losses.append(torch.stack([reconstruction + kl.sum(), reconstruction, kl.sum()]))
    put(into, f"{case}.final", arrays(model))
    put(into, case, {"losses": torch.stack(losses)})


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
