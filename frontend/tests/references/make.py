"""Writes the reference values that the tests of the frontend compare with; needs PyTorch.

A tensor is written as three numbers: the sum of its elements, of their squares, and of element i times cos(i).
"""

import math
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).parent


def wave(dims, a, b):
    """sin(a i + b) by row-major position."""
    n = math.prod(dims)
    return torch.sin(a * torch.arange(n, dtype=torch.float64) + b).reshape(dims)


@torch.no_grad()
def fill(module):
    """Parameters and buffers as the test fills them."""
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        values = 0.4 * wave(value.shape, 1.7, float(len(name.split(".")[-1])))
        if name.endswith("running_var"):
            values = values + 1.2
        value.copy_(values)
    return module


def digest(tensor):
    flat = tensor.detach().to(torch.float64).reshape(-1)
    position = torch.cos(torch.arange(flat.numel(), dtype=torch.float64))
    return f"{flat.sum().item():.17e} {flat.square().sum().item():.17e} {(flat * position).sum().item():.17e}"


IMAGE = (2, 4, 7, 6)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class SelfAttention(nn.MultiheadAttention):
    """Queries, keys and values of one sequence; `causal` hides what comes later."""

    def __init__(self, width, heads, causal=False, bias=True):
        super().__init__(width, heads, bias=bias, batch_first=True)
        self.causal = causal

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        return super().forward(x, x, x, need_weights=False, attn_mask=mask)[0]


def attend(x, heads, **options):
    """Attention of a sequence to the first five of its elements' squares, and their signs as values."""
    parts = [y.unflatten(2, (heads, -1)).transpose(1, 2) for y in (x, x[:, :5] ** 2, torch.sign(x[:, :5]))]
    return F.scaled_dot_product_attention(*parts, **options).transpose(1, 2).flatten(2)


