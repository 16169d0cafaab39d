"""ONNX's operators in the IR: `OPERATORS[name](cx)` gives the results of one node. `cx` is a `Node` of `say.py`."""

import itertools
import math

import numpy as np

from emit import NUMPY, Unsaid, Value, kind

OPERATORS = {}


def operator(*names):
    def register(function):
        OPERATORS.update({name: function for name in names})
        return function

    return register


def single(*names):
    """For functions that give one value."""

    def register(function):
        OPERATORS.update({name: lambda cx, f=function: [f(cx)] for name in names})
        return function

    return register


# ---------------------------------------------------------------- elements

for onnx, ours in {
    "Abs": "abs", "Neg": "neg", "Sqrt": "sqrt", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Exp": "exp", "Log": "log", "Tanh": "tanh",
    "Sigmoid": "sigmoid", "Erf": "erf", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan", "Sinh": "sinh",
    "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh", "Not": "not", "BitwiseNot": "not",
}.items():  # fmt: skip
    single(onnx)(lambda cx, ours=ours: cx.g.unary(ours, cx[0]))
for onnx, ours in {"Sub": "sub", "And": "and", "Or": "or", "Xor": "xor", "BitwiseAnd": "and", "BitwiseOr": "or", "BitwiseXor": "xor"}.items():
    single(onnx)(lambda cx, ours=ours: cx.g.binary(ours, cx[0], cx[1]))
for onnx, ours in {"Equal": "eq", "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge"}.items():
    single(onnx)(lambda cx, ours=ours: cx.g.compare(ours, cx[0], cx[1]))
for onnx, ours in {"Add": "add", "Mul": "mul", "Div": "div", "Sum": "add", "Max": "max", "Min": "min"}.items():

    @single(onnx)
    def folded(cx, ours=ours):
        result = cx[0]
        for other in cx.inputs[1:]:
            result = cx.g.binary(ours, result, other)
        return result


@single("Mean")
def mean_of(cx):
    total = OPERATORS["Sum"](cx)[0]
    return cx.g.div(total, cx.g.number(total, len(cx.inputs)))


@single("Identity")
def identity(cx):
    return cx[0]


@single("Reciprocal")
def reciprocal(cx):
    return cx.g.div(cx.g.number(cx[0], 1), cx[0])


@single("Sign")
def sign(cx):
    g, x = cx.g, cx[0]
    zero = g.number(x, 0)
    up, down = g.compare("gt", x, zero), g.compare("lt", x, zero)
    return g.select(up, g.number(x, 1), g.select(down, g.number(x, -1), x))


@single("Pow")
def power(cx):
    g, x, y = cx.g, cx[0], cx[1]
    if x.is_float:
        return g.binary("pow", x, g.convert(y, x.dtype))
    if y.is_float:
        return g.convert(g.binary("pow", g.convert(x, y.dtype), y), x.dtype)
    y, (one, zero) = g.convert(y, x.dtype), (g.number(x, 1), g.number(x, 0))
    result, square = one, x
    for bit in range(6):
        here = g.compare("ne", g.binary("and", y, g.number(x, 1 << bit)), zero)
        result = g.mul(result, g.select(here, square, one))
        square = g.mul(square, square)
    return result


def floored(g, x, y):
    """The remainder with the sign of the divisor."""
    rest = g.binary("rem", x, y)
    zero = g.number(x, 0)
    opposed = g.binary("xor", g.compare("lt", rest, zero), g.compare("lt", y, zero))
    turns = g.binary("and", opposed, g.compare("ne", rest, zero))
    return g.select(turns, g.add(rest, y), rest)


@single("Mod")
def modulo(cx):
    g, x, y = cx.g, cx[0], cx[1]
    if cx.attribute("fmod", 0) or x.dtype == "u8":
        return g.binary("rem", x, y)
    return floored(g, x, y)


