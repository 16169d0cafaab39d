"""Writes the rows of the table of functions and layers, and what PyTorch gives for each.

    python make.py

writes `rows.tsv` and one `*.safetensors` a kind of rows. Needs torch, numpy and safetensors. A row is a model of one function
or layer, with the values of its inputs and parameters, its result, and the gradients of `sum(result * cotangent)` by
inputs and parameters. Expected values are computed in f64 and rounded to f32. What may differ is, as for whole models,
1e-6 or three times the error of PyTorch's own f32 run, whichever is more: relative, and absolute below 1; 1e-5 where
PyTorch's own is off by more than 3e-4.

What a tolerance says besides a number is why PyTorch's value is no measure: infinity, where PyTorch's f32 run overflows and
its f64 run does not; NaN, where PyTorch's gradient is NaN; a negative number, where the element by which, or the result of
which is differentiated, is NaN: some of PyTorch's functions give NaN there, some 0, some what they give elsewhere, without a
rule. Where ours differs from PyTorch's at such an element, it stands in `undefined.tsv` with its value and the reason, and has
to be that; anywhere else nothing may differ by more than the tolerance. At a kink the gradient is PyTorch's choice among the
subgradients, or the one that a remark names; `functions.rs` has the intervals.

Rows in f64 are the same as those in f32, at fewer points and at points that f32 has not, within 1e-14. Integers and truth values
are equal, and of PyTorch's type.
"""

import math
import pathlib
import re
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
INF, NAN = math.inf, math.nan
LARGEST, SMALLEST, DENORMAL = 3.4028234663852886e38, 1.1754943508222875e-38, 1.401298464324817e-45

EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 0.3, -1.7, 20.0, -20.0, 100.0, -100.0, 1e10, -1e30,
    INF, -INF, NAN, LARGEST, -LARGEST, SMALLEST, -SMALLEST, DENORMAL, -DENORMAL, 1e-20,
]  # fmt: skip
# Pairs of these for functions of two arguments.
FEW = [0.0, -0.0, 1.0, -2.5, 7.0, 0.1, INF, -INF, NAN, SMALLEST]
PAIRS = [(a, b) for a in FEW for b in FEW]

rows = []


def plain(*dims, turn=37, shift=11):
    """Numbers between -2 and 2, none of them 0, exact in f32."""
    count = math.prod(dims)
    return [(((i * turn + shift) % 64) - 31.5) / 16 for i in range(count)]


def cotangent(dims):
    count = math.prod(dims)
    return np.array([(((i * 5 + 3) % 8) - 3.5) / 4 for i in range(count)]).reshape(dims)


def row(kind, names, output, f, inputs, cases, *, body="", states=None, train=False, by=None, within="row", remark=""):
    """`inputs` and `states`: types by name. `cases`: lists of values by name, for what differs from `plain`. `by`: what is
    differentiated by (floats, if not said). `within`: over what the largest value and error are taken for the rule: an
    `element`, a `row` of the first axis, or `all`; values from 1e6 on are compared by themselves always. `f` gives the result,
    or a pair of it and the new values of states, by name."""
    states = states or {}
    types = {**inputs, **states}
    by = [name for name, (dtype, _) in types.items() if dtype in ("f32", "f64")] if by is None else by
    rows.append(dict(kind=kind, names=names, output=output, f=f, inputs=inputs, states=states, cases=cases, body=body,
                     train=train, by=by, within=within, remark=remark))  # fmt: skip


def f32(*dims):
    return ("f32", dims)


def i32(*dims):
    return ("i32", dims)


# ---------------------------------------------------------------- functions of every element


def unary(names, output, f, **more):
    x = more.pop("x", EDGES)
    row(more.pop("kind", "elements"), names, output, lambda v: f(v["x"]), {"x": f32(len(x))}, [{"x": x}], within="element", **more)


