"""A training step of a character model in PyTorch: LSTM layers on one-hot characters, linear head, cross-entropy.

A whole step: one-hot, forward, backward, Adam, which is PyTorch's fused one in every mode. The state goes on to the
next step without its gradient. `loop` writes the LSTM out in elementary operations, compiled.
"""

import torch
from measure import arguments, autocast, measure, numbers
from torch import nn
from torch.nn.functional import cross_entropy, linear, one_hot

MODES = ["eager", "compile", "loop"]


class Loop(nn.Module):
    """The weights of `nn.LSTM`, step by step."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def forward(self, x, state):
        last = []
        for layer, (h, c) in enumerate(zip(*state)):
            w_input, w_hidden, b_input, b_hidden = self.lstm.all_weights[layer]
            steps = []
            for z in linear(x, w_input, b_input + b_hidden).unbind(1):
                i, f, g, o = (z + linear(h, w_hidden)).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                steps.append(h)
            x = torch.stack(steps, 1)
            last.append((h, c))
        return x, tuple(torch.stack(kind) for kind in zip(*last))


def main():
    given, words = arguments(MODES)
    model = numbers(words, characters=65, time=50, hidden=512, layers=2)
    lstm = nn.LSTM(model.characters, model.hidden, model.layers, batch_first=True)
    head = nn.Linear(model.hidden, model.characters)
    # PyTorch has two biases for each gate where one would do: the second stays 0 and untrained.
    for name, parameter in lstm.named_parameters():
        if name.startswith("bias_hh"):
            parameter.requires_grad_(False).zero_()
    trained = [p for p in [*lstm.parameters(), *head.parameters()] if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=1e-3, fused=True)
    text = torch.randint(0, model.characters, (given.batch * (model.time + 1),))
    zeros = torch.zeros(model.layers, given.batch, model.hidden)
    state = (zeros, zeros)
    body = Loop(lstm) if given.mode == "loop" else lstm

    def forward(inputs, targets, state):
        x = one_hot(inputs, model.characters).float()
        y, state = body(x, state)
        return cross_entropy(head(y).flatten(0, 1), targets), state

    objective = forward if given.mode == "eager" else torch.compile(forward)

    def step(i):
        nonlocal state
        inputs = text[: given.batch * model.time].view(given.batch, model.time)
        with autocast(given):
            loss, new = objective(inputs, text[given.batch :], state)
        adam.zero_grad()
        loss.backward()
        adam.step()
        state = tuple(part.detach() for part in new)
        return loss.detach()

    measure(given, step)


if __name__ == "__main__":
    main()