def layers():
    yield "Linear(name: \"m\", features: 5)", nn.Linear(6, 5), (3, 6)
    yield "Linear(name: \"m\", features: 5, bias: false)", nn.Linear(6, 5, bias=False), (2, 3, 6)
    conv = nn.Conv2d
    yield "Conv2d(name: \"m\", features: 6, kernel: 3)", conv(4, 6, 3), IMAGE
    yield "Conv2d(name: \"m\", features: 6, kernel: [3, 2], stride: [2, 1], padding: [1, 0])", \
        conv(4, 6, (3, 2), (2, 1), (1, 0)), IMAGE
    yield "Conv2d(name: \"m\", features: 6, kernel: 3, dilation: 2, groups: 2, bias: false)", \
        conv(4, 6, 3, dilation=2, groups=2, bias=False), IMAGE
    yield "Conv2d(name: \"m\", features: 8, kernel: 3, padding: 1, groups: 4)", conv(4, 8, 3, 1, 1, groups=4), IMAGE
    yield "Conv2d(name: \"m\", features: 3, kernel: 4, padding: \"same\")", conv(4, 3, 4, padding="same"), IMAGE
    yield "Conv2d(name: \"m\", features: 3, kernel: 3, padding: [[0, 2], [1, 0]])", \
        nn.Sequential(nn.ZeroPad2d((1, 0, 0, 2)), conv(4, 3, 3)), IMAGE
    yield "Conv1d(name: \"m\", features: 3, kernel: 3, stride: 2, padding: 1)", nn.Conv1d(4, 3, 3, 2, 1), (2, 4, 9)
    yield "Conv3d(name: \"m\", features: 3, kernel: 2, stride: [1, 2, 1])", nn.Conv3d(2, 3, 2, (1, 2, 1)), (1, 2, 3, 4, 5)
    deconv = nn.ConvTranspose2d
    yield "ConvTranspose2d(name: \"m\", features: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1)", \
        deconv(4, 6, 3, 2, 1, 1), IMAGE
    yield "ConvTranspose2d(name: \"m\", features: 6, kernel: [4, 3], stride: [2, 1], groups: 2)", \
        deconv(4, 6, (4, 3), (2, 1), groups=2), IMAGE
    yield "ConvTranspose2d(name: \"m\", features: 3, kernel: 3, dilation: 2, bias: false)", \
        deconv(4, 3, 3, dilation=2, bias=False), IMAGE
    yield "MaxPool2d(2)", nn.MaxPool2d(2), IMAGE
    yield "MaxPool2d(3, 2, 1)", nn.MaxPool2d(3, 2, 1), IMAGE
    yield "MaxPool2d(kernel: 3, stride: 2, ceil_mode: true)", nn.MaxPool2d(3, 2, ceil_mode=True), IMAGE
    yield "MaxPool1d(3, 1)", nn.MaxPool1d(3, 1), (2, 3, 8)
    yield "AvgPool2d(2)", nn.AvgPool2d(2), IMAGE
    yield "AvgPool2d(3, 2, 1)", nn.AvgPool2d(3, 2, 1), IMAGE
    yield "AvgPool2d(kernel: 3, stride: 2, padding: 1, ceil_mode: true)", nn.AvgPool2d(3, 2, 1, ceil_mode=True), IMAGE
    yield "AvgPool2d(kernel: [3, 2], stride: 2, padding: 1, count_include_pad: false)", \
        nn.AvgPool2d((3, 2), 2, 1, count_include_pad=False), IMAGE
    yield "AvgPool2d(kernel: 3, stride: 2, ceil_mode: true, padding: 1, count_include_pad: false)", \
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), IMAGE
    yield "AdaptiveAvgPool2d(3)", nn.AdaptiveAvgPool2d(3), IMAGE
    yield "AdaptiveAvgPool2d([7, 3])", nn.AdaptiveAvgPool2d((7, 3)), IMAGE
    yield "AdaptiveAvgPool2d([9, 4])", nn.AdaptiveAvgPool2d((9, 4)), IMAGE
    yield "AdaptiveMaxPool2d([4, 2])", nn.AdaptiveMaxPool2d((4, 2)), IMAGE
    yield "GlobalAvgPool", Lambda(lambda x: x.mean((2, 3))), IMAGE
    yield "BatchNorm(name: \"m\")", nn.BatchNorm2d(4), IMAGE
    yield "BatchNorm(name: \"m\", eps: 1e-3, momentum: 0.3, affine: false)", \
        nn.BatchNorm2d(4, 1e-3, 0.3, affine=False), IMAGE
    yield "BatchNorm(name: \"m\")", nn.BatchNorm1d(6), (5, 6)
    yield "LayerNorm(name: \"m\")", nn.LayerNorm(6), (3, 5, 6)
    yield "LayerNorm(name: \"m\", axes: 2, eps: 1e-3)", nn.LayerNorm((7, 6), 1e-3), IMAGE
    yield "GroupNorm(name: \"m\", groups: 2)", nn.GroupNorm(2, 4), IMAGE
    yield "InstanceNorm(name: \"m\", affine: true)", nn.InstanceNorm2d(4, affine=True), IMAGE
    yield "LocalResponseNorm(size: 3)", nn.LocalResponseNorm(3), IMAGE
    yield "LocalResponseNorm(size: 4, alpha: 0.5, beta: 0.6, k: 2)", nn.LocalResponseNorm(4, 0.5, 0.6, 2), IMAGE
    yield "LocalResponseNorm(size: 5, alpha: 0.1, k: 2, divide: false)", nn.LocalResponseNorm(5, 0.5, 0.75, 2), IMAGE
    yield "MultiHeadAttention(name: \"m\", heads: 2)", SelfAttention(6, 2), (3, 5, 6)
    yield "MultiHeadAttention(name: \"m\", heads: 3, causal: true, bias: false)", SelfAttention(6, 3, True, False), (2, 7, 6)
    yield "Expr(\"attention(it, it[:, :5] ** 2, sign(it[:, :5]), heads=2)\")", \
        Lambda(lambda x: attend(x, 2)), (2, 7, 6)
    yield "Expr(\"attention(it, it[:, :5] ** 2, sign(it[:, :5]), causal=true)\")", \
        Lambda(lambda x: attend(x, 1, is_causal=True)), (2, 7, 6)
    seen = torch.tensor([True, False, True, True, True])
    yield "Expr(\"attention(it, it[:, :5] ** 2, sign(it[:, :5]), 3, mask=positions(it[0, 0, :5]) != 1)\")", \
        Lambda(lambda x: attend(x, 3, attn_mask=seen.expand(7, 5))), (2, 7, 6)
    scaled = "Expr(\"it * 3\"), "
    for step, module in [
        ("Relu", nn.ReLU()), ("Relu6", nn.ReLU6()), ("LeakyRelu", nn.LeakyReLU()), ("LeakyRelu(0.2)", nn.LeakyReLU(0.2)),
        ("Elu(0.7)", nn.ELU(0.7)), ("Celu(0.5)", nn.CELU(0.5)), ("Selu", nn.SELU()), ("Gelu", nn.GELU()),
        ("Gelu(form: \"tanh\")", nn.GELU("tanh")), ("Silu", nn.SiLU()), ("HardSwish", nn.Hardswish()),
        ("Mish", nn.Mish()), ("Sigmoid", nn.Sigmoid()), ("HardSigmoid", Lambda(lambda x: F.hardtanh(x / 6 + 0.5, 0, 1))),
        ("LogSigmoid", nn.LogSigmoid()), ("Tanh", nn.Tanh()), ("HardTanh", nn.Hardtanh()),
        ("Softsign", nn.Softsign()), ("Softplus", nn.Softplus()), ("Softplus(2)", nn.Softplus(2)),
        ("Glu", nn.GLU(1)), ("Softmax", nn.Softmax(1)), ("LogSoftmax(axis: -1)", nn.LogSoftmax(-1)),
        ("ScaledTanh", Lambda(lambda x: 1.7159 * torch.tanh(2 * x / 3))),
        ("CRelu", Lambda(lambda x: torch.cat([F.relu(x), F.relu(-x)], 1))),
        ("Maxout(2)", Lambda(lambda x: x.unflatten(1, (2, 2)).amax(2))),
        ("PRelu(name: \"m\", parameters: 4)", nn.PReLU(4)), ("PRelu(name: \"m\")", nn.PReLU()),
        ("Swish(2)", Lambda(lambda x: x * torch.sigmoid(2 * x))),
        ("RRelu", nn.RReLU().eval()),
    ]:
        yield scaled + step, nn.Sequential(Lambda(lambda x: x * 3), module), IMAGE
    yield "Flatten", nn.Flatten(), IMAGE
    yield "Reshape([2, -1, 14])", Lambda(lambda x: x.reshape(2, -1, 14)), IMAGE
    yield "Transpose([0, 2, 3, 1])", Lambda(lambda x: x.permute(0, 2, 3, 1)), IMAGE
    yield "Pad([0, [1, 2], [-1, 1], 2], 0.5)", Lambda(lambda x: F.pad(x, (2, 2, -1, 1, 1, 2), value=0.5)), IMAGE
    yield "Slice(axis: 2, start: 1, step: 2)", Lambda(lambda x: x[:, :, 1::2]), IMAGE
    yield "Expr(\"it[:, -1, 1:-1, ::2]\")", Lambda(lambda x: x[:, -1, 1:-1, ::2]), IMAGE
    yield "Upsample(2)", nn.Upsample(scale_factor=2), IMAGE
    yield "Residual([Tanh, Relu])", Lambda(lambda x: x + F.relu(torch.tanh(x))), IMAGE
    yield "Concat([[], [Relu], \"it * it\"])", Lambda(lambda x: torch.cat([x, F.relu(x), x * x], 1)), IMAGE
    yield "Multiply([[Sigmoid], []])", Lambda(lambda x: x * torch.sigmoid(x)), IMAGE
    yield "Expr(\"log1p(it ** 2) / (1 + abs(it)) - sqrt(abs(it)) % 0.3\")", \
        Lambda(lambda x: torch.log1p(x**2) / (1 + x.abs()) - x.abs().sqrt() % 0.3), IMAGE
    yield "Expr(\"where(it > 0.2, it, -0.5) @ transpose(it, [0, 1, 3, 2])\")", \
        Lambda(lambda x: torch.where(x > 0.2, x, -0.5) @ x.mT), IMAGE
    yield "Expr(\"logsumexp(it, axis=[2, 3]) + mean(it, axis=0, keepdims=true)[0, :, 0, 0]\")", \
        Lambda(lambda x: torch.logsumexp(x, (2, 3)) + x.mean(0, keepdim=True)[0, :, 0, 0]), IMAGE
    yield "Expr(\"cumsum(it, axis=2) + var(it, axis=3, keepdims=true)\")", \
        Lambda(lambda x: x.cumsum(2) + x.var(3, correction=0, keepdim=True)), IMAGE
    yield "Expr(\"argmax(it, axis=1) * 10 + argmin(it, axis=1)\")", Lambda(lambda x: x.argmax(1) * 10 + x.argmin(1)), IMAGE
    yield "Expr(\"max(it, axis=[2, 3]) - min(it, axis=[2, 3]) * prod(it[:, :, :2, :2], axis=[2, 3])\")", \
        Lambda(lambda x: x.amax((2, 3)) - x.amin((2, 3)) * x[:, :, :2, :2].flatten(2).prod(2)), IMAGE


