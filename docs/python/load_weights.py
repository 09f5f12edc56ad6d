# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "numpy", "safetensors"]
# ///
"""Loads the weights of a run into layers of PyTorch. `docs/weights.md` says what each array means.

`uv run docs/python/load_weights.py RUN` lists the arrays of the newest checkpoint of a run.
"""

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

# Our names of arrays that PyTorch calls otherwise.
NORM = {"weight": "gamma", "bias": "beta"}
RECURRENT = {"weight_ih_l0": "w_input", "weight_hh_l0": "w_hidden"}
NAMES = {
    nn.BatchNorm1d: NORM,
    nn.BatchNorm2d: NORM,
    nn.LSTM: RECURRENT | {"bias_ih_l0": "bias"},
    nn.GRU: RECURRENT | {"bias_ih_l0": "bias_input", "bias_hh_l0": "bias_hidden"},
}
# Our axes in the order of PyTorch's.
AXES = {nn.Linear: (1, 0), nn.LSTM: (1, 0), nn.GRU: (1, 0), nn.Conv2d: (3, 2, 0, 1), nn.ConvTranspose2d: (2, 3, 0, 1)}


def newest(run):
    """The newest complete checkpoint of a run."""
    folders = Path(run, "checkpoints").glob("step-*")
    complete = [path for path in folders if path.name[5:].isdigit() and (path / "COMPLETE").exists()]
    if not complete:
        raise FileNotFoundError(f"{run} has no complete checkpoint")
    return max(complete, key=lambda path: int(path.name[5:]))


def load(checkpoint):
    """The averaged weights of a checkpoint by our names, or the trained ones where the run keeps no averages."""
    return load_file(checkpoint / "ema.safetensors") or load_file(checkpoint / "model.safetensors")


def state_dict(network, arrays, prefix):
    """What `network.load_state_dict` takes, from the arrays below `prefix`. Its modules have the names of ours."""
    state = network.state_dict()
    for name, own in state.items():
        path, _, kind = name.rpartition(".")
        layer = type(network.get_submodule(path))
        place = ".".join(filter(None, [prefix, path]))
        below = f"{place}." if place else ""
        if kind == "num_batches_tracked" or (layer is nn.LSTM and kind == "bias_hh_l0"):
            state[name] = own.new_zeros(own.shape)  # We have neither: batches are not counted, and an LSTM has one bias.
            continue
        if kind == "weight" and below + "direction" in arrays:
            array = weight_norm(arrays[below + "direction"], arrays[below + "gain"])
        elif kind == "weight" and place in arrays:
            array = arrays[place]  # A table of tokens, or the gains of a norm.
        else:
            array = arrays[below + NAMES.get(layer, {}).get(kind, kind)]
        axes = AXES.get(layer, ())
        state[name] = array.permute(axes) if array.dim() == len(axes) else array
    return state


def weight_norm(direction, gain):
    """The weight g v / ‖v‖, with a norm for each output: the last axis of v."""
    return gain * direction / (direction.flatten(0, -2).square().sum(0) + 1e-12).sqrt()


if __name__ == "__main__":
    checkpoint = newest(sys.argv[1])
    print(checkpoint)
    for name, array in load(checkpoint).items():
        print(f"{name}  {list(array.shape)}")
