"""Characters generated one after another in PyTorch with its caches: an LSTM's state, a decoder's keys and values.

`lstm`: embedding, 2 × 128 LSTM, linear head. `transformer`: 4 × 128, context 256, keys and values kept in buffers and
written in place. Batch 1, softmax, one draw per character. Prints microseconds per character.
"""

import argparse
import json
import sys
import time

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from transformer import VOCABULARY, Decoder


class Lstm(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.lstm = nn.LSTM(width, width, layers)
        self.head = nn.Linear(width, VOCABULARY)
        self.state = None

    def forward(self, token):
        y, self.state = self.lstm(self.tokens(token)[None], self.state)
        return self.head(y[0, 0])


class Cached(nn.Module):
    """The decoder, one token at a time; when the context is full it starts again with an empty cache."""

    def __init__(self, layers, width, heads, context):
        super().__init__()
        self.body, self.heads, self.context, self.place = Decoder(layers, width, heads, context), heads, context, 0
        self.cache = torch.zeros(layers, 2, 1, heads, context, width // heads)

    def forward(self, token):
        place = self.place
        x = self.body.tokens(token) + self.body.positions[place]
        for block, cache in zip(self.body.blocks, self.cache):
            width = x.shape[-1]
            qkv = block.qkv(block.first_norm(x)).view(1, 3, self.heads, 1, width // self.heads)
            q, k, v = qkv.unbind(1)
            cache[0, :, :, place : place + 1] = k
            cache[1, :, :, place : place + 1] = v
            y = scaled_dot_product_attention(q, cache[0, :, :, : place + 1], cache[1, :, :, : place + 1])
            x = x + block.attended(y.reshape(1, width))
            x = x + block.down(gelu(block.up(block.second_norm(x))))
        self.place = (place + 1) % self.context
        return self.body.head(self.body.norm(x))[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=["lstm", "transformer"])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--characters", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.model == "lstm":
        model = Lstm(given.width, given.layers or 2)
    else:
        model = Cached(given.layers or 4, given.width, 4, given.context)
    token = torch.zeros(1, dtype=torch.long)
    with torch.inference_mode():
        for count in [100, given.characters]:
            began = time.perf_counter()
            for _ in range(count):
                token = torch.multinomial(model(token).softmax(0), 1)
            seconds = time.perf_counter() - began
    json.dump({"us": 1e6 * seconds / given.characters, "seconds": seconds}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
