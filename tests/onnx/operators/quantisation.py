"""Quantised numbers."""

import numpy as np

from emit import kind

from .registry import operator, single
from .windows import spatial, window_padding


def along_axis(cx, v, rank, axis):
    return v if v.rank == 0 or v.dims == (1,) else cx.g.reshape(v, [v.dims[0] if a == axis else 1 for a in range(rank)])


def blocks(cx, v, x, axis):
    """Scales for blocks of an axis, repeated to its elements."""
    g, size = cx.g, cx.attribute("block_size", 0)
    if not size:
        return along_axis(cx, v, x.rank, axis)
    numbers = np.arange(x.dims[axis]) // size
    return g.gather(v, g.constant(numbers.astype(np.int64)), axis)


@single("DequantizeLinear")
def dequantize(cx):
    g, x = cx.g, cx[0]
    axis = cx.axis("axis", 1) if x.rank > 1 else 0
    scale = blocks(cx, cx[1], x, axis)
    y = g.convert(x, "i32")
    y = g.sub(y, g.convert(blocks(cx, cx[2], x, axis), "i32")) if cx.has(2) else y
    return g.mul(g.convert(y, scale.dtype), scale)


@single("QuantizeLinear")
def quantize(cx):
    import onnx

    g, x = cx.g, cx[0]
    given = cx.attribute("output_dtype", 0)
    to = cx[2].dtype if cx.has(2) else kind(onnx.helper.tensor_dtype_to_np_dtype(given)) if given else "u8"
    axis = cx.axis("axis", 1) if x.rank > 1 else 0
    y = g.unary("round", g.div(x, g.convert(blocks(cx, cx[1], x, axis), x.dtype)))
    if cx.has(2):
        y = g.add(y, g.convert(blocks(cx, cx[2], x, axis), x.dtype))
    return g.convert(y, to)


@operator("DynamicQuantizeLinear")
def dynamic_quantize(cx):
    g, x = cx.g, cx[0]
    axes, zero = list(range(x.rank)), g.number(x, 0)
    low = g.binary("min", g.reduce("min", x, axes), zero)
    high = g.binary("max", g.reduce("max", x, axes), zero)
    scale = g.div(g.sub(high, low), g.number(x, 255))
    point = g.unary("round", g.div(g.unary("neg", low), scale))
    point = g.convert(point, "u8")
    y = g.add(g.unary("round", g.div(x, scale)), g.convert(point, x.dtype))
    return [g.convert(y, "u8"), scale, point]


def less_point(cx, value, point, axis):
    g = cx.g
    value = g.convert(value, "i32")
    if not cx.has(point):
        return value
    return g.sub(value, g.convert(along(g, cx[point], value.rank, axis), "i32"))


def along(g, v, rank, axis):
    """A vector of numbers for an axis."""
    return g.reshape(v, [v.dims[0] if a == axis else 1 for a in range(rank)]) if v.rank == 1 and v.dims[0] > 1 else g.reshape(v, [])


@single("MatMulInteger")
def matmul_integer(cx):
    return cx.g.matmul(less_point(cx, cx[0], 2, cx[0].rank - 2), less_point(cx, cx[1], 3, cx[1].rank - 1))


@single("QLinearMatMul")
def quantized_matmul(cx):
    g = cx.g
    a = g.sub(g.convert(cx[0], "i32"), g.convert(cx[2], "i32"))
    b = g.sub(g.convert(cx[3], "i32"), g.convert(cx[5], "i32"))
    y = g.convert(g.matmul(a, b), "f32")
    scale = g.div(g.mul(cx[1], cx[4]), cx[6])
    y = g.unary("round", g.mul(y, scale))
    return g.convert(g.add(y, g.convert(cx[7], "f32")), cx[7].dtype)


@single("ConvInteger", "QLinearConv")
def conv_integer(cx):
    g = cx.g
    full = cx.kind == "QLinearConv"
    x, w = (cx[0], cx[3]) if full else (cx[0], cx[1])
    points = (2, 5) if full else (2, 3)
    x, w = less_point(cx, x, points[0], 1), less_point(cx, w, points[1], 0)
    stride, dilation, pads = spatial(cx, w.dims[2:])
    padding = window_padding(cx, x.dims[2:], w.dims[2:], stride, dilation, pads)
    # Exact: the sums are small against 2^53.
    y = g.conv(g.convert(x, "f64"), g.convert(w, "f64"), stride, padding, dilation, cx.attribute("group", 1))
    if not full:
        return g.convert(y, "i32")
    y = g.unary("round", g.mul(g.convert(y, "f32"), along(g, g.div(g.mul(cx[1], cx[4]), cx[6]), y.rank, 1)))
    return g.convert(g.add(y, g.convert(cx[7], "f32")), cx[7].dtype)
