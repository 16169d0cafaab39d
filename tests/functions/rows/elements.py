"""Functions of every element."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from .table import DENORMAL, EDGES, LARGEST, PAIRS, f32, row


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
