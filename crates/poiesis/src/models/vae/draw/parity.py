# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""DRAW written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/vae/draw/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, images and noise of ten steps, canvases, latents, terms
of the bound, every gradient at the first weights, and the terms and weights of ten steps. PyTorch computes in f64, so a difference
is an error of ours. Arrays have our names and layouts: channels last, and the two biases of PyTorch's LSTM are one.

Gregor et al. 2015, arXiv:1502.04623, with the sizes of a toy.
"""

import copy
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS = 23, 10
COMMON = {"glimpses": 3, "width": 6, "latent_dim": 3, "learning_rate": 1e-3}
# Sides that differ, so that rows and columns cannot be confused.
CASES = {
    "attention": {
        "batch": 4,
        "shape": [6, 9, 1],
        "config": COMMON | {"attention": True, "read_size": 2, "write_size": 3, "clip_norm": 0.0},
    },
    "colour": {
        "batch": 3,
        "shape": [7, 5, 3],
        "config": COMMON | {"attention": True, "read_size": 3, "write_size": 2, "clip_norm": 3.0},
    },
    "whole": {
        "batch": 3,
        "shape": [4, 5, 1],
        "config": COMMON | {"attention": False, "read_size": 2, "write_size": 3, "clip_norm": 0.0},
    },
}


def filters(centre, stride, variance, size, side):
    """The filters along one axis, written as the paper has them: means, exponentials, division by their sum."""
    i = torch.arange(1, size + 1).double()
    means = centre[:, None] + (i - size / 2 - 0.5) * stride[:, None]
    pixels = torch.arange(1, side + 1).double()
    values = torch.exp(-((pixels - means[:, :, None]) ** 2) / (2 * variance[:, None, None]))
    return values / values.sum(2, keepdim=True)


class Attention:
    """F_X, F_Y and γ."""

    def __init__(self, parameters, size, height, width):
        x, y, log_variance, log_stride, log_intensity = parameters.unbind(1)
        stride = (max(height, width) - 1) / (size - 1) * torch.exp(log_stride)
        variance = torch.exp(log_variance)
        self.columns = filters((width + 1) / 2 * (x + 1), stride, variance, size, width)
        self.rows = filters((height + 1) / 2 * (y + 1), stride, variance, size, height)
        self.intensity = torch.exp(log_intensity)[:, None, None, None]

    def read(self, images):
        return self.intensity * torch.einsum("bnh,bhwc,bmw->bnmc", self.rows, images, self.columns)

    def write(self, patch):
        return torch.einsum("bnh,bnmc,bmw->bhwc", self.rows, patch, self.columns) / self.intensity


class Draw(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        self.config, self.shape = config, shape
        height, width, channels = shape
        features, dim = config["width"], config["latent_dim"]
        self.attends = config["attention"]
        values = lambda size: size * size * channels if self.attends else height * width * channels
        self.encoder = nn.LSTMCell(2 * values(config["read_size"]) + features, features)
        self.decoder = nn.LSTMCell(dim, features)
        self.posterior = nn.Linear(features, 2 * dim)
        if self.attends:
            self.read_attention, self.write_attention = nn.Linear(features, 5), nn.Linear(features, 5)
        self.patch = nn.Linear(features, values(config["write_size"]))
        self.first_encoder = nn.Parameter(torch.zeros(features))
        self.first_decoder = nn.Parameter(torch.zeros(features))
        self.first_canvas = nn.Parameter(torch.zeros(height * width * channels))
        # Weights large enough that every part matters, filters that are neither flat nor of one pixel, and numbers that f32 holds
        # exactly.
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.4)
            if "bias_hh" in name:
                nn.init.zeros_(parameter)
                parameter.requires_grad_(False)
            parameter.data = parameter.data.float().double()

    def read(self, x, error, state):
        both = torch.cat([x, error], 3)
        if not self.attends:
            return both.flatten(1)
        height, width, _ = self.shape
        return Attention(self.read_attention(state), self.config["read_size"], height, width).read(both).flatten(1)

    def write(self, state):
        height, width, channels = self.shape
        patch = self.patch(state)
        if not self.attends:
            return patch.unflatten(1, (height, width, channels))
        size = self.config["write_size"]
        patch = patch.unflatten(1, (size, size, channels))
        return Attention(self.write_attention(state), size, height, width).write(patch)

    def terms(self, x, eps):
        """The reconstruction, the KL divergence of each glimpse, and what led to them."""
        batch, dim = x.shape[0], self.config["latent_dim"]
        state = lambda hidden: (hidden.expand(batch, -1), torch.zeros(batch, self.config["width"]))
        encoder, decoder = state(self.first_encoder), state(self.first_decoder)
        canvas = self.first_canvas.unflatten(0, tuple(self.shape)).expand(batch, -1, -1, -1)
        prior = torch.distributions.Normal(0.0, 1.0)
        kl, latents, canvases = [], [], []
        for t in range(self.config["glimpses"]):
            glimpse = self.read(x, x - torch.sigmoid(canvas), decoder[0])
            encoder = self.encoder(torch.cat([glimpse, decoder[0]], 1), encoder)
            mean, log_deviation = self.posterior(encoder[0]).chunk(2, 1)
            q = torch.distributions.Normal(mean, torch.exp(log_deviation))
            z = mean + q.scale * eps[:, t * dim : (t + 1) * dim]
            decoder = self.decoder(z, decoder)
            canvas = canvas + self.write(decoder[0])
            kl.append(torch.distributions.kl_divergence(q, prior).sum(1).mean())
            latents.append(z)
            canvases.append(canvas)
        log_x = torch.distributions.Bernoulli(logits=canvas).log_prob(x).sum((1, 2, 3))
        outputs = {"latents": torch.cat(latents, 1), "canvases": torch.stack(canvases), "state": encoder[0]}
        return -log_x.mean(), torch.stack(kl), outputs


def arrays(draw, gradients=False):
    """Parameters, or their gradients, by our names in our layouts."""
    read = lambda parameter: parameter.grad if gradients else parameter
    found = {name: read(getattr(draw, name)) for name in ["first_encoder", "first_decoder", "first_canvas"]}
    for name, layer in draw.named_children():
        if isinstance(layer, nn.LSTMCell):
            found[f"{name}.w_input"], found[f"{name}.w_hidden"] = read(layer.weight_ih).T, read(layer.weight_hh).T
            found[f"{name}.bias"] = read(layer.bias_ih)
        else:
            found[f"{name}.weight"], found[f"{name}.bias"] = read(layer.weight).T, read(layer.bias)
    return found


def run(case, settings, into):
    batch, shape, config = settings["batch"], settings["shape"], settings["config"]
    draw = Draw(config, shape)
    pixels = torch.randint(0, 2, (STEPS, batch, *shape), dtype=torch.uint8)
    eps = torch.randn(STEPS, batch, config["glimpses"] * config["latent_dim"]).float().double()
    into[f"{case}.pixels"] = pixels.numpy()
    x = pixels.double()
    put(into, case, {"eps": eps})
    put(into, f"{case}.initial", arrays(draw))

    start = copy.deepcopy(draw)
    reconstruction, kl, outputs = start.terms(x[0], eps[0])
    (reconstruction + kl.sum()).backward()
    put(into, f"{case}.first", outputs | {"reconstruction": reconstruction[None], "kl": kl})
    put(into, f"{case}.gradient", arrays(start, gradients=True))

    learned = [parameter for parameter in draw.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(learned, lr=config["learning_rate"])
    losses = []
    for step in range(STEPS):
        reconstruction, kl, _ = draw.terms(x[step], eps[step])
        bound = reconstruction + kl.sum()
        adam.zero_grad()
        bound.backward()
        if config["clip_norm"] > 0:
            nn.utils.clip_grad_norm_(learned, config["clip_norm"])
        adam.step()
        losses.append(torch.stack([bound, reconstruction, kl.sum()]))
    put(into, f"{case}.final", arrays(draw))
    put(into, case, {"losses": torch.stack(losses)})


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
