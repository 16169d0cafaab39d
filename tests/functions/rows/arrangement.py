"""Functions that arrange elements, and attention."""

import torch
import torch.nn.functional as F

from .table import DENORMAL, INF, LARGEST, NAN, f32, i32, plain, row

row("functions", "matmul,@", "matmul(x, y)", lambda v: v["x"] @ v["y"], {"x": f32(2, 3, 4), "y": f32(4, 2)},
    [{}, {"x": plain(2, 3, 4)[:-2] + [INF, NAN]}], within="all")  # fmt: skip
row("functions", "@", "x @ y", lambda v: v["x"] @ v["y"], {"x": f32(3, 4), "y": f32(4, 2)}, [{}], within="all")
for output, x, y in (("x @ y", (4,), (4,)), ("x @ y", (4,), (4, 3)), ("x @ y", (2, 3, 4), (4,)), ("x @ y", (4,), (2, 4, 3)),
                     ("x @ y", (2, 1, 3, 4), (3, 4, 2)), ("x @ y", (1, 3, 4), (2, 4, 2)), ("x @ y", (3, 4), (2, 4, 2))):  # fmt: skip
    row("functions", "@", output, lambda v: v["x"] @ v["y"], {"x": f32(*x), "y": f32(*y)}, [{}], within="all")
row("functions", "where", "where(z > 0, x, y)", lambda v: torch.where(v["z"] > 0, v["x"], v["y"]), {"x": f32(3, 1), "y": f32(4), "z": f32(2, 1, 1)},
    [{}, {"x": [INF, NAN, -0.0]}], by=["x", "y"], within="element")  # fmt: skip
row("functions", "stack", "stack([x, y, x * y], axis=1)", lambda v: torch.stack([v["x"], v["y"], v["x"] * v["y"]], 1), {"x": f32(2, 3), "y": f32(2, 3)},
    [{}], within="element")  # fmt: skip
row("functions", "eye", "x @ eye(3) + 2 * eye(3)", lambda v: v["x"] @ torch.eye(3, dtype=v["x"].dtype) + 2 * torch.eye(3, dtype=v["x"].dtype), {"x": f32(3, 3)}, [{}])
row("functions", "zeros,ones,full", "x * full([3], 2.5) + zeros([2, 1]) - ones([3])", lambda v: v["x"] * 2.5 - 1, {"x": f32(2, 3)}, [{}])
row("functions", "cast", "cast(cast(x, 'f64') * cast(x, 'i32'), 'f32')", lambda v: v["x"] * v["x"].trunc().detach(), {"x": f32(8)}, [{}])
for output, f in (("x[::-1, ::-2]", lambda x: x.flip(0, 1)[:, ::2]), ("x[[2, 0, 0, -1]]", lambda x: x[[2, 0, 0, -1]]), ("x[..., 0]", lambda x: x[..., 0]),
                  ("x[[0, 1, 1], [2, 0, 0]]", lambda x: x[[0, 1, 1], [2, 0, 0]]), ("x * [1, 2, 3, 4]", lambda x: x * torch.tensor([1, 2, 3, 4]))):  # fmt: skip
    row("functions", "take", output, lambda v, f=f: f(v["x"]), {"x": f32(3, 4)}, [{}, {"x": plain(3, 4)[:-3] + [INF, NAN, -0.0]}], within="element")
row("functions", "take", "x[:, i]", lambda v: v["x"][:, v["i"].long()], {"x": f32(3, 4), "i": i32(2, 2)}, [{"i": [0, -1, 3, -4]}], within="element")
row("functions", "transpose,concat,reshape", "concat([transpose(x), reshape(y, [3, 2])], axis=1)",
    lambda v: torch.cat([v["x"].T, v["y"].reshape(3, 2)], 1), {"x": f32(2, 3), "y": f32(6)},
    [{}, {"x": [INF, -INF, NAN, 0, -0.0, DENORMAL]}], within="element")  # fmt: skip
row("functions", "one_hot", "one_hot(i, 4)", lambda v: F.one_hot(v["i"].long(), 4).to(v["x"].dtype) + 0 * v["x"][0],
    {"x": f32(1), "i": i32(3)}, [{"i": [3, 0, 1]}], by=[])  # fmt: skip
