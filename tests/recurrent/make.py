"""Writes the PyTorch references `<case>.safetensors`; README.md says what is in them.

    python make.py [CASE ...]
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "references"))
generate = __import__("make")  # the values from a formula, and what files look like

STEPS = 20
KEEP = 96
ORDERS = 4
# The learning rates: a network without gates learns slower.
RATES = {"irnn": 1e-4}
RATE = 0.01
KINDS = ["output", "grad", "losses", "final"]


def initial(name: str, shape) -> np.ndarray:
    """The initial value of the parameter `name`."""
    if name == "rnn.hh.weight" and shape[0] == shape[1]:
        return np.eye(shape[0], dtype=np.float32)
    if "bias" in name:
        return generate.uniform(name, shape, 0.1)
    return generate.uniform(name, shape, math.sqrt(3 / math.prod(shape[1:])))


def reals(name: str, *shape) -> torch.Tensor:
    return torch.from_numpy(generate.uniform(name, shape, 1.7))


def whole(name: str, below: int, *shape) -> torch.Tensor:
    values = generate.bits(name, math.prod(shape)) % np.uint64(below)
    return torch.from_numpy(values.astype(np.int64).reshape(shape))


def lengths(rows: int, steps: int) -> torch.Tensor:
    """From 1 to all steps."""
    return 1 + whole("length", steps, rows)


# The networks. Each takes the inputs but the last, which the loss takes.


class Layered(nn.Module):
    """A recurrent module of PyTorch, and a layer that reads its outputs."""

    def __init__(self, rnn, width, outputs):
        super().__init__()
        self.rnn, self.out = rnn, nn.Linear(width, outputs)

    def forward(self, x, length=None):
        if length is None:
            return self.out(self.rnn(x)[0])
        packed = pack_padded_sequence(x, length, batch_first=True, enforce_sorted=False)
        y = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        return self.out(y)


class ResetBefore(nn.Module):
    """GRU as its paper has it: the state is reset before the product. Parameters as those of `nn.GRU`."""

    def __init__(self, inputs, hidden):
        super().__init__()
        cell = nn.GRU(inputs, hidden)
        for name, parameter in cell.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], self.weight_hh_l0.shape[1])
        (ur, uz, un), (cr, cz, cn) = self.weight_hh_l0.chunk(3), self.bias_hh_l0.chunk(3)
        outputs = []
        for step in x.unbind(1):
            r, z, n = F.linear(step, self.weight_ih_l0, self.bias_ih_l0).chunk(3, 1)
            r, z = torch.sigmoid(r + F.linear(h, ur, cr)), torch.sigmoid(z + F.linear(h, uz, cz))
            n = torch.tanh(n + F.linear(r * h, un, cn))
            h = (1 - z) * n + z * h
            outputs.append(h)
        return torch.stack(outputs, 1), h


class Cell(nn.Module):
    """The products of a step: of its input, and of the state."""

    def __init__(self, inputs, outputs, hidden):
        super().__init__()
        self.ih, self.hh = nn.Linear(inputs, outputs), nn.Linear(hidden, outputs, bias=False)


class Peephole(nn.Module):
    """Gers, Schraudolph & Schmidhuber 2002: gates see the cell."""

    def __init__(self, symbols=7, n=16):
        super().__init__()
        self.symbols, self.lstm, self.out = symbols, Cell(symbols, 4 * n, n), nn.Linear(n, symbols)
        self.lstm.peephole = nn.Parameter(torch.zeros(3, n))

    def forward(self, symbol, length):
        cell, p = self.lstm, self.lstm.peephole
        x = F.one_hot(symbol, self.symbols).to(p.dtype)
        h = c = x.new_zeros(x.shape[0], p.shape[1])
        outputs = []
        for at, step in enumerate(x.unbind(1)):
            i, f, g, o = (cell.ih(step) + cell.hh(h)).chunk(4, 1)
            new = torch.sigmoid(f + p[1] * c) * c + torch.sigmoid(i + p[0] * c) * torch.tanh(g)
            shown = torch.sigmoid(o + p[2] * new) * torch.tanh(new)
            goes_on = (at < length)[:, None]
            h, c = torch.where(goes_on, shown, h), torch.where(goes_on, new, c)
            outputs.append(torch.where(goes_on, shown, torch.zeros_like(shown)))
        return self.out(torch.stack(outputs, 1))


class Irnn(nn.Module):
    """Le, Jaitly & Hinton 2015. `least` is the smallest pre-activation that was seen."""

    def __init__(self, n=16):
        super().__init__()
        self.rnn, self.out, self.least = Cell(2, n, n), nn.Linear(n, 1), math.inf

    def forward(self, x):
        h = x.new_zeros(x.shape[0], self.rnn.hh.weight.shape[0])
        for step in x.unbind(1):
            before = self.rnn.ih(step) + self.rnn.hh(h)
            self.least = min(self.least, before.detach().abs().min().item())
            h = F.relu(before)
        return self.out(h)[:, 0]


class Words(nn.Module):
    """Embedding, two recurrent layers and a projection to the vocabulary."""

    def __init__(self, kind, vocabulary, hidden):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden)
        self.rnn = kind(hidden, hidden, 2, batch_first=True)
        self.out = nn.Linear(hidden, vocabulary)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0])


def cross_entropy(logits, label):
    return F.cross_entropy(logits.flatten(0, -2), label.flatten())


def of_those_seen(logits, length, label):
    """The mean over all places of the cross entropy where a row still goes on, 0 elsewhere."""
    seen = torch.arange(label.shape[1]) < length[:, None]
    return (F.cross_entropy(logits.transpose(1, 2), label, reduction="none") * seen).mean()


def layered(rnn, width, ragged=False):
    inputs = (reals("x", 6, 9, 7),) + ((lengths(6, 9),) if ragged else ())
    return Layered(rnn, width, 5), inputs, whole("label", 5, 6, 9), lambda y, inputs, label: cross_entropy(y, label)


def words(kind, vocabulary, hidden, rows, steps, names):
    inputs = (whole(names, vocabulary, rows, steps),)
    label = whole("next", vocabulary, rows, steps)
    return Words(kind, vocabulary, hidden), inputs, label, lambda y, inputs, label: cross_entropy(y, label)


CASES = {  # name: the network, its inputs, what it is to say, the loss
    "rnn": lambda: layered(nn.RNN(7, 12, batch_first=True), 12),
    "lstm": lambda: layered(nn.LSTM(7, 12, 2, batch_first=True, bidirectional=True), 24, ragged=True),
    "gru": lambda: layered(nn.GRU(7, 12, batch_first=True), 12),
    "gru-before": lambda: layered(ResetBefore(7, 12), 12),
    "lstm-peephole": lambda: (
        Peephole(), (whole("symbol", 7, 6, 20), lengths(6, 20)), whole("next", 7, 6, 20),
        lambda y, inputs, label: of_those_seen(y, inputs[1], label),
    ),
    "irnn": lambda: (Irnn(), (reals("x", 4, 20, 2),), reals("y", 4), lambda y, inputs, label: F.mse_loss(y, label)),
    "char-gru": lambda: words(nn.GRU, 65, 128, 4, 64, "symbol"),
    "ptb-lstm-small": lambda: words(nn.LSTM, 10000, 200, 4, 20, "word"),
    "ptb-lstm-1000": lambda: words(nn.LSTM, 1000, 200, 4, 20, "word"),
}  # fmt: skip


# The runs.


def run(case: str, dtype: torch.dtype, order=...) -> dict[str, np.ndarray]:
    """Everything that is compared, in f64, from a run in `dtype`; initial values are f32 numbers in both.
    `order` permutes the samples of the training batch, which changes nothing but rounding."""
    network, inputs, label, loss_of = CASES[case]()
    state = {k: torch.from_numpy(initial(k, tuple(v.shape))) for k, v in network.state_dict().items()}
    network.load_state_dict(state)
    network.to(dtype)
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    label = label.to(dtype) if label.is_floating_point() else label
    with torch.no_grad():
        results = {"output": network(*inputs).double().numpy()}

    inputs, label = [x[order] for x in inputs], label[order]
    optimizer = torch.optim.SGD(network.parameters(), lr=RATES.get(case, RATE), momentum=0.9)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(network(*inputs), inputs, label)
        loss.backward()
        if step == 0:
            gradients = ((k, p.grad) for k, p in network.named_parameters())
            results |= {f"grad.{k}": v for k, v in generate.values(gradients).items()}
        optimizer.step()
        losses.append(loss.item())
    assert getattr(network, "least", math.inf) > 1e-5, f"{network.least}: a derivative may jump"
    results["losses"] = np.array(losses)
    return results | {f"final.{k}": v for k, v in generate.values(network.state_dict().items()).items()}


def make(case: str):
    """Writes one file. Prints, for each kind of tensor, the worst error of PyTorch's f32 run; and how well PyTorch keeps the
    rule with the samples of the batch in other orders: the largest error, as a share of what the rule allows."""
    rows = len(CASES[case]()[2])
    orders = [...] + [np.random.default_rng(seed).permutation(rows) for seed in range(ORDERS)]
    exact = run(case, torch.float64)
    singles = [run(case, torch.float32, order) for order in orders]
    tensors, worst, share = {}, {}, 0.0
    for name, y in exact.items():
        largest = np.abs(y).max()
        first, *others = [np.abs(single[name] - y).max() / largest for single in singles]
        kind = name.split(".")[0]
        worst[kind] = max(worst.get(kind, 0.0), first)
        share = max(share, max(others) / max(1e-6, 3 * first))
        tensors[name] = (y, largest, first)
    cells = ["{:.1e}".format(worst[kind]) for kind in KINDS]
    count = sum(y.size for name, y in exact.items() if name.startswith("grad."))
    change = exact["losses"][-1] / exact["losses"][0] - 1
    print(f"| {case} | {count:,} | {change:+.1%} | " + " | ".join(cells) + f" | {share:.2f} |", flush=True)
    generate.write(FOLDER / f"{case}.safetensors", KEEP, tensors)


def main():
    generate.check_generator()
    torch.set_num_threads(1)
    print("| case | parameters | loss | " + " | ".join(KINDS) + " | other orders |")
    print("|---|" + "---|" * (len(KINDS) + 3))
    for case in sys.argv[1:] or CASES:
        make(case)


if __name__ == "__main__":
    main()