def write_layers():
    lines = []
    for steps, module, dims in layers():
        fill(module)
        x = wave(dims, 0.7, 0.3)
        values = []
        for train in (False, True):
            if "RRelu" in steps and train:
                continue
            module.train(train)
            values.append(digest(module(x)))
        buffers = [digest(value) for name, value in module.state_dict().items() if "running" in name]
        lines.append("\t".join([steps, " ".join(map(str, dims)), *values, *buffers]))
    (HERE / "layers.tsv").write_text("\n".join(lines) + "\n")


def write_gradients():
    """Gradients of the sum of y_i cos(i) with respect to the input and the parameters, kinks included."""
    lines = []
    for steps, module, dims in layers():
        if "arg" in steps or "RRelu" in steps:
            continue
        fill(module)
        module.train()
        x = wave(dims, 0.7, 0.3)
        if steps.startswith("Expr(\"it * 3\"), "):
            steps, module = steps.removeprefix("Expr(\"it * 3\"), "), module[1]
            x = (torch.arange(math.prod(dims)) % 29 * 0.5 - 7).reshape(dims)
        x = nn.Parameter(x)
        y = module(x).reshape(-1)
        names, values = zip(("x", x), *module.named_parameters())
        gradients = torch.autograd.grad((y * torch.cos(torch.arange(y.numel()))).sum(), values)
        named = [f"{name.lstrip('0123456789.')} {digest(gradient)}" for name, gradient in zip(names, gradients)]
        lines.append("\t".join([steps, " ".join(map(str, dims)), *named]))
    (HERE / "gradients.tsv").write_text("\n".join(lines) + "\n")


