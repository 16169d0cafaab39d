"""Writes the rows of the table of functions and layers, and what PyTorch gives for each.

    python make.py

writes `rows.tsv`, of layers `layers.tsv`, and one `*.safetensors` a kind of rows. Needs torch, numpy and safetensors. The rows
stand in `rows/`, a file a subject. A row is a model of one function or layer, with the values of its inputs and parameters, its
result, and the gradients of `sum(result * cotangent)` by inputs and parameters. Expected values are computed in f64 and rounded to f32. What may differ is, as for whole models,
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
import warnings

import numpy as np
import torch
from rows import INF, NAN, cotangent, plain, rows
from safetensors.numpy import save_file

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent

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
    of_layers = lambda line: line.split("\t")[0] in ("layers", "convolutions", "pools", "data", "activations")
    (HERE / "rows.tsv").write_text("".join(f"{line}\n" for line in lines if not of_layers(line)))
    (HERE / "layers.tsv").write_text("".join(f"{line}\n" for line in lines if of_layers(line)))
    for kind in values:
        path = HERE / f"{kind}.safetensors"
        save_file({"values": np.concatenate(values[kind]), "tolerance": np.concatenate(bounds[kind])}, path)
        assert path.stat().st_size <= 100_000, f"{path}: {path.stat().st_size} bytes"


main()
