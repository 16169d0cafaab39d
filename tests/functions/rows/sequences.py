"""Functions for sequences, and layers that are loops."""

import torch
import torch.nn.functional as F

from .settings import setting
from .table import INF, NAN, f32, i32, plain, row

setting("split", "split(x, 2)[1] * split(x, 2, axis=-1)[0]", lambda v: v["x"].chunk(2, -1)[1] * v["x"].chunk(2, -1)[0])
setting("split", "split(x, 3, axis=1)[2]", lambda v: v["x"].chunk(3, 1)[2])
setting("arange", "x * arange(4)", lambda v: v["x"] * torch.arange(4).to(v["x"].dtype))
row("functions", "mask", "where(mask(i, 4), x, 0)", lambda v: torch.where(torch.arange(4) < v["i"][:, None], v["x"], 0 * v["x"]),
    {"x": f32(3, 4), "i": i32(3)}, [{"i": [2, 0, 5]}])  # fmt: skip
row("functions", "pick", "pick(x, i)", lambda v: v["x"].gather(1, v["i"].long()[:, None])[:, 0], {"x": f32(3, 4), "i": i32(3)}, [{"i": [2, 0, 3]}])
row("functions", "pick", "pick(x, i, axis=0)", lambda v: v["x"].gather(0, v["i"].long()), {"x": f32(3, 4), "i": i32(2, 4)},
    [{"i": [2, 0, 1, 1, 2, 2, 0, 0]}])  # fmt: skip
row("functions", "pick", "pick(x, i, axis=1)", lambda v: v["x"][torch.arange(2), v["i"].long()], {"x": f32(2, 3, 4), "i": i32(2)}, [{"i": [2, 0]}])

# Numbers that none of `plain` meets, so that the larger of two is one of them.
OTHERS = [value + 1 / 64 for value in plain(2, 3, 4, turn=21)]


def put(v, axis, reduce=None, y=None):
    """PyTorch's own, at one index for each row."""
    i = v["i"].long().unsqueeze(axis)
    y = (v["y"] if y is None else y).unsqueeze(axis)
    return v["x"].scatter(axis, i, y) if reduce is None else v["x"].scatter_reduce(axis, i, y, reduce)


def update(v, count):
    """`count` rows from a position on that is moved so that they fit."""
    first = min(max(int(v["i"]), 0), len(v["x"]) - count)
    return v["x"][first : first + count] if "y" not in v else torch.cat([v["x"][:first], v["y"], v["x"][first + count :]])


row("functions", "scatter", "scatter(x, i, y)", lambda v: v["x"].index_copy(0, v["i"].long(), v["y"]),
    {"x": f32(4, 3), "i": i32(2), "y": f32(2, 3)}, [{"i": [3, 1]}, {"i": [0, 2], "y": [INF, NAN, -0.0, 1, 2, 3]}], within="element")  # fmt: skip
row("functions", "scatter", "scatter(x, i, y, mode='set')", lambda v: v["x"].index_copy(0, v["i"].long(), v["y"].expand(2, 3)),
    {"x": f32(4, 3), "i": i32(2), "y": f32(3)}, [{"i": [3, 1]}])  # fmt: skip
row("functions", "scatter", "scatter(x, i, y, axis=1, mode='add')", lambda v: v["x"].index_add(1, v["i"].long(), v["y"]),
    {"x": f32(2, 4, 3), "i": i32(3), "y": f32(2, 3, 3)}, [{"i": [3, 0, 3]}])  # fmt: skip
row("functions", "scatter", "scatter(x, [i, j], y, axis=1, mode='add')",
    lambda v: v["x"].index_put((torch.arange(2)[:, None], v["i"].long(), v["j"].long()), v["y"], accumulate=True),
    {"x": f32(2, 3, 4), "i": i32(2), "j": i32(2), "y": f32(2, 2)}, [{"i": [2, 0], "j": [1, 3]}, {"i": [1, 1], "j": [3, 3]}])  # fmt: skip
