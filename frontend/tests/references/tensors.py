"""Writes `tensors.tsv`: indexing, products, choices and tensors made of numbers, in PyTorch (indexing in numpy,
which takes negative steps).

A line has an expression over the inputs of `INPUTS`, the element type of the result, its extents, and its elements.
Expressions are evaluated as they stand: the language's notation is Python's.
"""

import numpy as np
import torch

from make import HERE

torch.set_default_dtype(torch.float32)
TYPES = {"bool": torch.bool, "u8": torch.uint8, "i32": torch.int32, "i64": torch.int64, "f32": torch.float32, "f64": torch.float64}
NAMES = {dtype: name for name, dtype in TYPES.items()}


def ramp(*dims):
    count = int(np.prod(dims))
    return (torch.arange(count, dtype=torch.float32) * 5 % 13 - 6).reshape(dims)


INPUTS = {
    "x": ramp(2, 3, 4), "v": ramp(4), "w": ramp(3), "m": ramp(4, 5), "p": ramp(5, 2, 3, 4), "q": ramp(1, 4, 2), "r": ramp(5, 1, 4, 2),
    "i": torch.tensor([1, -1, 0], dtype=torch.int32), "j": torch.tensor([[0, -2], [1, 1]]), "k": torch.tensor(1, dtype=torch.int32),
    "u": torch.tensor([2, 0], dtype=torch.uint8), "c": torch.tensor([[True], [False]]), "d": torch.tensor([True, False, True, True]),
}  # fmt: skip

INDEXING = [
    "x[::-1]", "x[:, ::-2]", "x[..., ::-1]", "x[1, 2:0:-1, -1:-4:-2]", "x[0, 0:2:-1]", "x[:, -1::-1, 3::-3]", "x[5:-9:-1, 7:0:-7]",
    "x[..., 0]", "x[0, ...]", "x[...]", "x[..., none]", "x[1, ..., none, 2]", "x[..., 1:, ::2]", "x[none, ..., 0, :]", "x[0, 1, 2, ...]",
    "x[[0, 1]]", "x[[1, 1, 0]]", "x[:, [2, -3]]", "x[..., [3, 0]]", "x[1, [0, 2]]", "x[[[0, 1], [1, 0]], 2]", "x[[1]]", "x[:, []]",
    "x[:, [true, false, true]]", "x[..., [false, true, true, false]]", "x[i[:2]]", "x[:, i]", "x[..., j]", "x[:, i, none]", "x[k]", "x[:, k]",
    "x[u[1]]", "x[:, u]", "x[1, i]", "x[[0, 1], [1, 2]]", "x[[0, 1], :, [1, 2]]", "x[:, [0, 1], [1, 2]]", "x[j, [2, 0]]", "x[[[0], [1]], [0, 2], i[0]]",
    "x[0, :, [1, 2, 3]]", "x[::-1, [0, 2], ::2]", "p[..., [0, 1], i[:2]]", "p[:, [0, 1], none, :, [1, -1]]", "v[j]", "x[none, [1]]", "x[:, :, [-1, -4]]",
]  # fmt: skip

# Numpy counts an integer as a list of indices: these axes it would put in front.
LIKE_TORCH = ["x[0, :, [1, 2, 3]]"]

PRODUCTS = [
    "v @ v", "v @ m", "x @ v", "m @ ramp5", "v @ q", "w @ x", "x @ m", "w @ p", "p @ v", "x @ q", "p @ r", "p @ q", "x @ r", "q @ ramp2", "p[0] @ m", "w @ p[0]",
]  # fmt: skip

CHOICES = [
    "where(c, v, x[:, 0])", "where(c, v, 1)", "where(d, x, 0.5)", "where(d, w[:, none], x[0])", "where(c, 2, 3)", "where(c, w[:, none, none], v[none, none])",
    "where(d, k, v)", "where(x > 0, c[:, none], d)",
]  # fmt: skip

LISTS = [
    "x + [1, 2, 3, 4]", "[[0.5], [2], [-1]] * x", "x * [[[1]], [[-1]]]", "i + [1, 2, 3]", "where(d, [1, 2, 3, 4], 0.5)", "[1, 0, 2, 3] < v", "max(w, [0, 5, -5])",
    "v @ [1, 0, 0, 2]", "[[1, 0, 0], [0, 0, 1]] @ x", "u * [3, 4]", "[true, false, true, true] == d", "stack([v, v * 2])", "stack([w, i], axis=-1)",
    "stack([x, x + 1, x], axis=1)", "stack([sum(v), 2, 0.5])", "zeros([2, 3])", "ones([2], 'i32')", "full([2, 1], 7)", "full([3], 0.25, 'f64')", "full([2], true)",
    "zeros([])", "zeros([0, 2])", "full([2, 2], sum(v))",
]  # fmt: skip

# Chained comparisons: Python's own do not take tensors.
CHAINED = {
    "-3 < x < 4": "(-3 < x) & (x < 4)", "0 <= x <= v < 5": "(0 <= x) & (x <= v) & (v < 5)", "v == v != 0": "(v == v) & (v != 0)",
    "1 < 2 < x": "2 < x", "2 < 1 < x": "(x > 1) & False", "-3 < x and x < 4": "(-3 < x) & (x < 4)", "0 < v < 4 or d": "((0 < v) & (v < 4)) | d",
}  # fmt: skip

CASTS = ["v", "x * 100", "i * 1000000", "j", "d", "u", "v * 1e19", "v / 0", "[300, -1, 2]", "[0.5, -0.5, 300.7]"]


