"""Writes `entries.tsv`: entries with several gradient steps, and several entries, run in PyTorch.

Every `Minimize` is an optimizer object of its own; each sees the values that those before it left. A line has the
entries, the order in which they run, and the digests of the two parameters behind all rounds.
"""

import torch
from torch import nn

from make import HERE, digest, optimizers, wave

ROUNDS = 5
LOSSES = {
    "sum(c * (a * b - t) ** 2) / 2": lambda a, b, t, c: (c * (a * b - t) ** 2).sum() / 2,
    "mean((a - 2 * b) ** 2) + sum(a * t)": lambda a, b, t, c: ((a - 2 * b) ** 2).mean() + (a * t).sum(),
}
FIRST, SECOND = LOSSES


class Minimize:
    """One gradient step: its text, and what it does."""

    def __init__(self, loss, of, optimizer, make, clip=None, groups=None, rate=None):
        self.loss, self.of, self.make, self.clip, self.groups, self.rate = loss, of, make, clip, groups or {}, rate
        fields = [f'loss: "{loss}"', f"optimizer: {optimizer}"]
        if clip:
            fields.append(f"clip: {clip[0]}({clip[1]})")
        if groups:
            named = [f'Group(of: "{name}", lr: {lr}, weight_decay: {decay})' for name, (lr, decay) in groups.items()]
            fields.append(f"groups: [{', '.join(named)}]")
        self.fields = ", ".join(fields)
        names = ", ".join(f'"{name}"' for name in of)
        self.text = f"Minimize({self.fields}, of: [{names}])"

    def start(self, parameters):
        self.parameters = [parameters[name] for name in self.of]
        self.optimizer = self.make(self.parameters)
        group = self.optimizer.param_groups[0]
        if self.groups:
            self.optimizer.param_groups.clear()
            for name in self.of:
                factor, decay = self.groups.get(name, (1, group["weight_decay"]))
                own = {**group, "params": [parameters[name]], "lr": group["lr"] * factor, "weight_decay": decay}
                self.optimizer.param_groups.append(own)
        self.count = 0

    def step(self, a, b, t, c):
        loss = LOSSES[self.loss](a, b, t, c)
        for parameter, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters)):
            parameter.grad = gradient
        if self.clip and self.clip[0] == "ClipNorm":
            nn.utils.clip_grad_norm_(self.parameters, self.clip[1])
        elif self.clip:
            nn.utils.clip_grad_value_(self.parameters, self.clip[1])
        if self.rate:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.count)
        self.optimizer.step()
        self.count += 1


def cases():
    """Entries, each a list of steps, and the order of their runs."""
    for text, make in optimizers():
        step = lambda loss, of: Minimize(loss, of, text, make)
        yield {"train": [step(FIRST, "a"), step(SECOND, "b")]}, ["train"]
        yield {"train": [step(FIRST, "a"), step(SECOND, "a")]}, ["train"]
        yield {"train": [step(FIRST, "a"), step(FIRST, "b"), step(SECOND, "ab")]}, ["train"]
    o = torch.optim
    adam = lambda loss, of, **more: Minimize(loss, of, "Adam(lr: 0.05)", lambda p: o.Adam(p, 0.05), **more)
    sgd = lambda loss, of, **more: Minimize(
        loss, of, "Sgd(lr: 0.05, momentum: 0.9, weight_decay: 0.02)",
        lambda p: o.SGD(p, 0.05, 0.9, weight_decay=0.02), **more)
    for clip in [("ClipNorm", 0.3), ("ClipValue", 0.1)]:
        yield {"train": [sgd(FIRST, "ab", clip=clip), adam(SECOND, "ab", clip=clip)]}, ["train"]
    groups = {"b": (0.1, 0.5)}
    yield {"train": [sgd(FIRST, "ab", groups=groups), adam(SECOND, "ab", groups=groups), sgd(SECOND, "a")]}, ["train"]
    falling = Minimize(FIRST, "ab", "Adam(lr: Exponential(initial: 0.1, factor: 0.8))", lambda p: o.Adam(p),
                       rate=lambda t: 0.1 * 0.8**t)
    stepped = Minimize(SECOND, "ab", "Sgd(lr: Step(initial: 0.2, every: 2, factor: 0.5))", lambda p: o.SGD(p, 1),
                       rate=lambda t: 0.2 * 0.5 ** (t // 2))
    yield {"train": [falling, stepped]}, ["train"]
    yield {"d": [falling], "g": [stepped]}, ["d", "d", "g"]
    yield {"d": [adam(FIRST, "a")], "g": [adam(SECOND, "b")]}, ["d", "d", "g"]
    yield {"d": [adam(FIRST, "ab")], "g": [adam(SECOND, "ab"), adam(FIRST, "b")]}, ["g", "d", "d"]


def entry(steps):
    return f"Entry(steps: [{', '.join(step.text for step in steps)}])"


def write():
    lines = []
    for entries, order in cases():
        parameters = {"a": nn.Parameter(wave((5,), 0.8, 0.2)), "b": nn.Parameter(wave((5,), 1.1, 0.9))}
        t, c = wave((5,), 1.9, 0.4), 1 + 0.5 * wave((5,), 0.5, 0.6)
        for steps in entries.values():
            for step in steps:
                step.start(parameters)
        for name in order * ROUNDS:
            for step in entries[name]:
                step.step(parameters["a"], parameters["b"], t, c)
        text = ", ".join(f'"{name}": {entry(steps)}' for name, steps in entries.items())
        lines.append("\t".join([text, " ".join(order * ROUNDS), digest(parameters["a"]), digest(parameters["b"])]))
    (HERE / "entries.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
