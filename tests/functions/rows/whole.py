"""Whole numbers and truth values."""

import re

import torch
import torch.nn.functional as F

from .table import row

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
