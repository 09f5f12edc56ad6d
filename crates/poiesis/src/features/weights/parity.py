# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "numpy==2.4.6"]
# ///
"""Small checkpoints in both formats of PyTorch, to hold our reader against: `uv run crates/poiesis/src/features/weights/parity.py`."""

from collections import OrderedDict
from pathlib import Path

import torch

folder = Path(__file__).resolve().parent / "fixtures"
folder.mkdir(exist_ok=True)
state = OrderedDict()
state["conv.weight"] = torch.nn.Parameter(torch.arange(6, dtype=torch.float32).reshape(2, 3) / 2)
# Part of a larger storage.
state["bn.running_var"] = torch.tensor([9.0, 0.25, -4.0], dtype=torch.float64)[1:]
state["scalar"] = torch.tensor(7.0)
state["bn.num_batches_tracked"] = torch.tensor(12)
state._metadata = OrderedDict({"": {"version": 1}})
torch.save(state, folder / "zip.pth")
torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
