"""Optimisers and losses."""

import itertools

from .registry import operator, single

# ---------------------------------------------------------------- training


@operator("Adagrad", "Adam", "Momentum")
def optimizer(cx):
    g, count = cx.g, (len(cx.inputs) - 2) // {"Adagrad": 3, "Adam": 4, "Momentum": 3}[cx.kind]
    rate, step = cx[0], cx[1]
    group = lambda i: cx.inputs[2 + i * count : 2 + (i + 1) * count]
    results = [[], [], []]
    for x, dx, *memory in zip(*[group(i) for i in range(4 if cx.kind == "Adam" else 3)]):
        number = lambda v: g.number(x, v)
        dx = g.add(g.mul(number(cx.attribute("norm_coefficient", 0.0)), x), dx)
        time = g.convert(step, x.dtype)
        if cx.kind == "Adagrad":
            own = g.div(rate, g.add(number(1), g.mul(time, number(cx.attribute("decay_factor", 0.0)))))
            h = g.add(memory[0], g.mul(dx, dx))
            new = [g.sub(x, g.div(g.mul(own, dx), g.add(g.unary("sqrt", h), number(cx.attribute("epsilon", 1e-6))))), h]
        elif cx.kind == "Momentum":
            alpha, beta = number(cx.attribute("alpha")), cx.attribute("beta")
            first = g.select(g.compare("gt", time, number(0)), number(beta), number(1))
            v = g.add(g.mul(alpha, memory[0]), g.mul(first, dx))
            ahead = g.add(dx, g.mul(alpha, v)) if cx.attribute("mode") == b"nesterov" else v
            new = [g.sub(x, g.mul(rate, ahead)), v]
        else:
            alpha, beta = cx.attribute("alpha", 0.9), cx.attribute("beta", 0.999)
            v = g.add(g.mul(number(alpha), memory[0]), g.mul(number(1 - alpha), dx))
            h = g.add(g.mul(number(beta), memory[1]), g.mul(number(1 - beta), g.mul(dx, dx)))
            late = g.compare("gt", time, number(0))
            scale = g.div(g.unary("sqrt", g.sub(number(1), g.binary("pow", number(beta), time))), g.sub(number(1), g.binary("pow", number(alpha), time)))
            own = g.mul(rate, g.select(late, scale, number(1)))
            y = g.sub(x, g.div(g.mul(own, v), g.add(g.unary("sqrt", h), number(cx.attribute("epsilon", 1e-6)))))
            new = [g.mul(number(1 - cx.attribute("norm_coefficient_post", 0.0)), y), v, h]
        for i, value in enumerate(new):
            results[i].append(value)
    return list(itertools.chain(*results))


# ---------------------------------------------------------------- losses


@single("NegativeLogLikelihoodLoss")
def negative_log_likelihood(cx):
    g, x, label = cx.g, cx[0], g_index(cx)
    ignored = cx.attribute("ignore_index", None)
    row = g.reshape(label, (label.dims[0], 1, *label.dims[1:]))
    loss = g.unary("neg", g.reshape(g.gather_along(x, row, 1), label.dims))
    weight = g.gather(cx[2], label, 0) if cx.has(2) else g.broadcast_to(g.number(x, 1), label.dims)
    if ignored is not None:
        weight = g.select(g.compare("eq", g.convert(cx[1], "i64"), g.number(label, ignored)), g.number(x, 0), weight)
    loss = g.mul(loss, weight)
    how, axes = cx.attribute("reduction", b"mean"), list(range(label.rank))
    if how == b"none":
        return loss
    total = g.reduce("add", loss, axes)
    return total if how == b"sum" else g.div(total, g.reduce("add", weight, axes))


def g_index(cx):
    """Labels, those that do not count as 0."""
    g, label = cx.g, cx.g.convert(cx[1], "i64")
    ignored = cx.attribute("ignore_index", None)
    return label if ignored is None else g.select(g.compare("eq", label, g.number(label, ignored)), g.number(label, 0), label)
