"""Layers: activations, linear ones, pools, normalisation and attention, arrangement and chance, what is done to data."""

import math

import torch
import torch.nn.functional as F

from .table import DENORMAL, INF, LARGEST, NAN, f32, i32, plain, row
from .elements import unary
from .axes import ALONG
from .arrangement import CAUSAL, heads

# ---------------------------------------------------------------- layers: activations

ACTIVATIONS = {
    "Identity": ("", lambda x: x * 1), "Relu": ("", F.relu), "Relu6": ("", F.relu6),
    "LeakyRelu": ("(slope: 0.2)", lambda x: F.leaky_relu(x, 0.2)), "Elu": ("(alpha: 2)", lambda x: F.elu(x, 2.0)),
    "Celu": ("(alpha: 2)", lambda x: F.celu(x, 2.0)), "Selu": ("", F.selu), "Gelu": ("", F.gelu), "Silu": ("", F.silu),
    "Swish": ("(beta: 2)", lambda x: x * torch.sigmoid(2 * x)), "HardSwish": ("", F.hardswish), "Mish": ("", F.mish),
    "Sigmoid": ("", torch.sigmoid), "HardSigmoid": ("", F.hardsigmoid), "LogSigmoid": ("", F.logsigmoid), "Tanh": ("", torch.tanh),
    "ScaledTanh": ("", lambda x: 1.7159 * torch.tanh(x * 2 / 3)), "HardTanh": ("(low: -2, high: 3)", lambda x: F.hardtanh(x, -2, 3)),
    "Softsign": ("", F.softsign), "Softplus": ("(beta: 2)", lambda x: F.softplus(x, 2)), "RRelu": ("", lambda x: F.leaky_relu(x, 11 / 48)),
}  # fmt: skip
for name, (arguments, f) in ACTIVATIONS.items():
    unary(name, "it", f, kind="activations", body=f"{name}{arguments}")
unary("Gelu", "it", lambda x: F.gelu(x, approximate="tanh"), kind="activations", body='Gelu(form: "tanh")')
WORDS = {
    "relu": F.relu, "relu6": F.relu6, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu, "silu": F.silu, "swish": F.silu,
    "mish": F.mish, "elu": F.elu, "selu": F.selu, "celu": F.celu, "softplus": F.softplus, "softsign": F.softsign,
    "leaky_relu": F.leaky_relu, "hard_sigmoid": F.hardsigmoid, "hard_tanh": F.hardtanh, "hard_swish": F.hardswish,
    "identity": lambda x: x * 1,
}  # fmt: skip
for word, f in WORDS.items():
    unary(f"Activation,activation {word}", "it", f, kind="activations", body=f'Activation("{word}")', x=[0.0, 1.0, -1.0, 3.0, -3.0, 0.3, -20.0, 20.0])

SWISH = [0.5, -1.0, 0.0, -0.0, 3.0, -3.0, 100.0, -100.0]
row("activations", "Swish", "it", lambda v: v["x"] * torch.sigmoid(v["x"] * v["m.beta"]), {"x": f32(8)}, [{"x": SWISH, "m.beta": [1.5]}],
    states={"m.beta": f32(1)}, body='Swish(name: "m", learned: true)', within="all")  # fmt: skip
LAYERED = [*plain(8), 0.0, -0.0, INF, -INF, LARGEST, -LARGEST, DENORMAL, -DENORMAL]
row("activations", "PRelu", "it", lambda v: F.prelu(v["x"], v["m.weight"]), {"x": f32(4, 2, 2)},
    [{}, {"x": [0.0, INF, LARGEST, 1, -0.0, -1, -2, DENORMAL, 5, 6, 7, 8, INF, INF, 0, 0]}],
    states={"m.weight": f32(2)}, body='PRelu(name: "m", parameters: 2)', within="all")  # fmt: skip
row("activations", "RRelu", "it", lambda v: torch.where(v["x"] > 0, v["x"], v["x"] * (v["random.m"] * (1 / 3 - 1 / 8) + 1 / 8)),
    {"x": f32(16), "random.m": f32(16)}, [{"x": LAYERED, "random.m": [i / 16 for i in range(16)]}], by=["x"], train=True,
    body='RRelu(name: "m")', within="element")  # fmt: skip
