"""Functions along axes."""

import math

import torch

from .table import DENORMAL, INF, LARGEST, NAN, SMALLEST, f32, row

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
