"""A step of the ResNet VAE with inverse autoregressive flow in PyTorch: the networks of the model's recipes mnist and cifar10.

`mnist` has a vector of latents, whose flow has four steps of fully connected masked layers, and binary images of 28x28; `cifar10` has
eight layers of 16 maps, whose flows are masked convolutions, and 32x32x3 images of 256 levels. A whole step: fetch a batch, both passes,
the bound with free bits, backward, AdaMax over all parameters at once (`foreach`; it has no fused form).
"""

import math

import torch
from measure import arguments, train
from torch import nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits, conv2d, conv_transpose2d, elu, linear, logsigmoid,
)

MODES = ["eager", "channels_last", "compile"]
FORGET_BIAS, LEVELS, WIDTH, HIDDEN = 2.0, 2, 48, 450
RECIPES = {
    "mnist": {"shape": (1, 28, 28), "latent": 32, "maps": 0, "blocks": 2, "scale": 0.5, "flow": (4, 2, 640), "free": 0.03},
    "cifar10": {"shape": (3, 32, 32), "latent": 0, "maps": 16, "blocks": 4, "scale": 0.1, "flow": (1, 1, 48), "free": 0.25},
}


class Normed(nn.Module):
    """A weight-normalised layer: fully connected without a kernel, else a convolution."""

    def __init__(self, inputs, outputs, kernel=0, stride=1, transposed=False, deviation=1.0, mask=None):
        super().__init__()
        features = [inputs, outputs] if transposed else [outputs, inputs]
        self.over = 1 if transposed else 0
        self.direction = nn.Parameter(0.05 * torch.randn(*features, *[kernel, kernel][: 2 * (kernel > 0)]))
        gain = torch.ones([outputs if axis == self.over else 1 for axis in range(self.direction.dim())])
        self.gain, self.bias = nn.Parameter(deviation * gain), nn.Parameter(torch.zeros(outputs))
        self.kernel, self.stride, self.transposed = kernel, stride, transposed
        self.register_buffer("mask", mask)

    def forward(self, x):
        if self.mask is None:
            # The fused form behind `torch.nn.utils.parametrizations.weight_norm`.
            weight = torch._weight_norm(self.direction, self.gain, self.over)
        else:
            # What reads nothing has a norm of 0.
            direction = self.direction * self.mask
            weight = self.gain * direction * (direction.square().flatten(1).sum(1) + 1e-12).rsqrt().view_as(self.gain)
        if not self.kernel:
            return linear(x, weight, self.bias)
        padding = (self.kernel - 1) // 2
        if not self.transposed:
            return conv2d(x, weight, self.bias, self.stride, padding)
        extra = self.stride + 2 * padding - self.kernel
        return conv_transpose2d(x, weight, self.bias, self.stride, padding, extra)