def losses():
    x, t = "x", "t"
    logits, label = wave((6, 5), 0.9, 0.1) * 2, torch.tensor([0, 3, 4, 1, 1, 2])
    target = wave((6, 5), 1.3, 0.5)
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5])
    probability = torch.sigmoid(logits)
    soft = torch.softmax(target, 1)
    for reduction in ["mean", "sum", "none"]:
        end = "" if reduction == "mean" else f", reduction='{reduction}'"
        yield f"cross_entropy(x, label{end})", F.cross_entropy(logits, label, reduction=reduction)
        yield f"mse(x, t{end})", F.mse_loss(logits, target, reduction=reduction)
    yield "cross_entropy(x, label, smoothing=0.1)", F.cross_entropy(logits, label, label_smoothing=0.1)
    yield "cross_entropy(x, label, weights=[0.5, 1, 2, 0.25, 1.5])", F.cross_entropy(logits, label, weights)
    for reduction in ["mean", "sum", "none"]:
        end = f", weights=[0.5, 1, 2, 0.25, 1.5], reduction='{reduction}'"
        for smoothing in [0, 0.2]:
            more = end + (f", smoothing={smoothing}" if smoothing else "")
            options = {"weight": weights, "reduction": reduction, "label_smoothing": smoothing}
            yield f"cross_entropy(x, label{more})", F.cross_entropy(logits, label, **options)
            yield f"cross_entropy(x, softmax(t){more})", F.cross_entropy(logits, soft, **options)
        yield f"nll(log_softmax(x), label{end})", F.nll_loss(F.log_softmax(logits, 1), label, weights, reduction=reduction)
    yield "cross_entropy(x, softmax(t))", F.cross_entropy(logits, soft)
    yield "cross_entropy(x, softmax(t), smoothing=0.2)", F.cross_entropy(logits, soft, label_smoothing=0.2)
    yield "nll(log_softmax(x), label)", F.nll_loss(F.log_softmax(logits, 1), label)
    yield "nll(log_softmax(x), label, weights=[0.5, 1, 2, 0.25, 1.5])", F.nll_loss(F.log_softmax(logits, 1), label, weights)
    yield "l1(x, t)", F.l1_loss(logits, target)
    yield "smooth_l1(x, t)", F.smooth_l1_loss(logits, target)
    yield "smooth_l1(x, t, beta=0.5)", F.smooth_l1_loss(logits, target, beta=0.5)
    yield "huber(x, t, delta=0.7)", F.huber_loss(logits, target, delta=0.7)
    yield "hinge(x, sign(t))", F.relu(1 - logits * target.sign()).mean()
    yield "bce(sigmoid(x), sigmoid(t))", F.binary_cross_entropy(probability, torch.sigmoid(target))
    yield "bce_with_logits(x, sigmoid(t))", F.binary_cross_entropy_with_logits(logits, torch.sigmoid(target))
    yield "kl(log_softmax(x), softmax(t), reduction='sum') / 6", \
        F.kl_div(F.log_softmax(logits, 1), soft, reduction="batchmean")
    yield "gauss_nll(x, t, exp(t))", F.gaussian_nll_loss(logits, target, target.exp())
    square = (logits[:5], target[:5])
    for variance in ["t[0]", "t[:5, 0]", "t[:5, :1]", "t[:1]"]:
        value = {"t[0]": target[0], "t[:5, 0]": target[:5, 0], "t[:5, :1]": target[:5, :1], "t[:1]": target[:1]}[variance]
        yield f"gauss_nll(x[:5], t[:5], exp({variance}))", F.gaussian_nll_loss(*square, value.exp())
    p = F.log_softmax(logits, 1).gather(1, label[:, None])
    yield "focal(x, label, gamma=2)", (-(1 - p.exp()) ** 2 * p).mean()
    yield "accuracy(x, label)", (logits.argmax(1) == label).double().mean()
    yield "mean(argmax(x) == label)", (logits.argmax(1) == label).double().mean()
    yield "top_k_accuracy(x, label, 2)", (logits.topk(2).indices == label[:, None]).any(1).double().mean()
    yield "sum(one_hot(label, 5) * x)", logits.gather(1, label[:, None]).sum()