row("activations", "CRelu", "it", lambda v: torch.cat([F.relu(v["x"]), F.relu(-v["x"])], 1), {"x": f32(2, 8)}, [{"x": LAYERED}], within="element", body="CRelu")
row("activations", "Glu", "it", lambda v: F.glu(v["x"], 1), {"x": f32(2, 4, 2)}, [{}, {"x": LAYERED[::-1]}], within="all", body="Glu")
row("activations", "Maxout", "it", lambda v: v["x"].reshape(4, 2, 2).max(2).values, {"x": f32(4, 4)}, [{}, {"x": LAYERED}, {"x": [2.0] * 16}], within="element",
    body="Maxout(2)")  # fmt: skip
for name, f in (("Softmax", torch.softmax), ("LogSoftmax", torch.log_softmax)):
    row("activations", name, "it", lambda v, f=f: f(v["x"], 1), {"x": f32(len(ALONG), 4)}, [{"x": [v for line in ALONG for v in line]}], body=name)

# ---------------------------------------------------------------- layers: linear ones


def layer(names, body, f, dims, states=None, cases=({},), **more):
    states = {f"m.{name}": f32(*dims) for name, dims in (states or {}).items()}
    kind = next((kind for word, kind in (("Conv", "convolutions"), ("Pool", "pools")) if word in names), "layers")
    row(kind, names, "it", f, {"x": f32(*dims)}, list(cases), states=states, body=body, within=more.pop("within", "all"), **more)


def not_finite(*dims):
    """Zeros and ones with an infinity and a NaN near the end."""
    values = [float(i % 3 == 0) for i in range(math.prod(dims))]
    values[-3], values[-1] = INF, NAN
    return values


layer("Linear", 'Linear(name: "m", features: 3)', lambda v: F.linear(v["x"], v["m.weight"], v["m.bias"]), (2, 4),
      {"weight": (3, 4), "bias": (3,)}, [{}, {"x": not_finite(2, 4)}])  # fmt: skip
row("layers", "Embedding", "it", lambda v: F.embedding(v["x"].long(), v["m.weight"]), {"x": i32(2, 3)}, [{"x": [0, 4, 1, 4, 4, 2]}],
    states={"m.weight": f32(5, 2)}, body='Embedding(name: "m", vocabulary: 5, features: 2)')  # fmt: skip
row("layers", "Embedding", "it", lambda v: F.embedding(v["x"].long(), v["m.weight"], padding_idx=4), {"x": i32(2, 3)}, [{"x": [0, 4, 1, 4, 4, 2]}],
    states={"m.weight": f32(5, 2)}, body='Embedding(name: "m", vocabulary: 5, features: 2, padding_idx: -1)')  # fmt: skip
row("layers", "Parameter", "it", lambda v: v["m"] * 1 + 0 * v["x"][0], {"x": f32(1)}, [{}], states={"m": f32(2, 3)}, by=["m"],
    body='Parameter(name: "m", dims: [2, 3])')  # fmt: skip
