"""Writing graphs in the IR's text: one method an operator, with numpy's broadcasting on top."""

import math

import numpy as np

TYPES = {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64", "uint8": "u8", "bool": "bool"}
NUMPY = {name: np.dtype(numpy) for numpy, name in TYPES.items()}
FLOATS = ("f32", "f64")


class Unsaid(Exception):
    """Why something cannot be said; the message is the group that the list of them counts."""


def kind(dtype):
    """The element type of a numpy type."""
    name = TYPES.get(np.dtype(dtype).name)
    if name is None:
        raise Unsaid("element types that are not there")
    return name


class Value:
    """A value of the graph: its name, type, and its elements where they are known before the graph runs."""

    def __init__(self, name, dtype, dims, known=None):
        self.name, self.dtype, self.dims, self.known = name, dtype, tuple(int(d) for d in dims), known

    @property
    def rank(self):
        return len(self.dims)

    @property
    def is_float(self):
        return self.dtype in FLOATS


def literal(array):
    array = np.asarray(array)
    name = kind(array.dtype)

    def shown(v):
        if name == "bool":
            return "true" if v else "false"
        if name in FLOATS:
            v = float(v)
            if math.isnan(v):
                return "nan"
            if math.isinf(v):
                return "inf" if v > 0 else "-inf"
            return repr(v)
        return str(int(v))

    return f"{name}[{', '.join(map(str, array.shape))}] [{', '.join(shown(v) for v in array.reshape(-1))}]"


class Graph:
    def __init__(self):
        self.inputs, self.lines, self.outputs, self.count, self.constants = [], [], [], 0, {}

    def text(self):
        inputs = ", ".join(f"%{name}: {dtype}[{', '.join(map(str, dims))}]" for name, dtype, dims in self.inputs)
        outputs = ", ".join(f"%{self.use(value)} as \"{name}\"" for name, value in self.outputs)
        return "\n".join([f"graph @main({inputs}) {{", *self.lines, f"  return {outputs}", "}", ""])

    def input(self, name, dtype, dims):
        self.inputs.append((name, dtype, dims))
        return Value(name, dtype, dims)

    def constant(self, array, dtype=None):
        array = np.asarray(array) if dtype is None else np.asarray(array).astype(NUMPY[dtype])
        return Value(None, kind(array.dtype), array.shape, array)

    def use(self, value):
        """The name of a value, which is written out when it is first needed."""
        if value.name is None:
            text = literal(value.known)
            if text not in self.constants:
                self.constants[text] = self.line(f"constant {{value: {text}}}")
            value.name = self.constants[text]
        return value.name

    def line(self, text, results=1):
        names = [f"v{self.count + i}" for i in range(results)]
        self.count += results
        self.lines.append(f"  {', '.join('%' + n for n in names)} = {text}")
        return names[0] if results == 1 else names

    def op(self, name, operands, dtype, extents, /, **attributes):
        def shown(v):
            if isinstance(v, bool):
                return "true" if v else "false"
            if isinstance(v, (list, tuple)):
                return "[" + ", ".join(shown(x) for x in v) + "]"
            return str(v)

        text = ", ".join("%" + self.use(value) for value in operands)
        if attributes:
            text += " {" + ", ".join(f"{key}: {shown(v)}" for key, v in attributes.items()) + "}"
        return Value(self.line(f"{name} {text}"), dtype, extents)

    # Shapes.

    def broadcast_to(self, x, dims):
        dims = tuple(dims)
        if x.dims == dims:
            return x
        axes = list(range(len(dims) - x.rank, len(dims)))
        if any(d != 1 and d != dims[a] for d, a in zip(x.dims, axes)):
            raise Unsaid("shapes that do not fit")
        return self.op("broadcast", [x], x.dtype, dims, dims=list(dims), axes=axes)

    def align(self, *values):
        dims = np.broadcast_shapes(*(v.dims for v in values))
        return [self.broadcast_to(v, dims) for v in values]

    def reshape(self, x, dims):
        dims = tuple(int(d) for d in dims)
        return x if x.dims == dims else self.op("reshape", [x], x.dtype, dims, dims=list(dims))

    def transpose(self, x, axes):
        axes = [int(a) for a in axes]
        return x if axes == list(range(x.rank)) else self.op("transpose", [x], x.dtype, [x.dims[a] for a in axes], axes=axes)

    def slice(self, x, start, stop, step=None):
        step = step or [1] * x.rank
        dims = [max(0, -(-(b - a) // s)) for a, b, s in zip(start, stop, step)]
        return self.op("slice", [x], x.dtype, dims, start=[int(v) for v in start], limit=[int(v) for v in stop], stride=[int(v) for v in step])

    def slice_axis(self, x, axis, start, stop, step=1):
        starts, stops, steps = [0] * x.rank, list(x.dims), [1] * x.rank
        starts[axis], stops[axis], steps[axis] = start, stop, step
        return self.slice(x, starts, stops, steps)

    def reverse(self, x, axes):
        return self.op("reverse", [x], x.dtype, x.dims, axes=sorted(axes)) if axes else x

    def concat(self, values, axis):
        dims = list(values[0].dims)
        dims[axis] = sum(v.dims[axis] for v in values)
        return self.op("concat", values, values[0].dtype, dims, axis=axis)

    def pad(self, x, low, high, value):
        dims = [d + a + b for d, a, b in zip(x.dims, low, high)]
        return self.op("pad", [x, value], x.dtype, dims, low=[int(v) for v in low], high=[int(v) for v in high])

    def iota(self, dtype, dims, axis):
        shape = np.arange(dims[axis], dtype=NUMPY[dtype]).reshape([-1 if a == axis else 1 for a in range(len(dims))])
        return self.constant(np.broadcast_to(shape, dims).copy())

    # Elements.

    def unary(self, name, x, dtype=None):
        return self.op(name, [x], dtype or x.dtype, x.dims)

    def binary(self, name, a, b, dtype=None):
        a, b = self.align(a, b)
        return self.op(name, [a, b], dtype or a.dtype, a.dims)

    def number(self, like, value):
        return self.constant(np.array(value).astype(NUMPY[like.dtype]))

    def add(self, a, b):
        return self.binary("add", a, b)

    def sub(self, a, b):
        return self.binary("sub", a, b)

    def mul(self, a, b):
        return self.binary("mul", a, b)

    def div(self, a, b):
        return self.binary("div", a, b)

    def compare(self, name, a, b):
        return self.binary(name, a, b, "bool")

    def select(self, c, a, b):
        c, a, b = self.align(c, a, b)
        return self.op("select", [c, a, b], a.dtype, a.dims)

    def convert(self, x, dtype):
        return x if x.dtype == dtype else self.op("convert", [x], dtype, x.dims, to=dtype)

    # Sums, products, indices.

    def reduce(self, name, x, axes, keep=False):
        axes = sorted(axes)
        dims = [d for a, d in enumerate(x.dims) if a not in axes]
        y = self.op(f"reduce_{name}", [x], x.dtype, dims, axes=axes) if axes else x
        return self.reshape(y, [1 if a in axes else d for a, d in enumerate(x.dims)]) if keep else y

    def mean(self, x, axes, keep=True):
        count = math.prod(x.dims[a] for a in axes)
        total = self.reduce("add", x, axes, keep)
        return self.div(total, self.number(x, count))

    def window(self, name, x, window, stride, padding, dilation=None):
        dilation = dilation or [1] * x.rank
        dims = [(d + a + b - (w - 1) * e - 1) // s + 1 for d, (a, b), w, s, e in zip(x.dims, padding, window, stride, dilation)]
        return self.op(f"reduce_window_{name}", [x], x.dtype, dims, window=list(window), stride=list(stride), padding=[list(p) for p in padding],
                       window_dilation=list(dilation))  # fmt: skip

    def dot(self, a, b, batch, contract):
        free = [[i for i in range(v.rank) if i not in batch[s] and i not in contract[s]] for s, v in enumerate((a, b))]
        dims = [a.dims[i] for i in batch[0]] + [a.dims[i] for i in free[0]] + [b.dims[i] for i in free[1]]
        attributes = {"batch": [list(batch[0]), list(batch[1])]} if batch[0] else {}
        return self.op("dot", [a, b], a.dtype, dims, **attributes, contract=[list(contract[0]), list(contract[1])])

    def matmul(self, a, b):
        row, column = a.rank == 1, b.rank == 1
        a = self.reshape(a, (1, *a.dims)) if row else a
        b = self.reshape(b, (*b.dims, 1)) if column else b
        batch = np.broadcast_shapes(a.dims[:-2], b.dims[:-2])
        a, b = self.broadcast_to(a, (*batch, *a.dims[-2:])), self.broadcast_to(b, (*batch, *b.dims[-2:]))
        n = len(batch)
        axes = list(range(n))
        y = self.dot(a, b, [axes, axes], [[n + 1], [n]])
        dims = [*batch] + ([] if row else [y.dims[-2]]) + ([] if column else [y.dims[-1]])
        return self.reshape(y, dims)

    def index(self, indices, extent):
        """Indices of which negative ones count from the end."""
        indices = indices if indices.dtype in ("i32", "i64") else self.convert(indices, "i64")
        if indices.known is not None:
            return self.constant(np.where(indices.known < 0, indices.known + extent, indices.known).astype(indices.known.dtype))
        below = self.compare("lt", indices, self.number(indices, 0))
        return self.select(below, self.add(indices, self.number(indices, extent)), indices)

    def gather(self, x, indices, axis):
        indices = self.index(indices, x.dims[axis])
        return self.op("gather", [x, indices], x.dtype, x.dims[:axis] + indices.dims + x.dims[axis + 1 :], axis=axis)

    def gather_along(self, x, indices, axis):
        indices = self.index(indices, x.dims[axis])
        for a in range(x.rank):
            if a != axis and indices.dims[a] < x.dims[a]:
                x = self.slice_axis(x, a, 0, indices.dims[a])
        return self.op("gather_along", [x, indices], x.dtype, indices.dims, axis=axis)

    def scatter(self, mode, base, indices, updates, axis=0):
        return self.op(f"scatter_{mode}", [base, indices, updates], base.dtype, base.dims, axis=axis)

    def cumulative(self, name, x, axis, reverse=False, exclusive=False):
        return self.op(f"cumulative_{name}", [x], x.dtype, x.dims, axis=axis, reverse=reverse, exclusive=exclusive)

    def sort(self, values, axis, descending=False):
        text = ", ".join("%" + self.use(v) for v in values)
        names = self.line(f"sort {text} {{axis: {axis}, descending: {str(descending).lower()}}}", len(values))
        names = [names] if len(values) == 1 else names
        return [Value(n, v.dtype, v.dims) for n, v in zip(names, values)]

    def conv(self, x, w, stride, padding, dilation, groups):
        spatial = [(d + a + b - (k - 1) * e - 1) // s + 1 for d, (a, b), k, s, e in zip(x.dims[2:], padding, w.dims[2:], stride, dilation)]
        return self.op("conv", [x, w], x.dtype, [x.dims[0], w.dims[0], *spatial], stride=list(stride), padding=[list(p) for p in padding],
                       rhs_dilation=list(dilation), groups=groups)  # fmt: skip

    def conv_transpose(self, y, w, size, stride, padding, dilation, groups):
        return self.op("conv_input_gradient", [y, w], y.dtype, [y.dims[0], w.dims[1] * groups, *size], size=list(size), stride=list(stride),
                       padding=[list(p) for p in padding], rhs_dilation=list(dilation), groups=groups)  # fmt: skip