@single("BitShift")
def bit_shift(cx):
    """Shifts by the width or more leave nothing, or the sign."""
    g, x, by = cx.g, cx[0], cx[1]
    left, width = cx.attribute("direction") == b"LEFT", NUMPY[x.dtype].itemsize * 8
    y = g.binary("shl" if left else "shr", x, by)
    inside = g.compare("lt", by, g.number(by, width))
    if x.dtype != "u8":
        inside = g.binary("and", inside, g.compare("ge", by, g.number(by, 0)))
    rest = g.binary("shr", x, g.number(x, width - 1)) if not left and x.dtype != "u8" else g.number(x, 0)
    return g.select(inside, y, rest)


@single("IsNaN")
def is_nan(cx):
    return cx.g.compare("ne", cx[0], cx[0])


@single("IsInf")
def is_inf(cx):
    g, x = cx.g, cx[0]
    up, down = g.compare("eq", x, g.number(x, np.inf)), g.compare("eq", x, g.number(x, -np.inf))
    no = g.constant(np.array(False))
    up = up if cx.attribute("detect_positive", 1) else no
    return g.binary("or", up, down if cx.attribute("detect_negative", 1) else no)


@single("Where")
def where(cx):
    return cx.g.select(cx[0], cx[1], cx[2])


@single("Clip")
def clip(cx):
    g, x = cx.g, cx[0]
    if cx.has(1):
        x = g.binary("max", x, cx[1])
    return g.binary("min", x, cx[2]) if cx.has(2) else x


@single("Cast", "CastLike")
def cast(cx):
    import onnx

    to = kind(onnx.helper.tensor_dtype_to_np_dtype(cx.attribute("to"))) if cx.kind == "Cast" else cx[1].dtype
    return cx.g.convert(cx[0], to)


@single("BitCast")
def bit_cast(cx):
    import onnx

    to = kind(onnx.helper.tensor_dtype_to_np_dtype(cx.attribute("to")))
    if NUMPY[to].itemsize != NUMPY[cx[0].dtype].itemsize or "bool" in (to, cx[0].dtype):
        raise Unsaid("bits as a type of another width")
    return cx.g.op("bitcast", [cx[0]], to, cx[0].dims, to=to)


# ---------------------------------------------------------------- activations


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


# ---------------------------------------------------------------- reductions


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


def arg_extreme(g, x, axis, largest, last):
    """Positions (i64) along an axis, which vanishes."""
    best = g.reduce("max" if largest else "min", x, [axis], True)
    found = g.compare("eq", x, best)
    positions = g.iota("i64", x.dims, axis)
    other = g.constant(np.array(-1 if last else x.dims[axis], dtype=np.int64))
    return g.reduce("max" if last else "min", g.select(found, positions, other), [axis])


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


# ---------------------------------------------------------------- shapes


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


# ---------------------------------------------------------------- indices


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


# ---------------------------------------------------------------- products


@single("MatMul")
def matmul(cx):
    return cx.g.matmul(cx[0], cx[1])


@single("Gemm")
def gemm(cx):
    g, a, b = cx.g, cx[0], cx[1]
    a = g.transpose(a, [1, 0]) if cx.attribute("transA", 0) else a
    b = g.transpose(b, [1, 0]) if cx.attribute("transB", 0) else b
    y = g.mul(g.matmul(a, b), g.number(a, cx.attribute("alpha", 1.0)))
    return g.add(y, g.mul(cx[2], g.number(a, cx.attribute("beta", 1.0)))) if cx.has(2) else y