unary("abs", "abs(x)", torch.abs)
unary("floor", "floor(x)", torch.floor)
unary("ceil", "ceil(x)", torch.ceil)
unary("round", "round(x)", torch.round, x=EDGES + [1.5, 2.5, -0.49999997, 8388609.0])
unary("trunc", "trunc(x)", torch.trunc)
unary("sqrt", "sqrt(x)", torch.sqrt)
unary("rsqrt", "rsqrt(x)", torch.rsqrt)
unary("tan", "tan(x)", torch.tan, x=EDGES + [1.5707964, 1048577.0, 3e6, 2.3e22])
for name in ("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "log2", "log10"):
    unary(name, f"{name}(x)", getattr(torch, name), x=EDGES + [0.999, -0.999, 1.001, 8.0, 1000.0, 88.9, -88.9, 1e-4])
unary("exp2", "exp2(x)", torch.exp2, x=EDGES + [127.5, 128.0, -126.5, -149.0, 10.25])
unary("erfinv", "erfinv(x)", torch.erfinv, x=EDGES + [0.999, -0.99999])
for name in ("isnan", "isinf", "isfinite"):
    unary(name, f"float({name}(x))", lambda x, f=getattr(torch, name): f(x).to(x.dtype), by=[])
unary("exp", "exp(x)", torch.exp, x=EDGES + [88.72, 88.73, -87.4, -103.9])
unary("expm1", "expm1(x)", torch.expm1)
unary("log", "log(x)", torch.log)
unary("log1p", "log1p(x)", torch.log1p)
unary("square", "square(x)", torch.square)
unary("sign", "sign(x)", torch.sign)
unary("tanh", "tanh(x)", torch.tanh)
unary("sigmoid", "sigmoid(x)", torch.sigmoid)
unary("erf", "erf(x)", torch.erf)
unary("sin", "sin(x)", torch.sin, x=EDGES + [1048576.0, 1048577.0, 3e6, 1e15, 2.3e22, -7.5e33])
unary("cos", "cos(x)", torch.cos, x=EDGES + [1048576.0, 1048577.0, 3e6, 1e15, 2.3e22, -7.5e33])
unary("lgamma", "lgamma(x)", torch.lgamma, x=EDGES + [-1.5, -2.7, 1e-3, 171.0])


class Digamma(torch.autograd.Function):
    """PyTorch's, with the exact derivative, Hurwitz's zeta function: its own is off by 5e-10. NaN at the poles, as digamma."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return torch.digamma(x)

    @staticmethod
    def backward(context, dy):
        (x,) = context.saved_tensors
        z = torch.where(x < 0, 1 - x, x)
        positive = torch.where(z.isinf(), 0, torch.special.zeta(torch.full_like(z, 2), z))
        d = x - x.round()
        reflection = (math.pi * d / torch.sin(math.pi * d) / d) ** 2
        return dy * torch.where(x < 0, reflection - positive, positive)


unary("digamma", "digamma(x)", Digamma.apply, x=EDGES + [-1.5, -2.7, 1e-3, 171.0],
      remark="PyTorch's derivative is off by 5e-10; this is Hurwitz's zeta function")  # fmt: skip
unary("relu", "relu(x)", F.relu)
unary("leaky_relu", "leaky_relu(x, 0.2)", lambda x: F.leaky_relu(x, 0.2))
unary("elu", "elu(x)", F.elu)
unary("gelu", "gelu(x)", F.gelu)
unary("silu", "silu(x)", F.silu)
unary("softplus", "softplus(x)", F.softplus)
unary("hard_sigmoid", "hard_sigmoid(x)", F.hardsigmoid)
unary("clip", "clip(x, -1, 3)", lambda x: x.clamp(-1, 3))
unary("float", "float(x)", lambda x: x * 1)
unary("int", "float(int(x))", lambda x: x.nan_to_num(0).clamp(-2147483648, 2147483647).trunc(),
      by=[], remark="NaN becomes 0, what is too large the largest i32; PyTorch leaves both undefined")  # fmt: skip
unary("stop_gradient", "stop_gradient(x)", lambda x: x.detach())
unary("-", "-x", torch.neg)
unary("not", "float(not (x > 0))", lambda x: (~(x > 0)).to(x.dtype), by=[])
unary("size,len,range,divisible,reshape", "x * size(x, 0) + len(range(3)) + divisible(30, 8)", lambda x: x * x.numel() + 35)
unary("**", "x ** 3", lambda x: x**3)
unary("**", "x ** 0.5", lambda x: x**0.5)
unary("**", "x ** 0", lambda x: x**0)
unary("**", "x ** -1", lambda x: x**-1)
unary("**", "x ** 2.5", lambda x: x**2.5)
unary("where", "where(x > 0, sqrt(where(x > 0, x, 1)), x * 2)",
      lambda x: torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1)), x * 2))  # fmt: skip


def pair(names, output, f, pairs=PAIRS, **more):
    inputs = {"x": f32(len(pairs)), "y": f32(len(pairs))}
    case = {"x": [a for a, _ in pairs], "y": [b for _, b in pairs]}
    row("elements", names, output, lambda v: f(v["x"], v["y"]), inputs, [case], within="element", **more)


def first_on_ties(better):
    """The first of equal operands has the whole gradient; PyTorch's `maximum` gives half to each."""
    return lambda x, y: torch.where(better(x, y) | x.isnan() | (x == y), x, y)


DIVISIONS = PAIRS + [(1.0, 0.1), (1e8, 3.0), (5.0, 3.0), (-5.0, 3.0), (5.0, -3.0), (-5.0, -3.0), (6.0, 3.0), (-6.0, 3.0),
                     (LARGEST, 3.0), (LARGEST, 1e-30), (1.0, DENORMAL), (DENORMAL, 1.0), (-DENORMAL, 1.0), (0.3, -0.1)]  # fmt: skip

pair("+", "x + y", torch.add)
pair("-", "x - y", torch.sub)
pair("*", "x * y", torch.mul)
pair("/", "x / y", torch.div)
pair("//", "x // y", lambda a, b: torch.tensor(np.floor_divide(a.detach().numpy(), b.detach().numpy())), DIVISIONS)
pair("%", "x % y", torch.remainder, DIVISIONS)
pair("**", "x ** y", torch.pow)
pair("max", "max(x, y)", first_on_ties(torch.gt), remark="the first of equal operands has the gradient; in PyTorch half of it each")
pair("min", "min(x, y)", first_on_ties(torch.lt), remark="the first of equal operands has the gradient; in PyTorch half of it each")
for symbol, f in {"==": torch.eq, "!=": torch.ne, "<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge}.items():
    pair(symbol, f"float(x {symbol} y)", lambda x, y, f=f: f(x, y).to(x.dtype), by=[])
pair("atan2", "atan2(x, y)", torch.atan2)
pair("xor", "float(xor(x > 0, y > 0))", lambda x, y: ((x > 0) ^ (y > 0)).to(x.dtype), by=[])
pair("and", "float(x > 0 and y > 0)", lambda x, y: ((x > 0) & (y > 0)).to(x.dtype), by=[])
pair("or", "float(x > 0 or y > 0)", lambda x, y: ((x > 0) | (y > 0)).to(x.dtype), by=[])

# ---------------------------------------------------------------- functions along axes

ALONG = [
    [0.5, -1.25, 2.0, 0.75], [0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0], [-0.0, 0.0, 1.0, 1.0], [-INF, 1.0, 2.0, -1.0],
    [INF, 1.0, 2.0, -1.0], [-INF, -INF, -INF, -INF], [INF, INF, 1.0, 2.0], [NAN, 1.0, 3.0, NAN], [1.0, NAN, 3.0, NAN],
    [LARGEST, 1.0, 2.0, 0.0], [1e30, -1e30, 1e30, 1e25], [1e-30, 1e-30, -1e-30, 0.0], [SMALLEST, 0.0, 0.0, 0.0],
    [DENORMAL, DENORMAL, 0.0, 0.0], [100.0, -100.0, 88.0, 90.0], [3.0, 0.0, 5.0, 2.0], [3.0, 0.0, 0.0, 2.0],
]  # fmt: skip
ORDINARY_LINES = [line for line in ALONG if all(v == 0 or 0.1 < abs(v) < 1e3 for v in line)]
RUNNING = [[*line] for line in ALONG if all(math.isfinite(v) for v in line)]


def along(names, output, f, lines=ALONG, **more):
    flat = [v for line in lines for v in line]
    row("functions", names, output, lambda v: f(v["x"]), {"x": f32(len(lines), len(lines[0]))}, [{"x": flat}], **more)


def first_max(x, largest=True):
    """PyTorch's `max(dim)`: the gradient goes to the first extreme element, or to the first NaN."""
    return (x.max(1) if largest else x.min(1)).values


def log_sum_exp(x):
    m = x.max(1, keepdim=True).values.detach()
    m = torch.where(m.abs() == INF, 0.0, m)
    y = (x - m).exp().sum(1).log() + m[:, 0]
    assert torch.equal(y.nan_to_num(), torch.logsumexp(x, 1).nan_to_num())
    return y


along("sum", "sum(x, axis=1)", lambda x: x.sum(1))
along("mean", "mean(x, axis=1)", lambda x: x.mean(1))
along("var", "var(x, axis=1)", lambda x: x.var(1, unbiased=False))
along("std", "std(x, axis=1)", lambda x: x.std(1, unbiased=False))
along("var", "var(x, axis=1, correction=1)", lambda x: x.var(1))
along("std", "std(x, axis=1, correction=1)", lambda x: x.std(1))
along("std", "std(x, axis=1, correction=0.5)", lambda x: x.std(1, correction=0.5))
along("var,sqrt", "sqrt(var(x, axis=1))", lambda x: x.std(1, unbiased=False), ORDINARY_LINES)
along("prod", "prod(x, axis=1)", lambda x: x.prod(1))
along("norm", "norm(x, axis=1)", lambda x: torch.linalg.vector_norm(x, dim=1))
along("logsumexp", "logsumexp(x, axis=1)", log_sum_exp, remark="PyTorch's gradient e^(x - y) is 1 for each of two equal large elements")
along("softmax", "softmax(x)", lambda x: torch.softmax(x, 1))
along("log_softmax", "log_softmax(x)", lambda x: torch.log_softmax(x, 1))
along("max", "max(x, axis=1)", first_max)
along("min", "min(x, axis=1)", lambda x: first_max(x, False))
along("argmax", "float(argmax(x))", lambda x: x.argmax(1).to(x.dtype), by=[])
along("argmin", "float(argmin(x))", lambda x: x.argmin(1).to(x.dtype), by=[])
along("all", "float(all(x > 0, axis=1))", lambda x: (x > 0).all(1).to(x.dtype), by=[])
along("any", "float(any(x > 0, axis=1))", lambda x: (x > 0).any(1).to(x.dtype), by=[])
along("cumsum", "cumsum(x)", lambda x: x.cumsum(1), RUNNING)
# Gradients are quotients by the factors, in PyTorch as here: one by a denormal factor is lost.
FACTORS = [line for line in RUNNING if all(v == 0 or 1e-30 < abs(v) < 1e3 for v in line)]
along("cumprod", "cumprod(x)", lambda x: x.cumprod(1), FACTORS)
along("sort", "sort(x)", lambda x: x.sort(dim=1, stable=True).values)
along("sort", "sort(x, axis=0, descending=true)", lambda x: x.sort(dim=0, descending=True, stable=True).values)
along("argsort", "float(argsort(x))", lambda x: x.argsort(dim=1, stable=True).to(x.dtype), by=[])
along("top_k", "top_k(x, 2)[0]", lambda x: x.sort(dim=1, descending=True, stable=True).values[:, :2])
along("top_k", "float(top_k(x, 3, largest=false)[1])", lambda x: x.argsort(dim=1, stable=True)[:, :3].to(x.dtype), by=[])
along("norm", "norm(x)", lambda x: x.norm(), [[0.0, 0.0, 0.0]])
along("norm", "norm(x)", lambda x: x.norm(), [[1e-30]])
along("norm", "norm(x)", lambda x: x.norm(), [[1.5, -2.0, 0.5]])
for name, f in {"std": lambda x: x.std(unbiased=False), "sum": torch.sum, "prod": torch.prod, "norm": torch.norm, "logsumexp": lambda x: torch.logsumexp(x, (0, 1)),
                "mean": torch.mean, "var": lambda x: x.var(unbiased=False)}.items():  # fmt: skip
    row("functions", name, f"{name}(x)", lambda v, f=f: f(v["x"]), {"x": f32(0, 3)}, [{}], within="all", remark="nothing")

# ---------------------------------------------------------------- arrangement

row("functions", "matmul,@", "matmul(x, y)", lambda v: v["x"] @ v["y"], {"x": f32(2, 3, 4), "y": f32(4, 2)},
    [{}, {"x": plain(2, 3, 4)[:-2] + [INF, NAN]}], within="all")  # fmt: skip
row("functions", "@", "x @ y", lambda v: v["x"] @ v["y"], {"x": f32(3, 4), "y": f32(4, 2)}, [{}], within="all")
for output, x, y in (("x @ y", (4,), (4,)), ("x @ y", (4,), (4, 3)), ("x @ y", (2, 3, 4), (4,)), ("x @ y", (4,), (2, 4, 3)),
                     ("x @ y", (2, 1, 3, 4), (3, 4, 2)), ("x @ y", (1, 3, 4), (2, 4, 2)), ("x @ y", (3, 4), (2, 4, 2))):  # fmt: skip
    row("functions", "@", output, lambda v: v["x"] @ v["y"], {"x": f32(*x), "y": f32(*y)}, [{}], within="all")
row("functions", "where", "where(z > 0, x, y)", lambda v: torch.where(v["z"] > 0, v["x"], v["y"]), {"x": f32(3, 1), "y": f32(4), "z": f32(2, 1, 1)},
    [{}, {"x": [INF, NAN, -0.0]}], by=["x", "y"], within="element")  # fmt: skip
row("functions", "stack", "stack([x, y, x * y], axis=1)", lambda v: torch.stack([v["x"], v["y"], v["x"] * v["y"]], 1), {"x": f32(2, 3), "y": f32(2, 3)},
    [{}], within="element")  # fmt: skip
row("functions", "zeros,ones,full", "x * full([3], 2.5) + zeros([2, 1]) - ones([3])", lambda v: v["x"] * 2.5 - 1, {"x": f32(2, 3)}, [{}])
row("functions", "cast", "cast(cast(x, 'f64') * cast(x, 'i32'), 'f32')", lambda v: v["x"] * v["x"].trunc().detach(), {"x": f32(8)}, [{}])
for output, f in (("x[::-1, ::-2]", lambda x: x.flip(0, 1)[:, ::2]), ("x[[2, 0, 0, -1]]", lambda x: x[[2, 0, 0, -1]]), ("x[..., 0]", lambda x: x[..., 0]),
                  ("x[[0, 1, 1], [2, 0, 0]]", lambda x: x[[0, 1, 1], [2, 0, 0]]), ("x * [1, 2, 3, 4]", lambda x: x * torch.tensor([1, 2, 3, 4]))):  # fmt: skip
    row("functions", "take", output, lambda v, f=f: f(v["x"]), {"x": f32(3, 4)}, [{}, {"x": plain(3, 4)[:-3] + [INF, NAN, -0.0]}], within="element")
row("functions", "take", "x[:, i]", lambda v: v["x"][:, v["i"].long()], {"x": f32(3, 4), "i": i32(2, 2)}, [{"i": [0, -1, 3, -4]}], within="element")
row("functions", "transpose,concat,reshape", "concat([transpose(x), reshape(y, [3, 2])], axis=1)",
    lambda v: torch.cat([v["x"].T, v["y"].reshape(3, 2)], 1), {"x": f32(2, 3), "y": f32(6)},
    [{}, {"x": [INF, -INF, NAN, 0, -0.0, DENORMAL]}], within="element")  # fmt: skip
row("functions", "one_hot", "one_hot(i, 4)", lambda v: F.one_hot(v["i"].long(), 4).to(v["x"].dtype) + 0 * v["x"][0],
    {"x": f32(1), "i": i32(3)}, [{"i": [3, 0, 1]}], by=[])  # fmt: skip
row("functions", "take", "take(x, i)", lambda v: v["x"][v["i"].long()], {"x": f32(4, 2), "i": i32(3)},
    [{"i": [3, 0, 3]}, {"i": [1, 1, 2], "x": [INF, NAN, 1, -0.0, DENORMAL, 2, 3, LARGEST]}], within="element")  # fmt: skip
row("functions", "positions", "x * positions(x)", lambda v: v["x"] * torch.arange(5).to(v["x"].dtype), {"x": f32(2, 5)}, [{}])
row("functions", "parameter", "x * parameter('w')", lambda v: v["x"] * v["w"], {"x": f32(4)}, [{}], states={"w": f32(4)},
    body='Parameter(name: "w", dims: [4])')  # fmt: skip


def heads(x, n):
    return x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def attention(v, mask=None, causal=False):
    q, k, w = (heads(v[name], 2) for name in "xyz")
    y = F.scaled_dot_product_attention(q, k, w, attn_mask=mask, is_causal=causal)
    return y.transpose(1, 2).reshape(v["x"].shape[0], v["x"].shape[1], -1)


THREE = {"x": f32(2, 3, 4), "y": f32(2, 3, 4), "z": f32(2, 3, 4)}
SHIFTED = {"y": plain(2, 3, 4, turn=29, shift=5), "z": plain(2, 3, 4, turn=23)}
row("functions", "attention", "attention(x, y, z, heads=2)", attention, THREE, [SHIFTED, {"x": [0.0] * 24, "y": [0.0] * 24}], within="all")
row("functions", "attention", "attention(x, y, z, heads=2, causal=true)", lambda v: attention(v, causal=True), THREE, [SHIFTED], within="all")
row("functions", "attention", "attention(x, y, z, heads=2, scale=0.25)",
    lambda v: attention({**v, "x": v["x"] * 0.25 * 2**0.5}), THREE, [SHIFTED], within="all")  # fmt: skip
MASK = [1.0, 1, 0, 0, 0, 0, 0, 1, 0]
row("functions", "attention", "attention(x, y, z, heads=2, mask=m > 0)", lambda v: attention(v, v["m"] > 0), {**THREE, "m": f32(3, 3)},
    [{**SHIFTED, "m": MASK}, {**SHIFTED, "m": [0.0] * 9}], by=["x", "y", "z"], within="all",
    remark="a query without keys gets zeros and no gradient")  # fmt: skip
# Numbers that are added to the scores, some of them -inf; the second sample's second query sees nothing.
ADDED = [0.0, 0.5, -INF, -1.0, -INF, 2.0, 0.25, 0.0, 0.0] + [0.0, -INF, -INF, -INF, -INF, -INF, 1.0, -2.0, -INF]
KEYS = [1.0, 1, 0, 0, 0, 1]
CAUSAL = torch.ones(3, 3).tril() > 0
for text, seen in {
    "mask=m": lambda v: v["m"],
    "mask=m, causal=true": lambda v: v["m"].masked_fill(~CAUSAL, -INF),
    "mask=m, key_mask=n > 0, causal=true": lambda v: v["m"].masked_fill(~(CAUSAL & (v["n"] > 0)[:, None, None]), -INF),
    "mask=m > 0, key_mask=n > 0": lambda v: (v["m"] > 0) & (v["n"] > 0)[:, None, None],
    "mask=m > 0, causal=true": lambda v: (v["m"] > 0) & CAUSAL,
    "key_mask=n > 0": lambda v: (v["n"] > 0)[:, None, None].expand(2, 1, 3, 3),
    "key_mask=n": lambda v: v["n"][:, None, None].expand(2, 1, 3, 3),
}.items():
    used = {name: dims for name, dims in {"m": f32(2, 1, 3, 3), "n": f32(2, 3)}.items() if f"={name}" in text}
    case = {name: values for name, values in {"m": ADDED, "n": KEYS}.items() if name in used}
    added = [name for name in used if f"={name}," in text + "," and f"={name} > 0" not in text]
    row("functions", "attention", f"attention(x, y, z, heads=2, {text})", lambda v, f=seen: attention(v, f(v)), {**THREE, **used},
        [{**SHIFTED, **case}], by=["x", "y", "z", *added], within="all", remark="a query without keys gets zeros and no gradient")  # fmt: skip

# ---------------------------------------------------------------- losses and metrics


def loss(names, call, f, pairs, targets="t", **more):
    """Every element, and the mean of the first six."""
    def case(pairs):
        return {"x": [a for a, _ in pairs], "t": [b for _, b in pairs]}

    for reduction, pairs in (("none", pairs), ("mean", pairs[:6]), ("sum", pairs[:6])):
        text = f"{names}({call}, reduction='{reduction}')"
        inputs = {"x": f32(len(pairs)), "t": f32(len(pairs))}
        row("losses", names, text, lambda v, r=reduction: f(v["x"], v["t"], r), inputs, [case(pairs)],
            within="element" if reduction == "none" else "all", **more)  # fmt: skip


TARGETS = [(0.5, 0.25), (-1.5, 2.0), (1.75, 1.0), (0.25, -3.0), (2.0, 0.5), (-0.5, -1.0)]
NEAR = TARGETS + [(x, t) for x in EDGES for t in (0.0, 1.0)]
loss("mse", "x, t", lambda x, t, r: F.mse_loss(x, t, reduction=r), NEAR)
loss("l1", "x, t", lambda x, t, r: F.l1_loss(x, t, reduction=r), NEAR)
loss("smooth_l1", "x, t, beta=0.5", lambda x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.5), NEAR)
loss("huber", "x, t, delta=2", lambda x, t, r: F.huber_loss(x, t, reduction=r, delta=2.0), NEAR)


def reduce(value, how):
    return {"none": lambda: value, "mean": value.mean, "sum": value.sum}[how]()


loss("hinge", "x, t", lambda x, t, r: reduce(F.relu(1 - x * t), r), [(x, -1.0 if i % 3 else 1.0) for i, (x, _) in enumerate(NEAR)],
     remark="max(0, 1 - x t), with the gradient of relu: 0 at the margin")  # fmt: skip
PROBABILITIES = [(0.25, 0.75), (0.5, 0.0), (0.875, 1.0), (0.125, 0.5), (0.75, 0.25), (0.5, 0.5)]


def bce(x, t, r):
    """The logarithms are at least -100 in the gradient by the target too, where PyTorch's is infinite."""
    log, rest = (v.detach().log().clamp(min=-100) for v in (x, 1 - x))
    return reduce(F.binary_cross_entropy(x, t.detach(), reduction="none") + (t - t.detach()) * (rest - log), r)


loss("bce", "x, t", bce,
     PROBABILITIES + [(x, t) for x in (0.0, 1.0, 1e-20, SMALLEST, DENORMAL, 1 - 2**-24, 1e-6) for t in (0.0, 1.0, 0.5)],
     remark="the gradient of the target is finite (at most 100), PyTorch's is infinite at 0 and 1")  # fmt: skip
loss("bce_with_logits", "x, t", lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, reduction=r),
     [(x, 0.5) for x, _ in TARGETS] + [(x, t) for x in EDGES for t in (0.0, 1.0, 0.25)])  # fmt: skip