for n, dims in ((1, (2, 2, 5)), (2, (1, 2, 4, 5)), (3, (1, 2, 3, 3, 2))):
    conv = getattr(F, f"conv{n}d")
    back = getattr(F, f"conv_transpose{n}d")
    kernel = (2,) * n
    layer(f"Conv{n}d", f'Conv{n}d(name: "m", features: 2, kernel: 2, padding: 1, stride: 2)',
          lambda v, f=conv: f(v["x"], v["m.weight"], v["m.bias"], 2, 1), dims, {"weight": (2, 2, *kernel), "bias": (2,)},
          [{}, {"x": not_finite(*dims)}] if n < 3 else [{}])  # fmt: skip
    layer(f"ConvTranspose{n}d", f'ConvTranspose{n}d(name: "m", features: 2, kernel: 2, stride: 2)',
          lambda v, f=back: f(v["x"], v["m.weight"], v["m.bias"], 2), dims, {"weight": (2, 2, *kernel), "bias": (2,)})  # fmt: skip

    layer(f"ConvTranspose{n}d", f'ConvTranspose{n}d(2, 2, 2, 1, 1, groups: 2, dilation: 2, name: "m")',
          lambda v, f=back: f(v["x"], v["m.weight"], v["m.bias"], 2, 1, 1, 2, 2), dims, {"weight": (2, 1, *kernel), "bias": (2,)})  # fmt: skip
    # An output padding below the dilation alone: inside the padding, and beyond it.
    for padding in (2, 1, 0) if n < 3 else (2,):
        layer(f"ConvTranspose{n}d", f'ConvTranspose{n}d(name: "m", features: 2, kernel: 2, padding: {padding}, output_padding: 2, dilation: 3)',
              lambda v, f=back, p=padding: f(v["x"], v["m.weight"], v["m.bias"], 1, p, 2, 1, 3), dims, {"weight": (2, 2, *kernel), "bias": (2,)})  # fmt: skip

# ---------------------------------------------------------------- layers: pooling

POOLED = {1: (2, 2, 6), 2: (1, 2, 4, 4), 3: (1, 1, 2, 4, 2)}


def pool_cases(dims):
    count = math.prod(dims)
    cycle = [1.0, NAN, 2.0, 2.0, INF, INF, -INF, -INF, 0.0, -0.0, LARGEST, DENORMAL]
    return [{}, {"x": [2.0] * count}, {"x": [cycle[i % len(cycle)] for i in range(count)]}]


for n, dims in POOLED.items():
    cases = pool_cases(dims)
    layer(f"MaxPool{n}d", f"MaxPool{n}d(2)", lambda v, f=getattr(F, f"max_pool{n}d"): f(v["x"], 2), dims, cases=cases, within="element")
    layer(f"AvgPool{n}d", f"AvgPool{n}d(2)", lambda v, f=getattr(F, f"avg_pool{n}d"): f(v["x"], 2), dims, cases=cases, within="element")
layer("Pool2d", 'Pool2d(kind: "max", kernel: 3, stride: 2, padding: 1)', lambda v: F.max_pool2d(v["x"], 3, 2, 1), POOLED[2],
      cases=pool_cases(POOLED[2]), within="element")  # fmt: skip
layer("Pool2d", 'Pool2d(kind: "avg", kernel: 3, stride: 2, padding: 1)', lambda v: F.avg_pool2d(v["x"], 3, 2, 1), POOLED[2])


def padded_pool(v, kernel, stride, padding, dilation=1, average=False):
    """Pooling of the padded input, where PyTorch has no padding above half the kernel and no dilation of means."""
    n = v["x"].dim() - 2
    x = F.pad(v["x"], (padding, padding) * n, value=0.0 if average else -INF)
    for axis in range(2, n + 2):
        x = x.unfold(axis, dilation * (kernel - 1) + 1, stride)
        x = x[..., ::dilation]
    return x.mean(tuple(range(-n, 0))) if average else x.flatten(-n).max(-1).values


def counted_pool(v, *window):
    ones = {"x": torch.ones_like(v["x"])}
    return padded_pool(v, *window, average=True) / padded_pool(ones, *window, average=True)


