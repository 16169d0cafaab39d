"""Losses and metrics."""

import math

import torch
import torch.nn.functional as F

from .table import DENORMAL, EDGES, INF, LARGEST, NAN, SMALLEST, f32, i32, plain, row
from .axes import ALONG


def loss(names, call, f, pairs, targets="t", **more):
    """Every element, and the mean of the first six."""
    def case(pairs):
        return {"x": [a for a, _ in pairs], "t": [b for _, b in pairs]}

    for reduction, pairs in (("none", pairs), ("mean", pairs[:6]), ("sum", pairs[:6])):
        text = f"{names}({call}, reduction='{reduction}')"
        inputs = {"x": f32(len(pairs)), "t": f32(len(pairs))}
        row("losses", names, text, lambda v, r=reduction: f(v["x"], v["t"], r), inputs, [case(pairs)],
            within="element" if reduction == "none" else "all", **more)  # fmt: skip


TARGETS = [(0.5, 0.25), (-1.5, 2.0), (1.75, 1.0), (0.25, -3.0), (2.0, 0.5), (-0.5, -1.0)]
NEAR = TARGETS + [(x, t) for x in EDGES for t in (0.0, 1.0)]
loss("mse", "x, t", lambda x, t, r: F.mse_loss(x, t, reduction=r), NEAR)
loss("l1", "x, t", lambda x, t, r: F.l1_loss(x, t, reduction=r), NEAR)
loss("smooth_l1", "x, t, beta=0.5", lambda x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.5), NEAR)
loss("huber", "x, t, delta=2", lambda x, t, r: F.huber_loss(x, t, reduction=r, delta=2.0), NEAR)


def reduce(value, how):
    return {"none": lambda: value, "mean": value.mean, "sum": value.sum}[how]()


loss("hinge", "x, t", lambda x, t, r: reduce(F.relu(1 - x * t), r), [(x, -1.0 if i % 3 else 1.0) for i, (x, _) in enumerate(NEAR)],
     remark="max(0, 1 - x t), with the gradient of relu: 0 at the margin")  # fmt: skip
PROBABILITIES = [(0.25, 0.75), (0.5, 0.0), (0.875, 1.0), (0.125, 0.5), (0.75, 0.25), (0.5, 0.5)]


def bce(x, t, r):
    """The logarithms are at least -100 in the gradient by the target too, where PyTorch's is infinite."""
    log, rest = (v.detach().log().clamp(min=-100) for v in (x, 1 - x))
    return reduce(F.binary_cross_entropy(x, t.detach(), reduction="none") + (t - t.detach()) * (rest - log), r)


loss("bce", "x, t", bce,
     PROBABILITIES + [(x, t) for x in (0.0, 1.0, 1e-20, SMALLEST, DENORMAL, 1 - 2**-24, 1e-6) for t in (0.0, 1.0, 0.5)],
     remark="the gradient of the target is finite (at most 100), PyTorch's is infinite at 0 and 1")  # fmt: skip
loss("bce_with_logits", "x, t", lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, reduction=r),
     [(x, 0.5) for x, _ in TARGETS] + [(x, t) for x in EDGES for t in (0.0, 1.0, 0.25)])  # fmt: skip
POSITIVE = 2.5


def weighted_bce(x, t, r):
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    each = POSITIVE * t * F.binary_cross_entropy(x, one, reduction="none") + (1 - t) * F.binary_cross_entropy(x, zero, reduction="none")
    return reduce(0.5 * each, r)


loss("bce", "x, t, pos_weight=2.5, weights=0.5", weighted_bce,
     PROBABILITIES + [(x, t) for x in (0.0, 1.0, 1e-20, SMALLEST, 1 - 2**-24, 1e-6) for t in (0.0, 1.0, 0.5)],
     remark="the gradient of the target is finite, PyTorch's is infinite at 0 and 1")  # fmt: skip