row("functions", "take", "take(x, i)", lambda v: v["x"][v["i"].long()], {"x": f32(4, 2), "i": i32(3)},
    [{"i": [3, 0, 3]}, {"i": [1, 1, 2], "x": [INF, NAN, 1, -0.0, DENORMAL, 2, 3, LARGEST]}], within="element")  # fmt: skip
row("functions", "positions", "x * positions(x)", lambda v: v["x"] * torch.arange(5).to(v["x"].dtype), {"x": f32(2, 5)}, [{}])
row("functions", "parameter", "x * parameter('w')", lambda v: v["x"] * v["w"], {"x": f32(4)}, [{}], states={"w": f32(4)},
    body='Parameter(name: "w", dims: [4])')  # fmt: skip


def heads(x, n):
    return x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def attention(v, mask=None, causal=False):
    q, k, w = (heads(v[name], 2) for name in "xyz")
    y = F.scaled_dot_product_attention(q, k, w, attn_mask=mask, is_causal=causal)
    return y.transpose(1, 2).reshape(v["x"].shape[0], v["x"].shape[1], -1)


THREE = {"x": f32(2, 3, 4), "y": f32(2, 3, 4), "z": f32(2, 3, 4)}
SHIFTED = {"y": plain(2, 3, 4, turn=29, shift=5), "z": plain(2, 3, 4, turn=23)}
row("functions", "attention", "attention(x, y, z, heads=2)", attention, THREE, [SHIFTED, {"x": [0.0] * 24, "y": [0.0] * 24}], within="all")
row("functions", "attention", "attention(x, y, z, heads=2, causal=true)", lambda v: attention(v, causal=True), THREE, [SHIFTED], within="all")
row("functions", "attention", "attention(x, y, z, heads=2, scale=0.25)",
    lambda v: attention({**v, "x": v["x"] * 0.25 * 2**0.5}), THREE, [SHIFTED], within="all")  # fmt: skip
MASK = [1.0, 1, 0, 0, 0, 0, 0, 1, 0]
row("functions", "attention", "attention(x, y, z, heads=2, mask=m > 0)", lambda v: attention(v, v["m"] > 0), {**THREE, "m": f32(3, 3)},
    [{**SHIFTED, "m": MASK}, {**SHIFTED, "m": [0.0] * 9}], by=["x", "y", "z"], within="all",
    remark="a query without keys gets zeros and no gradient")  # fmt: skip
# Numbers that are added to the scores, some of them -inf; the second sample's second query sees nothing.
ADDED = [0.0, 0.5, -INF, -1.0, -INF, 2.0, 0.25, 0.0, 0.0] + [0.0, -INF, -INF, -INF, -INF, -INF, 1.0, -2.0, -INF]
KEYS = [1.0, 1, 0, 0, 0, 1]
CAUSAL = torch.ones(3, 3).tril() > 0
for text, seen in {
    "mask=m": lambda v: v["m"],
    "mask=m, causal=true": lambda v: v["m"].masked_fill(~CAUSAL, -INF),
    "mask=m, key_mask=n > 0, causal=true": lambda v: v["m"].masked_fill(~(CAUSAL & (v["n"] > 0)[:, None, None]), -INF),
    "mask=m > 0, key_mask=n > 0": lambda v: (v["m"] > 0) & (v["n"] > 0)[:, None, None],
    "mask=m > 0, causal=true": lambda v: (v["m"] > 0) & CAUSAL,
    "key_mask=n > 0": lambda v: (v["n"] > 0)[:, None, None].expand(2, 1, 3, 3),
    "key_mask=n": lambda v: v["n"][:, None, None].expand(2, 1, 3, 3),
}.items():
    used = {name: dims for name, dims in {"m": f32(2, 1, 3, 3), "n": f32(2, 3)}.items() if f"={name}" in text}
    case = {name: values for name, values in {"m": ADDED, "n": KEYS}.items() if name in used}
    added = [name for name in used if f"={name}," in text + "," and f"={name} > 0" not in text]
    row("functions", "attention", f"attention(x, y, z, heads=2, {text})", lambda v, f=seen: attention(v, f(v)), {**THREE, **used},
        [{**SHIFTED, **case}], by=["x", "y", "z", *added], within="all", remark="a query without keys gets zeros and no gradient")  # fmt: skip
