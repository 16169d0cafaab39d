"""Writes the PyTorch references `<network>.safetensors`; README.md says what is in them.

    python make.py [NETWORK ...]
"""

import math
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.models as tv
from torch import nn

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "references"))
generate = __import__("make")  # the values from a formula, and what files look like

KEEP = 14
ORDERS = 2
KINDS = ["output", "loss", "grad", "first"]
# Runs whose image is changed by about a rounding error, and by how much.
CHANGES, CHANGE = 3, 2e-7


# The networks that torchvision does not have.


class Conv(nn.Module):
    """A convolution with bias and ReLU."""

    def __init__(self, inputs, outputs, kernel=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)

    def forward(self, x):
        return F.relu(self.conv(x))


class Inception(nn.Module):
    def __init__(self, inputs, ones, three_in, three, five_in, five, pool):
        super().__init__()
        self.branch1 = Conv(inputs, ones)
        self.branch2 = nn.Sequential(Conv(inputs, three_in), Conv(three_in, three, 3))
        self.branch3 = nn.Sequential(Conv(inputs, five_in), Conv(five_in, five, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Conv(inputs, pool))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    def __init__(self, inputs, classes, positions):
        super().__init__()
        self.conv = Conv(inputs, 128)
        self.fc1, self.fc2 = nn.Linear(128 * positions, 1024), nn.Linear(1024, classes)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(self.conv(F.avg_pool2d(x, 5, 3)).flatten(1))))


class GoogLeNet(nn.Module):
    """Szegedy et al. 2014 as in the paper, for 3x96x96; no dropout."""

    ROWS = {  # table 1: 1x1; 1x1 and 3x3; 1x1 and 5x5; 1x1 behind the pooling
        "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
    }  # fmt: skip

    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Conv(3, 64, 7, 2), Conv(64, 64), Conv(64, 192, 3)
        inputs = 192
        for name, row in self.ROWS.items():
            self.add_module(f"inception{name}", Inception(inputs, *row))
            inputs = row[0] + row[2] + row[4] + row[5]
        self.aux1, self.aux2 = Auxiliary(512, classes, 1), Auxiliary(528, classes, 1)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x):
        pool, norm = nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5)
        x = pool(norm(self.conv3(self.conv2(norm(pool(self.conv1(x)))))))
        x = pool(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        first = self.aux1(x)
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x)
        x = self.inception5b(self.inception5a(pool(self.inception4e(x))))
        logits = self.fc(x.mean((2, 3)))
        return (logits, second, first) if self.training else logits