POSITIVE = 2.5


def weighted_bce(x, t, r):
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    each = POSITIVE * t * F.binary_cross_entropy(x, one, reduction="none") + (1 - t) * F.binary_cross_entropy(x, zero, reduction="none")
    return reduce(0.5 * each, r)


loss("bce", "x, t, pos_weight=2.5, weights=0.5", weighted_bce,
     PROBABILITIES + [(x, t) for x in (0.0, 1.0, 1e-20, SMALLEST, 1 - 2**-24, 1e-6) for t in (0.0, 1.0, 0.5)],
     remark="the gradient of the target is finite, PyTorch's is infinite at 0 and 1")  # fmt: skip
loss("bce_with_logits", "x, t, pos_weight=2.5, weights=0.5",
     lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, torch.tensor(0.5, dtype=x.dtype), reduction=r, pos_weight=torch.tensor(POSITIVE, dtype=x.dtype)),
     [(x, 0.5) for x, _ in TARGETS] + [(x, t) for x in EDGES for t in (0.0, 1.0, 0.25)])  # fmt: skip
row("losses", "bce_with_logits", "bce_with_logits(x, t, pos_weight=[0.5, 1, 3], weights=w)",
    lambda v: F.binary_cross_entropy_with_logits(v["x"], v["t"], v["w"], pos_weight=torch.tensor([0.5, 1, 3], dtype=v["x"].dtype)),
    {"x": f32(2, 3), "t": f32(2, 3), "w": f32(2, 1)}, [{"t": [0.0, 1, 0.5, 1, 1, 0]}], by=["x", "t"], within="all")  # fmt: skip
loss("kl", "x, t", lambda x, t, r: F.kl_div(x, t, reduction=r),
     [(-1.0, 0.25), (-0.5, 0.5), (-2.0, 0.125), (-0.25, 0.75), (-3.0, 1.0), (-1.5, 0.5)]
     + [(x, t) for x in (0.0, -1.0, -100.0, -INF) for t in (0.0, SMALLEST, 1.0)])  # fmt: skip


def gauss(v, r):
    return F.gaussian_nll_loss(v["x"], v["t"], v["s"], reduction=r)


SPREADS = [(x, t, s) for x, t in [(0.5, 0.25), (1.0, 1.0), (-2.0, 3.0)] for s in (1.0, 0.25, 4.0, 0.0, 1e-8, 1e-6, 1e10, LARGEST)]
for reduction in ("none", "mean", "sum"):
    chosen = SPREADS if reduction == "none" else [s for s in SPREADS if 0.1 < s[2] < 10]
    row("losses", "gauss_nll", f"gauss_nll(x, t, s, reduction='{reduction}')", lambda v, r=reduction: gauss(v, r),
        {name: f32(len(chosen)) for name in "xts"}, [{name: [line[i] for line in chosen] for i, name in enumerate("xts")}],
        within="element" if reduction == "none" else "all")  # fmt: skip

SCORES = [line for line in ALONG if not any(math.isnan(v) for v in line)] + [[NAN, 1.0, 3.0, NAN]]
FLAT = [v for line in SCORES for v in line]
LABELS = [(2 * i + 1) % 4 for i in range(len(SCORES))]
ZEROS = [0] * len(SCORES)
ORDINARY = {"x": plain(len(SCORES), 4)}


def classes(names, output, f, **more):
    row("losses", names, output, lambda v: f(v["x"], v["i"].long()), {"x": f32(len(SCORES), 4), "i": i32(len(SCORES))},
        more.pop("cases", [{**ORDINARY, "i": LABELS}, {"x": FLAT, "i": LABELS}, {"x": FLAT, "i": ZEROS}]), **more)  # fmt: skip


def mean_of_ordinary(names, output, f, **more):
    classes(names, output, f, cases=[{**ORDINARY, "i": LABELS}], within="all", **more)


classes("cross_entropy", "cross_entropy(x, i, reduction='none')", lambda x, i: F.cross_entropy(x, i, reduction="none"))
classes("cross_entropy", "cross_entropy(x, i, smoothing=0.25, reduction='none')",
        lambda x, i: F.cross_entropy(x, i, reduction="none", label_smoothing=0.25))  # fmt: skip
WEIGHTS = [0.5, 1.0, 2.0, 0.0]
mean_of_ordinary("cross_entropy", "cross_entropy(x, i)", F.cross_entropy)
mean_of_ordinary("cross_entropy", "cross_entropy(x, i, weights=[0.5, 1, 2, 0])",
                 lambda x, i: F.cross_entropy(x, i, weight=torch.tensor(WEIGHTS, dtype=x.dtype)))  # fmt: skip
row("losses", "cross_entropy", "cross_entropy(x, t, reduction='none')", lambda v: F.cross_entropy(v["x"], v["t"], reduction="none"),
    {"x": f32(3, 4), "t": f32(3, 4)}, [{"t": [0.25] * 4 + [0, 1, 0, 0] + [0.5, 0, 0.5, 0], "x": [*plain(8), 100.0, -100, 0, 0]}])  # fmt: skip
classes("nll", "nll(x, i, reduction='none')", lambda x, i: F.nll_loss(x, i, reduction="none"))
mean_of_ordinary("nll", "nll(x, i, weights=[0.5, 1, 2, 0])", lambda x, i: F.nll_loss(x, i, torch.tensor(WEIGHTS, dtype=x.dtype)))


def weight(x):
    return torch.tensor(WEIGHTS, dtype=x.dtype)


SOME_IGNORED = {**ORDINARY, "i": [-100 if n % 3 == 0 else label for n, label in enumerate(LABELS)]}
for reduction in ("mean", "sum", "none"):
    ending = f"reduction='{reduction}'"
    for text, given in {
        "ignore_index=3": lambda x: dict(ignore_index=3),
        "ignore_index=3, weights=[0.5, 1, 2, 0.25]": lambda x: dict(ignore_index=3, weight=torch.tensor([0.5, 1, 2, 0.25], dtype=x.dtype)),
        "smoothing=0.25, weights=[0.5, 1, 2, 0]": lambda x: dict(label_smoothing=0.25, weight=weight(x)),
        "ignore_index=3, smoothing=0.25": lambda x: dict(ignore_index=3, label_smoothing=0.25),
        "ignore_index=3, smoothing=0.25, weights=[0.5, 1, 2, 0]": lambda x: dict(ignore_index=3, label_smoothing=0.25, weight=weight(x)),
    }.items():
        mean_of_ordinary("cross_entropy", f"cross_entropy(x, i, {text}, {ending})",
                         lambda x, i, g=given, r=reduction: F.cross_entropy(x, i, reduction=r, **g(x)))  # fmt: skip
    classes("cross_entropy", f"cross_entropy(x, i, ignore_index=-100, {ending})",
            lambda x, i, r=reduction: F.cross_entropy(x, i, reduction=r), cases=[SOME_IGNORED], within="all")  # fmt: skip
    classes("nll", f"nll(x, i, weights=[0.5, 1, 2, 0], ignore_index=-100, {ending})",
            lambda x, i, r=reduction: F.nll_loss(x, i, weight(x), reduction=r), cases=[SOME_IGNORED], within="all")  # fmt: skip
row("losses", "cross_entropy", "cross_entropy(x, t, smoothing=0.25, weights=[0.5, 1, 2, 0])",
    lambda v: F.cross_entropy(v["x"], v["t"], weight(v["x"]), label_smoothing=0.25), {"x": f32(3, 4), "t": f32(3, 4)},
    [{"t": [0.25] * 4 + [0, 1, 0, 0] + [0.5, 0, 0.5, 0]}], within="all")  # fmt: skip

# Classes lie where the labels fit: behind the samples as in PyTorch, or last. Where both fit, the axis is named.
PLACES = [0, 2, 1, 1, 0, 2, 2, 1]
for dims, labels, axis, text in (((2, 3, 4), (2, 4), 1, ""), ((2, 4, 3), (2, 4), 2, ""), ((2, 3, 3), (2, 3), 1, "axis=1"), ((2, 3, 3), (2, 3), 2, "axis=-1"),
                                 ((2, 3, 2, 2), (2, 2, 2), 1, ""), ((3, 4), (4,), 0, "axis=0"), ((3,), (), 0, "")):  # fmt: skip
    count = math.prod(labels)
    inputs, given = {"x": f32(*dims), "i": i32(*labels)}, [{"i": PLACES[:count]}]
    more = f", {text}" if text else ""

    def of(f, axis=axis, dims=dims, **options):
        """PyTorch's function with the classes behind the samples; of one sample, or with the classes first, as they are."""
        def call(v):
            x = v["x"].movedim(axis, min(1, len(dims) - 1)) if dims != (3, 4) else v["x"].T
            return f(x, v["i"].long(), **{name: option(x) for name, option in options.items()})
        return call

    three = lambda x: torch.tensor([0.5, 1, 2], dtype=x.dtype)
    row("losses", "cross_entropy", f"cross_entropy(x, i{more})", of(F.cross_entropy), inputs, given, within="all")
    row("losses", "cross_entropy", f"cross_entropy(x, i, smoothing=0.1, weights=[0.5, 1, 2]{more})",
        of(F.cross_entropy, weight=three, label_smoothing=lambda x: 0.1), inputs, given, within="all")  # fmt: skip
    row("losses", "nll", f"nll(x, i, weights=[0.5, 1, 2], ignore_index=2{more})",
        of(F.nll_loss, weight=three, ignore_index=lambda x: 2), inputs, given, within="all")  # fmt: skip
    row("losses", "focal", f"focal(x, i, gamma=0{more})", of(F.cross_entropy), inputs, given, within="all")
    row("losses", "focal", f"focal(x, i, gamma=0, weights=[0.5, 1, 2], ignore_index=2{more})",
        of(F.cross_entropy, weight=three, ignore_index=lambda x: 2), inputs, given, within="all",
        remark="PyTorch has no such function; without its factor it is the cross entropy")  # fmt: skip
    of_classes = lambda f: of(lambda x, i: f(x, i, min(1, x.dim() - 1)))
    row("losses", "accuracy", f"accuracy(x, i{more})", of_classes(lambda x, i, a: (x.argmax(a) == i).to(x.dtype).mean()), inputs, given, by=[])
    row("losses", "top_k_accuracy", f"top_k_accuracy(x, i, 2{more})",
        of_classes(lambda x, i, a: (x.topk(2, dim=a).indices == i.unsqueeze(a)).any(a).to(x.dtype).mean()), inputs, given, by=[])  # fmt: skip