LONG = {1: (1, 2, 7), 2: (1, 1, 6, 7), 3: (1, 1, 5, 4, 5)}
for n, dims in LONG.items():
    biggest, mean = getattr(F, f"max_pool{n}d"), getattr(F, f"avg_pool{n}d")
    for text, f in {
        "kernel: 2, dilation: 2": lambda v, f=biggest: f(v["x"], 2, dilation=2),
        "3, 2, 1, 2": lambda v, f=biggest: f(v["x"], 3, 2, 1, 2),
        "3, 3, 1, 2, true": lambda v, f=biggest: f(v["x"], 3, 3, 1, 2, ceil_mode=True),
        "kernel: 4, stride: 3, ceil_mode: true": lambda v, f=biggest: f(v["x"], 4, 3, ceil_mode=True),
        "kernel: 8, stride: 6, ceil_mode: true": lambda v, f=biggest: f(v["x"], 8, 6, ceil_mode=True),
        "kernel: 3, stride: 2, padding: 2": lambda v: padded_pool(v, 3, 2, 2),
    }.items():
        layer(f"MaxPool{n}d", f"MaxPool{n}d({text})", f, dims, within="element")
    for text, f in {
        "kernel: 4, stride: 3, ceil_mode: true": lambda v, f=mean: f(v["x"], 4, 3, ceil_mode=True),
        "kernel: 8, stride: 6, ceil_mode: true": lambda v: v["x"].mean(tuple(range(2, v["x"].dim())), keepdim=True),
        "3, 2, 1, true, false": lambda v, f=mean: f(v["x"], 3, 2, 1, True, False),
        "kernel: 3, stride: 2, padding: 2": lambda v: padded_pool(v, 3, 2, 2, average=True),
        "kernel: 3, stride: 2, padding: 2, count_include_pad: false": lambda v: counted_pool(v, 3, 2, 2),
        "kernel: 3, stride: 2, padding: 2, dilation: 2": lambda v: padded_pool(v, 3, 2, 2, 2, average=True),
        "kernel: 2, padding: 1, dilation: 3, count_include_pad: false": lambda v: counted_pool(v, 2, 2, 1, 3),
        "kernel: 2, stride: 3, divisor_override: 3": lambda v, n=n: padded_pool(v, 2, 3, 0, average=True) * (2**n / 3),
    }.items():
        layer(f"AvgPool{n}d", f"AvgPool{n}d({text})", f, dims)
layer("Pool2d", 'Pool2d(kind: "max", kernel: 2, dilation: 3)', lambda v: F.max_pool2d(v["x"], 2, dilation=3), LONG[2], within="element")
layer("Pool2d", 'Pool2d(kind: "avg", kernel: 2, dilation: 3, divisor_override: 2)', lambda v: padded_pool(v, 2, 2, 0, 3, average=True) * 2, LONG[2])
layer("GlobalAvgPool", "GlobalAvgPool", lambda v: v["x"].mean((2, 3)), POOLED[2])
layer("GlobalMaxPool", "GlobalMaxPool", lambda v: v["x"].flatten(2).max(2).values, POOLED[2], cases=pool_cases(POOLED[2]), within="element")
layer("AdaptiveAvgPool1d", "AdaptiveAvgPool1d(4)", lambda v: F.adaptive_avg_pool1d(v["x"], 4), POOLED[1])
layer("AdaptiveAvgPool2d", "AdaptiveAvgPool2d([2, 3])", lambda v: F.adaptive_avg_pool2d(v["x"], (2, 3)), POOLED[2])
layer("AdaptiveMaxPool2d", "AdaptiveMaxPool2d([2, 4])", lambda v: F.adaptive_max_pool2d(v["x"], (2, 4)), POOLED[2],
      cases=pool_cases(POOLED[2]), within="element")  # fmt: skip
for n, dims, sizes in ((1, (2, 2, 7), "[3]"), (2, (1, 2, 5, 7), "[3, 4]"), (2, (1, 2, 5, 7), "[None, 8]"), (3, (1, 1, 4, 5, 3), "[3, 2, 4]"), (3, (1, 1, 4, 4, 4), "2")):
    size = eval(sizes)
    pooled = lambda name, n=n, size=size: lambda v: getattr(F, f"adaptive_{name}_pool{n}d")(v["x"], size)
    layer(f"AdaptiveAvgPool{n}d", f"AdaptiveAvgPool{n}d({sizes})", pooled("avg"), dims)
    layer(f"AdaptiveMaxPool{n}d", f"AdaptiveMaxPool{n}d({sizes})", pooled("max"), dims, cases=pool_cases(dims), within="element")

# ---------------------------------------------------------------- layers: normalisation and attention


def constant(*dims):
    return [{}, {"x": [3.0] * math.prod(dims)}, {"x": [0.0] * math.prod(dims)}, {"x": [v * 1e4 for v in plain(*dims)]}]


