"""Computes in PyTorch what the test computes in Poiesis, with weights that `docs/python/load_weights.py` loads.

`weights.py FOLDER`: the folder has the runs `layers`, `vae`, `dcgan`, `lstm` and `gru`, each with `inputs.safetensors`. What PyTorch makes
of them is written to `outputs.safetensors` beside it, images channels last. The examples also draw a picture of their run each.
"""

import runpy
import sys
from pathlib import Path

import draw_dcgan
import draw_vae
import torch
from load_weights import load, newest, state_dict
from safetensors.torch import load_file, save_file
from torch import nn


class Layers(nn.Module):
    """One layer of each kind, under the names of the test's; a weight-normalised one is a plain one with another weight."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.conv = nn.Conv2d(3, 4, 5, stride=2, padding=2)
        self.up = nn.ConvTranspose2d(3, 2, 5, stride=2, padding=2, output_padding=1)
        self.wide_up = nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.table = nn.Embedding(6, 3)
        self.start = nn.Parameter(torch.zeros(3))
        normed = {"linear": nn.Linear(3, 5), "conv": nn.Conv2d(3, 4, 4, stride=2, padding=1)}
        normed["up"] = nn.ConvTranspose2d(3, 2, 3, stride=1, padding=1)
        self.normed = nn.ModuleDict({name: nn.ModuleDict({"normed": layer}) for name, layer in normed.items()})

    def forward(self, x):
        images, rows = x.permute(0, 3, 1, 2), x.flatten(1, 2)
        normed = {name: layer["normed"] for name, layer in self.normed.items()}
        return {
            "linear": self.linear(x),
            "conv": last(self.conv(images)),
            "up": last(self.up(images)),
            "wide_up": last(self.wide_up(images)),
            "norm": last(self.norm(images)),
            "lstm": self.lstm(rows)[0],
            "table": self.table(torch.tensor([5, 0, 3])),
            "start": self.start,
            "normed_linear": normed["linear"](x),
            "normed_conv": last(normed["conv"](images)),
            "normed_up": last(normed["up"](images)),
        }


class CharRnn(nn.Module):
    """The network of `char-rnn`, tokens to the log-probability of each but the first."""

    def __init__(self, arrays):
        super().__init__()
        self.table = nn.Embedding(*arrays["network.table"].shape)
        cells = {"Lstm": nn.LSTM, "Gru": nn.GRU}
        self.layers = nn.ModuleList()
        for name, array in arrays.items():
            match name.split("."):
                case ["network", "layers", _, kind, "w_hidden"]:
                    inputs = arrays[name.replace("w_hidden", "w_input")].shape[0]
                    self.layers.append(nn.ModuleDict({kind: cells[kind](inputs, array.shape[0], batch_first=True)}))
        self.head = nn.Linear(*arrays["network.head.weight"].shape)

    def forward(self, tokens):
        h = self.table(tokens[:, :-1])
        for layer in self.layers:
            for cell in layer.values():
                h = cell(h)[0]
        return torch.log_softmax(self.head(h), -1).gather(2, tokens[:, 1:, None])[..., 0]


def last(images):
    return images.permute(0, 2, 3, 1)


def layers(run, inputs):
    network = Layers()
    network.load_state_dict(state_dict(network, load(newest(run)), ""))
    return network.eval()(inputs["x"])


def char_rnn(run, inputs):
    arrays = load(newest(run))
    network = CharRnn(arrays)
    network.load_state_dict(state_dict(network, arrays, "network"))
    return {"log_prob": network(inputs["tokens"].long())}


def vae(run, inputs):
    return {"images": last(draw_vae.decoder(run)(inputs["latents"]))}


def dcgan(run, inputs):
    return {"images": last(draw_dcgan.generator(run)(inputs["latents"]))}


def draw(example, run):
    """Runs an example as a user does."""
    sys.argv = [example.__file__, str(run), str(run / "image.png")]
    runpy.run_path(example.__file__, run_name="__main__")


def main():
    folder = Path(sys.argv[1])
    networks = {"layers": layers, "vae": vae, "dcgan": dcgan, "lstm": char_rnn, "gru": char_rnn}
    with torch.no_grad():
        for name, compute in networks.items():
            run = folder / name
            outputs = compute(run, load_file(run / "inputs.safetensors"))
            save_file({key: value.contiguous() for key, value in outputs.items()}, run / "outputs.safetensors")
    for example, name in [(draw_vae, "vae"), (draw_dcgan, "dcgan")]:
        draw(example, folder / name)


if __name__ == "__main__":
    main()
