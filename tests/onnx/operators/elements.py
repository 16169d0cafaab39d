"""Operators of every element."""

import numpy as np

from emit import NUMPY, Unsaid, kind

from .registry import OPERATORS, single

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