loss("bce_with_logits", "x, t, pos_weight=2.5, weights=0.5",
     lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, torch.tensor(0.5, dtype=x.dtype), reduction=r, pos_weight=torch.tensor(POSITIVE, dtype=x.dtype)),
     [(x, 0.5) for x, _ in TARGETS] + [(x, t) for x in EDGES for t in (0.0, 1.0, 0.25)])  # fmt: skip
row("losses", "bce_with_logits", "bce_with_logits(x, t, pos_weight=[0.5, 1, 3], weights=w)",
    lambda v: F.binary_cross_entropy_with_logits(v["x"], v["t"], v["w"], pos_weight=torch.tensor([0.5, 1, 3], dtype=v["x"].dtype)),
    {"x": f32(2, 3), "t": f32(2, 3), "w": f32(2, 1)}, [{"t": [0.0, 1, 0.5, 1, 1, 0]}], by=["x", "t"], within="all")  # fmt: skip
loss("kl", "x, t", lambda x, t, r: F.kl_div(x, t, reduction=r),
     [(-1.0, 0.25), (-0.5, 0.5), (-2.0, 0.125), (-0.25, 0.75), (-3.0, 1.0), (-1.5, 0.5)]
     + [(x, t) for x in (0.0, -1.0, -100.0, -INF) for t in (0.0, SMALLEST, 1.0)])  # fmt: skip


def gauss(v, r):
    return F.gaussian_nll_loss(v["x"], v["t"], v["s"], reduction=r)


SPREADS = [(x, t, s) for x, t in [(0.5, 0.25), (1.0, 1.0), (-2.0, 3.0)] for s in (1.0, 0.25, 4.0, 0.0, 1e-8, 1e-6, 1e10, LARGEST)]
for reduction in ("none", "mean", "sum"):
    chosen = SPREADS if reduction == "none" else [s for s in SPREADS if 0.1 < s[2] < 10]
    row("losses", "gauss_nll", f"gauss_nll(x, t, s, reduction='{reduction}')", lambda v, r=reduction: gauss(v, r),
        {name: f32(len(chosen)) for name in "xts"}, [{name: [line[i] for line in chosen] for i, name in enumerate("xts")}],
        within="element" if reduction == "none" else "all")  # fmt: skip

SCORES = [line for line in ALONG if not any(math.isnan(v) for v in line)] + [[NAN, 1.0, 3.0, NAN]]
FLAT = [v for line in SCORES for v in line]
LABELS = [(2 * i + 1) % 4 for i in range(len(SCORES))]
ZEROS = [0] * len(SCORES)
ORDINARY = {"x": plain(len(SCORES), 4)}


def classes(names, output, f, **more):
    row("losses", names, output, lambda v: f(v["x"], v["i"].long()), {"x": f32(len(SCORES), 4), "i": i32(len(SCORES))},
        more.pop("cases", [{**ORDINARY, "i": LABELS}, {"x": FLAT, "i": LABELS}, {"x": FLAT, "i": ZEROS}]), **more)  # fmt: skip


def mean_of_ordinary(names, output, f, **more):
    classes(names, output, f, cases=[{**ORDINARY, "i": LABELS}], within="all", **more)


classes("cross_entropy", "cross_entropy(x, i, reduction='none')", lambda x, i: F.cross_entropy(x, i, reduction="none"))
classes("cross_entropy", "cross_entropy(x, i, smoothing=0.25, reduction='none')",
        lambda x, i: F.cross_entropy(x, i, reduction="none", label_smoothing=0.25))  # fmt: skip
WEIGHTS = [0.5, 1.0, 2.0, 0.0]
mean_of_ordinary("cross_entropy", "cross_entropy(x, i)", F.cross_entropy)
mean_of_ordinary("cross_entropy", "cross_entropy(x, i, weights=[0.5, 1, 2, 0])",
                 lambda x, i: F.cross_entropy(x, i, weight=torch.tensor(WEIGHTS, dtype=x.dtype)))  # fmt: skip