for name, dims in (("BatchNorm", (3, 2, 2)), ("BatchNorm1d", (4, 2)), ("BatchNorm2d", (2, 2, 2, 2))):
    running = {"m.weight": f32(2), "m.bias": f32(2), "m.running_mean": f32(2), "m.running_var": f32(2)}
    kept = {"m.running_var": [1.5, 0.5], "m.running_mean": [0.25, -0.5]}
    for train in (True, False):
        row("layers", name, "it", lambda v, t=train: F.batch_norm(v["x"], v["m.running_mean"].detach().clone(), v["m.running_var"].detach().clone(),
            v["m.weight"], v["m.bias"], t), {"x": f32(*dims)}, [{**case, **kept} for case in constant(*dims)[: 4 if train else 1]], states=running,
            train=train, by=["x", "m.weight", "m.bias"], body=f'{name}(name: "m")', within="all")  # fmt: skip
NORM = (2, 4, 3)
layer("LayerNorm", 'LayerNorm(name: "m")', lambda v: F.layer_norm(v["x"], (3,), v["m.weight"], v["m.bias"]), NORM,
      {"weight": (3,), "bias": (3,)}, constant(*NORM))  # fmt: skip
layer("GroupNorm", 'GroupNorm(name: "m", groups: 2)', lambda v: F.group_norm(v["x"], 2, v["m.weight"], v["m.bias"]), NORM,
      {"weight": (4,), "bias": (4,)}, constant(*NORM))  # fmt: skip
layer("InstanceNorm", "InstanceNorm", lambda v: F.instance_norm(v["x"]), NORM, None, constant(*NORM))
layer("LocalResponseNorm", "LocalResponseNorm(size: 3, alpha: 0.5)", lambda v: F.local_response_norm(v["x"], 3, 0.5), NORM, None, constant(*NORM))
layer("LocalResponseNorm", "LocalResponseNorm(size: 3, alpha: 0.5, beta: 0.6)", lambda v: F.local_response_norm(v["x"], 3, 0.5, 0.6), NORM, None,
      constant(*NORM))  # fmt: skip


def self_attention(v, causal):
    q, k, w = F.linear(v["x"], v["m.in_proj_weight"], v["m.in_proj_bias"]).chunk(3, 2)
    y = F.scaled_dot_product_attention(heads(q, 2), heads(k, 2), heads(w, 2), is_causal=causal)
    return F.linear(y.transpose(1, 2).flatten(2), v["m.out_proj.weight"], v["m.out_proj.bias"])


for causal in (False, True):
    layer("MultiHeadAttention", f'MultiHeadAttention(name: "m", heads: 2, causal: {str(causal).lower()})',
          lambda v, c=causal: self_attention(v, c), (2, 3, 4),
          {"in_proj_weight": (12, 4), "in_proj_bias": (12,), "out_proj.weight": (4, 4), "out_proj.bias": (4,)},
          [{}, {"x": [0.0] * 24}])  # fmt: skip



def module(v, key, value, **options):
    """PyTorch's own module, of which a query without keys is replaced by what no attention gives."""
    same = key.shape[2] == value.shape[2] == 4
    weights = {"use_separate_proj_weight": not same}
    if not same:
        weights.update({f"{name}_proj_weight": v[f"m.{name}_proj_weight"] for name in "qkv"})
    rows = lambda x: x.transpose(0, 1)
    y, _ = F.multi_head_attention_forward(
        rows(v["x"]), rows(key), rows(value), 4, 2, v["m.in_proj_weight"] if same else None, v.get("m.in_proj_bias"), None, None, False, 0.0,
        v["m.out_proj.weight"], v.get("m.out_proj.bias"), need_weights=False, **weights, **options)  # fmt: skip
    return rows(y)


INNER = {"in_proj_weight": f32(12, 4), "in_proj_bias": f32(12), "out_proj.weight": f32(4, 4), "out_proj.bias": f32(4)}
OWN = {"q_proj_weight": f32(4, 4), "k_proj_weight": f32(4, 3), "v_proj_weight": f32(4, 5), **{name: INNER[name] for name in INNER if name != "in_proj_weight"}}


