# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""R3GAN written anew in PyTorch, to hold ours against: `uv run crates/poiesis/src/models/gan/r3gan/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, images, latents and classes of ten steps, outputs, losses,
penalties by double backpropagation, every gradient at the first weights, and the losses and weights of ten steps. PyTorch computes in
f64, so a difference is an error of ours. Arrays have our names and layouts: channels last.

Huang et al. 2024, arXiv:2501.05441, with the sizes of a toy.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pad, softplus

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH = 31, 10, 4
CASES = {
    # Sides that differ, so that rows and columns cannot be confused; features that stay, and features that double.
    "plain": {
        "shape": [8, 16, 3],
        "classes": 0,
        "scale": 0.3,
        "config": {"latent_dim": 3, "width": 4, "max_width": 8, "blocks": 2, "expansion": 2, "group_width": 4, "gamma": 0.3},
    },
    "classes": {
        "shape": [16, 16, 1],
        "classes": 3,
        "scale": 0.5,
        "config": {
            "latent_dim": 2, "width": 4, "max_width": 4, "blocks": 1, "expansion": 1, "group_width": 2,
            "gamma": 1.5, "conditional": True, "class_dim": 5,
        },
    },
}


def sizes_of(config, shape, classes):
    """Features at each level, the last of which is the smallest size, and the sides there."""
    levels, sides = 0, shape[:2]
    while min(sides) >= 8:
        levels, sides = levels + 1, [side // 2 for side in sides]
    return [min(config["width"] << level, config["max_width"]) for level in range(levels + 1)], sides


def shapes_of(config, shape, classes):
    widths, sides = sizes_of(config, shape, classes)
    found = {}

    def stage(name, features):
        inside = config["expansion"] * features
        for i in range(config["blocks"]):
            block = f"{name}.stage.blocks.{i}"
            found[f"{block}.expand.weight"], found[f"{block}.expand.bias"] = [features, inside], [inside]
            found[f"{block}.conv.weight"], found[f"{block}.conv.bias"] = [3, 3, config["group_width"], inside], [inside]
            found[f"{block}.reduce.weight"] = [inside, features]

    def change(name, a, b):
        if a != b:
            found[f"{name}.change.weight"] = [a, b]

    class_dim = config["class_dim"] if classes else 0
    if classes:
        found["generator.class.weight"] = [classes, class_dim]
        found["discriminator.class.weight"] = [classes, class_dim]
    found["generator.project.weight"] = [config["latent_dim"] + class_dim, widths[-1]]
    found["generator.basis"] = found["discriminator.basis"] = [*sides, widths[-1]]
    down = widths[::-1]
    for i, features in enumerate(down):
        change(f"generator.stages.{i}", down[max(i - 1, 0)], features)
        stage(f"generator.stages.{i}", features)
    found["generator.output.weight"] = [widths[0], shape[2]]
    found["discriminator.input.weight"] = [shape[2], widths[0]]
    for i, features in enumerate(widths):
        stage(f"discriminator.stages.{i}", features)
        change(f"discriminator.stages.{i}", features, widths[min(i + 1, len(widths) - 1)])
    found["discriminator.output.weight"] = [widths[-1], class_dim or 1]
    return found


def filtered(x, factor):
    """The filter [1, 2, 1] in both directions, as a kernel for each feature."""
    line = torch.tensor([1.0, 2.0, 1.0]) * factor
    return torch.outer(line, line).expand(x.shape[1], 1, 3, 3)


def downsample(x):
    return conv2d(pad(x, (1, 0, 1, 0)), filtered(x, 1 / 4), stride=2, groups=x.shape[1])


def upsample(x):
    return conv_transpose2d(x, filtered(x, 1 / 2), stride=2, groups=x.shape[1])[:, :, : 2 * x.shape[2], : 2 * x.shape[3]]


class Networks:
    def __init__(self, config, shape, classes, parameters):
        self.config, self.p, self.classes = config, parameters, classes
        self.widths, self.sides = sizes_of(config, shape, classes)

    def point(self, name, h):
        """A linear layer at each pixel."""
        weight = self.p[f"{name}.weight"].T[:, :, None, None]
        return conv2d(h, weight, self.p.get(f"{name}.bias"))

    def stage(self, name, h):
        for i in range(self.config["blocks"]):
            block = f"{name}.stage.blocks.{i}"
            a = leaky_relu(self.point(f"{block}.expand", h), 0.2)
            groups = a.shape[1] // self.config["group_width"]
            weight = self.p[f"{block}.conv.weight"].permute(3, 2, 0, 1)
            a = leaky_relu(conv2d(a, weight, self.p[f"{block}.conv.bias"], padding=1, groups=groups), 0.2)
            h = h + self.point(f"{block}.reduce", a)
        return h

    def change(self, name, h):
        return self.point(f"{name}.change", h) if f"{name}.change.weight" in self.p else h

    def generate(self, z, chosen):
        if self.classes:
            z = torch.cat([z, self.p["generator.class.weight"][chosen]], 1)
        h = (z @ self.p["generator.project.weight"])[:, :, None, None] * self.p["generator.basis"].permute(2, 0, 1)
        for i in range(len(self.widths)):
            h = self.change(f"generator.stages.{i}", h)
            h = self.stage(f"generator.stages.{i}", upsample(h) if i else h)
        return self.point("generator.output", h)

    def discriminate(self, x, chosen):
        h = self.point("discriminator.input", x)
        for i in range(len(self.widths)):
            h = self.stage(f"discriminator.stages.{i}", h)
            h = downsample(h) if i < len(self.widths) - 1 else h
            h = self.change(f"discriminator.stages.{i}", h)
        features = (h * self.p["discriminator.basis"].permute(2, 0, 1)).sum((2, 3))
        output = features @ self.p["discriminator.output.weight"]
        return (output * self.p["discriminator.class.weight"][chosen]).sum(1) if self.classes else output[:, 0]


def run(case, settings, into):
    config, shape, classes = settings["config"], settings["shape"], settings["classes"]
    p = {}
    for name, size in shapes_of(config, shape, classes).items():
        # Small biases, so that the slopes differ from image to image in all layers.
        scale = 0.02 if name.endswith("bias") else settings["scale"]
        p[name] = (scale * torch.randn(size)).float().double().requires_grad_()
    networks = Networks(config, shape, classes, p)
    put(into, f"{case}.initial", p | {"augmentation.probability": torch.zeros(1)})
    pixels = torch.randint(0, 256, (STEPS, BATCH, *shape), dtype=torch.uint8)
    into[f"{case}.real"] = pixels.numpy()
    real = (pixels.float() / 127.5 - 1).double().permute(0, 1, 4, 2, 3)
    z = torch.randn(STEPS, BATCH, config["latent_dim"]).float().double()
    chosen = torch.randint(0, max(classes, 1), (STEPS, BATCH))
    put(into, case, {"z": z, "classes": chosen})

    def d_losses(step):
        c = chosen[step]
        x = real[step].clone().requires_grad_()
        fake = networks.generate(z[step], c).detach().requires_grad_()
        of_real, of_fake = networks.discriminate(x, c), networks.discriminate(fake, c)
        squares = []
        for logits, images in ((of_real, x), (of_fake, fake)):
            (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
            squares.append(gradient.square().sum((1, 2, 3)).mean())
        won = (of_real > of_fake).double().mean()
        return softplus(of_fake - of_real).mean(), squares, won

    def g_loss(step):
        c = chosen[step]
        fake = networks.generate(z[step], c)
        return softplus(networks.discriminate(real[step], c) - networks.discriminate(fake, c)).mean(), fake

    def total(d_loss, squares):
        return d_loss + config["gamma"] / 2 * sum(squares)

    gradients = {}
    d_loss, squares, _ = d_losses(0)
    loss, fake = g_loss(0)
    for network, value in [("discriminator", total(d_loss, squares)), ("generator", loss)]:
        names = [name for name in p if name.startswith(network)]
        gradients |= dict(zip(names, torch.autograd.grad(value, [p[name] for name in names])))
    put(into, f"{case}.gradient", gradients)
    put(into, f"{case}.first", {"fake": fake.permute(0, 2, 3, 1), "losses": torch.stack([d_loss, loss, *squares])})

    adams = {
        network: torch.optim.Adam([p[k] for k in p if k.startswith(network)], lr=2e-4, betas=(0.0, 0.99))
        for network in ["discriminator", "generator"]
    }
    reports = []
    for step in range(STEPS):
        d_loss, squares, won = d_losses(step)
        minimise(adams["discriminator"], p, total(d_loss, squares))
        loss, _ = g_loss(step)
        minimise(adams["generator"], p, loss)
        reports.append(torch.stack([d_loss, loss, *squares, won]))
    put(into, case, {"losses": torch.stack(reports)})
    put(into, f"{case}.final", p | {"augmentation.probability": torch.zeros(1)})


def minimise(adam, parameters, loss):
    for parameter in parameters.values():
        parameter.grad = None
    loss.backward()
    adam.step()


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
