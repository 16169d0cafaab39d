"""Products of matrices."""

import itertools

import numpy as np

from .registry import single


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