def masked(inputs, outputs, kernel, groups, parts=1, own=True, deviation=1.0):
    """Reads the pixels before its own, and of its own the groups before, with `own` that of the output too."""
    source = torch.arange(inputs) * groups // inputs
    features = outputs // parts
    target = (torch.arange(outputs) % features * groups // features)[:, None]
    centre = (source <= target if own else source < target).float()
    if not kernel:
        return Normed(inputs, outputs, mask=centre, deviation=deviation)
    mask = torch.zeros(outputs, inputs, kernel * kernel)
    mask[:, :, : kernel * kernel // 2] = 1
    mask[:, :, kernel * kernel // 2] = centre
    return Normed(inputs, outputs, kernel, mask=mask.view(outputs, inputs, kernel, kernel), deviation=deviation)


class Iaf(nn.Module):
    """A step of inverse autoregressive flow; every second one goes through the values from the last to the first."""

    def __init__(self, number, values, context, layers, width, kernel):
        super().__init__()
        self.input = masked(values, width, kernel, values, own=False)
        self.context = Normed(context, width, kernel and 1)
        self.hidden = nn.ModuleList(masked(width, width, kernel, values) for _ in range(layers - 1))
        self.output = masked(width, 2 * values, kernel, values, parts=2, deviation=0.1)
        self.reversed = number % 2 == 1

    def forward(self, z, context):
        """z' and log sigma of each value."""
        axes = tuple(range(1, z.dim())) if self.reversed else ()
        z, context = z.flip(axes), context.flip(axes[1:])
        h = self.input(z) + self.context(context)
        for layer in self.hidden:
            h = layer(elu(h))
        m, s = self.output(elu(h)).chunk(2, 1)
        log_sigma = logsigmoid(s + FORGET_BIAS)
        sigma = log_sigma.exp()
        return (sigma * z + (1 - sigma) * m).flip(axes), log_sigma.flip(axes)


class Flow(nn.Module):
    def __init__(self, recipe, values, context, kernel):
        super().__init__()
        steps, layers, width = recipe["flow"]
        self.steps = nn.ModuleList(Iaf(number, values, context, layers, width, kernel) for number in range(steps))

    def draw(self, mean, log_std, context, prior, eps):
        """z, and log q - log p of each value."""
        z, kl = mean + log_std.exp() * eps, -0.5 * eps.square() - log_std
        for step in self.steps:
            z, log_sigma = step(z, context)
            kl = kl - log_sigma
        if prior is None:
            return z, kl + 0.5 * z.square()
        prior_mean, prior_log_std = prior
        return z, kl + prior_log_std + 0.5 * ((z - prior_mean) * (-prior_log_std).exp()).square()


class UpBlock(nn.Module):
    def __init__(self, recipe):
        super().__init__()
        self.hidden, self.output = Normed(WIDTH, WIDTH, 3), Normed(WIDTH, WIDTH, 3)
        if recipe["maps"]:
            self.base = Normed(WIDTH, 2 * recipe["maps"], 3, deviation=0.1)
            self.context = Normed(WIDTH, WIDTH, 3)
        self.scale, self.maps = recipe["scale"], recipe["maps"]

    def forward(self, h, found):
        h = h + self.scale * self.output(elu(self.hidden(elu(h))))
        if self.maps:
            active = elu(h)
            found.append((*self.base(active).chunk(2, 1), self.context(active)))
        return h


class DownBlock(nn.Module):
    def __init__(self, recipe):
        super().__init__()
        maps = recipe["maps"]
        self.hidden, self.output = Normed(WIDTH, WIDTH, 3), Normed(WIDTH + maps, WIDTH, 3)
        if maps:
            self.prior_and_base = Normed(WIDTH, 4 * maps, 3, deviation=0.1)
            self.context = Normed(WIDTH, WIDTH, 3)
            self.flow = Flow(recipe, maps, WIDTH, 3)
        self.scale, self.maps = recipe["scale"], maps

    def forward(self, h, found, noise, kl):
        active = elu(h)
        inside = self.hidden(active)
        if self.maps:
            prior_mean, prior_log_std, mean, log_std = self.prior_and_base(active).chunk(4, 1)
            up_mean, up_log_std, up_context = found.pop()
            context = up_context + self.context(active)
            prior = prior_mean, prior_log_std
            z, of_maps = self.flow.draw(mean + up_mean, log_std + up_log_std, context, prior, noise.pop(0))
            kl.append(of_maps)
            inside = torch.cat([inside, z], 1)
        return h + self.scale * self.output(elu(inside))


class IafVae(nn.Module):
    def __init__(self, recipe):
        super().__init__()
        channels, height, width = recipe["shape"]
        self.recipe, self.deepest = recipe, (WIDTH, height >> LEVELS, width >> LEVELS)
        blocks = lambda kind: nn.ModuleList(kind(recipe) for _ in range(recipe["blocks"]))
        self.up = nn.ModuleList(blocks(UpBlock) for _ in range(LEVELS))
        self.down = nn.ModuleList(blocks(DownBlock) for _ in range(LEVELS))
        self.input = Normed(channels, WIDTH, 5, stride=2)
        self.shrink = nn.ModuleList(Normed(WIDTH, WIDTH, 4, stride=2) for _ in range(LEVELS - 1))
        self.grow = nn.ModuleList(Normed(WIDTH, WIDTH, 4, stride=2, transposed=True) for _ in range(LEVELS - 1))
        self.output = Normed(WIDTH, channels, 5, stride=2, transposed=True, deviation=0.1)
        flat, latent = math.prod(self.deepest), recipe["latent"]
        if latent:
            self.to_hidden, self.to_base = Normed(flat, HIDDEN), Normed(HIDDEN, 2 * latent, deviation=0.1)
            self.flow = Flow(recipe, latent, HIDDEN, 0)
            self.from_latents, self.from_hidden = Normed(latent, HIDDEN), Normed(HIDDEN, flat)
        else:
            self.top = nn.Parameter(torch.randn(WIDTH))
            self.log_scale = nn.Parameter(torch.tensor([-1.4]))

    def forward(self, x, noise):
        """The bound, but for free bits, averaged over the batch."""
        found, noise, kl = [], list(noise), []
        h = self.input(x)
        for level, blocks in enumerate(self.up):
            if level:
                h = self.shrink[level - 1](elu(h))
            for block in blocks:
                h = block(h, found)
        if self.recipe["latent"]:
            context = elu(self.to_hidden(elu(h).flatten(1)))
            mean, log_std = self.to_base(context).chunk(2, 1)
            z, of_vector = self.flow.draw(mean, log_std, context, None, noise.pop(0))
            kl.append(of_vector)
            h = self.from_hidden(elu(self.from_latents(z))).view(-1, *self.deepest)
        else:
            h = self.top[:, None, None].expand(len(x), *self.deepest)
        for level, blocks in enumerate(self.down):
            if level:
                h = self.grow[level - 1](elu(h))
            for block in blocks:
                h = block(h, found, noise, kl)
        parameters = self.output(elu(h))
        if self.recipe["latent"]:
            reconstruction = binary_cross_entropy_with_logits(parameters, x, reduction="sum")
        else:
            reconstruction = -log_levels(x, parameters, self.log_scale.clamp(min=-7)).sum()
        of_maps = torch.cat([layer.flatten(2).sum((0, 2)) if layer.dim() > 2 else layer.sum(0) for layer in kl])
        return reconstruction / len(x) + (of_maps / len(x)).clamp(min=self.recipe["free"]).sum()

    def noise(self, batch):
        """Of each stochastic layer, the top first."""
        if self.recipe["latent"]:
            return [torch.randn(batch, self.recipe["latent"])]
        _, height, width = self.recipe["shape"]
        sides = [(height >> level, width >> level) for level in range(LEVELS, 0, -1) for _ in range(self.recipe["blocks"])]
        return [torch.randn(batch, self.recipe["maps"], *side) for side in sides]


def log_levels(x, mean, log_scale):
    """log of the mass that a logistic distribution puts on the bin of x in [-1, 1], one of 256; the outer bins have the tails."""
    inverse = (-log_scale).exp()
    upper, lower = (x - mean + 1 / 255) * inverse, (x - mean - 1 / 255) * inverse
    below_upper, above_lower = logsigmoid(upper), logsigmoid(-lower)
    middle = below_upper + above_lower + torch.log(-torch.expm1(-2 / 255 * inverse))
    return torch.where(x < -0.999, below_upper, torch.where(x > 0.999, above_lower, middle))


def main():
    given = arguments(MODES, recipe=list(RECIPES))
    recipe = RECIPES[given.recipe]
    layout = torch.contiguous_format if given.mode == "eager" else torch.channels_last
    network = IafVae(recipe).to(memory_format=layout)
    adamax = torch.optim.Adamax(network.parameters(), lr=0.002, foreach=True)
    objective = torch.compile(network) if given.mode == "compile" else network
    data = torch.randint(0, 256, (2048, *recipe["shape"]), dtype=torch.uint8)

    def loss():
        pixels = data[torch.randint(0, len(data), (given.batch,))]
        if recipe["latent"]:
            x = (pixels.float() / 255 > torch.rand(pixels.shape)).float()
        else:
            x = pixels.float() / 127.5 - 1
        noise = network.noise(given.batch)
        if recipe["maps"]:
            noise = [eps.contiguous(memory_format=layout) for eps in noise]
        return objective(x.contiguous(memory_format=layout), noise)

    train(given, adamax, loss)


if __name__ == "__main__":
    main()
