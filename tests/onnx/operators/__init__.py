"""ONNX's operators in the IR: `OPERATORS[name](cx)` gives the results of one node. `cx` is a `Node` of `say.py`."""

# In the order in which the rules are to come.
from . import (  # isort: skip
    elements,
    activations,
    reductions,
    shapes,
    indices,
    products,
    windows,
    normalisation,
    quantisation,
    constants,
    recurrent,
    training,
)
from .registry import OPERATORS
