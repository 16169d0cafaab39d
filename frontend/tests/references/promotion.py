"""Writes `promotion.tsv`: element types and values of every operator on every pair of types, in PyTorch.

A line has an expression over the tensors `l_<type>` and `r_<type>`, the element type of the result, and its elements; or
`error` where the language reports a mistake instead: arithmetic of two truth values other than `+` (or) and `*` (and), a
whole number that the type of the tensor cannot hold, integers to the power of a negative number.
"""

import torch

from make import HERE

torch.set_default_dtype(torch.float32)
TYPES = {"bool": torch.bool, "u8": torch.uint8, "i32": torch.int32, "i64": torch.int64, "f32": torch.float32, "f64": torch.float64}
NAMES = {dtype: name for name, dtype in TYPES.items()}
LEFT = {"bool": [1, 0, 1, 1], "u8": [0, 1, 7, 255], "i32": [-7, 2, 0, 3], "i64": [-5, 4294967297, 9, 2],
        "f32": [-2.5, 0.75, 6.0, 3.5], "f64": [7.25, -0.5, 2.0, -9.0]}
RIGHT = {"bool": [1, 1, 1, 1], "u8": [1, 3, 200, 2], "i32": [-3, 2, 5, -1], "i64": [7, -2, 4294967296, 3],
         "f32": [0.5, -2.0, 4.0, 1.5], "f64": [-1.25, 2.0, 0.5, 4.0]}
NUMBERS = ["true", "2", "-1", "300", "4294967296", "0.5"]
VALUES = {"true": True, "2": 2, "-1": -1, "300": 300, "4294967296": 4294967296, "0.5": 0.5}
OPERATORS = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.true_divide, "//": torch.floor_divide,
    "%": torch.remainder, "**": torch.pow, "==": torch.eq, "!=": torch.ne, "<": torch.lt, "<=": torch.le,
    ">": torch.gt, ">=": torch.ge, "min": torch.minimum, "max": torch.maximum,
    "where": lambda a, b: torch.where(torch.tensor([True, False, True, False]), a, b),
}
BOUNDS = {torch.bool: (0, 1), torch.uint8: (0, 255), torch.int32: (-2**31, 2**31 - 1), torch.int64: (-2**63, 2**63 - 1)}
UNDEFINED = ["-", "//", "%", "**"]


def tensor(side, name):
    return torch.tensor((LEFT if side == "l" else RIGHT)[name], dtype=TYPES[name])


def result(operator, a, b):
    """The type and elements, or `error`. One of a and b may be a number."""
    common = torch.result_type(a, b)
    whole = common in BOUNDS
    for number in (a, b):
        if not torch.is_tensor(number) and whole and not BOUNDS[common][0] <= number <= BOUNDS[common][1]:
            return "error"
    if common == torch.bool and operator in UNDEFINED:
        return "error"
    if operator == "**" and whole and not torch.is_tensor(b) and b < 0:
        return "error"
    a, b = (x.to(common) if torch.is_tensor(x) else torch.full((4,), x, dtype=common) for x in (a, b))
    y = OPERATORS[operator](a, b)
    shown = [repr(v) if y.dtype in (torch.float32, torch.float64) else str(int(v)) for v in y.tolist()]
    return f"{NAMES[y.dtype]}\t{' '.join(shown)}"


def text(operator, a, b):
    if operator in ("min", "max"):
        return f"{operator}({a}, {b})"
    return f"where(c, {a}, {b})" if operator == "where" else f"{a} {operator} {b}"


def write():
    lines = []
    for operator in OPERATORS:
        for left in TYPES:
            for right in TYPES:
                value = result(operator, tensor("l", left), tensor("r", right))
                lines.append(f"{text(operator, f'l_{left}', f'r_{right}')}\t{value}")
            for number in NUMBERS:
                lines.append(f"{text(operator, f'l_{left}', number)}\t{result(operator, tensor('l', left), VALUES[number])}")
                if number != "-1":
                    lines.append(f"{text(operator, number, f'r_{left}')}\t{result(operator, VALUES[number], tensor('r', left))}")
    (HERE / "promotion.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