class Layer(nn.Module):
    """A layer of the encoder, normalised behind each part (Vaswani et al. 2017; Devlin et al. 2018)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, 2))
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(3)
        x = self.ln1(x + self.proj((weights @ v).transpose(1, 2).flatten(2)))
        return self.ln2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """The encoder; trained on masked words, whose scores are products with their embeddings."""

    def __init__(self, vocabulary, length, width=256, heads=4, layers=4):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.zeros(length, width))
        self.ln = nn.LayerNorm(width)
        self.blocks = nn.ModuleList([Layer(width, heads) for _ in range(layers)])

    def forward(self, tokens):
        x = self.ln(self.embed(tokens) + self.position)
        for block in self.blocks:
            x = block(x)
        return x @ self.embed.weight.T if self.training else x


# Constructors, for 10 classes and without dropout. Hidden layers of 64 keep the test small.


def alexnet():
    model = tv.AlexNet(10, 0.0)
    model.classifier[1], model.classifier[4] = nn.Linear(256 * 36, 64), nn.Linear(64, 64)
    model.classifier[6] = nn.Linear(64, 10)
    return model


def vgg(constructor):
    model = constructor(num_classes=10, dropout=0.0, init_weights=False)
    model.classifier[0], model.classifier[3] = nn.Linear(512 * 49, 64), nn.Linear(64, 64)
    model.classifier[6] = nn.Linear(64, 10)
    return model


def googlenet_tv():
    return tv.GoogLeNet(10, aux_logits=True, init_weights=False, dropout=0.0, dropout_aux=0.0)


VOCABULARY, LENGTH = 500, 32

NETWORKS = {  # name: (constructor, shape of the batch)
    "resnet18": (lambda: tv.resnet18(num_classes=10), (4, 3, 64, 64)),
    "resnet50": (lambda: tv.resnet50(num_classes=10), (4, 3, 64, 64)),
    "vgg11": (lambda: vgg(tv.vgg11), (2, 3, 64, 64)),
    "alexnet-tv": (alexnet, (2, 3, 224, 224)),
    "mobilenet_v2": (lambda: tv.mobilenet_v2(num_classes=10, dropout=0.0), (4, 3, 64, 64)),
    "googlenet-tv-aux": (googlenet_tv, (2, 3, 96, 96)),
    "googlenet-aux": (lambda: GoogLeNet(10), (2, 3, 96, 96)),
    "densenet121": (lambda: tv.densenet121(num_classes=10), (4, 3, 64, 64)),
    "bert-tiny-encoder": (lambda: Encoder(VOCABULARY, LENGTH), (2, LENGTH)),
}


# The runs.


@contextmanager
def smooth():
    """Networks without kinks: SiLU for ReLU, means for maxima of windows."""
    relu, relu6, pool = F.relu, nn.ReLU6.forward, nn.MaxPool2d.forward
    F.relu = lambda x, inplace=False: F.silu(x)
    nn.ReLU6.forward = lambda _, x: F.silu(x)
    nn.MaxPool2d.forward = lambda m, x: F.avg_pool2d(x, m.kernel_size, m.stride, m.padding, m.ceil_mode)
    try:
        yield
    finally:
        F.relu, nn.ReLU6.forward, nn.MaxPool2d.forward = relu, relu6, pool


def batch(shape) -> dict[str, torch.Tensor]:
    """Images and labels, or words, of which `masked` is 1 where one is to be guessed."""
    bits = generate.bits
    if len(shape) == 2:
        count = math.prod(shape)
        words = {name: bits(name, count) % np.uint64(VOCABULARY) for name in ("token", "word")}
        arrays = {name: values.astype(np.int64) for name, values in words.items()}
        arrays["masked"] = (bits("masked", count) % np.uint64(4) == 0).astype(np.float32)
        return {name: torch.from_numpy(values.reshape(shape)) for name, values in arrays.items()}
    images, labels = generate.batch(shape)
    return {"image": torch.from_numpy(images), "label": torch.from_numpy(labels)}


def loss_of(outputs, given):
    if "word" in given:
        losses = F.cross_entropy(outputs.flatten(0, 1), given["word"].flatten(), reduction="none")
        return (losses * given["masked"].flatten()).sum() / given["masked"].sum()
    main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    return F.cross_entropy(main, given["label"]) + 0.3 * sum(F.cross_entropy(a, given["label"]) for a in auxiliary)


def prepare(name: str, dtype: torch.dtype):
    """The initial network and the batch; the values are f32 numbers."""
    constructor, shape = NETWORKS[name]
    model = constructor()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict(
        {k: torch.from_numpy(generate.initial(k, tuple(v.shape))) for k, v in state.items()}, strict=False
    )
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch(shape).items()}
    return model.to(dtype), given


def run(name: str, dtype: torch.dtype, order=..., change=None) -> dict[str, np.ndarray]:
    """Everything that is compared, in f64, from a run in `dtype`; initial values are f32 numbers in both.
    `order` permutes the samples of the training batch, which changes nothing but rounding; `change` is a seed for
    changes of the image as small as rounding."""
    model, given = prepare(name, dtype)
    if change is not None and "image" in given:
        noise = torch.randn(given["image"].shape, generator=torch.Generator().manual_seed(change))
        given["image"] = given["image"] * (1 + CHANGE * noise)
    first = next(iter(given.values()))

    model.eval()
    with torch.no_grad():
        results = {"output": model(first).double().numpy()}

    model.train()
    given = {k: v[order] for k, v in given.items()}
    loss = loss_of(model(next(iter(given.values()))), given)
    loss.backward()
    results["loss"] = np.array([loss.item()])
    gradients = ((k, p.grad) for k, p in model.named_parameters())
    results |= {f"grad.{k}": v for k, v in generate.values(gradients).items()}
    return results | {f"first.{k}": v for k, v in generate.values(model.named_buffers()).items()}


def scales(exact) -> dict[str, float]:
    """The largest element of each tensor. A gradient that is 0 but for rounding, as that of a shift in front of a
    batch norm, is measured by the largest of all gradients."""
    largest = {k: float(np.abs(y).max()) for k, y in exact.items()}
    most = max(v for k, v in largest.items() if k.startswith("grad."))
    return {k: most if k.startswith("grad.") and v < 1e-10 * most else v for k, v in largest.items()}


def errors(exact, single) -> dict[str, float]:
    scale = scales(exact)
    return {k: float(np.abs(single[k] - y).max() / scale[k]) for k, y in exact.items()}


def make(name: str, kinks: bool) -> dict[str, tuple[np.ndarray, float, float]]:
    """What is written of a network as it is, or of the training step of one without kinks. Prints, for each kind of
    tensor, the worst error of PyTorch's f32 run as it is, and of all: with the samples of the batch in other orders, and
    of gradients behind kinks with the image changed by about a rounding error, too."""
    size = NETWORKS[name][1][0]
    orders = [...] + [np.random.default_rng(seed).permutation(size) for seed in range(ORDERS)]
    exact = run(name, torch.float64)
    if not kinks:
        exact = {k: y for k, y in exact.items() if k == "loss" or k.startswith("grad.")}
    found = [errors(exact, run(name, torch.float32, order)) for order in orders]
    if kinks and "bert" not in name:
        for seed in range(CHANGES):
            changed = errors(exact, run(name, torch.float32, change=seed))
            found.append({k: error if k.startswith("grad.") else 0.0 for k, error in changed.items()})
    tensors, worst, scale = {}, {}, scales(exact)
    for tensor, y in exact.items():
        pair = [found[0][tensor], max(single[tensor] for single in found)]
        tensors[tensor] = (y, scale[tensor], pair[1])
        kind = tensor.split(".")[0]
        worst[kind] = np.maximum(worst.get(kind, 0.0), pair)
    cells = ["{:.1e}, {:.1e}".format(*worst[kind]) if kind in worst else "" for kind in KINDS]
    print(f"| {name}{'' if kinks else ', smooth'} | " + " | ".join(cells) + " |", flush=True)
    return tensors


def main():
    generate.check_generator()
    torch.set_num_threads(1)
    print("| network | " + " | ".join(KINDS) + " |")
    print("|---|" + "---|" * len(KINDS))
    for name in sys.argv[1:] or NETWORKS:
        tensors = make(name, kinks=True)
        if name != "bert-tiny-encoder":
            with smooth():
                tensors |= {f"smooth.{k}": about for k, about in make(name, kinks=False).items()}
        generate.write(FOLDER / f"{name}.safetensors", KEEP, tensors)


if __name__ == "__main__":
    main()
