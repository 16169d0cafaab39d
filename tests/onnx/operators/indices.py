"""Operators that take indices."""

import math

import numpy as np

from .elements import floored
from .registry import single


@single("Gather", "ArrayFeatureExtractor")
def gather(cx):
    axis = cx.axis("axis", 0) if cx.kind == "Gather" else cx[0].rank - 1
    y = cx.g.gather(cx[0], cx[1], axis)
    return y if cx.kind == "Gather" else cx.g.reshape(y, (-1 if False else math.prod(cx[0].dims[:-1]), math.prod(cx[1].dims)))


@single("GatherElements")
def gather_elements(cx):
    return cx.g.gather_along(cx[0], cx[1], cx.axis("axis", 0))


def flat_position(g, dims, indices):
    """One position in axes of those extents, of indices whose last axis has one for each."""
    result = None
    for a, extent in enumerate(dims):
        own = g.reshape(g.slice_axis(indices, indices.rank - 1, a, a + 1), indices.dims[:-1])
        own = g.index(own, extent)
        result = own if result is None else g.add(g.mul(result, g.number(own, extent)), own)
    return result


@single("GatherND")
def gather_nd(cx):
    g, x, indices, batch = cx.g, cx[0], cx[1], cx.attribute("batch_dims", 0)
    count = indices.dims[-1]
    if batch:
        grids = np.meshgrid(*[np.arange(d) for d in indices.dims[:-1]], indexing="ij")[:batch]
        grid = g.constant(np.stack(grids, -1).astype(np.int64))
        indices = g.concat([grid, g.convert(indices, "i64")], indices.rank - 1)
        count += batch
    position = flat_position(g, x.dims[:count], indices)
    return g.gather(g.reshape(x, (math.prod(x.dims[:count]), *x.dims[count:])), position, 0)


def scattered(g, base, position, updates, how):
    """Rows of a base at positions: what each row becomes with its updates."""
    rows, updates = math.prod(position.dims), g.reshape(updates, (math.prod(position.dims), *base.dims[1:]))
    position = g.reshape(position, (rows,))
    if how in ("none", "add"):
        return g.scatter("set" if how == "none" else "add", base, position, updates)
    for row in range(rows):
        at, update = g.slice_axis(position, 0, row, row + 1), g.slice_axis(updates, 0, row, row + 1)
        own = g.op("gather", [base, at], base.dtype, (1, *base.dims[1:]), axis=0)
        base = g.scatter("set", base, at, g.binary({"mul": "mul", "max": "max", "min": "min"}[how], own, update))
    return base


@single("ScatterND")
def scatter_nd(cx):
    g, x, indices = cx.g, cx[0], cx[1]
    count = indices.dims[-1]
    flat = g.reshape(x, (math.prod(x.dims[:count]), *x.dims[count:]))
    position = flat_position(g, x.dims[:count], indices)
    return g.reshape(scattered(g, flat, position, cx[2], cx.attribute("reduction", b"none").decode()), x.dims)


@single("ScatterElements", "Scatter")
def scatter_elements(cx):
    g, x, indices, axis = cx.g, cx[0], cx[1], cx.axis("axis", 0)
    strides = [math.prod(x.dims[a + 1 :]) for a in range(x.rank)]
    position = g.mul(g.convert(g.index(indices, x.dims[axis]), "i64"), g.constant(np.array(strides[axis], dtype=np.int64)))
    for a in range(x.rank):
        if a != axis:
            own = np.arange(indices.dims[a]).reshape([-1 if b == a else 1 for b in range(x.rank)]) * strides[a]
            position = g.add(position, g.constant(own.astype(np.int64)))
    flat = g.reshape(x, (math.prod(x.dims),))
    return g.reshape(scattered(g, flat, position, cx[2], cx.attribute("reduction", b"none").decode()), x.dims)


@single("OneHot")
def one_hot(cx):
    g, indices, depth = cx.g, cx[0], int(np.reshape(cx.known(1), -1)[0])
    axis = cx.attribute("axis", -1)
    axis = axis + indices.rank + 1 if axis < 0 else axis
    indices = g.index(g.convert(indices, "i64"), depth)
    indices = g.reshape(indices, [*indices.dims[:axis], 1, *indices.dims[axis:]])
    classes = g.reshape(g.constant(np.arange(depth)), [depth if a == axis else 1 for a in range(indices.rank)])
    off, on = (g.reshape(g.slice_axis(cx[2], 0, i, i + 1), []) for i in (0, 1))
    return g.select(g.compare("eq", indices, classes), on, off)


@single("Compress")
def compress(cx):
    g, x, chosen = cx.g, cx[0], np.flatnonzero(cx.known(1))
    axis = cx.attribute("axis", None)
    if axis is None:
        x, axis = g.reshape(x, (math.prod(x.dims),)), 0
    return g.gather(x, g.constant(chosen.astype(np.int64)), axis % x.rank)


@single("TensorScatter")
def tensor_scatter(cx):
    g, past, update = cx.g, cx[0], cx[1]
    axis = cx.axis("axis", -2)
    start = g.convert(cx[2], "i64") if cx.has(2) else g.constant(np.zeros(past.dims[0], dtype=np.int64))
    shape = [1] * past.rank
    shape[0] = past.dims[0]
    time = g.sub(g.iota("i64", past.dims, axis), g.reshape(start, shape))
    if cx.attribute("mode", b"linear") == b"circular":
        time = floored(g, time, g.number(time, past.dims[axis]))
    inside = g.binary("and", g.compare("ge", time, g.number(time, 0)), g.compare("lt", time, g.number(time, update.dims[axis])))
    bounded = g.binary("min", g.binary("max", time, g.number(time, 0)), g.number(time, update.dims[axis] - 1))
    taken = g.op("gather_along", [update, bounded], past.dtype, past.dims, axis=axis)
    return g.select(inside, taken, past)
