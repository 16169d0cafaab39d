"""Every argument at another value than its default."""

import math

import torch
import torch.nn.functional as F

from .table import f32, i32, plain, row
from .losses import WEIGHTS, focal, reduce
from .layers import NORM, layer, self_attention

CUBE = {"x": f32(2, 3, 4)}


def setting(names, output, f, inputs=CUBE, kind="functions", **more):
    row(kind, names, output, f, inputs, [more.pop("case", {})], within="all", **more)


AXES = {
    "sum": torch.sum, "mean": torch.mean, "var": lambda x, d, keepdim: x.var(d, unbiased=False, keepdim=keepdim),
    "std": lambda x, d, keepdim: x.std(d, unbiased=False, keepdim=keepdim), "norm": lambda x, d, keepdim: torch.linalg.vector_norm(x, dim=d, keepdim=keepdim),
    "logsumexp": torch.logsumexp, "max": torch.amax, "min": torch.amin,
    "prod": lambda x, d, keepdim: x.prod(d[0], keepdim=True).prod(d[1], keepdim=True),
    "all": lambda x, d, keepdim: (x > -3).all(d[0], keepdim=True).all(d[1], keepdim=True).to(x.dtype),
    "any": lambda x, d, keepdim: (x > 1.9).any(d[0], keepdim=True).any(d[1], keepdim=True).to(x.dtype),
}  # fmt: skip
for name, f in AXES.items():
    x = {"all": "x > -3", "any": "x > 1.9"}.get(name, "x")
    call = f"{name}({x}, axis=[0, -1], keepdims=true)"
    setting(name, f"float({call})" if x != "x" else call, lambda v, f=f: f(v["x"], (0, 2), keepdim=True), by=["x"] if x == "x" else [])
for name, f in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax), ("cumsum", torch.cumsum)):
    setting(name, f"{name}(x, axis=1)", lambda v, f=f: f(v["x"], 1))
for name, f in (("argmax", torch.argmax), ("argmin", torch.argmin)):
    setting(name, f"float({name}(x, axis=0))", lambda v, f=f: f(v["x"], 0).to(v["x"].dtype), by=[])
SIX = {name: f32(5) for name in "xyzuvw"}
SIX_CASE = {name: plain(5, turn=9 + 4 * i, shift=3 * i) for i, name in enumerate("xyzuvw")}
for name, f in (("max", torch.amax), ("min", torch.amin)):
    setting(name, f"{name}(x, y, z, u, v, w)", lambda v, f=f: f(torch.stack([v[n] for n in "xyzuvw"]), 0), SIX, case=SIX_CASE)
setting("cumprod", "cumprod(x, axis=1)", lambda v: v["x"].cumprod(1))
setting("argsort", "float(argsort(x, axis=1, descending=true))", lambda v: v["x"].argsort(dim=1, descending=True, stable=True).to(v["x"].dtype), by=[])
setting("top_k", "top_k(x, 2, axis=1)[0]", lambda v: v["x"].sort(dim=1, descending=True, stable=True).values[:, :2])
for name in ("f32", "f64", "i32", "i64", "u8", "bool"):
    # Converted and back: what fits into all of these types.
    kept = (lambda x: (x != 0).to(x.dtype)) if name == "bool" else (lambda x: x) if name[0] == "f" else torch.trunc
    setting("cast", f"cast(cast(x, dtype='{name}'), dtype='f32')", lambda v, f=kept: f(v["x"]).detach(), {"x": f32(4)}, case={"x": [0.0, 1.5, 3.0, 200.75]}, by=[])
    one = f"cast(ones([4], dtype='{name}') + full([4], 3.0, dtype='{name}') + zeros([4], dtype='{name}'), dtype='f32')"
    if name != "bool":
        setting("ones,full,zeros", f"x * {one}", lambda v: v["x"] * 4, {"x": f32(4)})
