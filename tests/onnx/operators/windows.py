"""Convolutions and pools."""

import itertools
import math

import numpy as np

from emit import NUMPY, Unsaid

from .registry import operator, single


def window_padding(cx, sizes, kernel, stride, dilation, pads):
    auto = cx.attribute("auto_pad", b"NOTSET").decode()
    if auto in ("NOTSET", ""):
        half = len(pads) // 2
        return list(zip(pads[:half], pads[half:]))
    if auto == "VALID":
        return [(0, 0)] * len(sizes)
    padding = []
    for n, k, s, d in zip(sizes, kernel, stride, dilation):
        more = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        padding.append((more // 2, more - more // 2) if auto == "SAME_UPPER" else (more - more // 2, more // 2))
    return padding


def spatial(cx, kernel):
    n = len(kernel)
    stride, dilation = cx.attribute("strides", [1] * n), cx.attribute("dilations", [1] * n)
    return list(stride), list(dilation), list(cx.attribute("pads", [0] * (2 * n)))


def with_extra(g, x, w, padding):
    """A convolution takes one to three spatial axes."""
    if len(padding) > 3:
        raise Unsaid("more than three spatial axes")
    return x, w


@single("Conv")
def conv(cx):
    g, x, w = cx.g, cx[0], cx[1]
    stride, dilation, pads = spatial(cx, w.dims[2:])
    padding = window_padding(cx, x.dims[2:], w.dims[2:], stride, dilation, pads)
    x, w = with_extra(g, x, w, padding)
    y = g.conv(x, w, stride, padding, dilation, cx.attribute("group", 1))
    return g.add(y, g.reshape(cx[2], (-1 if False else cx[2].dims[0], *[1] * len(stride)))) if cx.has(2) else y


@single("ConvTranspose")
def conv_transpose(cx):
    g, x, w = cx.g, cx[0], cx[1]
    n = w.rank - 2
    stride, dilation, pads = spatial(cx, w.dims[2:])
    more = list(cx.attribute("output_padding", [0] * n))
    shape, auto = cx.attribute("output_shape", None), cx.attribute("auto_pad", b"NOTSET").decode()
    whole = [(d - 1) * s + (k - 1) * e + 1 for d, s, k, e in zip(x.dims[2:], stride, w.dims[2:], dilation)]
    if shape is not None or auto.startswith("SAME"):
        shape = list(shape)[-n:] if shape is not None else [d * s for d, s in zip(x.dims[2:], stride)]
        total = [a + m - b for a, m, b in zip(whole, more, shape)]
        upper = auto == "SAME_UPPER"
        low = [t // 2 if upper else t - t // 2 for t in total]
        size = shape
    else:
        pads = [0] * (2 * n) if auto == "VALID" else pads
        low = pads[:n]
        size = [a - p - q + m for a, p, q, m in zip(whole, pads[:n], pads[n:], more)]
    # The whole of it, then the part that is asked for, zeros where there is none.
    y = g.conv_transpose(x, w, whole, stride, [(0, 0)] * n, dilation, cx.attribute("group", 1))
    y = g.slice(y, [0, 0, *[max(0, v) for v in low]], [*y.dims[:2], *[min(a, p + s) for a, p, s in zip(whole, low, size)]])
    front = [max(0, -v) for v in low]
    behind = [s - d - f for s, d, f in zip(size, y.dims[2:], front)]
    y = g.pad(y, [0, 0, *front], [0, 0, *behind], g.number(y, 0)) if any(front + behind) else y
    return g.add(y, g.reshape(cx[2], (cx[2].dims[0], *[1] * n))) if cx.has(2) else y


def pooled(cx, x, name, fill):
    """A window over the spatial axes, by rounding up where asked; and the padding that was meant."""
    g, kernel = cx.g, list(cx.attribute("kernel_shape"))
    stride, dilation, pads = spatial(cx, kernel)
    padding = window_padding(cx, x.dims[2:], kernel, stride, dilation, pads)
    meant = list(padding)
    if cx.attribute("ceil_mode", 0):
        for i, (n, k, s, d) in enumerate(zip(x.dims[2:], kernel, stride, dilation)):
            low, high = padding[i]
            span = n + low + high - (k - 1) * d - 1
            count = -(-span // s) + 1
            if (count - 1) * s >= n + low:
                count -= 1
            padding[i] = (low, high + max(0, (count - 1) * s - span))
    y = g.window(name, x, [1, 1, *kernel], [1, 1, *stride], [(0, 0), (0, 0), *padding], [1, 1, *dilation])
    return y, meant, padding


@operator("MaxPool")
def max_pool(cx):
    y = pooled(cx, cx[0], "max", None)[0]
    if len(cx.node.output) == 1:
        return [y]
    # The position of the first greatest: the least of those that hold it.
    g, x, kernel = cx.g, cx[0], list(cx.attribute("kernel_shape"))
    stride, dilation, pads = spatial(cx, kernel)
    padding = window_padding(cx, x.dims[2:], kernel, stride, dilation, pads)
    flat = np.arange(math.prod(x.dims)).reshape(x.dims)
    if cx.attribute("storage_order", 0):
        n = math.prod(x.dims[2:])
        inner = np.arange(n).reshape(x.dims[2:][::-1]).T
        flat = np.arange(math.prod(x.dims[:2])).reshape(*x.dims[:2], *[1] * len(kernel)) * n + inner
    positions, low = g.constant(flat.astype(np.int64)), [p for p, _ in padding]
    result = None
    for place in itertools.product(*[range(k) for k in kernel]):
        def shifted(v, value):
            wide = g.pad(v, [0, 0, *[a for a, _ in padding]], [0, 0, *[b + s * 2 for (_, b), s in zip(padding, stride)]], value)
            starts = [p * d for p, d in zip(place, dilation)]
            ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, y.dims[2:], stride)]
            return g.slice(wide, [0, 0, *starts], [*v.dims[:2], *ends], [1, 1, *stride])

        own, at = shifted(x, g.number(x, -np.inf if x.is_float else 0)), shifted(positions, g.constant(np.array(2**62)))
        at = g.select(g.compare("eq", own, y), at, g.constant(np.array(2**62)))
        result = at if result is None else g.binary("min", result, at)
    return [y, result]


@single("AveragePool")
def average_pool(cx):
    g, x = cx.g, cx[0]
    total, meant, padding = pooled(cx, x, "add", 0)
    kernel = list(cx.attribute("kernel_shape"))
    stride, dilation, _ = spatial(cx, kernel)
    # Constant: how many elements (with the padding, if that counts) each window sees.
    counts = np.ones([1, 1, *x.dims[2:]])
    if cx.attribute("count_include_pad", 0):
        counts = np.pad(counts, [(0, 0), (0, 0), *meant], constant_values=1)
        padding = [(a - c, b - d) for (a, b), (c, d) in zip(padding, meant)]
    counts = np.pad(counts, [(0, 0), (0, 0), *padding])
    seen = np.zeros([1, 1, *total.dims[2:]])
    for place in itertools.product(*[range(k) for k in kernel]):
        at = tuple(slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, n, s in zip(place, dilation, total.dims[2:], stride))
        seen += counts[(slice(None), slice(None), *at)]
    return g.div(total, g.number(x, seen))


@single("LpPool")
def lp_pool(cx):
    g, x, p = cx.g, cx[0], cx.attribute("p", 2)
    size = g.unary("abs", x)
    powered = g.mul(size, size) if p == 2 else g.binary("pow", size, g.number(x, p))
    total = pooled(cx, powered, "add", 0)[0]
    return g.unary("sqrt", total) if p == 2 else g.binary("pow", total, g.number(x, 1 / p))


@single("GlobalAveragePool")
def global_average(cx):
    return cx.g.mean(cx[0], list(range(2, cx[0].rank)))


@single("GlobalMaxPool")
def global_max(cx):
    return cx.g.reduce("max", cx[0], list(range(2, cx[0].rank)), True)


@single("MaxUnpool")
def max_unpool(cx):
    g, x, kernel = cx.g, cx[0], list(cx.attribute("kernel_shape"))
    stride, _, pads = spatial(cx, kernel)
    n = len(kernel)
    plain = [(d - 1) * s - a - b + k for d, s, k, a, b in zip(x.dims[2:], stride, kernel, pads[:n], pads[n:])]
    dims = [*x.dims[:2], *plain]
    whole = g.constant(np.zeros(math.prod(dims), dtype=NUMPY[x.dtype]))
    y = g.scatter("set", whole, g.reshape(cx[1], (math.prod(x.dims),)), g.reshape(x, (math.prod(x.dims),)))
    y = g.reshape(y, dims)
    if cx.has(2):
        wanted = [int(d) for d in cx.known(2)]
        y = g.pad(y, [0] * y.rank, [a - b for a, b in zip(wanted, y.dims)], g.number(y, 0))
    return y


@single("LRN")
def lrn(cx):
    g, x, size = cx.g, cx[0], cx.attribute("size")
    low = (size - 1) // 2
    window, padding = [1, size, *[1] * (x.rank - 2)], [(0, 0), (low, size - 1 - low), *[(0, 0)] * (x.rank - 2)]
    total = g.window("add", g.mul(x, x), window, [1] * x.rank, padding)
    scaled = g.add(g.number(x, cx.attribute("bias", 1.0)), g.mul(total, g.number(x, cx.attribute("alpha", 0.0001) / size)))
    return g.div(x, g.binary("pow", scaled, g.number(x, cx.attribute("beta", 0.75))))
