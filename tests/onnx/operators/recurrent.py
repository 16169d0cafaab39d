"""Recurrent layers."""

import numpy as np

from emit import Unsaid

from .registry import operator

ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh"}


def recurrent(cx, gates, step):
    """Directions and steps written out; `step(x w + b, h, ...)` gives the next state."""
    g, x, w, r = cx.g, cx[0], cx[1], cx[2]
    if cx.has(4):
        raise Unsaid("sequences of different lengths in recurrent layers")
    last = bool(cx.attribute("layout", 0))
    x = g.transpose(x, [1, 0, 2]) if last else x
    length, batch, _ = x.dims
    size = cx.attribute("hidden_size")
    directions = w.dims[0]
    way = cx.attribute("direction", b"forward").decode()
    outputs, finals = [], []
    for d in range(directions):
        def part(v):
            return g.reshape(g.slice_axis(v, 0, d, d + 1), v.dims[1:])

        own_w, own_r = part(w), part(r)
        bias = part(cx[3]) if cx.has(3) else g.number(x, np.zeros(2 * gates * size))
        def start(i):
            if not cx.has(i):
                return g.number(x, np.zeros((batch, size)))
            v = g.transpose(cx[i], [1, 0, 2]) if last else cx[i]
            return part(v)

        states = [start(i) for i in ((5, 6) if cx.kind == "LSTM" else (5,))]
        backwards = way == "reverse" or d == 1
        own = [None] * length
        for t in reversed(range(length)) if backwards else range(length):
            now = g.reshape(g.slice_axis(x, 0, t, t + 1), x.dims[1:])
            states = step(g, now, own_w, own_r, bias, states, part)
            own[t] = g.reshape(states[0], (1, 1, batch, size))
        outputs.append(g.concat(own, 0))
        finals.append([g.reshape(s, (1, batch, size)) for s in states])
    y = g.concat(outputs, 1)
    ends = [g.concat([f[i] for f in finals], 0) for i in range(len(finals[0]))]
    if last:
        y, ends = g.transpose(y, [2, 0, 1, 3]), [g.transpose(e, [1, 0, 2]) for e in ends]
    return [y, *ends]


def affine(g, x, w, b, rows):
    w, b = (g.slice_axis(v, 0, *rows) for v in (w, b))
    return g.add(g.dot(x, w, [[], []], [[1], [1]]), b)


@operator("RNN")
def rnn(cx):
    size = cx.attribute("hidden_size")

    def step(g, x, w, r, b, states, part):
        sum_ = g.add(affine(g, x, w, b, (0, size)), affine(g, states[0], r, g.slice_axis(b, 0, size, 2 * size), (0, size)))
        return [g.unary("tanh", sum_)]

    return recurrent(cx, 1, step)


@operator("GRU")
def gru(cx):
    size, linear = cx.attribute("hidden_size"), cx.attribute("linear_before_reset", 0)

    def step(g, x, w, r, b, states, part):
        h = states[0]
        wb, rb = g.slice_axis(b, 0, 0, 3 * size), g.slice_axis(b, 0, 3 * size, 6 * size)
        gate = lambda i: g.unary("sigmoid", g.add(affine(g, x, w, wb, (i * size, (i + 1) * size)), affine(g, h, r, rb, (i * size, (i + 1) * size))))
        z, reset = gate(0), gate(1)
        rows = (2 * size, 3 * size)
        if linear:
            inner = g.mul(reset, affine(g, h, r, rb, rows))
        else:
            inner = affine(g, g.mul(reset, h), r, rb, rows)
        new = g.unary("tanh", g.add(affine(g, x, w, wb, rows), inner))
        return [g.add(g.mul(g.sub(g.number(z, 1), z), new), g.mul(z, h))]

    return recurrent(cx, 3, step)


@operator("LSTM")
def lstm(cx):
    size = cx.attribute("hidden_size")

    def step(g, x, w, r, b, states, part):
        h, c = states
        wb, rb = g.slice_axis(b, 0, 0, 4 * size), g.slice_axis(b, 0, 4 * size, 8 * size)
        peep = part(cx[7]) if cx.has(7) else None

        def gate(i, seen=None, place=0):
            rows = (i * size, (i + 1) * size)
            sum_ = g.add(affine(g, x, w, wb, rows), affine(g, h, r, rb, rows))
            return sum_ if peep is None or seen is None else g.add(sum_, g.mul(g.slice_axis(peep, 0, place * size, (place + 1) * size), seen))

        i, f = g.unary("sigmoid", gate(0, c, 0)), g.unary("sigmoid", gate(2, c, 2))
        new = g.add(g.mul(f, c), g.mul(i, g.unary("tanh", gate(3))))
        o = g.unary("sigmoid", gate(1, new, 1))
        return [g.mul(o, g.unary("tanh", new)), new]

    return recurrent(cx, 4, step)