def heads_layer(arguments, f, inputs, inner, by=(), **given):
    states = {f"m.{name}": dims for name, dims in inner.items()}
    row("layers", "MultiHeadAttention", "it", f, {"x": f32(2, 3, 4), **inputs}, [given], states=states, by=["x", *by, *states],
        body=f'MultiHeadAttention(name: "m", heads: 2, {arguments})', within="all")  # fmt: skip


SEEN = [1.0, 1, 0, 0, 1, 1]
ADDED_TO = [0.0, -1, 0.5, 2, 0, -INF, 0, 0, 1]
heads_layer('key: "k", value: "v"', lambda v: module(v, v["k"], v["v"]), {"k": f32(2, 5, 4), "v": f32(2, 5, 4)}, INNER, "kv")
heads_layer('key: "k"', lambda v: module(v, v["k"], v["k"]), {"k": f32(2, 5, 4)}, INNER, "k")
heads_layer('key: "k", value: "v"', lambda v: module(v, v["k"], v["v"]), {"k": f32(2, 5, 3), "v": f32(2, 5, 5)}, OWN, "kv")
heads_layer('key: "k", bias: false', lambda v: module(v, v["k"], v["k"]), {"k": f32(2, 5, 4)}, {name: INNER[name] for name in INNER if "bias" not in name}, "k")
heads_layer('key_mask: "p > 0"', lambda v: module(v, v["x"], v["x"], key_padding_mask=v["p"] <= 0), {"p": f32(2, 3)}, INNER, p=SEEN)
heads_layer('mask: "s > 0"', lambda v: module(v, v["x"], v["x"], attn_mask=v["s"] <= 0), {"s": f32(3, 3)}, INNER, s=[1.0, 0, 1, 0, 1, 0, 1, 1, 0])
heads_layer('mask: "s"', lambda v: module(v, v["x"], v["x"], attn_mask=v["s"]), {"s": f32(3, 3)}, INNER, s=ADDED_TO)
heads_layer('mask: "s", key_mask: "p > 0", causal: true, key: "k"',
            lambda v: module(v, v["k"], v["k"], attn_mask=v["s"].masked_fill(~CAUSAL, -INF), key_padding_mask=(v["p"] <= 0).to(v["s"].dtype).mul(-1e30)),
            {"k": f32(2, 3, 4), "s": f32(3, 3), "p": f32(2, 3)}, INNER, "k", s=ADDED_TO, p=[1.0, 1, 0, 1, 0, 1])  # fmt: skip

# ---------------------------------------------------------------- layers: arrangement and chance

layer("Flatten", "Flatten", lambda v: v["x"].flatten(1), (2, 2, 3), within="element", cases=[{"x": not_finite(2, 2, 3)}])
layer("Reshape", "Reshape([3, -1])", lambda v: v["x"].reshape(3, -1), (2, 2, 3), within="element")
layer("Transpose", "Transpose([2, 0, 1])", lambda v: v["x"].permute(2, 0, 1), (2, 2, 3), within="element")
layer("Pad", "Pad([[1, 0], [0, 2]], 1.5)", lambda v: F.pad(v["x"], (0, 2, 1, 0), value=1.5), (2, 3), within="element", cases=[{}, {"x": not_finite(2, 3)}])
layer("Slice", "Slice(axis: 1, start: 1, stop: 5, step: 2)", lambda v: v["x"][:, 1:5:2], (2, 6), within="element", cases=[{}, {"x": not_finite(2, 6)}])
layer("Upsample", "Upsample(2)", lambda v: v["x"].repeat_interleave(2, 2).repeat_interleave(2, 3), (1, 2, 2, 3), within="element")


def random_layer(name, body, f, drawn):
    values = [(i * 7 % 16) / 16 for i in range(math.prod(drawn))]
    row("layers", name, "it", lambda v: f(v["x"], v["random.m"]), {"x": f32(2, 3, 2), "random.m": f32(*drawn)},
        [{"random.m": values}, {"random.m": values, "x": not_finite(2, 3, 2)}], by=["x"], train=True, body=body, within="element")  # fmt: skip


