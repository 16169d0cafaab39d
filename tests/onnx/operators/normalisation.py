"""Normalisations."""

from .registry import operator, single


def centred(g, x, axes, epsilon):
    mean = g.mean(x, axes)
    rest = g.sub(x, mean)
    variance = g.mean(g.mul(rest, rest), axes)
    return g.div(rest, g.unary("sqrt", g.add(variance, g.number(x, epsilon)))), mean, variance


def per_channel(g, v, rank):
    return g.reshape(v, (v.dims[0], *[1] * (rank - 2)))


@operator("BatchNormalization")
def batch_normalization(cx):
    g, x = cx.g, cx[0]
    scale, shift, mean, variance = (per_channel(g, cx[i], x.rank) for i in range(1, 5))
    outputs = []
    if cx.attribute("training_mode", 0):
        axes = [a for a in range(x.rank) if a != 1]
        own = g.mean(x, axes)
        rest = g.sub(x, own)
        spread = g.mean(g.mul(rest, rest), axes)
        keep = cx.attribute("momentum", 0.9)
        mixed = lambda old, new: g.add(g.mul(old, g.number(x, keep)), g.mul(g.reshape(new, old.dims), g.number(x, 1 - keep)))
        outputs = [mixed(cx[3], own), mixed(cx[4], spread)]
        mean, variance = own, spread
    root = g.unary("sqrt", g.add(variance, g.number(x, cx.attribute("epsilon", 1e-5))))
    return [g.add(g.mul(scale, g.div(g.sub(x, mean), root)), shift), *outputs]


@single("InstanceNormalization")
def instance_normalization(cx):
    g, x = cx.g, cx[0]
    y = centred(g, x, list(range(2, x.rank)), cx.attribute("epsilon", 1e-5))[0]
    return g.add(g.mul(y, per_channel(g, cx[1], x.rank)), per_channel(g, cx[2], x.rank))


@operator("LayerNormalization")
def layer_normalization(cx):
    g, x = cx.g, cx[0]
    axes = list(range(cx.axis("axis", -1), x.rank))
    y, mean, variance = centred(g, x, axes, cx.attribute("epsilon", 1e-5))
    y = g.mul(y, cx[1])
    y = g.add(y, cx[2]) if cx.has(2) else y
    root = g.unary("sqrt", g.add(variance, g.number(x, cx.attribute("epsilon", 1e-5))))
    return [y, mean, g.div(g.number(x, 1), root)]


@single("LpNormalization")
def lp_normalization(cx):
    g, x, axis = cx.g, cx[0], cx.axis("axis", -1)
    size = g.unary("abs", x)
    norm = g.reduce("add", size, [axis], True)
    if cx.attribute("p", 2) == 2:
        norm = g.unary("sqrt", g.reduce("add", g.mul(x, x), [axis], True))
    zero = g.number(x, 0)
    return g.select(g.compare("eq", norm, zero), zero, g.div(x, norm))


@single("MeanVarianceNormalization")
def mean_variance(cx):
    g, x = cx.g, cx[0]
    axes = list(cx.attribute("axes", [0, 2, 3]))
    mean = g.mean(x, axes)
    rest = g.sub(x, mean)
    root = g.unary("sqrt", g.mean(g.mul(rest, rest), axes))
    return g.div(rest, g.add(root, g.number(x, 1e-9)))