def number_type(values):
    flat = np.array(values).reshape(-1)
    return torch.bool if flat.dtype == bool else torch.int64 if flat.dtype.kind == "i" else torch.float32


def weak(a, b):
    """Two operands, of which a list is as weak as a number."""
    pair = [a, b]
    for at in (0, 1):
        if isinstance(pair[at], list):
            own, other = number_type(pair[at]), pair[1 - at].dtype
            dtype = torch.result_type(torch.zeros(1, dtype=other), torch.zeros((), dtype=own))
            pair[at] = torch.tensor(pair[at], dtype=dtype)
            pair[1 - at] = pair[1 - at].to(dtype)
    return pair



def where(c, a, b):
    a, b = (torch.tensor(z, dtype=number_type(z)) if isinstance(z, list) else z for z in (a, b))
    if torch.is_tensor(a) or torch.is_tensor(b):
        common = torch.result_type(a, b)
        a, b = (z.to(common) if torch.is_tensor(z) else torch.tensor(z, dtype=common) for z in (a, b))
    return torch.where(c, a, b)


def stack(parts, axis=0):
    dtype = torch.float32
    tensors = [p for p in parts if torch.is_tensor(p)]
    for p in tensors:
        dtype = torch.promote_types(dtype, p.dtype)
    return torch.stack([p.to(dtype) if torch.is_tensor(p) else torch.tensor(p, dtype=dtype) for p in parts], axis)


def cast(x, name):
    """To truth values by `!= 0`, to integers towards zero; what is too large becomes the nearest, NaN 0; integers wrap."""
    x = np.asarray(x)
    if name == "bool":
        return torch.tensor(x != 0)
    if x.dtype.kind == "f" and name[0] in "iu":
        kind = np.dtype({"u8": "u1", "i32": "i4", "i64": "i8"}[name])
        bounds = np.iinfo(kind)
        flat = [0 if np.isnan(v) else min(max(int(np.trunc(v)) if np.isfinite(v) else (2**70 if v > 0 else -2**70), bounds.min), bounds.max) for v in x.reshape(-1)]
        return torch.tensor(np.array(flat, dtype=kind).reshape(x.shape))
    return torch.tensor(x).to(TYPES[name])


def full(dims, value, name=None):
    value = value if torch.is_tensor(value) else torch.tensor(value)
    return torch.full(dims, value.item(), dtype=TYPES[name] if name else value.dtype)


NAMESPACE = {
    "none": None, "true": True, "false": False, "where": where, "stack": stack, "sum": torch.sum, "full": full, "max": lambda a, b: torch.maximum(*weak(a, b)),
    "zeros": lambda dims, name="f32": torch.zeros(dims, dtype=TYPES[name]), "ones": lambda dims, name="f32": torch.ones(dims, dtype=TYPES[name]),
}  # fmt: skip


def shown(y):
    values = [repr(v) if y.dtype in (torch.float32, torch.float64) else str(int(v)) for v in y.reshape(-1).tolist()]
    return f"{NAMES[y.dtype]}\t{' '.join(map(str, y.shape))}\t{' '.join(values)}"


def lists(text):
    """Lists that meet tensors by an operator become tensors as weak as numbers."""
    import ast

    class Lists(ast.NodeTransformer):
        def visit_BinOp(self, node):
            return ast.Call(ast.Name("meet", ast.Load()), [ast.Constant(type(node.op).__name__), node.left, node.right], [])

        def visit_Compare(self, node):
            return ast.Call(ast.Name("meet", ast.Load()), [ast.Constant(type(node.ops[0]).__name__), node.left, node.comparators[0]], [])

    tree = ast.parse(text, mode="eval")
    if isinstance(tree.body, (ast.BinOp, ast.Compare)):
        tree = ast.fix_missing_locations(ast.Expression(Lists().visit(tree.body)))
    return eval(compile(tree, text, "eval"), {**NAMESPACE, "meet": meet}, dict(INPUTS))


def meet(operator, a, b):
    a, b = weak(a, b)
    return {"Add": torch.add, "Mult": torch.mul, "Lt": torch.lt, "Eq": torch.eq, "MatMult": torch.matmul}[operator](a, b)


def write():
    lines = []
    for text in INDEXING:
        if text not in LIKE_TORCH:
            arrays = {name: tensor.numpy() for name, tensor in INPUTS.items()}
            result = torch.tensor(np.array(eval(text, dict(NAMESPACE), arrays)).copy())
        else:
            result = eval(text, dict(NAMESPACE), dict(INPUTS))
        lines.append(f"{text}\t{shown(result)}")
    for text in PRODUCTS:
        named = text.replace("ramp5", "m[0]").replace("ramp2", "m[:2, :3]")
        lines.append(f"{named}\t{shown(eval(named, dict(NAMESPACE), dict(INPUTS)))}")
    for text in CHOICES:
        lines.append(f"{text}\t{shown(eval(text, dict(NAMESPACE), dict(INPUTS)))}")
    for text in LISTS:
        lines.append(f"{text}\t{shown(lists(text))}")
    for text, plain in CHAINED.items():
        lines.append(f"{text}\t{shown(eval(plain, dict(NAMESPACE), dict(INPUTS)))}")
    for text in CASTS:
        for name in TYPES:
            lines.append(f"cast({text}, '{name}')\t{shown(cast(eval(text, dict(NAMESPACE), dict(INPUTS)), name))}")
    (HERE / "tensors.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