def dropped(x, u):
    return torch.where(u >= 0.25, x / 0.75, torch.zeros_like(x))


random_layer("Dropout", 'Dropout(name: "m", p: 0.25)', dropped, (2, 3, 2))
random_layer("Dropout2d", 'Dropout2d(name: "m", p: 0.25)', dropped, (2, 3, 1))
random_layer("DropPath", 'DropPath(name: "m", p: 0.25)', dropped, (2, 1, 1))
random_layer("GaussianNoise", 'GaussianNoise(name: "m", std: 0.5)', lambda x, u: x + 0.5 * u, (2, 3, 2))

# ---------------------------------------------------------------- what is done to data


def data(name, body, f, dims, states=None):
    cases = [{"data.m.std": [0.5 + i for i in range(math.prod(states["data.m.std"]))]}] if states else [{}]
    row("data", name, "it", f, {"x": f32(*dims)}, cases, states={name: f32(*dims) for name, dims in (states or {}).items()}, body=body,
        by=["x"], within="all")  # fmt: skip


for per, own, shape in (("channel", (3,), (3, 1, 1)), ("feature", (3, 2, 2), (3, 2, 2)), ("all", (), ())):
    data("Standardize", f'Standardize(name: "m", per: "{per}")',
         lambda v, s=shape: (v["x"] - v["data.m.mean"].reshape(s)) / v["data.m.std"].reshape(s), (2, 3, 2, 2),
         {"data.m.mean": own, "data.m.std": own})  # fmt: skip
data("Normalize", "Normalize(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225])",
     lambda v: (v["x"] - torch.tensor([0.485, 0.456, 0.406], dtype=v["x"].dtype).reshape(3, 1, 1))
     / torch.tensor([0.229, 0.224, 0.225], dtype=v["x"].dtype).reshape(3, 1, 1), (2, 3, 2, 2))  # fmt: skip
data("Normalize", "Normalize(mean: 0.5, std: [1, 2, 4])",
     lambda v: (v["x"] - 0.5) / torch.tensor([1, 2, 4], dtype=v["x"].dtype).reshape(3, 1, 1), (2, 3, 2, 2))  # fmt: skip
data("Rescale", "Rescale(scale: 2, offset: -1)", lambda v: v["x"] * 2 - 1, (2, 3))
for to in ((3, 7), (8, 2), (4, 5)):
    data("Resize", f'Resize({list(to)})', lambda v, s=to: F.interpolate(v["x"], s, mode="bilinear", antialias=True), (2, 2, 4, 5))
row("data", "RandomFlip", "it", lambda v: torch.where(v["random.m"] < 0.5, v["x"].flip(-1), v["x"]),
    {"x": f32(3, 2, 2, 3), "random.m": f32(3, 1, 1, 1)}, [{"random.m": [0.25, 0.5, 0.75]}], body='RandomFlip(name: "m")', train=True,
    by=["x"])  # fmt: skip
row("data", "RandomFlip", "it", lambda v: torch.where(v["random.m"] < 0.75, v["x"].flip(-1), v["x"]),
    {"x": f32(3, 2, 2, 3), "random.m": f32(3, 1, 1, 1)}, [{"random.m": [0.25, 0.625, 0.875]}], body='RandomFlip(name: "m", p: 0.75)',
    train=True, by=["x"])  # fmt: skip


def crop(v):
    """A cut of the same size from the picture with two zeros around it, from a place of its own for each sample."""
    padded = F.pad(v["x"], (2, 2, 2, 2))
    places = [(v[name].detach() * 5).long().tolist() for name in ("random.m", "random.m#2")]
    return torch.stack([padded[i, :, y : y + 3, x : x + 4] for i, (y, x) in enumerate(zip(*places))])


row("data", "RandomCrop", "it", crop, {"x": f32(3, 2, 3, 4), "random.m": f32(3), "random.m#2": f32(3)},
    [{"random.m": [0.0, 0.5, 0.99999994], "random.m#2": [0.25, 0.99999994, 0.0]}], body='RandomCrop(name: "m", padding: 2)', train=True,
    by=["x"])  # fmt: skip
