"""Reductions, and what goes along an axis."""

import numpy as np

from .activations import arg_extreme
from .registry import OPERATORS, operator, single


def reduced_axes(cx):
    axes = cx.known(1) if cx.has(1) else cx.attribute("axes", None)
    if axes is None or np.size(axes) == 0:
        return [] if cx.attribute("noop_with_empty_axes", 0) else list(range(cx[0].rank))
    return sorted(int(a) % cx[0].rank for a in np.reshape(axes, -1))


def reduction(name, before=lambda g, x: x, after=lambda g, y: y):
    def convert(cx):
        axes, keep = reduced_axes(cx), bool(cx.attribute("keepdims", 1))
        x = before(cx.g, cx[0])
        if x.dtype == "bool" and name in ("max", "min"):
            name_ = "or" if name == "max" else "and"
            return [cx.g.reduce(name_, x, axes, keep)]
        return [after(cx.g, cx.g.reduce(name, x, axes, keep))]

    return convert


def square(g, x):
    return g.mul(x, x)


OPERATORS["ReduceSum"] = reduction("add")
OPERATORS["ReduceProd"] = reduction("mul")
OPERATORS["ReduceMax"] = reduction("max")
OPERATORS["ReduceMin"] = reduction("min")
OPERATORS["ReduceL1"] = reduction("add", lambda g, x: g.unary("abs", x))
OPERATORS["ReduceL2"] = reduction("add", square, lambda g, y: g.unary("sqrt", y))
OPERATORS["ReduceSumSquare"] = reduction("add", square)
OPERATORS["ReduceLogSum"] = reduction("add", after=lambda g, y: g.unary("log", y))


@single("ReduceMean")
def reduce_mean(cx):
    axes = reduced_axes(cx)
    return cx.g.mean(cx[0], axes, bool(cx.attribute("keepdims", 1)))


@single("ReduceLogSumExp")
def log_sum_exp(cx):
    g, x = cx.g, cx[0]
    axes, keep = reduced_axes(cx), bool(cx.attribute("keepdims", 1))
    top = g.reduce("max", x, axes, True)
    infinite = g.compare("eq", g.unary("abs", top), g.number(x, np.inf))
    top = g.select(infinite, g.number(x, 0), top)
    y = g.add(g.unary("log", g.reduce("add", g.unary("exp", g.sub(x, top)), axes, True)), top)
    return y if keep else g.reshape(y, [d for a, d in enumerate(x.dims) if a not in axes])


@single("ArgMax", "ArgMin")
def arg_max(cx):
    axis = cx.axis("axis", 0)
    found = arg_extreme(cx.g, cx[0], axis, cx.kind == "ArgMax", bool(cx.attribute("select_last_index", 0)))
    keep = cx.attribute("keepdims", 1)
    return cx.g.reshape(found, [1 if a == axis else d for a, d in enumerate(cx[0].dims)]) if keep else found


@single("CumSum", "CumProd")
def cumulative(cx):
    axis = int(np.reshape(cx.known(1), -1)[0]) % cx[0].rank
    name = "add" if cx.kind == "CumSum" else "mul"
    return cx.g.cumulative(name, cx[0], axis, bool(cx.attribute("reverse", 0)), bool(cx.attribute("exclusive", 0)))


@operator("TopK")
def top_k(cx):
    g, x = cx.g, cx[0]
    k, axis = int(np.reshape(cx.known(1), -1)[0]), cx.axis("axis", -1)
    values, positions = g.sort([x, g.iota("i64", x.dims, axis)], axis, bool(cx.attribute("largest", 1)))
    return [g.slice_axis(values, axis, 0, k), g.slice_axis(positions, axis, 0, k)]
