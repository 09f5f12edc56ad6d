# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""The improved GAN written anew in PyTorch, to hold ours against:
`uv run crates/poiesis/src/models/gan/improved_gan/parity.py`.

Writes `parity.safetensors` beside this file: for each case first weights, images, classes, latents and noise of ten steps, outputs,
losses, every gradient at the first weights, the losses and weights of ten steps, and data-dependent first values. PyTorch computes in
f64, so a difference is an error of ours. Arrays have our names and layouts: channels last.

Salimans et al. 2016, arXiv:1606.03498, with the sizes of a toy.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import conv2d, conv_transpose2d, cross_entropy, leaky_relu, relu, softplus

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "fixtures"))
from saving import make, put  # noqa: E402

SEED, STEPS, BATCH, CLASSES = 17, 10, 3, 3
ADAM = {"lr": 3e-3, "betas": (0.5, 0.999)}
COMMON = {"latent_dim": 5, "generator_hidden_dims": [6, 7], "discriminator_hidden_dims": [9, 8]}
CASES = {
    "classifier": {"shape": [6, 8, 1], "config": COMMON | {"body": "mlp", "labels_per_class": 2}},
    "techniques": {
        "shape": [6, 8, 1],
        "config": COMMON
        | {
            "body": "mlp",
            "classify": False,
            "feature_matching": False,
            "minibatch_discrimination": True,
            "minibatch_kernels": 3,
            "minibatch_dims": 2,
            "historical_averaging": 0.05,
            "label_smoothing": 0.25,
            "virtual_batch_norm": True,
            "virtual_batch_size": 3,
            "generator_steps": 2,
        },
    },
    # Sides that differ, so that rows and columns cannot be confused.
    "conv": {
        "shape": [16, 24, 3],
        "config": COMMON | {"body": "conv", "generator_width": 2, "width": 2, "virtual_batch_norm": True, "virtual_batch_size": 3},
    },
    "conv-batch-norm": {
        "shape": [16, 24, 1],
        "config": COMMON | {"body": "conv", "generator_width": 2, "width": 2, "minibatch_discrimination": True,
                            "minibatch_kernels": 3, "minibatch_dims": 2},
    },
}