for mode, reduce in (("max", "amax"), ("min", "amin")):
    row("functions", "scatter", f"scatter(x, i, y, axis=1, mode='{mode}')",
        lambda v, r=reduce: v["x"].scatter_reduce(1, v["i"].long()[:, None].expand(2, 4, 3), v["y"], r),
        {"x": f32(2, 3, 3), "i": i32(4), "y": f32(2, 4, 3)}, [{"i": [2, 0, 2, 0], "y": OTHERS}])  # fmt: skip
    row("functions", "put", f"put(x, i, y, mode='{mode}')", lambda v, r=reduce: put(v, 1, r),
        {"x": f32(3, 4), "i": i32(3), "y": f32(3)}, [{"i": [2, 0, 3], "y": OTHERS[:3]}, {"i": [2, 0, 3], "y": [INF, -INF, 0.125]}])  # fmt: skip
row("functions", "put", "put(x, i, y)", lambda v: put(v, 1), {"x": f32(3, 4), "i": i32(3), "y": f32(3)}, [{"i": [2, 0, 3]}])
row("functions", "put", "put(x, i, 0.5, mode='set')", lambda v: put(v, 1, y=torch.full((3,), 0.5, dtype=v["x"].dtype)),
    {"x": f32(3, 4), "i": i32(3)}, [{"i": [2, 0, 3]}])  # fmt: skip
row("functions", "put", "put(x, i, y, axis=0, mode='add')", lambda v: v["x"].scatter_add(0, v["i"].long(), v["y"]),
    {"x": f32(3, 4), "i": i32(2, 4), "y": f32(2, 4)}, [{"i": [2, 0, 1, 1, 2, 2, 1, 0]}])  # fmt: skip
row("functions", "slice", "slice(x, i, 2)", lambda v: update(v, 2), {"x": f32(4, 3), "i": i32()}, [{"i": [1]}, {"i": [9]}, {"i": [-3]}])
row("functions", "slice", "slice(x, i, 2, axis=1)", lambda v: v["x"][:, 1:3], {"x": f32(3, 4), "i": i32()}, [{"i": [1]}])
row("functions", "update_slice", "update_slice(x, y, i)", lambda v: update(v, 2), {"x": f32(4, 3), "y": f32(2, 3), "i": i32()},
    [{"i": [1]}, {"i": [9]}, {"i": [-3]}])  # fmt: skip
row("functions", "update_slice", "update_slice(x, y, i, axis=1)", lambda v: torch.cat([v["x"][:, :1], v["y"], v["x"][:, 3:]], 1),
    {"x": f32(3, 4), "y": f32(3, 2), "i": i32()}, [{"i": [1]}])  # fmt: skip
setting("shift", "shift(x, 1)", lambda v: F.pad(v["x"], (1, -1)))
setting("shift", "shift(x, -2, fill=-1.5, axis=1)", lambda v: F.pad(v["x"], (0, 0, -2, 2), value=-1.5))
setting("pad", "pad(x, [0, [1, 2], -1], value=0.5)", lambda v: F.pad(v["x"], (-1, -1, 1, 2), value=0.5))

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def recurrent(kind, v, rows=None, layers=1, both=False, bias=True, state=None):
    """PyTorch's own, on all rows at once; or on each by itself up to its length, and 0 behind it."""
    x = v["x"]
    suffixes = [f"_l{k}{back}" for k in range(layers) for back in (("", "_reverse") if both else ("",))]
    weights = [v[f"m.{part}{suffix}"] for suffix in suffixes for part in PARTS[: 4 if bias else 2]]
    n = weights[1].shape[1]
    at_first = state or [torch.zeros(len(suffixes), len(x), n, dtype=x.dtype)] * (2 if kind == "lstm" else 1)

    def run(x, state):
        state = state if kind == "lstm" else state[0]
        return getattr(torch, kind)(x, state, weights, bias, layers, 0.0, False, both, True)[0]

    if rows is None:
        return run(x, at_first)
    found = []
    for k, length in enumerate(rows):
        if length:
            y = run(x[k : k + 1, :length], [part[:, k : k + 1].contiguous() for part in at_first])
            found.append(F.pad(y, (0, 0, 0, x.shape[1] - length)))
        else:
            found.append(torch.zeros(1, x.shape[1], n * (2 if both else 1), dtype=x.dtype))
    return torch.cat(found)


def weights_of(gates, inputs, n, layers=1, both=False, bias=True):
    found = {}
    for k in range(layers):
        for back in ("", "_reverse") if both else ("",):
            wide = inputs if k == 0 else n * (2 if both else 1)
            dims = ((gates * n, wide), (gates * n, n), (gates * n,), (gates * n,))
            found |= {f"{part}_l{k}{back}": d for part, d in list(zip(PARTS, dims))[: 4 if bias else 2]}
    return found


