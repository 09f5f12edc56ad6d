"""A training step of a small decoder in PyTorch: nanoGPT's shape, with learned positions, norms in front, no dropout.

A whole step: fetch a batch of text, forward, cross-entropy, backward, AdamW, which is PyTorch's fused one in every mode.
"""

import torch
from measure import arguments, numbers, train
from torch import nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

VOCABULARY = 65
MODES = ["eager", "compile"]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.first_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, time, width = x.shape
        qkv = self.qkv(self.first_norm(x)).view(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attended(y.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(gelu(self.up(self.second_norm(x))))


class Decoder(nn.Module):
    def __init__(self, layers, width, heads, context):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.positions)))


def main():
    given, words = arguments(MODES)
    model = numbers(words, layers=4, width=128, heads=4, context=64)
    decoder = Decoder(model.layers, model.width, model.heads, model.context)
    adam = torch.optim.AdamW(decoder.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    text = torch.randint(0, VOCABULARY, (100_000,))
    offsets = torch.arange(model.context + 1)

    def bound(window):
        logits = decoder(window[:, :-1])
        return cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())

    def batch():
        return (text[torch.randint(0, len(text) - model.context, (given.batch, 1)) + offsets],)

    train(given, adam, bound, batch)


if __name__ == "__main__":
    main()