row("losses", "cross_entropy", "cross_entropy(x, t, reduction='none')", lambda v: F.cross_entropy(v["x"], v["t"], reduction="none"),
    {"x": f32(3, 4), "t": f32(3, 4)}, [{"t": [0.25] * 4 + [0, 1, 0, 0] + [0.5, 0, 0.5, 0], "x": [*plain(8), 100.0, -100, 0, 0]}])  # fmt: skip
classes("nll", "nll(x, i, reduction='none')", lambda x, i: F.nll_loss(x, i, reduction="none"))
mean_of_ordinary("nll", "nll(x, i, weights=[0.5, 1, 2, 0])", lambda x, i: F.nll_loss(x, i, torch.tensor(WEIGHTS, dtype=x.dtype)))


def weight(x):
    return torch.tensor(WEIGHTS, dtype=x.dtype)


SOME_IGNORED = {**ORDINARY, "i": [-100 if n % 3 == 0 else label for n, label in enumerate(LABELS)]}
for reduction in ("mean", "sum", "none"):
    ending = f"reduction='{reduction}'"
    for text, given in {
        "ignore_index=3": lambda x: dict(ignore_index=3),
        "ignore_index=3, weights=[0.5, 1, 2, 0.25]": lambda x: dict(ignore_index=3, weight=torch.tensor([0.5, 1, 2, 0.25], dtype=x.dtype)),
        "smoothing=0.25, weights=[0.5, 1, 2, 0]": lambda x: dict(label_smoothing=0.25, weight=weight(x)),
        "ignore_index=3, smoothing=0.25": lambda x: dict(ignore_index=3, label_smoothing=0.25),
        "ignore_index=3, smoothing=0.25, weights=[0.5, 1, 2, 0]": lambda x: dict(ignore_index=3, label_smoothing=0.25, weight=weight(x)),
    }.items():
        mean_of_ordinary("cross_entropy", f"cross_entropy(x, i, {text}, {ending})",
                         lambda x, i, g=given, r=reduction: F.cross_entropy(x, i, reduction=r, **g(x)))  # fmt: skip
    classes("cross_entropy", f"cross_entropy(x, i, ignore_index=-100, {ending})",
            lambda x, i, r=reduction: F.cross_entropy(x, i, reduction=r), cases=[SOME_IGNORED], within="all")  # fmt: skip
    classes("nll", f"nll(x, i, weights=[0.5, 1, 2, 0], ignore_index=-100, {ending})",
            lambda x, i, r=reduction: F.nll_loss(x, i, weight(x), reduction=r), cases=[SOME_IGNORED], within="all")  # fmt: skip
row("losses", "cross_entropy", "cross_entropy(x, t, smoothing=0.25, weights=[0.5, 1, 2, 0])",
    lambda v: F.cross_entropy(v["x"], v["t"], weight(v["x"]), label_smoothing=0.25), {"x": f32(3, 4), "t": f32(3, 4)},
    [{"t": [0.25] * 4 + [0, 1, 0, 0] + [0.5, 0, 0.5, 0]}], within="all")  # fmt: skip