for axis in (1, 2):
    row("losses", "cross_entropy", f"cross_entropy(x, softmax(y, axis={axis}), axis={axis})",
        lambda v, a=axis: F.cross_entropy(v["x"].movedim(a, 1), torch.softmax(v["y"], a).movedim(a, 1)),
        {"x": f32(2, 3, 4), "y": f32(2, 3, 4)}, [{}], within="all")  # fmt: skip


def focal(x, i, gamma):
    log = F.log_softmax(x, 1).gather(1, i[:, None])[:, 0]
    # As a limit: a factor of 0 has no gradient, and for p = 0 the loss falls like -ln p.
    lost = log == -INF
    rest = torch.where(lost, 1.0, -torch.expm1(torch.where(lost, 0.0, log)))
    sure = rest == 0
    factor = torch.where(sure, 0.0, torch.where(sure, 1.0, rest) ** gamma)
    return -factor * log


classes("focal", "focal(x, i, reduction='none')", lambda x, i: focal(x, i, 2.0))
classes("focal", "focal(x, i, gamma=0.5, reduction='none')", lambda x, i: focal(x, i, 0.5),
        remark="PyTorch has no such function; it is composed of PyTorch's, with a gradient of 0 where p is 1")  # fmt: skip
classes("accuracy", "accuracy(x, i)", lambda x, i: (x.argmax(1) == i).to(x.dtype).mean(), by=[])


def top_k(x, i, k):
    """Of equal scores the lower class is first; a label whose score is NaN is not found."""
    order = torch.argsort(x, dim=1, descending=True, stable=True)
    found = (order[:, :k] == i[:, None]).any(1) & ~x.gather(1, i[:, None])[:, 0].isnan()
    return found.to(x.dtype).mean()


classes("top_k_accuracy", "top_k_accuracy(x, i, 2)", lambda x, i: top_k(x, i, 2), by=[], remark="of equal scores the lower class is first")
classes("top_k_accuracy", "top_k_accuracy(x, i, 4)", lambda x, i: top_k(x, i, 4), by=[],
        cases=[{"x": [NAN] * len(FLAT), "i": LABELS}], remark="a label whose score is NaN is never found")  # fmt: skip

# ---------------------------------------------------------------- layers: activations

ACTIVATIONS = {
    "Identity": ("", lambda x: x * 1), "Relu": ("", F.relu), "Relu6": ("", F.relu6),
    "LeakyRelu": ("(slope: 0.2)", lambda x: F.leaky_relu(x, 0.2)), "Elu": ("(alpha: 2)", lambda x: F.elu(x, 2.0)),
    "Celu": ("(alpha: 2)", lambda x: F.celu(x, 2.0)), "Selu": ("", F.selu), "Gelu": ("", F.gelu), "Silu": ("", F.silu),
    "Swish": ("(beta: 2)", lambda x: x * torch.sigmoid(2 * x)), "HardSwish": ("", F.hardswish), "Mish": ("", F.mish),
    "Sigmoid": ("", torch.sigmoid), "HardSigmoid": ("", F.hardsigmoid), "LogSigmoid": ("", F.logsigmoid), "Tanh": ("", torch.tanh),
    "ScaledTanh": ("", lambda x: 1.7159 * torch.tanh(x * 2 / 3)), "HardTanh": ("(low: -2, high: 3)", lambda x: F.hardtanh(x, -2, 3)),
    "Softsign": ("", F.softsign), "Softplus": ("(beta: 2)", lambda x: F.softplus(x, 2)), "RRelu": ("", lambda x: F.leaky_relu(x, 11 / 48)),
}  # fmt: skip
for name, (arguments, f) in ACTIVATIONS.items():
    unary(name, "it", f, kind="activations", body=f"{name}{arguments}")
unary("Gelu", "it", lambda x: F.gelu(x, approximate="tanh"), kind="activations", body='Gelu(form: "tanh")')
WORDS = {
    "relu": F.relu, "relu6": F.relu6, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu, "silu": F.silu, "swish": F.silu,
    "mish": F.mish, "elu": F.elu, "selu": F.selu, "celu": F.celu, "softplus": F.softplus, "softsign": F.softsign,
    "leaky_relu": F.leaky_relu, "hard_sigmoid": F.hardsigmoid, "hard_tanh": F.hardtanh, "hard_swish": F.hardswish,
    "identity": lambda x: x * 1,
}  # fmt: skip
for word, f in WORDS.items():
    unary(f"Activation,activation {word}", "it", f, kind="activations", body=f'Activation("{word}")', x=[0.0, 1.0, -1.0, 3.0, -3.0, 0.3, -20.0, 20.0])

SWISH = [0.5, -1.0, 0.0, -0.0, 3.0, -3.0, 100.0, -100.0]
row("activations", "Swish", "it", lambda v: v["x"] * torch.sigmoid(v["x"] * v["m.beta"]), {"x": f32(8)}, [{"x": SWISH, "m.beta": [1.5]}],
    states={"m.beta": f32(1)}, body='Swish(name: "m", learned: true)', within="all")  # fmt: skip
LAYERED = [*plain(8), 0.0, -0.0, INF, -INF, LARGEST, -LARGEST, DENORMAL, -DENORMAL]
row("activations", "PRelu", "it", lambda v: F.prelu(v["x"], v["m.weight"]), {"x": f32(4, 2, 2)},
    [{}, {"x": [0.0, INF, LARGEST, 1, -0.0, -1, -2, DENORMAL, 5, 6, 7, 8, INF, INF, 0, 0]}],
    states={"m.weight": f32(2)}, body='PRelu(name: "m", parameters: 2)', within="all")  # fmt: skip
row("activations", "RRelu", "it", lambda v: torch.where(v["x"] > 0, v["x"], v["x"] * (v["random.m"] * (1 / 3 - 1 / 8) + 1 / 8)),
    {"x": f32(16), "random.m": f32(16)}, [{"x": LAYERED, "random.m": [i / 16 for i in range(16)]}], by=["x"], train=True,
    body='RRelu(name: "m")', within="element")  # fmt: skip
row("activations", "CRelu", "it", lambda v: torch.cat([F.relu(v["x"]), F.relu(-v["x"])], 1), {"x": f32(2, 8)}, [{"x": LAYERED}], within="element", body="CRelu")
row("activations", "Glu", "it", lambda v: F.glu(v["x"], 1), {"x": f32(2, 4, 2)}, [{}, {"x": LAYERED[::-1]}], within="all", body="Glu")
row("activations", "Maxout", "it", lambda v: v["x"].reshape(4, 2, 2).max(2).values, {"x": f32(4, 4)}, [{}, {"x": LAYERED}, {"x": [2.0] * 16}], within="element",
    body="Maxout(2)")  # fmt: skip
for name, f in (("Softmax", torch.softmax), ("LogSoftmax", torch.log_softmax)):
    row("activations", name, "it", lambda v, f=f: f(v["x"], 1), {"x": f32(len(ALONG), 4)}, [{"x": [v for line in ALONG for v in line]}], body=name)

# ---------------------------------------------------------------- layers: linear ones


def layer(names, body, f, dims, states=None, cases=({},), **more):
    states = {f"m.{name}": f32(*dims) for name, dims in (states or {}).items()}
    kind = next((kind for word, kind in (("Conv", "convolutions"), ("Pool", "pools")) if word in names), "layers")
    row(kind, names, "it", f, {"x": f32(*dims)}, list(cases), states=states, body=body, within=more.pop("within", "all"), **more)


def not_finite(*dims):
    """Zeros and ones with an infinity and a NaN near the end."""
    values = [float(i % 3 == 0) for i in range(math.prod(dims))]
    values[-3], values[-1] = INF, NAN
    return values


layer("Linear", 'Linear(name: "m", features: 3)', lambda v: F.linear(v["x"], v["m.weight"], v["m.bias"]), (2, 4),
      {"weight": (3, 4), "bias": (3,)}, [{}, {"x": not_finite(2, 4)}])  # fmt: skip
row("layers", "Embedding", "it", lambda v: F.embedding(v["x"].long(), v["m.weight"]), {"x": i32(2, 3)}, [{"x": [0, 4, 1, 4, 4, 2]}],
    states={"m.weight": f32(5, 2)}, body='Embedding(name: "m", vocabulary: 5, features: 2)')  # fmt: skip
row("layers", "Embedding", "it", lambda v: F.embedding(v["x"].long(), v["m.weight"], padding_idx=4), {"x": i32(2, 3)}, [{"x": [0, 4, 1, 4, 4, 2]}],
    states={"m.weight": f32(5, 2)}, body='Embedding(name: "m", vocabulary: 5, features: 2, padding_idx: -1)')  # fmt: skip
row("layers", "Parameter", "it", lambda v: v["m"] * 1 + 0 * v["x"][0], {"x": f32(1)}, [{}], states={"m": f32(2, 3)}, by=["m"],
    body='Parameter(name: "m", dims: [2, 3])')  # fmt: skip
for n, dims in ((1, (2, 2, 5)), (2, (1, 2, 4, 5)), (3, (1, 2, 3, 3, 2))):
    conv = getattr(F, f"conv{n}d")
    back = getattr(F, f"conv_transpose{n}d")
    kernel = (2,) * n
    layer(f"Conv{n}d", f'Conv{n}d(name: "m", features: 2, kernel: 2, padding: 1, stride: 2)',
          lambda v, f=conv: f(v["x"], v["m.weight"], v["m.bias"], 2, 1), dims, {"weight": (2, 2, *kernel), "bias": (2,)},
          [{}, {"x": not_finite(*dims)}] if n < 3 else [{}])  # fmt: skip
    layer(f"ConvTranspose{n}d", f'ConvTranspose{n}d(name: "m", features: 2, kernel: 2, stride: 2)',
          lambda v, f=back: f(v["x"], v["m.weight"], v["m.bias"], 2), dims, {"weight": (2, 2, *kernel), "bias": (2,)})  # fmt: skip

    layer(f"ConvTranspose{n}d", f'ConvTranspose{n}d(2, 2, 2, 1, 1, groups: 2, dilation: 2, name: "m")',
          lambda v, f=back: f(v["x"], v["m.weight"], v["m.bias"], 2, 1, 1, 2, 2), dims, {"weight": (2, 1, *kernel), "bias": (2,)})  # fmt: skip
    # An output padding below the dilation alone: inside the padding, and beyond it.
    for padding in (2, 1, 0) if n < 3 else (2,):
        layer(f"ConvTranspose{n}d", f'ConvTranspose{n}d(name: "m", features: 2, kernel: 2, padding: {padding}, output_padding: 2, dilation: 3)',
              lambda v, f=back, p=padding: f(v["x"], v["m.weight"], v["m.bias"], 1, p, 2, 1, 3), dims, {"weight": (2, 2, *kernel), "bias": (2,)})  # fmt: skip

# ---------------------------------------------------------------- layers: pooling

POOLED = {1: (2, 2, 6), 2: (1, 2, 4, 4), 3: (1, 1, 2, 4, 2)}


