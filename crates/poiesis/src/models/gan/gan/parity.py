# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The first GAN written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/gan/gan/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, examples, latents and noise of ten steps, outputs, losses,
every gradient at the first weights, and the losses and weights of ten steps. PyTorch computes in f64, so a difference is an error of
ours. Arrays have our names and layouts.

Goodfellow et al. 2014, arXiv:1406.2661, with the sizes of a toy.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import leaky_relu, relu

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 23, 10, 6
MINIBATCH_DIMS = 5
ADAM = {"lr": 2e-4, "betas": (0.5, 0.999)}
COMMON = {"latent_dim": 3, "generator_hidden_dims": [7, 5], "discriminator_hidden_dims": [6, 4]}
CASES = {
    "points": {"values": 2, "bounded": False, "config": COMMON | {"prior": "normal", "discriminator_steps": 2}},
    "maxout": {
        "values": 12,
        "bounded": True,
        "config": COMMON | {"maxout_pieces": 3, "dropout": 0.25, "loss": "saturating"},
    },
    "least-squares": {"values": 2, "bounded": False, "config": COMMON | {"loss": "least-squares"}},
    "minibatch": {"values": 2, "bounded": False, "config": COMMON | {"minibatch_kernels": 3}},
}


def shapes_of(config, values):
    found = {}
    pieces = config.get("maxout_pieces", 1)
    for network, sizes, end, pieces in [
        ("generator", [config["latent_dim"], *config["generator_hidden_dims"]], values, 1),
        ("discriminator", [values, *config["discriminator_hidden_dims"]], 1, pieces),
    ]:
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            found[f"{network}.hidden.{i}.weight"], found[f"{network}.hidden.{i}.bias"] = [a, b * pieces], [b * pieces]
        kernels = config.get("minibatch_kernels", 0) if network == "discriminator" else 0
        if kernels:
            found[f"{network}.minibatch.direction"] = [sizes[-1], kernels * MINIBATCH_DIMS]
            found[f"{network}.minibatch.gain"], found[f"{network}.minibatch.bias"] = [kernels * MINIBATCH_DIMS], [kernels]
        found[f"{network}.output.weight"], found[f"{network}.output.bias"] = [sizes[-1] + kernels, end], [end]
    return found


def generate(p, settings, z):
    for i in range(len(settings["config"]["generator_hidden_dims"])):
        z = relu(z @ p[f"generator.hidden.{i}.weight"] + p[f"generator.hidden.{i}.bias"])
    x = z @ p["generator.output.weight"] + p["generator.output.bias"]
    return torch.tanh(x) if settings["bounded"] else x


def discriminate(p, config, x, noise):
    pieces, dropout = config.get("maxout_pieces", 1), config.get("dropout", 0.0)
    for i in range(len(config["discriminator_hidden_dims"])):
        x = x @ p[f"discriminator.hidden.{i}.weight"] + p[f"discriminator.hidden.{i}.bias"]
        x = leaky_relu(x, 0.2) if pieces == 1 else x.unflatten(1, (-1, pieces)).amax(2)
        if dropout > 0:
            x = x * (noise(x.shape) >= dropout) / (1 - dropout)
    if config.get("minibatch_kernels"):
        direction, gain = p["discriminator.minibatch.direction"], p["discriminator.minibatch.gain"]
        m = (x @ (gain * direction / direction.norm(dim=0))).view(len(x), config["minibatch_kernels"], -1)
        closeness = torch.exp(-(m[:, None] - m[None]).abs().sum(3)).sum(1) - 1
        x = torch.cat([x, closeness + p["discriminator.minibatch.bias"]], 1)
    return (x @ p["discriminator.output.weight"] + p["discriminator.output.bias"]).squeeze(1)


def d_loss(kind, real, fake):
    if kind == "least-squares":
        return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
    return -torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()


def g_loss(kind, fake):
    if kind == "least-squares":
        return 0.5 * ((fake - 1) ** 2).mean()
    if kind == "saturating":
        return torch.log(1 - torch.sigmoid(fake)).mean()
    return -torch.log(torch.sigmoid(fake)).mean()


def belief(kind, logits):
    return (logits.clamp(0, 1) if kind == "least-squares" else torch.sigmoid(logits)).mean()


class Noise:
    """Draws uniform noise and keeps it."""

    def __init__(self):
        self.drawn = []

    def __call__(self, shape):
        self.drawn.append(torch.rand(shape).float().double())
        return self.drawn[-1]

    def all(self):
        return torch.cat([noise.flatten() for noise in self.drawn]) if self.drawn else torch.zeros(1)


def run(case, settings, into):
    config, values = settings["config"], settings["values"]
    kind, rounds = config.get("loss", "non-saturating"), config.get("discriminator_steps", 1)
    p = {
        name: (0.4 * torch.randn(shape)).float().double().requires_grad_()
        for name, shape in shapes_of(config, values).items()
    }
    put(into, f"{case}.initial", p)
    real = (0.5 * torch.randn(STEPS, rounds, BATCH, values)).float().double()
    draw = torch.randn if config.get("prior") == "normal" else lambda *shape: 2 * torch.rand(*shape) - 1
    z = draw(STEPS, rounds, BATCH, config["latent_dim"]).float().double()
    put(into, case, {"real": real, "z": z})

    noise = Noise()
    fake = generate(p, settings, z[0, 0])
    logits = discriminate(p, config, real[0, 0], noise), discriminate(p, config, fake.detach(), noise)
    of_d = d_loss(kind, *logits)
    of_g = g_loss(kind, discriminate(p, config, fake, noise))
    gradients = {}
    for network, loss in [("discriminator", of_d), ("generator", of_g)]:
        names = [name for name in p if name.startswith(network)]
        gradients |= dict(zip(names, torch.autograd.grad(loss, [p[name] for name in names])))
    put(into, f"{case}.gradient", gradients)
    put(into, f"{case}.first", {"fake": fake, "losses": torch.stack([of_d, of_g]), "noise": noise.all()})

    adams = {n: torch.optim.Adam([p[k] for k in p if k.startswith(n)], **ADAM) for n in ["discriminator", "generator"]}

    def step_of(network, loss):
        for parameter in p.values():
            parameter.grad = None
        loss.backward()
        adams[network].step()

    reports, noises = [], []
    for step in range(STEPS):
        noise = Noise()
        for k in range(rounds):
            fake = generate(p, settings, z[step, k]).detach()
            logits = discriminate(p, config, real[step, k], noise), discriminate(p, config, fake, noise)
            of_d = d_loss(kind, *logits)
            step_of("discriminator", of_d)
        of_g = g_loss(kind, discriminate(p, config, generate(p, settings, z[step, -1]), noise))
        step_of("generator", of_g)
        reports.append(torch.stack([of_d, *(belief(kind, x) for x in logits), of_g]))
        noises.append(noise.all())
    put(into, case, {"losses": torch.stack(reports), "noise": torch.stack(noises)})
    put(into, f"{case}.final", p)


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