def shapes_of(config, shape):
    """The shape of every parameter by our name."""
    height, width, channels = shape
    found, dims = {}, height * width * channels

    def weights(name, kernel):
        found[f"{name}.direction"], found[f"{name}.gain"], found[f"{name}.bias"] = kernel, [kernel[-1]], [kernel[-1]]

    def norm(name, features):
        kind = "Virtual" if config.get("virtual_batch_norm") else "Batch"
        found[f"{name}.{kind}.gamma"], found[f"{name}.{kind}.beta"] = [features], [features]

    if config["body"] == "mlp":
        sizes = [config["latent_dim"], *config["generator_hidden_dims"]]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            found[f"generator.body.Mlp.hidden.{i}.layer.weight"] = [a, b]
            norm(f"generator.body.Mlp.hidden.{i}.norm", b)
        weights("generator.body.Mlp", [sizes[-1], dims])
        sizes = [dims, *config["discriminator_hidden_dims"]]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            weights(f"discriminator.body.Mlp.hidden.{i}.weights", [a, b])
        features = sizes[-1]
    else:
        narrow = config["generator_width"]
        found["generator.body.Conv.project.layer.weight"] = [config["latent_dim"], height * width // 16 * 2 * narrow]
        norm("generator.body.Conv.project.norm", 2 * narrow)
        found["generator.body.Conv.up.0.layer.weight"] = [5, 5, 2 * narrow, narrow]
        norm("generator.body.Conv.up.0.norm", narrow)
        weights("generator.body.Conv", [5, 5, narrow, channels])
        a, b = config["width"], 2 * config["width"]
        for i, inputs in enumerate([channels, a, a]):
            weights(f"discriminator.body.Conv.first.{i}.weights", [3, 3, inputs, a])
        for i, inputs in enumerate([a, b, b]):
            weights(f"discriminator.body.Conv.second.{i}.weights", [3, 3, inputs, b])
        for i, size in enumerate([3, 1, 1]):
            weights(f"discriminator.body.Conv.last.{i}.weights", [size, size, b, b])
        features = b
    if config.get("minibatch_discrimination"):
        kernels = config["minibatch_kernels"]
        values = kernels * config["minibatch_dims"]
        found["discriminator.minibatch.direction"], found["discriminator.minibatch.gain"] = [features, values], [values]
        found["discriminator.minibatch.bias"] = [kernels]
        features += kernels
    weights("discriminator.output.weights", [features, CLASSES if config.get("classify", True) else 1])
    if config.get("virtual_batch_norm"):
        found["generator.reference"] = [config["virtual_batch_size"], config["latent_dim"]]
    return found


def normalised(direction, gain):
    norm = direction.flatten(0, -2).norm(dim=0)
    return direction * gain / norm


class Networks:
    """Both networks as functions of their parameters."""

    def __init__(self, config, shape, parameters):
        self.config, self.shape, self.p = config, shape, parameters
        self.first, self.running = None, {}

    # The layers of the discriminator.

    def normed(self, name, x, product, trained_gain=False):
        p = self.p
        direction, gain = p[f"{name}.direction"], p[f"{name}.gain"]
        if self.first is not None:
            y = product(x, normalised(direction, torch.ones_like(gain)))
            axes = [axis for axis in range(y.dim()) if axis != 1]
            mean, variance = y.mean(axes), y.var(axes, unbiased=False)
            scale = ((variance + 1e-10).rsqrt()).clamp(max=10.0)
            self.first[f"{name}.gain"], self.first[f"{name}.bias"] = scale, -mean * scale
            view = [1, -1] + [1] * (y.dim() - 2)
            return (y - mean.view(view)) * scale.view(view)
        y = product(x, normalised(direction, gain if trained_gain else gain.detach()))
        return y + p[f"{name}.bias"].view([1, -1] + [1] * (y.dim() - 2))

    def linear(self, name, x, trained_gain=False):
        return self.normed(f"{name}.weights", x, lambda x, weight: x @ weight, trained_gain)

    def conv(self, name, x, stride=1, padding=0):
        product = lambda x, weight: conv2d(x, weight.permute(3, 2, 0, 1), stride=stride, padding=padding)
        return leaky_relu(self.normed(f"{name}.weights", x, product), 0.2)

    def discriminate(self, batches, noise):
        """Features and logits of each batch."""
        sizes, x = [len(batch) for batch in batches], torch.cat(batches)
        if self.config["body"] == "mlp":
            h = (x.permute(0, 2, 3, 1).flatten(1) + 1) / 2
            h = h + 0.3 * noise(h)
            for i in range(len(self.config["discriminator_hidden_dims"])):
                features = relu(self.linear(f"discriminator.body.Mlp.hidden.{i}", h))
                h = features + 0.5 * noise(features)
        else:
            body, h = "discriminator.body.Conv", self.drop(x, 0.2, noise)
            for i, stride in enumerate([1, 1, 2]):
                h = self.conv(f"{body}.first.{i}", h, stride, 1)
            h = self.drop(h, 0.5, noise)
            for i, stride in enumerate([1, 1, 2]):
                h = self.conv(f"{body}.second.{i}", h, stride, 1)
            h = self.drop(h, 0.5, noise)
            for i in range(3):
                h = self.conv(f"{body}.last.{i}", h)
            features = h = h.mean((2, 3))
        if self.config.get("minibatch_discrimination"):
            m = h @ normalised(self.p["discriminator.minibatch.direction"], self.p["discriminator.minibatch.gain"])
            parts = [self.closeness(part) for part in m.split(sizes)]
            h = torch.cat([h, torch.cat(parts) + self.p["discriminator.minibatch.bias"]], 1)
        logits = self.linear("discriminator.output", h, trained_gain=True)
        return list(zip(features.split(sizes), logits.split(sizes)))

    def drop(self, x, part, noise):
        # Noise is in our layout.
        kept = noise(x.permute(0, 2, 3, 1).flatten(1)) >= part
        return x * kept.view(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2) / (1 - part)

    def closeness(self, m):
        m = m.view(len(m), self.config["minibatch_kernels"], -1)
        close = torch.exp(-(m[:, None] - m[None]).abs().sum(3))
        others = 1 - torch.eye(len(m))
        return (close * others[:, :, None]).sum(1)

    # The generator.

    def norm(self, name, h, references):
        """Over `[rows, features, ...]`."""
        p, view = self.p, [1, -1] + [1] * (h.dim() - 2)
        pixels = list(range(2, h.dim()))
        kind = "Virtual" if references else "Batch"
        gamma, beta = p[f"{name}.{kind}.gamma"].view(view), p[f"{name}.{kind}.beta"].view(view)
        if self.config["body"] == "mlp":
            gamma = gamma.detach()
        if not references:
            axes = [0, *pixels]
            mean, variance = h.mean(axes, keepdim=True), h.var(axes, unbiased=False, keepdim=True)
            self.follow(f"{name}.{kind}", mean.detach().flatten(), h.var(axes).detach())
            return (h - mean) / torch.sqrt(variance + 1e-5) * gamma + beta
        own_mean = h.mean(pixels, keepdim=True) if pixels else h
        own_square = (h**2).mean(pixels, keepdim=True) if pixels else h**2
        rows = []
        for row in range(len(h)):
            mean, square = own_mean[:references].mean(0), own_square[:references].mean(0)
            if row >= references:
                mean = (references * mean + own_mean[row]) / (references + 1)
                square = (references * square + own_square[row]) / (references + 1)
            rows.append((h[row] - mean) / torch.sqrt(square - mean**2 + 1e-5))
        return torch.stack(rows) * gamma + beta

    def follow(self, name, mean, variance):
        """Running statistics go a tenth of the way to those of the batch, whose variance is the unbiased one."""
        old_mean, old_variance = self.running.get(name, (torch.zeros(len(mean)), torch.ones(len(mean))))
        self.running[name] = 0.9 * old_mean + 0.1 * mean, 0.9 * old_variance + 0.1 * variance

    def statistics(self):
        """The running statistics by our names."""
        found = {}
        for name, shape in shapes_of(self.config, self.shape).items():
            if name.endswith(".Batch.gamma"):
                norm = name.removesuffix(".gamma")
                mean, variance = self.running.get(norm, (torch.zeros(shape), torch.ones(shape)))
                found |= {f"{norm}.running_mean": mean, f"{norm}.running_var": variance}
        return found

    def generate(self, z):
        p, (height, width, channels) = self.p, self.shape
        references = self.config["virtual_batch_size"] if self.config.get("virtual_batch_norm") else 0
        h = torch.cat([p["generator.reference"].detach(), z]) if references else z
        if self.config["body"] == "mlp":
            body = "generator.body.Mlp"
            for i in range(len(self.config["generator_hidden_dims"])):
                h = h @ p[f"{body}.hidden.{i}.layer.weight"]
                h = softplus(self.norm(f"{body}.hidden.{i}.norm", h, references))
            h = h @ normalised(p[f"{body}.direction"], p[f"{body}.gain"]) + p[f"{body}.bias"]
            h = (2 * torch.sigmoid(h) - 1).view(-1, height, width, channels).permute(0, 3, 1, 2)
        else:
            body = "generator.body.Conv"
            h = (h @ p[f"{body}.project.layer.weight"]).view(len(h), height // 4, width // 4, -1).permute(0, 3, 1, 2)
            h = relu(self.norm(f"{body}.project.norm", h, references))
            weight = p[f"{body}.up.0.layer.weight"].permute(2, 3, 0, 1)
            h = conv_transpose2d(h, weight, stride=2, padding=2, output_padding=1)
            h = relu(self.norm(f"{body}.up.0.norm", h, references))
            weight = normalised(p[f"{body}.direction"], p[f"{body}.gain"]).permute(2, 3, 0, 1)
            h = conv_transpose2d(h, weight, p[f"{body}.bias"], stride=2, padding=2, output_padding=1)
            h = torch.tanh(h)
        return h[references:]


def d_losses(networks, labelled, real, fake, noise):
    """The supervised loss, if there is one, the unsupervised one, and the mean D of real and generated images."""
    batches = [labelled[0], real, fake] if labelled else [real, fake]
    outputs = networks.discriminate(batches, noise)
    z_real, z_fake = (logits.logsumexp(1) for _, logits in outputs[-2:])
    target = 1 - networks.config.get("label_smoothing", 0.0)
    log_d, log_not_d = z_real - softplus(z_real), -softplus(z_real)
    unsupervised = -target * log_d.mean() - (1 - target) * log_not_d.mean() + softplus(z_fake).mean()
    supervised = cross_entropy(outputs[0][1], labelled[1]) if labelled else None
    return supervised, 0.5 * unsupervised, torch.sigmoid(z_real).mean(), torch.sigmoid(z_fake).mean()


def g_loss(networks, matched, fake, noise):
    if networks.config.get("feature_matching", True):
        (real, _), (fake, _) = networks.discriminate([matched, fake], noise)
        difference = real.detach().mean(0) - fake.mean(0)
        return (difference**2).mean() if networks.config["body"] == "mlp" else difference.abs().mean()
    [(_, logits)] = networks.discriminate([fake], noise)
    return softplus(-logits.logsumexp(1)).mean()


class Noise:
    """Draws noise and keeps it: normal, or in 256ths, which is enough to drop values and takes a byte each."""

    def __init__(self, body):
        self.bytes, self.drawn = body == "conv", []

    def __call__(self, like):
        drawn = torch.randint(0, 256, like.shape, dtype=torch.uint8) if self.bytes else torch.randn(like.shape).float()
        self.drawn.append(drawn.flatten())
        return drawn.double() / 256 if self.bytes else drawn.double()

    def all(self):
        return torch.cat(self.drawn).numpy()


def run(case, settings, into):
    config, shape = settings["config"], settings["shape"]
    parameters = {}
    for name, size in shapes_of(config, shape).items():
        around = 1.0 if name.endswith(("gain", "gamma")) else 0.0
        value = (around + 0.3 * torch.randn(size)).float().double()
        parameters[name] = value.requires_grad_()
    networks = Networks(config, shape, parameters)
    put(into, f"{case}.initial", parameters | networks.statistics())

    def images():
        pixels = torch.randint(0, 256, (STEPS, BATCH, *shape), dtype=torch.uint8)
        return pixels.numpy(), (pixels.float() / 127.5 - 1).double().permute(0, 1, 4, 2, 3)

    into[f"{case}.labelled"], labelled = images()
    into[f"{case}.real"], real = images()
    into[f"{case}.matched"], matched = images()
    classes = torch.randint(0, CLASSES, (STEPS, BATCH))
    rounds = 1 + config.get("generator_steps", 1)
    z = (2 * torch.rand(STEPS, rounds, BATCH, config["latent_dim"]) - 1).float().double()
    put(into, case, {"classes": classes, "z": z})
    with_labels = config.get("classify", True)
    batch = lambda step: (labelled[step], classes[step]) if with_labels else None

    # Data-dependent first values.
    noise = Noise(config["body"])
    networks.first = {}
    networks.discriminate([real[0]], noise)
    put(into, f"{case}.first_values", networks.first)
    into[f"{case}.first_noise"] = noise.all()
    networks.first = None

    # Every gradient at the first weights, each network against the other as it starts.
    noise = Noise(config["body"])
    fake = networks.generate(z[0, 0])
    supervised, unsupervised, *_ = d_losses(networks, batch(0), real[0], fake.detach(), noise)
    (unsupervised + (supervised if with_labels else 0)).backward()
    of_g = g_loss(networks, matched[0], networks.generate(z[0, 1]), noise)
    generator = {name: p for name, p in parameters.items() if name.startswith("generator")}
    discriminator = {name: p for name, p in parameters.items() if name.startswith("discriminator")}
    gradients = {name: p.grad for name, p in discriminator.items() if p.grad is not None}
    # The reference batch is no parameter, nor is a gain of the fully connected body.
    fixed = lambda name: name == "generator.reference" or (config["body"] == "mlp" and name.endswith(".gamma"))
    trained = {name: p for name, p in generator.items() if not fixed(name)}
    gradients |= dict(zip(trained, torch.autograd.grad(of_g, list(trained.values()))))
    put(into, f"{case}.gradient", gradients)
    losses = [unsupervised, of_g] + ([supervised] if with_labels else [])
    put(into, f"{case}.first", {"fake": fake.permute(0, 2, 3, 1), "losses": torch.stack(losses)})
    into[f"{case}.gradient_noise"] = noise.all()

    networks.running = {}
    strength = config.get("historical_averaging", 0.0)
    history = {}

    def penalty(players):
        """Historical averaging: the squared distance from the mean of all values so far."""
        total = 0
        for name, parameter in players.items():
            past = history.setdefault(name, [])
            past.append(parameter.detach().clone())
            total = total + ((parameter - torch.stack(past).mean(0)) ** 2).sum()
        return strength * total

    of_both = [
        torch.optim.Adam(list(players.values()), **ADAM)
        for players in (trained, discriminator)
    ]
    # Gains of hidden layers are no parameters of any loss.
    learned = {n: p for n, p in discriminator.items() if not n.endswith("weights.gain") or "output" in n or "minibatch" in n}
    reports, noises = [], []
    for step in range(STEPS):
        noise = Noise(config["body"])
        fake = networks.generate(z[step, 0]).detach()
        supervised, unsupervised, d_real, d_fake = d_losses(networks, batch(step), real[step], fake, noise)
        loss = unsupervised + (supervised if with_labels else 0) + penalty(learned)
        for p in parameters.values():
            p.grad = None
        loss.backward()
        of_both[1].step()
        for extra in range(1, rounds):
            of_g = g_loss(networks, matched[step], networks.generate(z[step, extra]), noise)
            for p in parameters.values():
                p.grad = None
            (of_g + penalty(trained)).backward()
            of_both[0].step()
        reports.append(torch.stack([unsupervised, of_g, *([supervised] if with_labels else []), d_real, d_fake]))
        noises.append(noise.all())
    into[f"{case}.noise"] = np.stack(noises)
    put(into, case, {"losses": torch.stack(reports)})
    put(into, f"{case}.final", parameters | networks.statistics())


if __name__ == "__main__":
    make(__file__, SEED, CASES, run)