def write_losses():
    lines = [f"{expression}\t{digest(value)}" for expression, value in losses()]
    (HERE / "losses.tsv").write_text("\n".join(lines) + "\n")


def optimizers():
    o = torch.optim
    yield "Sgd(lr: 0.1)", lambda p: o.SGD(p, 0.1)
    yield "Sgd(lr: 0.1, momentum: 0.9)", lambda p: o.SGD(p, 0.1, 0.9)
    yield "Sgd(lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.01)", \
        lambda p: o.SGD(p, 0.1, 0.9, nesterov=True, weight_decay=0.01)
    yield "Sgd(lr: 0.1, momentum: 0.8, dampening: 0.3)", lambda p: o.SGD(p, 0.1, 0.8, dampening=0.3)
    yield "Adagrad", lambda p: o.Adagrad(p)
    yield "Adagrad(lr: 0.1, lr_decay: 0.2, initial: 0.3, eps: 1e-4, weight_decay: 0.01)", \
        lambda p: o.Adagrad(p, 0.1, 0.2, 0.01, 0.3, 1e-4)
    yield "Adadelta", lambda p: o.Adadelta(p)
    yield "Adadelta(lr: 0.5, rho: 0.8, eps: 1e-3)", lambda p: o.Adadelta(p, 0.5, 0.8, 1e-3)
    yield "RmsProp", lambda p: o.RMSprop(p)
    yield "RmsProp(lr: 0.02, alpha: 0.9, momentum: 0.7, centered: true, weight_decay: 0.01)", \
        lambda p: o.RMSprop(p, 0.02, 0.9, 1e-8, 0.01, 0.7, True)
    yield "Rprop", lambda p: o.Rprop(p)
    yield "Adam", lambda p: o.Adam(p)
    yield "Adam(lr: 0.05, beta1: 0.5, beta2: 0.9, eps: 1e-4, weight_decay: 0.01)", \
        lambda p: o.Adam(p, 0.05, (0.5, 0.9), 1e-4, 0.01)
    yield "Adam(lr: 0.05, beta1: 0.4, amsgrad: true)", lambda p: o.Adam(p, 0.05, (0.4, 0.999), amsgrad=True)
    yield "AdamW(lr: 0.05, weight_decay: 0.1)", lambda p: o.AdamW(p, 0.05, weight_decay=0.1)
    yield "Adamax(lr: 0.05, weight_decay: 0.01)", lambda p: o.Adamax(p, 0.05, weight_decay=0.01)
    yield "NAdam(lr: 0.05)", lambda p: o.NAdam(p, 0.05)