setting("ones,full,zeros", "float(where(ones([4], dtype='bool'), x, 0)) + float(full([4], 1, dtype='bool')) + float(zeros([4], dtype='bool'))",
        lambda v: v["x"] + 1, {"x": f32(4)})  # fmt: skip
setting("range,size", "x * (size(x, axis=1) + sum(range(2, 12, 3)))", lambda v: v["x"] * (3 + 26))
setting("transpose", "transpose(x, [1, 2, 0])", lambda v: v["x"].permute(1, 2, 0))
setting("concat", "concat([x, 2 * x], axis=0)", lambda v: torch.cat([v["x"], 2 * v["x"]], 0))
setting("positions", "x * positions(x, axis=1)", lambda v: v["x"] * torch.arange(3)[:, None].to(v["x"].dtype))
INDICES = {**CUBE, "i": i32(4)}


def taken(v, fill=None, wrap=False):
    i = v["i"].long()
    inside = i % 4 if wrap else i.clamp(0, 3)
    y = v["x"][:, :, inside]
    return y if fill is None else torch.where((i >= 0) & (i < 4), y, torch.tensor(fill, dtype=y.dtype))


setting("take", "take(x, i, axis=2)", taken, INDICES, case={"i": [3, 0, 1, 3]})
setting("take", "take(x, i, axis=2, mode='clip')", taken, INDICES, case={"i": [3, -5, 9, 1]})
setting("take", "take(x, i, axis=2, mode='wrap')", lambda v: taken(v, wrap=True), INDICES, case={"i": [3, -5, 9, 1]})
setting("take", "take(x, i, axis=2, mode='fill', fill=0.5)", lambda v: taken(v, 0.5), INDICES, case={"i": [3, 4, 9, 1]})

# Losses: targets that are aligned, probabilities, weights, smoothing, more axes, each reduction.
for shape in ((3, 4), (3,), (3, 1), ()):
    spread = [0.5 + i / 4 for i in range(math.prod(shape))]
    gaussian = lambda v, r: F.gaussian_nll_loss(v["x"], v["t"], v["s"].expand(3, 4) if v["s"].dim() == 0 else v["s"], reduction=r)
    for reduction in ("none", "mean"):
        setting("gauss_nll", f"gauss_nll(x, t, s, reduction='{reduction}')", lambda v, r=reduction, g=gaussian: g(v, r),
                {"x": f32(3, 4), "t": f32(3, 4), "s": f32(*shape)}, "losses", case={"s": spread})  # fmt: skip
SHARES = [0.25] * 4 + [0, 1, 0, 0] + [0.5, 0, 0.5, 0]
CLASSES = {"x": f32(3, 4), "i": i32(3)}
ROOM = {"x": f32(2, 4, 3), "i": i32(2, 3)}
ROOM_LABELS = {"i": [0, 1, 2, 3, 2, 1]}
for reduction in ("none", "mean", "sum"):
    for smoothing in (0.0, 0.25):
        say = f"weights=[0.5, 1, 2, 0], smoothing={smoothing}, reduction='{reduction}'"

        def weighted(x, target, r=reduction, e=smoothing):
            return F.cross_entropy(x, target, torch.tensor(WEIGHTS, dtype=x.dtype), reduction=r, label_smoothing=e)

        setting("cross_entropy", f"cross_entropy(x, t, {say})", lambda v, f=weighted: f(v["x"], v["t"]), {"x": f32(3, 4), "t": f32(3, 4)},
                "losses", case={"t": SHARES})  # fmt: skip
        setting("cross_entropy", f"cross_entropy(x, i, {say})", lambda v, f=weighted: f(v["x"], v["i"].long()), ROOM, "losses", case=ROOM_LABELS)
    setting("nll", f"nll(x, i, weights=[0.5, 1, 2, 0], reduction='{reduction}')",
            lambda v, r=reduction: F.nll_loss(v["x"], v["i"].long(), torch.tensor(WEIGHTS, dtype=v["x"].dtype), reduction=r), ROOM, "losses",
            case=ROOM_LABELS)  # fmt: skip
    setting("focal", f"focal(x, i, gamma=3, reduction='{reduction}')", lambda v, r=reduction: reduce(focal(v["x"], v["i"].long(), 3.0), r),
            CLASSES, "losses", case={"i": [3, 0, 1]})  # fmt: skip

