"""The rows of the table, by subjects. They are in the order in which these add them."""

from . import elements, axes, arrangement, losses, layers, settings, whole, sequences  # isort: skip
from .table import INF, NAN, cotangent, plain, rows
