"""A training step of the body of a PixelCNN in PyTorch: seven residual layers of masked 3×3 convolutions (mask B)
with 64 channels on 28×28 images, fused Adam in every mode. `--full` leaves the mask out.
"""

import torch
from measure import arguments, measure
from torch import nn
from torch.nn.functional import conv2d, relu

LAYERS, CHANNELS, SIDE = 7, 64, 28
MODES = ["eager", "channels_last", "compile"]


class Layer(nn.Conv2d):
    def __init__(self, masked):
        super().__init__(CHANNELS, CHANNELS, 3, padding=1)
        self.masked = masked
        mask = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0]], dtype=torch.float32)
        self.register_buffer("mask", mask.expand(CHANNELS, CHANNELS, 3, 3).contiguous())

    def forward(self, h):
        weight = self.weight * self.mask if self.masked else self.weight
        return h + conv2d(relu(h), weight, self.bias, padding=1)


def main():
    given = arguments(MODES, full=False)
    body = nn.Sequential(*(Layer(not given.full) for _ in range(LAYERS)))
    x = torch.randn(given.batch, CHANNELS, SIDE, SIDE)
    if given.mode != "eager":
        body, x = body.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    forward = torch.compile(body) if given.mode == "compile" else body
    adam = torch.optim.Adam(body.parameters(), lr=1e-3, fused=True)

    def step(_):
        adam.zero_grad(set_to_none=True)
        loss = forward(x).square().mean()
        loss.backward()
        adam.step()
        return loss

    measure(given, step)


if __name__ == "__main__":
    main()