# Activations along another axis, or with other constants.
setting("Glu", "it", lambda v: F.glu(v["x"], 2), kind="activations", body="Glu(axis: 2)")
setting("Softmax", "it", lambda v: torch.softmax(v["x"], 2), kind="activations", body="Softmax(axis: 2)")
setting("LogSoftmax", "it", lambda v: torch.log_softmax(v["x"], 2), kind="activations", body="LogSoftmax(axis: 2)")
setting("RRelu", "it", lambda v: F.leaky_relu(v["x"], 0.375), kind="activations", body="RRelu(low: 0.25, high: 0.5)")
setting("Gelu", "it", lambda v: F.gelu(v["x"]), kind="activations", body='Gelu(form: "erf")')

# Convolutions: groups, dilation, padding of its own before and behind, other steps along each axis, no bias.
WIDE = {1: (2, 2, 7), 2: (1, 2, 5, 6), 3: (1, 2, 3, 4, 3)}
for n, dims in WIDE.items():
    conv, back, kernel = getattr(F, f"conv{n}d"), getattr(F, f"conv_transpose{n}d"), (2,) * n
    steps, gaps = (2, 1, 1)[:n], (1, 2, 1)[:n]
    pads = [(1, 2), (0, 1), (2, 0)][:n]
    around = [v for pad in reversed(pads) for v in pad]
    each = lambda numbers: str(list(numbers)) if n > 1 else str(numbers[0])
    text = "[" + ", ".join(f"[{a}, {b}]" for a, b in pads) + "]"
    layer(f"Conv{n}d", f'Conv{n}d(name: "m", features: 4, kernel: 2, stride: {each(steps)}, dilation: {each(gaps)}, padding: {text}, groups: 2, bias: false)',
          lambda v, f=conv, a=around, s=steps, d=gaps: f(F.pad(v["x"], a), v["m.weight"], None, s, 0, d, 2), dims, {"weight": (4, 1, *kernel)})  # fmt: skip
    for word in ("same", "valid"):
        layer(f"Conv{n}d", f'Conv{n}d(name: "m", features: 2, kernel: 2, padding: "{word}", dilation: 2)',
              lambda v, f=conv, w=word: f(v["x"], v["m.weight"], v["m.bias"], 1, w, 2), dims, {"weight": (2, 2) + (2,) * n, "bias": (2,)})  # fmt: skip
    layer(f"ConvTranspose{n}d",
          f'ConvTranspose{n}d(name: "m", features: 4, kernel: 2, stride: 2, padding: 1, output_padding: 1, dilation: 2, groups: 2, bias: false)',
          lambda v, f=back: f(v["x"], v["m.weight"], None, 2, 1, 1, 2, 2), dims, {"weight": (2, 2, *kernel)})  # fmt: skip

# Pooling.
for n, dims in {1: (2, 2, 6), 2: (1, 1, 6, 7), 3: (1, 1, 3, 4, 4)}.items():
    most, mean = getattr(F, f"max_pool{n}d"), getattr(F, f"avg_pool{n}d")
    say = "3, stride: 2, padding: 1, ceil_mode: true"
    layer(f"MaxPool{n}d", f"MaxPool{n}d(kernel: {say})", lambda v, f=most: f(v["x"], 3, 2, 1, ceil_mode=True), dims)
    layer(f"AvgPool{n}d", f"AvgPool{n}d(kernel: {say})", lambda v, f=mean: f(v["x"], 3, 2, 1, ceil_mode=True), dims)
    layer(f"AvgPool{n}d", f"AvgPool{n}d(kernel: {say}, count_include_pad: false)",
          lambda v, f=mean: f(v["x"], 3, 2, 1, ceil_mode=True, count_include_pad=False), dims)  # fmt: skip