def pool_cases(dims):
    count = math.prod(dims)
    cycle = [1.0, NAN, 2.0, 2.0, INF, INF, -INF, -INF, 0.0, -0.0, LARGEST, DENORMAL]
    return [{}, {"x": [2.0] * count}, {"x": [cycle[i % len(cycle)] for i in range(count)]}]


for n, dims in POOLED.items():
    cases = pool_cases(dims)
    layer(f"MaxPool{n}d", f"MaxPool{n}d(2)", lambda v, f=getattr(F, f"max_pool{n}d"): f(v["x"], 2), dims, cases=cases, within="element")
    layer(f"AvgPool{n}d", f"AvgPool{n}d(2)", lambda v, f=getattr(F, f"avg_pool{n}d"): f(v["x"], 2), dims, cases=cases, within="element")
layer("Pool2d", 'Pool2d(kind: "max", kernel: 3, stride: 2, padding: 1)', lambda v: F.max_pool2d(v["x"], 3, 2, 1), POOLED[2],
      cases=pool_cases(POOLED[2]), within="element")  # fmt: skip
layer("Pool2d", 'Pool2d(kind: "avg", kernel: 3, stride: 2, padding: 1)', lambda v: F.avg_pool2d(v["x"], 3, 2, 1), POOLED[2])


def padded_pool(v, kernel, stride, padding, dilation=1, average=False):
    """Pooling of the padded input, where PyTorch has no padding above half the kernel and no dilation of means."""
    n = v["x"].dim() - 2
    x = F.pad(v["x"], (padding, padding) * n, value=0.0 if average else -INF)
    for axis in range(2, n + 2):
        x = x.unfold(axis, dilation * (kernel - 1) + 1, stride)
        x = x[..., ::dilation]
    return x.mean(tuple(range(-n, 0))) if average else x.flatten(-n).max(-1).values


def counted_pool(v, *window):
    ones = {"x": torch.ones_like(v["x"])}
    return padded_pool(v, *window, average=True) / padded_pool(ones, *window, average=True)


LONG = {1: (1, 2, 7), 2: (1, 1, 6, 7), 3: (1, 1, 5, 4, 5)}
for n, dims in LONG.items():
    biggest, mean = getattr(F, f"max_pool{n}d"), getattr(F, f"avg_pool{n}d")
    for text, f in {
        "kernel: 2, dilation: 2": lambda v, f=biggest: f(v["x"], 2, dilation=2),
        "3, 2, 1, 2": lambda v, f=biggest: f(v["x"], 3, 2, 1, 2),
        "3, 3, 1, 2, true": lambda v, f=biggest: f(v["x"], 3, 3, 1, 2, ceil_mode=True),
        "kernel: 4, stride: 3, ceil_mode: true": lambda v, f=biggest: f(v["x"], 4, 3, ceil_mode=True),
        "kernel: 8, stride: 6, ceil_mode: true": lambda v, f=biggest: f(v["x"], 8, 6, ceil_mode=True),
        "kernel: 3, stride: 2, padding: 2": lambda v: padded_pool(v, 3, 2, 2),
    }.items():
        layer(f"MaxPool{n}d", f"MaxPool{n}d({text})", f, dims, within="element")
    for text, f in {
        "kernel: 4, stride: 3, ceil_mode: true": lambda v, f=mean: f(v["x"], 4, 3, ceil_mode=True),
        "kernel: 8, stride: 6, ceil_mode: true": lambda v: v["x"].mean(tuple(range(2, v["x"].dim())), keepdim=True),
        "3, 2, 1, true, false": lambda v, f=mean: f(v["x"], 3, 2, 1, True, False),
        "kernel: 3, stride: 2, padding: 2": lambda v: padded_pool(v, 3, 2, 2, average=True),
        "kernel: 3, stride: 2, padding: 2, count_include_pad: false": lambda v: counted_pool(v, 3, 2, 2),
        "kernel: 3, stride: 2, padding: 2, dilation: 2": lambda v: padded_pool(v, 3, 2, 2, 2, average=True),
        "kernel: 2, padding: 1, dilation: 3, count_include_pad: false": lambda v: counted_pool(v, 2, 2, 1, 3),
        "kernel: 2, stride: 3, divisor_override: 3": lambda v, n=n: padded_pool(v, 2, 3, 0, average=True) * (2**n / 3),
    }.items():
        layer(f"AvgPool{n}d", f"AvgPool{n}d({text})", f, dims)
layer("Pool2d", 'Pool2d(kind: "max", kernel: 2, dilation: 3)', lambda v: F.max_pool2d(v["x"], 2, dilation=3), LONG[2], within="element")
layer("Pool2d", 'Pool2d(kind: "avg", kernel: 2, dilation: 3, divisor_override: 2)', lambda v: padded_pool(v, 2, 2, 0, 3, average=True) * 2, LONG[2])
layer("GlobalAvgPool", "GlobalAvgPool", lambda v: v["x"].mean((2, 3)), POOLED[2])
layer("GlobalMaxPool", "GlobalMaxPool", lambda v: v["x"].flatten(2).max(2).values, POOLED[2], cases=pool_cases(POOLED[2]), within="element")
layer("AdaptiveAvgPool1d", "AdaptiveAvgPool1d(4)", lambda v: F.adaptive_avg_pool1d(v["x"], 4), POOLED[1])
layer("AdaptiveAvgPool2d", "AdaptiveAvgPool2d([2, 3])", lambda v: F.adaptive_avg_pool2d(v["x"], (2, 3)), POOLED[2])
layer("AdaptiveMaxPool2d", "AdaptiveMaxPool2d([2, 4])", lambda v: F.adaptive_max_pool2d(v["x"], (2, 4)), POOLED[2],
      cases=pool_cases(POOLED[2]), within="element")  # fmt: skip
for n, dims, sizes in ((1, (2, 2, 7), "[3]"), (2, (1, 2, 5, 7), "[3, 4]"), (2, (1, 2, 5, 7), "[None, 8]"), (3, (1, 1, 4, 5, 3), "[3, 2, 4]"), (3, (1, 1, 4, 4, 4), "2")):
    size = eval(sizes)
    pooled = lambda name, n=n, size=size: lambda v: getattr(F, f"adaptive_{name}_pool{n}d")(v["x"], size)
    layer(f"AdaptiveAvgPool{n}d", f"AdaptiveAvgPool{n}d({sizes})", pooled("avg"), dims)
    layer(f"AdaptiveMaxPool{n}d", f"AdaptiveMaxPool{n}d({sizes})", pooled("max"), dims, cases=pool_cases(dims), within="element")

# ---------------------------------------------------------------- layers: normalisation and attention


def constant(*dims):
    return [{}, {"x": [3.0] * math.prod(dims)}, {"x": [0.0] * math.prod(dims)}, {"x": [v * 1e4 for v in plain(*dims)]}]


for name, dims in (("BatchNorm", (3, 2, 2)), ("BatchNorm1d", (4, 2)), ("BatchNorm2d", (2, 2, 2, 2))):
    running = {"m.weight": f32(2), "m.bias": f32(2), "m.running_mean": f32(2), "m.running_var": f32(2)}
    kept = {"m.running_var": [1.5, 0.5], "m.running_mean": [0.25, -0.5]}
    for train in (True, False):
        row("layers", name, "it", lambda v, t=train: F.batch_norm(v["x"], v["m.running_mean"].detach().clone(), v["m.running_var"].detach().clone(),
            v["m.weight"], v["m.bias"], t), {"x": f32(*dims)}, [{**case, **kept} for case in constant(*dims)[: 4 if train else 1]], states=running,
            train=train, by=["x", "m.weight", "m.bias"], body=f'{name}(name: "m")', within="all")  # fmt: skip
NORM = (2, 4, 3)
layer("LayerNorm", 'LayerNorm(name: "m")', lambda v: F.layer_norm(v["x"], (3,), v["m.weight"], v["m.bias"]), NORM,
      {"weight": (3,), "bias": (3,)}, constant(*NORM))  # fmt: skip
layer("GroupNorm", 'GroupNorm(name: "m", groups: 2)', lambda v: F.group_norm(v["x"], 2, v["m.weight"], v["m.bias"]), NORM,
      {"weight": (4,), "bias": (4,)}, constant(*NORM))  # fmt: skip
layer("InstanceNorm", "InstanceNorm", lambda v: F.instance_norm(v["x"]), NORM, None, constant(*NORM))
layer("LocalResponseNorm", "LocalResponseNorm(size: 3, alpha: 0.5)", lambda v: F.local_response_norm(v["x"], 3, 0.5), NORM, None, constant(*NORM))
layer("LocalResponseNorm", "LocalResponseNorm(size: 3, alpha: 0.5, beta: 0.6)", lambda v: F.local_response_norm(v["x"], 3, 0.5, 0.6), NORM, None,
      constant(*NORM))  # fmt: skip


def self_attention(v, causal):
    q, k, w = F.linear(v["x"], v["m.in_proj_weight"], v["m.in_proj_bias"]).chunk(3, 2)
    y = F.scaled_dot_product_attention(heads(q, 2), heads(k, 2), heads(w, 2), is_causal=causal)
    return F.linear(y.transpose(1, 2).flatten(2), v["m.out_proj.weight"], v["m.out_proj.bias"])


for causal in (False, True):
    layer("MultiHeadAttention", f'MultiHeadAttention(name: "m", heads: 2, causal: {str(causal).lower()})',
          lambda v, c=causal: self_attention(v, c), (2, 3, 4),
          {"in_proj_weight": (12, 4), "in_proj_bias": (12,), "out_proj.weight": (4, 4), "out_proj.bias": (4,)},
          [{}, {"x": [0.0] * 24}])  # fmt: skip



def module(v, key, value, **options):
    """PyTorch's own module, of which a query without keys is replaced by what no attention gives."""
    same = key.shape[2] == value.shape[2] == 4
    weights = {"use_separate_proj_weight": not same}
    if not same:
        weights.update({f"{name}_proj_weight": v[f"m.{name}_proj_weight"] for name in "qkv"})
    rows = lambda x: x.transpose(0, 1)
    y, _ = F.multi_head_attention_forward(
        rows(v["x"]), rows(key), rows(value), 4, 2, v["m.in_proj_weight"] if same else None, v.get("m.in_proj_bias"), None, None, False, 0.0,
        v["m.out_proj.weight"], v.get("m.out_proj.bias"), need_weights=False, **weights, **options)  # fmt: skip
    return rows(y)


INNER = {"in_proj_weight": f32(12, 4), "in_proj_bias": f32(12), "out_proj.weight": f32(4, 4), "out_proj.bias": f32(4)}
OWN = {"q_proj_weight": f32(4, 4), "k_proj_weight": f32(4, 3), "v_proj_weight": f32(4, 5), **{name: INNER[name] for name in INNER if name != "in_proj_weight"}}


def heads_layer(arguments, f, inputs, inner, by=(), **given):
    states = {f"m.{name}": dims for name, dims in inner.items()}
    row("layers", "MultiHeadAttention", "it", f, {"x": f32(2, 3, 4), **inputs}, [given], states=states, by=["x", *by, *states],
        body=f'MultiHeadAttention(name: "m", heads: 2, {arguments})', within="all")  # fmt: skip


