"""Operators that arrange elements."""

import math

import numpy as np

from emit import NUMPY, kind

from .registry import operator, single


@single("Reshape")
def reshape(cx):
    wanted = [int(d) for d in np.reshape(cx.known(1), -1)]
    if not cx.attribute("allowzero", 0):
        wanted = [cx[0].dims[i] if d == 0 else d for i, d in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(d for d in wanted if d != -1)
        wanted[wanted.index(-1)] = math.prod(cx[0].dims) // max(rest, 1)
    return cx.g.reshape(cx[0], wanted)


@single("Flatten")
def flatten(cx):
    axis = cx.attribute("axis", 1)
    axis = axis + cx[0].rank if axis < 0 else axis
    return cx.g.reshape(cx[0], (math.prod(cx[0].dims[:axis]), math.prod(cx[0].dims[axis:])))


def axes_of(cx, rank):
    axes = cx.known(1) if cx.has(1) else cx.attribute("axes", None)
    return None if axes is None else sorted(int(a) % rank for a in np.reshape(axes, -1))


@single("Squeeze")
def squeeze(cx):
    axes = axes_of(cx, cx[0].rank)
    gone = [a for a, d in enumerate(cx[0].dims) if d == 1] if axes is None else axes
    return cx.g.reshape(cx[0], [d for a, d in enumerate(cx[0].dims) if a not in gone])


@single("Unsqueeze")
def unsqueeze(cx):
    count = np.size(cx.known(1) if cx.has(1) else cx.attribute("axes"))
    axes, dims = axes_of(cx, cx[0].rank + count), iter(cx[0].dims)
    return cx.g.reshape(cx[0], [1 if a in axes else next(dims) for a in range(cx[0].rank + count)])


@single("Transpose")
def transpose(cx):
    return cx.g.transpose(cx[0], cx.attribute("perm", list(reversed(range(cx[0].rank)))))


@single("Concat")
def concat(cx):
    return cx.g.concat(cx.inputs, cx.axis("axis", 0))


@single("Expand")
def expand(cx):
    dims = np.broadcast_shapes(cx[0].dims, tuple(int(d) for d in cx.known(1)))
    return cx.g.broadcast_to(cx[0], dims)


@single("Tile")
def tile(cx):
    g, x = cx.g, cx[0]
    times = [int(n) for n in cx.known(1)]
    x = g.reshape(x, [v for d in x.dims for v in (1, d)])
    wide = g.op("broadcast", [x], x.dtype, [v for n, d in zip(times, x.dims[1::2]) for v in (n, d)],
                dims=[v for n, d in zip(times, x.dims[1::2]) for v in (n, d)], axes=list(range(x.rank)))  # fmt: skip
    return g.reshape(wide, [n * d for n, d in zip(times, x.dims[1::2])])


@operator("Split")
def split(cx):
    axis, extent = cx.axis("axis", 0), cx[0].dims[cx.axis("axis", 0)]
    sizes = cx.known(1) if cx.has(1) else cx.attribute("split", None)
    if sizes is None:
        count = cx.attribute("num_outputs", len(cx.node.output))
        size = -(-extent // count)
        sizes = [size] * (count - 1) + [extent - size * (count - 1)]
    ends = np.cumsum([0, *[int(s) for s in sizes]])
    return [cx.g.slice_axis(cx[0], axis, int(a), int(b)) for a, b in zip(ends, ends[1:])]


@single("Slice")
def slice_(cx):
    g, x = cx.g, cx[0]
    if cx.version < 10:
        starts, ends = cx.attribute("starts"), cx.attribute("ends")
        axes, steps = cx.attribute("axes", None), None
    else:
        starts, ends = cx.known(1), cx.known(2)
        axes, steps = cx.known(3) if cx.has(3) else None, cx.known(4) if cx.has(4) else None
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    places = [slice(None)] * x.rank
    for a, start, end, step in zip(axes, starts, ends, steps):
        places[int(a) % x.rank] = slice(int(start), int(end), int(step))
    low, high, stride, backwards = [], [], [], []
    for a, (place, extent) in enumerate(zip(places, x.dims)):
        run = range(*place.indices(extent))
        if len(run) == 0:
            low, high, stride = low + [0], high + [0], stride + [1]
        elif run.step > 0:
            low, high, stride = low + [run[0]], high + [run[-1] + 1], stride + [run.step]
        else:
            low, high, stride = low + [run[-1]], high + [run[0] + 1], stride + [-run.step]
            backwards.append(a)
    return g.reverse(g.slice(x, low, high, stride), backwards)


@single("Pad")
def pad(cx):
    g, x = cx.g, cx[0]
    pads = cx.known(1) if cx.has(1) else cx.attribute("pads")
    axes = [int(a) % x.rank for a in cx.known(3)] if cx.has(3) else list(range(x.rank))
    half = len(pads) // 2
    low, high = [0] * x.rank, [0] * x.rank
    for a, before, behind in zip(axes, pads[:half], pads[half:]):
        low[a], high[a] = int(before), int(behind)
    mode = cx.attribute("mode", b"constant").decode()
    if mode == "constant":
        value = g.reshape(cx[2], []) if cx.has(2) else g.number(x, 0)
        cut = g.slice(x, [max(0, -v) for v in low], [d + min(0, v) for d, v in zip(x.dims, high)])
        return g.pad(cut, [max(0, v) for v in low], [max(0, v) for v in high], value)
    for a in range(x.rank):
        if low[a] or high[a]:
            numbers = np.pad(np.arange(x.dims[a]), (low[a], high[a]), mode={"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode])
            x = g.gather(x, g.constant(numbers.astype(np.int64)), a)
    return x


@single("CenterCropPad")
def center_crop_pad(cx):
    g, x = cx.g, cx[0]
    axes = [a % x.rank for a in cx.attribute("axes", list(range(x.rank)))]
    for a, wanted in zip(axes, cx.known(1)):
        more = int(wanted) - x.dims[a]
        if more < 0:
            start = -more // 2
            x = g.slice_axis(x, a, start, start + int(wanted))
        elif more:
            low, high = [0] * x.rank, [0] * x.rank
            low[a], high[a] = more // 2, more - more // 2
            x = g.pad(x, low, high, g.number(x, 0))
    return x


@single("DepthToSpace")
def depth_to_space(cx):
    g, x, n = cx.g, cx[0], cx.attribute("blocksize")
    b, c, h, w = x.dims
    if cx.attribute("mode", b"DCR") == b"DCR":
        x = g.transpose(g.reshape(x, (b, n, n, c // n**2, h, w)), [0, 3, 4, 1, 5, 2])
    else:
        x = g.transpose(g.reshape(x, (b, c // n**2, n, n, h, w)), [0, 1, 4, 2, 5, 3])
    return g.reshape(x, (b, c // n**2, h * n, w * n))


@single("SpaceToDepth")
def space_to_depth(cx):
    g, x, n = cx.g, cx[0], cx.attribute("blocksize")
    b, c, h, w = x.dims
    order = [0, 3, 5, 1, 2, 4] if cx.attribute("mode", b"DCR") == b"DCR" else [0, 1, 3, 5, 2, 4]
    x = g.transpose(g.reshape(x, (b, c, h // n, n, w // n, n)), order)
    return g.reshape(x, (b, c * n**2, h // n, w // n))


@single("Trilu")
def trilu(cx):
    g, x = cx.g, cx[0]
    k, upper = int(cx.known(1)) if cx.has(1) else 0, cx.attribute("upper", 1)
    rows, columns = np.arange(x.dims[-2])[:, None], np.arange(x.dims[-1])[None]
    kept = columns >= rows + k if upper else columns <= rows + k
    return g.select(g.constant(kept), x, g.number(x, 0))


@single("EyeLike")
def eye_like(cx):
    import onnx

    dtype = cx.attribute("dtype", None)
    dtype = NUMPY[cx[0].dtype] if dtype is None else onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return cx.g.constant(np.eye(*cx[0].dims, k=cx.attribute("k", 0)).astype(NUMPY[kind(dtype)]))


@single("ReverseSequence")
def reverse_sequence(cx):
    g, x = cx.g, cx[0]
    batch, time = cx.attribute("batch_axis", 1), cx.attribute("time_axis", 0)
    shape = [1] * x.rank
    shape[batch] = x.dims[batch]
    lengths = g.reshape(g.convert(cx[1], "i64"), shape)
    position = g.iota("i64", x.dims, time)
    turned = g.sub(g.sub(lengths, g.number(lengths, 1)), position)
    return g.gather_along(x, g.select(g.compare("lt", position, lengths), turned, position), time)
