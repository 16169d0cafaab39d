"""Activations."""

import math

import numpy as np

from emit import Unsaid

from .registry import operator, single


@single("Relu")
def relu(cx):
    return cx.g.binary("max", cx.g.number(cx[0], 0), cx[0])


@single("LeakyRelu")
def leaky_relu(cx):
    g, x = cx.g, cx[0]
    return g.select(g.compare("lt", x, g.number(x, 0)), g.mul(x, g.number(x, cx.attribute("alpha", 0.01))), x)


@single("PRelu")
def prelu(cx):
    g, x = cx.g, cx[0]
    return g.select(g.compare("lt", x, g.number(x, 0)), g.mul(x, cx[1]), x)


@single("ThresholdedRelu")
def thresholded(cx):
    g, x = cx.g, cx[0]
    return g.select(g.compare("gt", x, g.number(x, cx.attribute("alpha", 1.0))), x, g.number(x, 0))


@single("Elu")
def elu(cx):
    g, x = cx.g, cx[0]
    return g.select(g.compare("lt", x, g.number(x, 0)), g.mul(g.number(x, cx.attribute("alpha", 1.0)), g.unary("expm1", x)), x)


@single("Celu")
def celu(cx):
    g, x = cx.g, cx[0]
    alpha = g.number(x, cx.attribute("alpha", 1.0))
    return g.select(g.compare("lt", x, g.number(x, 0)), g.mul(alpha, g.unary("expm1", g.div(x, alpha))), x)


@single("Selu")
def selu(cx):
    g, x = cx.g, cx[0]
    alpha, gamma = cx.attribute("alpha", 1.67326319217681884765625), cx.attribute("gamma", 1.05070102214813232421875)
    y = g.select(g.compare("gt", x, g.number(x, 0)), x, g.mul(g.number(x, alpha), g.unary("expm1", x)))
    return g.mul(g.number(x, gamma), y)


@single("HardSigmoid")
def hard_sigmoid(cx):
    g, x = cx.g, cx[0]
    line = g.add(g.mul(x, g.number(x, cx.attribute("alpha", 0.2))), g.number(x, cx.attribute("beta", 0.5)))
    return g.binary("max", g.number(x, 0), g.binary("min", g.number(x, 1), line))


@single("HardSwish")
def hard_swish(cx):
    g, x = cx.g, cx[0]
    line = g.add(g.div(x, g.number(x, 6)), g.number(x, 0.5))
    return g.mul(x, g.binary("max", g.number(x, 0), g.binary("min", g.number(x, 1), line)))


def softplus_of(g, x):
    above = g.binary("max", g.number(x, 0), x)
    return g.add(above, g.unary("log1p", g.unary("exp", g.unary("neg", g.unary("abs", x)))))


@single("Softplus")
def softplus(cx):
    return softplus_of(cx.g, cx[0])


@single("Mish")
def mish(cx):
    return cx.g.mul(cx[0], cx.g.unary("tanh", softplus_of(cx.g, cx[0])))


@single("Swish")
def swish(cx):
    g, x = cx.g, cx[0]
    return g.mul(x, g.unary("sigmoid", g.mul(g.number(x, cx.attribute("alpha", 1.0)), x)))


@single("Softsign")
def softsign(cx):
    g, x = cx.g, cx[0]
    return g.div(x, g.add(g.number(x, 1), g.unary("abs", x)))


@single("Gelu")
def gelu(cx):
    g, x = cx.g, cx[0]
    if cx.attribute("approximate", b"none") == b"tanh":
        cube = g.mul(g.mul(x, x), x)
        inner = g.mul(g.number(x, math.sqrt(2 / math.pi)), g.add(x, g.mul(g.number(x, 0.044715), cube)))
        inner = g.unary("tanh", inner)
    else:
        inner = g.unary("erf", g.mul(x, g.number(x, math.sqrt(0.5))))
    return g.mul(g.mul(g.number(x, 0.5), x), g.add(g.number(x, 1), inner))


@single("Shrink")
def shrink(cx):
    g, x = cx.g, cx[0]
    bias, bound = cx.attribute("bias", 0.0), cx.attribute("lambd", 0.5)
    low, high = g.compare("lt", x, g.number(x, -bound)), g.compare("gt", x, g.number(x, bound))
    return g.select(low, g.add(x, g.number(x, bias)), g.select(high, g.sub(x, g.number(x, bias)), g.number(x, 0)))


@single("Binarizer")
def binarizer(cx):
    g, x = cx.g, cx[0]
    return g.convert(g.compare("gt", x, g.number(x, cx.attribute("threshold", 0.0))), x.dtype)


def softmax_of(g, x, axis):
    e = g.unary("exp", g.sub(x, g.reduce("max", x, [axis], True)))
    return g.div(e, g.reduce("add", e, [axis], True))


def flattened(cx, f):
    """Before version 13, softmax and its kin were over all axes from one on."""
    g, x = cx.g, cx[0]
    if cx.version >= 13:
        return f(x, cx.axis("axis", -1))
    axis = cx.axis("axis", 1)
    flat = g.reshape(x, (math.prod(x.dims[:axis]), math.prod(x.dims[axis:])))
    return g.reshape(f(flat, 1), x.dims)


@single("Softmax")
def softmax(cx):
    return flattened(cx, lambda x, axis: softmax_of(cx.g, x, axis))


@single("LogSoftmax")
def log_softmax(cx):
    def of(x, axis):
        g = cx.g
        shifted = g.sub(x, g.reduce("max", x, [axis], True))
        return g.sub(shifted, g.unary("log", g.reduce("add", g.unary("exp", shifted), [axis], True)))

    return flattened(cx, of)


def arg_extreme(g, x, axis, largest, last):
    """Positions (i64) along an axis, which vanishes."""
    best = g.reduce("max" if largest else "min", x, [axis], True)
    found = g.compare("eq", x, best)
    positions = g.iota("i64", x.dims, axis)
    other = g.constant(np.array(-1 if last else x.dims[axis], dtype=np.int64))
    return g.reduce("max" if last else "min", g.select(found, positions, other), [axis])


@single("Hardmax")
def hardmax(cx):
    def of(x, axis):
        g = cx.g
        found = g.reshape(arg_extreme(g, x, axis, True, False), [1 if a == axis else d for a, d in enumerate(x.dims)])
        return g.convert(g.compare("eq", g.iota("i64", x.dims, axis), found), x.dtype)

    return flattened(cx, of)


@operator("Dropout")
def dropout(cx):
    training = cx.has(2) and bool(cx.known(2))
    ratio = float(cx.known(1)) if cx.has(1) else 0.5
    if training and ratio > 0:
        raise Unsaid("random numbers of another generator")
    return [cx[0], cx.g.broadcast_to(cx.g.constant(np.array(True)), cx[0].dims)]