SEEN = [1.0, 1, 0, 0, 1, 1]
ADDED_TO = [0.0, -1, 0.5, 2, 0, -INF, 0, 0, 1]
heads_layer('key: "k", value: "v"', lambda v: module(v, v["k"], v["v"]), {"k": f32(2, 5, 4), "v": f32(2, 5, 4)}, INNER, "kv")
heads_layer('key: "k"', lambda v: module(v, v["k"], v["k"]), {"k": f32(2, 5, 4)}, INNER, "k")
heads_layer('key: "k", value: "v"', lambda v: module(v, v["k"], v["v"]), {"k": f32(2, 5, 3), "v": f32(2, 5, 5)}, OWN, "kv")
heads_layer('key: "k", bias: false', lambda v: module(v, v["k"], v["k"]), {"k": f32(2, 5, 4)}, {name: INNER[name] for name in INNER if "bias" not in name}, "k")
heads_layer('key_mask: "p > 0"', lambda v: module(v, v["x"], v["x"], key_padding_mask=v["p"] <= 0), {"p": f32(2, 3)}, INNER, p=SEEN)
heads_layer('mask: "s > 0"', lambda v: module(v, v["x"], v["x"], attn_mask=v["s"] <= 0), {"s": f32(3, 3)}, INNER, s=[1.0, 0, 1, 0, 1, 0, 1, 1, 0])
heads_layer('mask: "s"', lambda v: module(v, v["x"], v["x"], attn_mask=v["s"]), {"s": f32(3, 3)}, INNER, s=ADDED_TO)
heads_layer('mask: "s", key_mask: "p > 0", causal: true, key: "k"',
            lambda v: module(v, v["k"], v["k"], attn_mask=v["s"].masked_fill(~CAUSAL, -INF), key_padding_mask=(v["p"] <= 0).to(v["s"].dtype).mul(-1e30)),
            {"k": f32(2, 3, 4), "s": f32(3, 3), "p": f32(2, 3)}, INNER, "k", s=ADDED_TO, p=[1.0, 1, 0, 1, 0, 1])  # fmt: skip

# ---------------------------------------------------------------- layers: arrangement and chance

layer("Flatten", "Flatten", lambda v: v["x"].flatten(1), (2, 2, 3), within="element", cases=[{"x": not_finite(2, 2, 3)}])
layer("Reshape", "Reshape([3, -1])", lambda v: v["x"].reshape(3, -1), (2, 2, 3), within="element")
layer("Transpose", "Transpose([2, 0, 1])", lambda v: v["x"].permute(2, 0, 1), (2, 2, 3), within="element")
layer("Pad", "Pad([[1, 0], [0, 2]], 1.5)", lambda v: F.pad(v["x"], (0, 2, 1, 0), value=1.5), (2, 3), within="element", cases=[{}, {"x": not_finite(2, 3)}])
layer("Slice", "Slice(axis: 1, start: 1, stop: 5, step: 2)", lambda v: v["x"][:, 1:5:2], (2, 6), within="element", cases=[{}, {"x": not_finite(2, 6)}])
layer("Upsample", "Upsample(2)", lambda v: v["x"].repeat_interleave(2, 2).repeat_interleave(2, 3), (1, 2, 2, 3), within="element")


def random_layer(name, body, f, drawn):
    values = [(i * 7 % 16) / 16 for i in range(math.prod(drawn))]
    row("layers", name, "it", lambda v: f(v["x"], v["random.m"]), {"x": f32(2, 3, 2), "random.m": f32(*drawn)},
        [{"random.m": values}, {"random.m": values, "x": not_finite(2, 3, 2)}], by=["x"], train=True, body=body, within="element")  # fmt: skip


def dropped(x, u):
    return torch.where(u >= 0.25, x / 0.75, torch.zeros_like(x))


random_layer("Dropout", 'Dropout(name: "m", p: 0.25)', dropped, (2, 3, 2))
random_layer("Dropout2d", 'Dropout2d(name: "m", p: 0.25)', dropped, (2, 3, 1))
random_layer("DropPath", 'DropPath(name: "m", p: 0.25)', dropped, (2, 1, 1))
random_layer("GaussianNoise", 'GaussianNoise(name: "m", std: 0.5)', lambda x, u: x + 0.5 * u, (2, 3, 2))

# ---------------------------------------------------------------- what is done to data


def data(name, body, f, dims, states=None):
    cases = [{"data.m.std": [0.5 + i for i in range(math.prod(states["data.m.std"]))]}] if states else [{}]
    row("data", name, "it", f, {"x": f32(*dims)}, cases, states={name: f32(*dims) for name, dims in (states or {}).items()}, body=body,
        by=["x"], within="all")  # fmt: skip


for per, own, shape in (("channel", (3,), (3, 1, 1)), ("feature", (3, 2, 2), (3, 2, 2)), ("all", (), ())):
    data("Standardize", f'Standardize(name: "m", per: "{per}")',
         lambda v, s=shape: (v["x"] - v["data.m.mean"].reshape(s)) / v["data.m.std"].reshape(s), (2, 3, 2, 2),
         {"data.m.mean": own, "data.m.std": own})  # fmt: skip
data("Normalize", "Normalize(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225])",
     lambda v: (v["x"] - torch.tensor([0.485, 0.456, 0.406], dtype=v["x"].dtype).reshape(3, 1, 1))
     / torch.tensor([0.229, 0.224, 0.225], dtype=v["x"].dtype).reshape(3, 1, 1), (2, 3, 2, 2))  # fmt: skip
data("Normalize", "Normalize(mean: 0.5, std: [1, 2, 4])",
     lambda v: (v["x"] - 0.5) / torch.tensor([1, 2, 4], dtype=v["x"].dtype).reshape(3, 1, 1), (2, 3, 2, 2))  # fmt: skip
data("Rescale", "Rescale(scale: 2, offset: -1)", lambda v: v["x"] * 2 - 1, (2, 3))
for to in ((3, 7), (8, 2), (4, 5)):
    data("Resize", f'Resize({list(to)})', lambda v, s=to: F.interpolate(v["x"], s, mode="bilinear", antialias=True), (2, 2, 4, 5))
row("data", "RandomFlip", "it", lambda v: torch.where(v["random.m"] < 0.5, v["x"].flip(-1), v["x"]),
    {"x": f32(3, 2, 2, 3), "random.m": f32(3, 1, 1, 1)}, [{"random.m": [0.25, 0.5, 0.75]}], body='RandomFlip(name: "m")', train=True,
    by=["x"])  # fmt: skip
row("data", "RandomFlip", "it", lambda v: torch.where(v["random.m"] < 0.75, v["x"].flip(-1), v["x"]),
    {"x": f32(3, 2, 2, 3), "random.m": f32(3, 1, 1, 1)}, [{"random.m": [0.25, 0.625, 0.875]}], body='RandomFlip(name: "m", p: 0.75)',
    train=True, by=["x"])  # fmt: skip


def crop(v):
    """A cut of the same size from the picture with two zeros around it, from a place of its own for each sample."""
    padded = F.pad(v["x"], (2, 2, 2, 2))
    places = [(v[name].detach() * 5).long().tolist() for name in ("random.m", "random.m#2")]
    return torch.stack([padded[i, :, y : y + 3, x : x + 4] for i, (y, x) in enumerate(zip(*places))])


row("data", "RandomCrop", "it", crop, {"x": f32(3, 2, 3, 4), "random.m": f32(3), "random.m#2": f32(3)},
    [{"random.m": [0.0, 0.5, 0.99999994], "random.m#2": [0.25, 0.99999994, 0.0]}], body='RandomCrop(name: "m", padding: 2)', train=True,
    by=["x"])  # fmt: skip

# ---------------------------------------------------------------- every argument at another value than its default

CUBE = {"x": f32(2, 3, 4)}


def setting(names, output, f, inputs=CUBE, kind="functions", **more):
    row(kind, names, output, f, inputs, [more.pop("case", {})], within="all", **more)


AXES = {
    "sum": torch.sum, "mean": torch.mean, "var": lambda x, d, keepdim: x.var(d, unbiased=False, keepdim=keepdim),
    "std": lambda x, d, keepdim: x.std(d, unbiased=False, keepdim=keepdim), "norm": lambda x, d, keepdim: torch.linalg.vector_norm(x, dim=d, keepdim=keepdim),
    "logsumexp": torch.logsumexp, "max": torch.amax, "min": torch.amin,
    "prod": lambda x, d, keepdim: x.prod(d[0], keepdim=True).prod(d[1], keepdim=True),
    "all": lambda x, d, keepdim: (x > -3).all(d[0], keepdim=True).all(d[1], keepdim=True).to(x.dtype),
    "any": lambda x, d, keepdim: (x > 1.9).any(d[0], keepdim=True).any(d[1], keepdim=True).to(x.dtype),
}  # fmt: skip
for name, f in AXES.items():
    x = {"all": "x > -3", "any": "x > 1.9"}.get(name, "x")
    call = f"{name}({x}, axis=[0, -1], keepdims=true)"
    setting(name, f"float({call})" if x != "x" else call, lambda v, f=f: f(v["x"], (0, 2), keepdim=True), by=["x"] if x == "x" else [])
for name, f in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax), ("cumsum", torch.cumsum)):
    setting(name, f"{name}(x, axis=1)", lambda v, f=f: f(v["x"], 1))
for name, f in (("argmax", torch.argmax), ("argmin", torch.argmin)):
    setting(name, f"float({name}(x, axis=0))", lambda v, f=f: f(v["x"], 0).to(v["x"].dtype), by=[])
SIX = {name: f32(5) for name in "xyzuvw"}
SIX_CASE = {name: plain(5, turn=9 + 4 * i, shift=3 * i) for i, name in enumerate("xyzuvw")}
for name, f in (("max", torch.amax), ("min", torch.amin)):
    setting(name, f"{name}(x, y, z, u, v, w)", lambda v, f=f: f(torch.stack([v[n] for n in "xyzuvw"]), 0), SIX, case=SIX_CASE)
setting("cumprod", "cumprod(x, axis=1)", lambda v: v["x"].cumprod(1))
setting("argsort", "float(argsort(x, axis=1, descending=true))", lambda v: v["x"].argsort(dim=1, descending=True, stable=True).to(v["x"].dtype), by=[])
setting("top_k", "top_k(x, 2, axis=1)[0]", lambda v: v["x"].sort(dim=1, descending=True, stable=True).values[:, :2])
for name in ("f32", "f64", "i32", "i64", "u8", "bool"):
    # Converted and back: what fits into all of these types.
    kept = (lambda x: (x != 0).to(x.dtype)) if name == "bool" else (lambda x: x) if name[0] == "f" else torch.trunc
    setting("cast", f"cast(cast(x, dtype='{name}'), dtype='f32')", lambda v, f=kept: f(v["x"]).detach(), {"x": f32(4)}, case={"x": [0.0, 1.5, 3.0, 200.75]}, by=[])
    one = f"cast(ones([4], dtype='{name}') + full([4], 3.0, dtype='{name}') + zeros([4], dtype='{name}'), dtype='f32')"
    if name != "bool":
        setting("ones,full,zeros", f"x * {one}", lambda v: v["x"] * 4, {"x": f32(4)})
setting("ones,full,zeros", "float(where(ones([4], dtype='bool'), x, 0)) + float(full([4], 1, dtype='bool')) + float(zeros([4], dtype='bool'))",
        lambda v: v["x"] + 1, {"x": f32(4)})  # fmt: skip
setting("range,size", "x * (size(x, axis=1) + sum(range(2, 12, 3)))", lambda v: v["x"] * (3 + 26))
setting("transpose", "transpose(x, [1, 2, 0])", lambda v: v["x"].permute(1, 2, 0))
setting("concat", "concat([x, 2 * x], axis=0)", lambda v: torch.cat([v["x"], 2 * v["x"]], 0))
setting("positions", "x * positions(x, axis=1)", lambda v: v["x"] * torch.arange(3)[:, None].to(v["x"].dtype))
INDICES = {**CUBE, "i": i32(4)}


def taken(v, fill=None, wrap=False):
    i = v["i"].long()
    inside = i % 4 if wrap else i.clamp(0, 3)
    y = v["x"][:, :, inside]
    return y if fill is None else torch.where((i >= 0) & (i < 4), y, torch.tensor(fill, dtype=y.dtype))


setting("take", "take(x, i, axis=2)", taken, INDICES, case={"i": [3, 0, 1, 3]})
setting("take", "take(x, i, axis=2, mode='clip')", taken, INDICES, case={"i": [3, -5, 9, 1]})
setting("take", "take(x, i, axis=2, mode='wrap')", lambda v: taken(v, wrap=True), INDICES, case={"i": [3, -5, 9, 1]})
setting("take", "take(x, i, axis=2, mode='fill', fill=0.5)", lambda v: taken(v, 0.5), INDICES, case={"i": [3, 4, 9, 1]})

