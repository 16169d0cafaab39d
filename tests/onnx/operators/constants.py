"""Operators with weights that are made when translating."""

import math

import numpy as np

from emit import NUMPY, Unsaid

from .registry import single


def linear_map(cx, value, place):
    """A node that is linear in one operand, as a product with its matrix, made by the reference of ONNX."""
    g, count = cx.g, math.prod(value.dims)
    if count > 4096:
        raise Unsaid("matrices of more than 4096 rows")
    basis = np.eye(count, dtype=NUMPY[value.dtype])
    zero = np.zeros(value.dims, dtype=NUMPY[value.dtype])
    at_zero = cx.reference({place: zero})[0]
    rows = [cx.reference({place: row.reshape(value.dims)})[0].reshape(-1) - at_zero.reshape(-1) for row in basis]
    matrix = np.stack(rows).astype(NUMPY[value.dtype])
    flat = g.dot(g.reshape(value, (count,)), g.constant(matrix), [[], []], [[0], [0]])
    if np.any(at_zero):
        flat = g.add(flat, g.constant(at_zero.reshape(-1).astype(NUMPY[value.dtype])))
    return g.reshape(flat, at_zero.shape)


@single("Resize", "Upsample", "Col2Im", "DFT")
def weighted(cx):
    for i in range(1, len(cx.inputs)):
        if cx.has(i):
            cx.known(i)
    return linear_map(cx, cx[0], 0)


@single("STFT")
def short_time(cx):
    for i in (1, 2, 3):
        if cx.has(i):
            cx.known(i)
    return linear_map(cx, cx[0], 0)


@single("AffineGrid")
def affine_grid(cx):
    cx.known(1)
    return linear_map(cx, cx[0], 0)