def write_optimizers():
    """Twelve steps on sum(c (w - t)^2) / 2."""
    lines = []
    for text, make in optimizers():
        w = nn.Parameter(wave((7,), 0.8, 0.2))
        optimizer = make([w])
        target, curvature = wave((7,), 1.9, 0.4), 1 + 0.5 * wave((7,), 0.5, 0.6)
        for _ in range(12):
            optimizer.zero_grad()
            (curvature * (w - target) ** 2 / 2).sum().backward()
            optimizer.step()
        lines.append(f"{text}\t{digest(w)}")
    (HERE / "optimizers.tsv").write_text("\n".join(lines) + "\n")


def schedules():
    s = torch.optim.lr_scheduler
    yield "Step(initial: 0.5, every: 7, factor: 0.3)", lambda o: s.StepLR(o, 7, 0.3), 0.5
    yield "MultiStep(initial: 0.5, at: [3, 11], factor: 0.3)", lambda o: s.MultiStepLR(o, [3, 11], 0.3), 0.5
    yield "Exponential(initial: 0.5, factor: 0.9)", lambda o: s.ExponentialLR(o, 0.9), 0.5
    yield "Cosine(initial: 0.5, steps: 20, last: 0.05)", lambda o: s.CosineAnnealingLR(o, 20, 0.05), 0.5
    yield "Cosine(initial: 0.5, steps: 6, last: 0.05, restart: true)", \
        lambda o: s.CosineAnnealingWarmRestarts(o, 6, 1, 0.05), 0.5
    yield "Inverse(initial: 0.5, rate: 0.2)", lambda o: s.LambdaLR(o, lambda t: 1 / (1 + 0.2 * t)), 0.5
    yield "Poly(initial: 0.5, steps: 20, power: 2)", lambda o: s.PolynomialLR(o, 20, 2), 0.5
    yield "Cyclic(low: 0.1, high: 0.6, half: 4)", lambda o: s.CyclicLR(o, 0.1, 0.6, 4, cycle_momentum=False), 0.5
    yield "Noam(width: 64, warmup: 8)", \
        lambda o: s.LambdaLR(o, lambda t: 64**-0.5 * min((t + 1) ** -0.5, (t + 1) * 8**-1.5)), 1.0
    yield "Warmup(steps: 5, first: 0.2, then: Exponential(initial: 0.5, factor: 0.9))", \
        lambda o: s.LambdaLR(o, lambda t: min(1, 0.2 + 0.8 * t / 5) * 0.9 ** max(0, t - 5)), 0.5


def write_schedules():
    lines = []
    for text, make, initial in schedules():
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], initial)
        scheduler = make(optimizer)
        rates = []
        for _ in range(20):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        lines.append("\t".join([text, *(f"{float(rate):.17e}" for rate in rates)]))
    (HERE / "schedules.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        write_layers()
        write_losses()
        write_schedules()
    write_optimizers()
    write_gradients()