# Losses: targets that are aligned, probabilities, weights, smoothing, more axes, each reduction.
for shape in ((3, 4), (3,), (3, 1), ()):
    spread = [0.5 + i / 4 for i in range(math.prod(shape))]
    gaussian = lambda v, r: F.gaussian_nll_loss(v["x"], v["t"], v["s"].expand(3, 4) if v["s"].dim() == 0 else v["s"], reduction=r)
    for reduction in ("none", "mean"):
        setting("gauss_nll", f"gauss_nll(x, t, s, reduction='{reduction}')", lambda v, r=reduction, g=gaussian: g(v, r),
                {"x": f32(3, 4), "t": f32(3, 4), "s": f32(*shape)}, "losses", case={"s": spread})  # fmt: skip
SHARES = [0.25] * 4 + [0, 1, 0, 0] + [0.5, 0, 0.5, 0]
CLASSES = {"x": f32(3, 4), "i": i32(3)}
ROOM = {"x": f32(2, 4, 3), "i": i32(2, 3)}
ROOM_LABELS = {"i": [0, 1, 2, 3, 2, 1]}
for reduction in ("none", "mean", "sum"):
    for smoothing in (0.0, 0.25):
        say = f"weights=[0.5, 1, 2, 0], smoothing={smoothing}, reduction='{reduction}'"

        def weighted(x, target, r=reduction, e=smoothing):
            return F.cross_entropy(x, target, torch.tensor(WEIGHTS, dtype=x.dtype), reduction=r, label_smoothing=e)

        setting("cross_entropy", f"cross_entropy(x, t, {say})", lambda v, f=weighted: f(v["x"], v["t"]), {"x": f32(3, 4), "t": f32(3, 4)},
                "losses", case={"t": SHARES})  # fmt: skip
        setting("cross_entropy", f"cross_entropy(x, i, {say})", lambda v, f=weighted: f(v["x"], v["i"].long()), ROOM, "losses", case=ROOM_LABELS)
    setting("nll", f"nll(x, i, weights=[0.5, 1, 2, 0], reduction='{reduction}')",
            lambda v, r=reduction: F.nll_loss(v["x"], v["i"].long(), torch.tensor(WEIGHTS, dtype=v["x"].dtype), reduction=r), ROOM, "losses",
            case=ROOM_LABELS)  # fmt: skip
    setting("focal", f"focal(x, i, gamma=3, reduction='{reduction}')", lambda v, r=reduction: reduce(focal(v["x"], v["i"].long(), 3.0), r),
            CLASSES, "losses", case={"i": [3, 0, 1]})  # fmt: skip

# Activations along another axis, or with other constants.
setting("Glu", "it", lambda v: F.glu(v["x"], 2), kind="activations", body="Glu(axis: 2)")
setting("Softmax", "it", lambda v: torch.softmax(v["x"], 2), kind="activations", body="Softmax(axis: 2)")
setting("LogSoftmax", "it", lambda v: torch.log_softmax(v["x"], 2), kind="activations", body="LogSoftmax(axis: 2)")
setting("RRelu", "it", lambda v: F.leaky_relu(v["x"], 0.375), kind="activations", body="RRelu(low: 0.25, high: 0.5)")
setting("Gelu", "it", lambda v: F.gelu(v["x"]), kind="activations", body='Gelu(form: "erf")')

# Convolutions: groups, dilation, padding of its own before and behind, other steps along each axis, no bias.
WIDE = {1: (2, 2, 7), 2: (1, 2, 5, 6), 3: (1, 2, 3, 4, 3)}
for n, dims in WIDE.items():
    conv, back, kernel = getattr(F, f"conv{n}d"), getattr(F, f"conv_transpose{n}d"), (2,) * n
    steps, gaps = (2, 1, 1)[:n], (1, 2, 1)[:n]
    pads = [(1, 2), (0, 1), (2, 0)][:n]
    around = [v for pad in reversed(pads) for v in pad]
    each = lambda numbers: str(list(numbers)) if n > 1 else str(numbers[0])
    text = "[" + ", ".join(f"[{a}, {b}]" for a, b in pads) + "]"
    layer(f"Conv{n}d", f'Conv{n}d(name: "m", features: 4, kernel: 2, stride: {each(steps)}, dilation: {each(gaps)}, padding: {text}, groups: 2, bias: false)',
          lambda v, f=conv, a=around, s=steps, d=gaps: f(F.pad(v["x"], a), v["m.weight"], None, s, 0, d, 2), dims, {"weight": (4, 1, *kernel)})  # fmt: skip
    for word in ("same", "valid"):
        layer(f"Conv{n}d", f'Conv{n}d(name: "m", features: 2, kernel: 2, padding: "{word}", dilation: 2)',
              lambda v, f=conv, w=word: f(v["x"], v["m.weight"], v["m.bias"], 1, w, 2), dims, {"weight": (2, 2) + (2,) * n, "bias": (2,)})  # fmt: skip
    layer(f"ConvTranspose{n}d",
          f'ConvTranspose{n}d(name: "m", features: 4, kernel: 2, stride: 2, padding: 1, output_padding: 1, dilation: 2, groups: 2, bias: false)',
          lambda v, f=back: f(v["x"], v["m.weight"], None, 2, 1, 1, 2, 2), dims, {"weight": (2, 2, *kernel)})  # fmt: skip

# Pooling.
for n, dims in {1: (2, 2, 6), 2: (1, 1, 6, 7), 3: (1, 1, 3, 4, 4)}.items():
    most, mean = getattr(F, f"max_pool{n}d"), getattr(F, f"avg_pool{n}d")
    say = "3, stride: 2, padding: 1, ceil_mode: true"
    layer(f"MaxPool{n}d", f"MaxPool{n}d(kernel: {say})", lambda v, f=most: f(v["x"], 3, 2, 1, ceil_mode=True), dims)
    layer(f"AvgPool{n}d", f"AvgPool{n}d(kernel: {say})", lambda v, f=mean: f(v["x"], 3, 2, 1, ceil_mode=True), dims)
    layer(f"AvgPool{n}d", f"AvgPool{n}d(kernel: {say}, count_include_pad: false)",
          lambda v, f=mean: f(v["x"], 3, 2, 1, ceil_mode=True, count_include_pad=False), dims)  # fmt: skip
SAY = 'kernel: 3, stride: 2, padding: 1, ceil_mode: true'
layer("Pool2d", f'Pool2d(kind: "max", {SAY})', lambda v: F.max_pool2d(v["x"], 3, 2, 1, ceil_mode=True), (1, 1, 6, 7))
layer("Pool2d", f'Pool2d(kind: "avg", {SAY}, count_include_pad: false)',
      lambda v: F.avg_pool2d(v["x"], 3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 1, 6, 7))  # fmt: skip

# Normalisation: the new running averages too.
for name, dims in (("BatchNorm", (3, 2, 2)), ("BatchNorm1d", (4, 2)), ("BatchNorm2d", (2, 2, 2, 2))):

    def normalised(v, affine):
        mean, var = v["m.running_mean"].detach().clone(), v["m.running_var"].detach().clone()
        parameters = (v["m.weight"], v["m.bias"]) if affine else (None, None)
        return F.batch_norm(v["x"], mean, var, *parameters, True, 0.3, 0.01), {"m.running_mean": mean, "m.running_var": var}

    kept = {"m.running_var": [1.5, 0.5], "m.running_mean": [0.25, -0.5]}
    averages = {"m.running_mean": f32(2), "m.running_var": f32(2)}
    for affine, own in ((True, {"m.weight": f32(2), "m.bias": f32(2)}), (False, {})):
        say = 'name: "m", eps: 0.01, momentum: 0.3' + ("" if affine else ", affine: false")
        row("layers", name, "it", lambda v, a=affine: normalised(v, a), {"x": f32(*dims)}, [kept], states={**own, **averages}, train=True,
            by=["x", *own], body=f"{name}({say})", within="all")  # fmt: skip
layer("LayerNorm", 'LayerNorm(name: "m", axes: 2, eps: 0.01)', lambda v: F.layer_norm(v["x"], (4, 3), v["m.weight"], v["m.bias"], 0.01), NORM,
      {"weight": (4, 3), "bias": (4, 3)})  # fmt: skip
layer("LayerNorm", "LayerNorm(affine: false)", lambda v: F.layer_norm(v["x"], (3,)), NORM)
layer("GroupNorm", "GroupNorm(groups: 2, eps: 0.01, affine: false)", lambda v: F.group_norm(v["x"], 2, eps=0.01), NORM)
layer("InstanceNorm", 'InstanceNorm(name: "m", eps: 0.01, affine: true)',
      lambda v: F.instance_norm(v["x"], weight=v["m.weight"], bias=v["m.bias"], eps=0.01), NORM, {"weight": (4,), "bias": (4,)})  # fmt: skip
layer("LocalResponseNorm", "LocalResponseNorm(size: 3, alpha: 0.5, k: 2, divide: false)", lambda v: F.local_response_norm(v["x"], 3, 1.5, k=2.0), NORM)

# The rest.
layer("Linear", 'Linear(name: "m", features: 3, bias: false)', lambda v: F.linear(v["x"], v["m.weight"]), (2, 4), {"weight": (3, 4)})
layer("MultiHeadAttention", 'MultiHeadAttention(name: "m", heads: 2, bias: false)',
      lambda v: self_attention({**v, "m.in_proj_bias": None, "m.out_proj.bias": None}, False), (2, 3, 4),
      {"in_proj_weight": (12, 4), "out_proj.weight": (4, 4)}, [{"x": plain(2, 3, 4, turn=29)}])  # fmt: skip
layer("Flatten", "Flatten(start: 2)", lambda v: v["x"].flatten(2), (2, 3, 2, 2), within="element")

# ---------------------------------------------------------------- whole numbers and truth values

WHOLE = {
    "b": ("bool", [1, 0, 0, 1, 1, 0, 1, 0]), "u": ("u8", [0, 1, 255, 128, 7, 100, 3, 254]),
    "i": ("i32", [0, 1, -1, 7, -7, 100, -50, 2147483647]), "j": ("i32", [3, -3, 5, -2, 2, -1, 4, 6]),
    "l": ("i64", [0, -1, 5_000_000_007, -90_000_000_000, 3, 3, -8, 2**52]),
    "x": ("f32", [0.5, -1.25, 2.0, 0.0, -0.75, 3.5, -2.0, 1.0]),
}  # fmt: skip


def whole(names, output, f, **more):
    """A row of the inputs that the expression names, in order."""
    used = {name: ("f32" if name == "x" else WHOLE[name][0], (8,)) for name in WHOLE if re.search(rf"\b{name}\b", output)}
    case = {name: more.get(name, WHOLE[name][1]) for name in used}
    row("integers", names, output, lambda v: f(*(v[name] for name in used)), used, [case], by=[], within="element")