# Classes lie where the labels fit: behind the samples as in PyTorch, or last. Where both fit, the axis is named.
PLACES = [0, 2, 1, 1, 0, 2, 2, 1]
for dims, labels, axis, text in (((2, 3, 4), (2, 4), 1, ""), ((2, 4, 3), (2, 4), 2, ""), ((2, 3, 3), (2, 3), 1, "axis=1"), ((2, 3, 3), (2, 3), 2, "axis=-1"),
                                 ((2, 3, 2, 2), (2, 2, 2), 1, ""), ((3, 4), (4,), 0, "axis=0"), ((3,), (), 0, "")):  # fmt: skip
    count = math.prod(labels)
    inputs, given = {"x": f32(*dims), "i": i32(*labels)}, [{"i": PLACES[:count]}]
    more = f", {text}" if text else ""

    def of(f, axis=axis, dims=dims, **options):
        """PyTorch's function with the classes behind the samples; of one sample, or with the classes first, as they are."""
        def call(v):
            x = v["x"].movedim(axis, min(1, len(dims) - 1)) if dims != (3, 4) else v["x"].T
            return f(x, v["i"].long(), **{name: option(x) for name, option in options.items()})
        return call

    three = lambda x: torch.tensor([0.5, 1, 2], dtype=x.dtype)
    row("losses", "cross_entropy", f"cross_entropy(x, i{more})", of(F.cross_entropy), inputs, given, within="all")
    row("losses", "cross_entropy", f"cross_entropy(x, i, smoothing=0.1, weights=[0.5, 1, 2]{more})",
        of(F.cross_entropy, weight=three, label_smoothing=lambda x: 0.1), inputs, given, within="all")  # fmt: skip
    row("losses", "nll", f"nll(x, i, weights=[0.5, 1, 2], ignore_index=2{more})",
        of(F.nll_loss, weight=three, ignore_index=lambda x: 2), inputs, given, within="all")  # fmt: skip
    row("losses", "focal", f"focal(x, i, gamma=0{more})", of(F.cross_entropy), inputs, given, within="all")
    row("losses", "focal", f"focal(x, i, gamma=0, weights=[0.5, 1, 2], ignore_index=2{more})",
        of(F.cross_entropy, weight=three, ignore_index=lambda x: 2), inputs, given, within="all",
        remark="PyTorch has no such function; without its factor it is the cross entropy")  # fmt: skip
    of_classes = lambda f: of(lambda x, i: f(x, i, min(1, x.dim() - 1)))
    row("losses", "accuracy", f"accuracy(x, i{more})", of_classes(lambda x, i, a: (x.argmax(a) == i).to(x.dtype).mean()), inputs, given, by=[])
    row("losses", "top_k_accuracy", f"top_k_accuracy(x, i, 2{more})",
        of_classes(lambda x, i, a: (x.topk(2, dim=a).indices == i.unsqueeze(a)).any(a).to(x.dtype).mean()), inputs, given, by=[])  # fmt: skip
for axis in (1, 2):
    row("losses", "cross_entropy", f"cross_entropy(x, softmax(y, axis={axis}), axis={axis})",
        lambda v, a=axis: F.cross_entropy(v["x"].movedim(a, 1), torch.softmax(v["y"], a).movedim(a, 1)),
        {"x": f32(2, 3, 4), "y": f32(2, 3, 4)}, [{}], within="all")  # fmt: skip


def focal(x, i, gamma):
    log = F.log_softmax(x, 1).gather(1, i[:, None])[:, 0]
    # As a limit: a factor of 0 has no gradient, and for p = 0 the loss falls like -ln p.
    lost = log == -INF
    rest = torch.where(lost, 1.0, -torch.expm1(torch.where(lost, 0.0, log)))
    sure = rest == 0
    factor = torch.where(sure, 0.0, torch.where(sure, 1.0, rest) ** gamma)
    return -factor * log


classes("focal", "focal(x, i, reduction='none')", lambda x, i: focal(x, i, 2.0))
classes("focal", "focal(x, i, gamma=0.5, reduction='none')", lambda x, i: focal(x, i, 0.5),
        remark="PyTorch has no such function; it is composed of PyTorch's, with a gradient of 0 where p is 1")  # fmt: skip
classes("accuracy", "accuracy(x, i)", lambda x, i: (x.argmax(1) == i).to(x.dtype).mean(), by=[])


def top_k(x, i, k):
    """Of equal scores the lower class is first; a label whose score is NaN is not found."""
    order = torch.argsort(x, dim=1, descending=True, stable=True)
    found = (order[:, :k] == i[:, None]).any(1) & ~x.gather(1, i[:, None])[:, 0].isnan()
    return found.to(x.dtype).mean()


classes("top_k_accuracy", "top_k_accuracy(x, i, 2)", lambda x, i: top_k(x, i, 2), by=[], remark="of equal scores the lower class is first")
classes("top_k_accuracy", "top_k_accuracy(x, i, 4)", lambda x, i: top_k(x, i, 4), by=[],
        cases=[{"x": [NAN] * len(FLAT), "i": LABELS}], remark="a label whose score is NaN is never found")  # fmt: skip
