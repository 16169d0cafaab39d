"""The table that rows are added to, and what rows are made of."""

import math

import numpy as np

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