@single("Einsum")
def einsum(cx):
    g, text = cx.g, cx.attribute("equation").decode().replace(" ", "")
    left, _, right = text.partition("->")
    terms = left.split(",")
    most = max((v.rank - len(t.replace("...", "")) for v, t in zip(cx.inputs, terms) if "..." in t), default=0)
    free = [c for c in "ZYXWVU"][:most]
    terms = [t.replace("...", "".join(free[most - (v.rank - len(t.replace("...", ""))) :])) for v, t in zip(cx.inputs, terms)]
    if "->" in text:
        right = right.replace("...", "".join(free))
    else:
        letters = "".join(terms)
        right = "".join(free) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in free))
    extent = {c: max(v.dims[i] for v, t in zip(cx.inputs, terms) for i, x in enumerate(t) if x == c) for c in set("".join(terms))}
    order = list(right) + sorted(set("".join(terms)) - set(right))
    product = None
    for value, term in zip(cx.inputs, terms):
        for c in set(term):
            while term.count(c) > 1:  # a diagonal
                i, j = [k for k, x in enumerate(term) if x == c][:2]
                n = value.dims[i]
                shape = [n if a in (i, j) else 1 for a in range(value.rank)]
                here = np.eye(n, dtype=bool).reshape(shape)
                value = g.reduce("add", g.select(g.constant(here), value, g.number(value, 0)), [j])
                term = term[:j] + term[j + 1 :]
        kept = [c for c in order if c in term]
        value = g.transpose(value, [term.index(c) for c in kept])
        value = g.reshape(value, [extent[c] if c in kept and value.dims[kept.index(c)] != 1 else 1 for c in order])
        product = value if product is None else g.mul(product, value)
    product = g.broadcast_to(product, [extent[c] for c in order])
    return g.reduce("add", product, list(range(len(right), len(order))))


@single("Det")
def determinant(cx):
    """By minors: the matrices are small."""
    g, x = cx.g, cx[0]
    n = x.dims[-1]

    def entry(i, j):
        return g.reshape(g.slice_axis(g.slice_axis(x, x.rank - 2, i, i + 1), x.rank - 1, j, j + 1), x.dims[:-2])

    total = None
    for order in itertools.permutations(range(n)):
        sign = np.linalg.det(np.eye(n)[list(order)])
        term = entry(0, order[0])
        for i in range(1, n):
            term = g.mul(term, entry(i, order[i]))
        term = g.mul(term, g.number(term, round(sign)))
        total = term if total is None else g.add(total, term)
    return total


# ---------------------------------------------------------------- windows


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


# ---------------------------------------------------------------- normalisation


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


# ---------------------------------------------------------------- quantisation


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


# ---------------------------------------------------------------- weights that are constants


def linear_map(cx, value, place):
    """A node that is linear in one operand, as a product with its matrix, made by the reference of ONNX."""
    g, count = cx.g, math.prod(value.dims)
    if count > 4096:
        raise Unsaid("matrices of more than 4096 rows")
    basis = np.eye(count, dtype=NUMPY[value.dtype])
    zero = np.zeros(value.dims, dtype=NUMPY[value.dtype])
    at_zero = cx.reference({place: zero})[0]
    rows = [cx.reference({place: row.reshape(value.dims)})[0].reshape(-1) - at_zero.reshape(-1) for row in basis]
    matrix = np.stack(rows).astype(NUMPY[value.dtype])
    flat = g.dot(g.reshape(value, (count,)), g.constant(matrix), [[], []], [[0], [0]])
    if np.any(at_zero):
        flat = g.add(flat, g.constant(at_zero.reshape(-1).astype(NUMPY[value.dtype])))
    return g.reshape(flat, at_zero.shape)


@single("Resize", "Upsample", "Col2Im", "DFT")
def weighted(cx):
    for i in range(1, len(cx.inputs)):
        if cx.has(i):
            cx.known(i)
    return linear_map(cx, cx[0], 0)


@single("STFT")
def short_time(cx):
    for i in (1, 2, 3):
        if cx.has(i):
            cx.known(i)
    return linear_map(cx, cx[0], 0)


@single("AffineGrid")
def affine_grid(cx):
    cx.known(1)
    return linear_map(cx, cx[0], 0)


# ---------------------------------------------------------------- recurrent layers


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