def recurrent_layer(name, arguments, f, weights, **inputs):
    row("layers", name, "it", f, {"x": f32(2, 4, 3), **inputs}, [{}], states={f"m.{part}": f32(*dims) for part, dims in weights.items()},
        body=f'{name}(name: "m", features: 2{arguments})', within="all")  # fmt: skip


def reset_before(x, h, w, u, b, c):
    """Cho et al. (2014): what the reset lets pass of the state is multiplied."""
    wx, uh = x @ w.T + b, h @ u[:4].T + c[:4]
    r, z = torch.sigmoid(wx[:, :2] + uh[:, :2]), torch.sigmoid(wx[:, 2:4] + uh[:, 2:])
    return (1 - z) * torch.tanh(wx[:, 4:] + (r * h) @ u[4:].T + c[4:]) + z * h


def reset_before_in_steps(v):
    h, found = torch.zeros(2, 2, dtype=v["x"].dtype), []
    for x in v["x"].unbind(1):
        h = reset_before(x, h, *(v[f"m.{part}_l0"] for part in PARTS))
        found.append(h)
    return torch.stack(found, 1)


for name, kind, gates in (("Rnn", "rnn_tanh", 1), ("Gru", "gru", 3)):
    recurrent_layer(name, ", layers: 2, dropout: 0.25", lambda v, k=kind: recurrent(k, v, layers=2), weights_of(gates, 3, 2, 2))
    recurrent_layer(name, ", bidirectional: true, lengths: [4, 2], bias: false",
                    lambda v, k=kind: recurrent(k, v, [4, 2], both=True, bias=False), weights_of(gates, 3, 2, both=True, bias=False))  # fmt: skip
recurrent_layer("Rnn", ', initial: "h", lengths: [0, 1], nonlinearity: "relu"', lambda v: recurrent("rnn_relu", v, [0, 1], state=[v["h"][None]]),
                weights_of(1, 3, 2), h=f32(2, 2))  # fmt: skip
recurrent_layer("Gru", ', initial: "h", lengths: [0, 1]', lambda v: recurrent("gru", v, [0, 1], state=[v["h"][None]]), weights_of(3, 3, 2), h=f32(2, 2))
recurrent_layer("Gru", ', reset: "before"', reset_before_in_steps, weights_of(3, 3, 2))
recurrent_layer("Lstm", ", layers: 2, bidirectional: true, lengths: [4, 2], dropout: 0.25",
                lambda v: recurrent("lstm", v, [4, 2], 2, True), weights_of(4, 3, 2, 2, True))  # fmt: skip
recurrent_layer("Lstm", ', initial: ["h", "c"], bias: false', lambda v: recurrent("lstm", v, bias=False, state=[v["h"][None], v["c"][None]]),
                weights_of(4, 3, 2, bias=False), h=f32(2, 2), c=f32(2, 2))  # fmt: skip


def cell_layer(name, arguments, f, gates, states, bias=True):
    dims = ((gates * 2, 3), (gates * 2, 2), (gates * 2,), (gates * 2,))
    weights = {f"m.{part}": f32(*d) for part, d in list(zip(PARTS, dims))[: 4 if bias else 2]}
    written = '["h", "c"]' if len(states) > 1 else '"h"'
    row("layers", name, "it", lambda v: f(v, [v.get(f"m.{part}") for part in PARTS]), {"x": f32(3, 3), **{part: f32(3, 2) for part in states}}, [{}],
        states=weights, body=f'{name}(name: "m", features: 2, state: {written}{arguments})', within="all")  # fmt: skip


cell_layer("RnnCell", ', bias: false, nonlinearity: "relu"', lambda v, w: torch.rnn_relu_cell(v["x"], v["h"], *w), 1, "h", False)
cell_layer("LstmCell", ", bias: false", lambda v, w: torch.lstm_cell(v["x"], (v["h"], v["c"]), *w)[0], 4, "hc", False)
cell_layer("GruCell", ", bias: false", lambda v, w: torch.gru_cell(v["x"], v["h"], *w), 3, "h", False)
cell_layer("GruCell", ', reset: "before"', lambda v, w: reset_before(v["x"], v["h"], *w), 3, "h")