SMALL = [0, 1, -1, 7, -7, 100, -50, 46340]
for name in "buil":
    whole("sum", f"sum({name})", lambda v: v.sum())
    whole("mean", f"mean({name})", lambda v: v.to(torch.float32).mean() if v.dtype != torch.int64 else v.double().mean().float())
    whole("max", f"max({name}, axis=0)", lambda v: v.amax(0) if v.dtype != torch.bool else v.any())
    whole("argmax", f"argmax({name})", lambda v: v.to(torch.int64).argmax().to(torch.int32))
    whole("sort", f"sort({name})", lambda v: v.sort(stable=True).values)
    whole("sort", f"sort({name}, descending=true)", lambda v: v.sort(stable=True, descending=True).values)
    whole("argsort", f"argsort({name})", lambda v: v.argsort(stable=True).to(torch.int32))
    whole("all,any", f"[all({name}), any({name})]", lambda v: torch.stack([v.bool().all(), v.bool().any()]))
    whole("cumsum", f"cumsum({name})", lambda v: v.cumsum(0))
    whole("cast", f"cast({name}, 'u8')", lambda v: v.to(torch.uint8))
    whole("cast", f"cast({name}, 'i32')", lambda v: v.to(torch.int32))
    whole("cast", f"cast({name}, 'i64')", lambda v: v.to(torch.int64))
    whole("cast", f"cast({name}, 'bool')", lambda v: v.bool())
    whole("where", f"where(b, {name}, 0)", lambda *v: torch.where(v[0], v[-1], torch.tensor(0, dtype=torch.int64 if v[-1].dtype == torch.bool else v[-1].dtype)))
    whole("==", f"{name} == 1", lambda v: v == 1)
    whole("<", f"{name} < 200", lambda v: v.to(torch.int64) < 200)
    whole(">=", f"{name} >= 1", lambda v: v.to(torch.int64) >= 1)
    whole("take", f"take({name}, [7, 0, -1], mode='wrap')", lambda v: v[[7, 0, -1]])
    whole("stack,concat", f"concat([{name}, {name}], axis=0)", lambda v: torch.cat([v, v]))
    if name != "b":
        whole("prod", f"prod({name} % 5)", lambda v: (v % 5).prod())
        whole("cumprod", f"cumprod({name} % 5)", lambda v: (v % 5).cumprod(0))
        whole("//", f"{name} // 7", lambda v: v // 7)
        whole("%", f"{name} % 7", lambda v: v % 7)
        whole("/", f"{name} / 4", lambda v: (v.double() / 4).float())
        whole("**", f"{name} ** 2", lambda v: v**2, i=SMALL, l=SMALL)
        whole("+", f"{name} + 1", lambda v: v + 1)
        whole("*", f"{name} * {name}", lambda v: v * v, i=SMALL, l=SMALL)
        whole("clip", f"clip({name}, 1, 100)", lambda v: v.clamp(1, 100))
        whole("max", f"max({name}, 7)", lambda v: v.clamp(min=7))
        whole("top_k", f"top_k({name}, 3)[0]", lambda v: v.sort(stable=True, descending=True).values[:3])
    if name in "il":
        whole("-", f"-{name}", lambda v: -v)
        whole("abs", f"abs({name})", torch.abs)
        whole(">", f"{name} > -2", lambda v: v > -2)
        whole("sign", f"sign({name})", torch.sign)
for a, b in (("i", "j"), ("j", "l"), ("u", "i"), ("b", "i"), ("b", "u"), ("u", "l")):
    whole("+", f"{a} + {b}", torch.add, i=SMALL)
    whole("*", f"{a} * {b}", torch.mul, i=SMALL, l=SMALL)
    whole("==", f"{a} == {b}", torch.eq)
    whole("<=", f"{a} <= {b}", torch.le)
    whole("where", f"where(b, {a}, {b})", (lambda *v: torch.where(v[0], v[-2], v[-1])))
whole("//", "i // j", lambda i, j: torch.div(i, j, rounding_mode="floor"))
whole("%", "i % j", torch.remainder)
whole("//", "l // j", lambda j, l: torch.div(l, j, rounding_mode="floor"))
whole("%", "l % j", lambda j, l: torch.remainder(l, j))
whole("@", "i @ j", lambda i, j: (i * j).sum().to(torch.int32), i=SMALL)
whole("@", "stack([i, j]) @ stack([j, i], axis=1)", lambda i, j: (torch.stack([i, j]).long() @ torch.stack([j, i], 1).long()).to(torch.int32), i=SMALL)
whole("xor", "xor(b, x > 0)", lambda b, x: b ^ (x > 0))
whole("and,or,not", "b and x > 0 or not b", lambda b, x: (b & (x > 0)) | ~b)
whole("one_hot", "one_hot(u % 4, 4)", lambda u: F.one_hot((u % 4).long(), 4).float())
whole("int", "int(x)", lambda x: x.to(torch.int32))
whole("isnan,isinf,isfinite", "[isnan(x), isinf(x), isfinite(x)]", lambda x: torch.stack([x.isnan(), x.isinf(), x.isfinite()]))
whole("float", "float(l)", lambda l: l.float())
whole("size,len", "i * size(i, 0) + len([1, 2])", lambda i: i * 8 + 2, i=SMALL)
whole("take", "x[j]", lambda j, x: x[j.long()])
whole("full,zeros,ones", "full([8], 5) * i + zeros([8], 'i32') - ones([8], 'i32')", lambda i: 5 * i.long() - 1, i=SMALL)

# ---------------------------------------------------------------- the same in f64

# More than f32 has: ends, and numbers between two of its own.
MORE = [1e300, -1e-300, 1.7976931348623157e308, 5e-324, 1 / 3, -math.pi]
# Along an axis, and losses: the first so many lines.
LINES = 5


# What PyTorch computes with constants in f32, or overflows in, though its operands are in f64; the same formulas without.
OWN = {
    "hard_sigmoid": lambda v: (v["x"] + 3).clamp(0, 6) / 6, "HardSigmoid": lambda v: (v["x"] + 3).clamp(0, 6) / 6,
    "Activation,activation hard_sigmoid": lambda v: (v["x"] + 3).clamp(0, 6) / 6, "HardSwish": lambda v: v["x"] * ((v["x"] + 3).clamp(0, 6) / 6),
}  # fmt: skip


def in_f64():
    """The rows of functions, losses and activations whose operands are floats, in f64."""
    for r in [r for r in rows if r["kind"] in ("elements", "functions", "losses", "activations") and r["within"] in ("element", "row")]:
        of_floats = all(dtype == "f32" for dtype, _ in r["inputs"].values())
        if not of_floats or r["states"] or r["train"] or any(word in r["output"] for word in ("float(", "cast(", "one_hot(")):
            continue
        dims = {name: d for name, (_, d) in r["inputs"].items()}
        lengths = {d[0] for d in dims.values() if d}
        flat = all(len(d) == 1 for d in dims.values()) and len(lengths) == 1 and lengths != {0}
        case = r["cases"][0]
        if flat and r["within"] == "element" and all(case.get(name) for name in dims):
            count = lengths.pop()
            chosen = sorted({*range(min(8, count)), *range(0, count, max(1, count // 10))})
            if r["names"] == "bce":
                # The gradient of PyTorch's is bounded by 1e-12 in f32.
                chosen = [i for i in chosen if 1e-6 <= case["x"][i] < 1]
            case = {name: [case[name][i] for i in chosen] for name in dims}
            if len(dims) == 1 and count > 20:
                case = {name: case[name] + MORE for name in dims}
            dims = {name: (len(case[name]),) for name in dims}
        elif r["within"] == "row" and len(dims) == 1 and dims.get("x", (0, 0))[1:] == (4,) and case.get("x"):
            case = {"x": case["x"][: 4 * LINES]}
            dims = {"x": (min(LINES, dims["x"][0]), 4)}
        rows.append({**r, "kind": "f64", "inputs": {name: ("f64", d) for name, d in dims.items()}, "cases": [case], "f": OWN.get(r["names"], r["f"])})


# ---------------------------------------------------------------- writing

NUMPY = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "u8": np.uint8, "bool": np.bool_}
NAMES = {torch.float32: "f32", torch.float64: "f64", torch.int32: "i32", torch.int64: "i64", torch.uint8: "u8", torch.bool: "bool"}


def run(r, case, dtype):
    """The values given, the results, and their types, by name; f32 is computed in `dtype`."""
    values = {}
    for name, (kind, dims) in {**r["inputs"], **r["states"]}.items():
        given = case.get(name) or (plain(*dims, shift=11 + len(name)) if kind in ("f32", "f64") else [0] * math.prod(dims))
        tensor = torch.tensor(np.array(given, dtype=NUMPY[kind]).reshape(dims))
        values[name] = tensor.to(dtype) if kind == "f32" else tensor
        if name in r["by"]:
            values[name].requires_grad_()
    y, new = y if isinstance(y := r["f"](values), tuple) else (y, {})
    if y.requires_grad:
        y.backward(torch.tensor(cotangent(tuple(y.shape))).to(y.dtype))
    results, types = {"y": y.detach()}, {"y": NAMES[y.dtype]}
    for name in r["by"]:
        gradient = values[name].grad
        results[f"grad.{name}"] = torch.zeros(values[name].shape) if gradient is None else gradient
        types[f"grad.{name}"] = NAMES[values[name].dtype]
    for name, value in new.items():
        results[f"new.{name}"], types[f"new.{name}"] = value.detach(), NAMES[value.dtype]
    plainly = lambda tensors: {name: value.detach().double().numpy() for name, value in tensors.items()}
    for value in results.values():
        assert value.dtype != torch.int64 or value.abs().max() <= 2**53, r["output"]
    return plainly(values), plainly(results), types


def tolerance(r, name, given, exact, single, y, dtype):
    if dtype not in ("f32", "f64"):
        return exact, np.zeros(exact.shape)
    rounded = exact.astype(np.float32).astype(np.float64) if dtype == "f32" else exact
    least = 1e-6 if dtype == "f32" else 1e-14
    error = np.abs(np.where(np.isfinite(rounded) & np.isfinite(single), single - rounded, 0))
    size = np.where(np.isfinite(rounded), np.abs(rounded), 0)
    axes = {"all": tuple(range(error.ndim)), "row": tuple(range(1, error.ndim)), "element": ()}[r["within"]]
    if axes and error.size:
        ordinary = size < 1e6
        shared = lambda v: np.where(ordinary, np.where(ordinary, v, 0).max(axes, keepdims=True), v)
        error, size = shared(error), shared(size)
    bound = np.maximum(least * np.maximum(1, size), 3 * error)
    # Where PyTorch's own f32 run is lost (a norm whose squares overflow or vanish) it is no measure.
    lost = bound > 1e-3 * np.maximum(1, size)
    bound = np.where(lost, 1e-5 * np.maximum(1, size), bound)
    bound = np.where(np.isfinite(rounded) & ~np.isfinite(single), INF, bound)
    if dtype == "f64":
        # In parts of the value, where it is above 1: f32, which it is written as, does not reach so far.
        bound = bound / np.where(np.isfinite(rounded), np.maximum(1, np.abs(rounded)), 1)
    if not name.startswith("grad."):
        return rounded, bound
    unclear = np.zeros(bound.shape, dtype=bool)
    if r["within"] == "element" and given[name[5:]].shape == bound.shape:
        unclear |= np.isnan(y) if y.shape == bound.shape else False
        for other in r["by"]:
            if given[other].shape == bound.shape:
                unclear |= np.isnan(given[other])
    if r["within"] == "row" and y.ndim and y.shape[0] == bound.shape[0]:
        unclear[np.isnan(y).reshape(len(y), -1).any(1)] = True
    bound = np.where(unclear, -bound, bound)
    return rounded, np.where(np.isnan(rounded), NAN, bound)


def bf16_above(bound):
    """The upper halves of numbers that are as large in f32, or the next larger."""
    bits = np.abs(bound).astype(np.float32).reshape(-1).view(np.uint32)
    upper = (bits >> 16) + np.where(np.isfinite(bound).reshape(-1) & (bits & 0xFFFF != 0), 1, 0)
    return (upper | np.where(np.signbit(bound).reshape(-1), 0x8000, 0)).astype(np.uint16)


def main():
    in_f64()
    lines, values, bounds = [], {}, {}
    for r in rows:
        kind = r["kind"]
        # Whole numbers below 2^53 are exact in f64.
        stored = np.float64 if kind in ("f64", "integers") else np.float32
        for case in r["cases"]:
            given, exact, _ = run(r, case, torch.float64)
            _, single, types = run(r, case, torch.float32)
            for tensor in given.values():
                values.setdefault(kind, []).append(tensor.astype(stored).reshape(-1))
            for name in exact:
                rounded, bound = tolerance(r, name, given, exact[name], single[name], exact["y"], types[name])
                values[kind].append(rounded.astype(stored).reshape(-1))
                bounds.setdefault(kind, []).append(bf16_above(bound))
        declared = lambda named: " ".join(f"{name}:{dtype}[{','.join(map(str, dims))}]" for name, (dtype, dims) in named.items())
        shapes = {name: (types[name], value.shape) for name, value in exact.items()}
        lines.append("\t".join([kind, r["names"], "train" if r["train"] else "infer", declared(r["inputs"]), declared(r["states"]), r["body"],
                                r["output"], declared(shapes), str(len(r["cases"])), r["remark"]]))  # fmt: skip
    (HERE / "rows.tsv").write_text("\n".join(lines) + "\n")
    for kind in values:
        path = HERE / f"{kind}.safetensors"
        save_file({"values": np.concatenate(values[kind]), "tolerance": np.concatenate(bounds[kind])}, path)
        assert path.stat().st_size <= 100_000, f"{path}: {path.stat().st_size} bytes"


main()