SAY = 'kernel: 3, stride: 2, padding: 1, ceil_mode: true'
layer("Pool2d", f'Pool2d(kind: "max", {SAY})', lambda v: F.max_pool2d(v["x"], 3, 2, 1, ceil_mode=True), (1, 1, 6, 7))
layer("Pool2d", f'Pool2d(kind: "avg", {SAY}, count_include_pad: false)',
      lambda v: F.avg_pool2d(v["x"], 3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 1, 6, 7))  # fmt: skip

# Normalisation: the new running averages too.
for name, dims in (("BatchNorm", (3, 2, 2)), ("BatchNorm1d", (4, 2)), ("BatchNorm2d", (2, 2, 2, 2))):

    def normalised(v, affine):
        mean, var = v["m.running_mean"].detach().clone(), v["m.running_var"].detach().clone()
        parameters = (v["m.weight"], v["m.bias"]) if affine else (None, None)
        return F.batch_norm(v["x"], mean, var, *parameters, True, 0.3, 0.01), {"m.running_mean": mean, "m.running_var": var}

    kept = {"m.running_var": [1.5, 0.5], "m.running_mean": [0.25, -0.5]}
    averages = {"m.running_mean": f32(2), "m.running_var": f32(2)}
    for affine, own in ((True, {"m.weight": f32(2), "m.bias": f32(2)}), (False, {})):
        say = 'name: "m", eps: 0.01, momentum: 0.3' + ("" if affine else ", affine: false")
        row("layers", name, "it", lambda v, a=affine: normalised(v, a), {"x": f32(*dims)}, [kept], states={**own, **averages}, train=True,
            by=["x", *own], body=f"{name}({say})", within="all")  # fmt: skip
layer("LayerNorm", 'LayerNorm(name: "m", axes: 2, eps: 0.01)', lambda v: F.layer_norm(v["x"], (4, 3), v["m.weight"], v["m.bias"], 0.01), NORM,
      {"weight": (4, 3), "bias": (4, 3)})  # fmt: skip
layer("LayerNorm", "LayerNorm(affine: false)", lambda v: F.layer_norm(v["x"], (3,)), NORM)
layer("GroupNorm", "GroupNorm(groups: 2, eps: 0.01, affine: false)", lambda v: F.group_norm(v["x"], 2, eps=0.01), NORM)
layer("InstanceNorm", 'InstanceNorm(name: "m", eps: 0.01, affine: true)',
      lambda v: F.instance_norm(v["x"], weight=v["m.weight"], bias=v["m.bias"], eps=0.01), NORM, {"weight": (4,), "bias": (4,)})  # fmt: skip
layer("LocalResponseNorm", "LocalResponseNorm(size: 3, alpha: 0.5, k: 2, divide: false)", lambda v: F.local_response_norm(v["x"], 3, 1.5, k=2.0), NORM)

# The rest.
layer("Linear", 'Linear(name: "m", features: 3, bias: false)', lambda v: F.linear(v["x"], v["m.weight"]), (2, 4), {"weight": (3, 4)})
layer("MultiHeadAttention", 'MultiHeadAttention(name: "m", heads: 2, bias: false)',
      lambda v: self_attention({**v, "m.in_proj_bias": None, "m.out_proj.bias": None}, False), (2, 3, 4),
      {"in_proj_weight": (12, 4), "out_proj.weight": (4, 4)}, [{"x": plain(2, 3, 4, turn=29)}])  # fmt: skip
layer("Flatten", "Flatten(start: 2)", lambda v: v["x"].flatten(2), (2, 3, 2, 2), within="element")
