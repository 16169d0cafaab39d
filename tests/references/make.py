"""Writes the PyTorch references `<model>.safetensors`; README.md says what is in them.

    python make.py [MODEL ...]
"""

import math
import os
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

STEPS = 20
CLASSES = 10
ORDERS = 4
KEEP = 96
KINDS = ["logits", "grad", "first", "losses", "final"]
FOLDER = Path(__file__).parent


# Values from a formula: the same ones as in ../common/generate.rs.


def bits(name: str, count: int) -> np.ndarray:
    """The first `count` outputs of splitmix64, seeded with the FNV-1a hash of the tensor's name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    h = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def uniform(name: str, shape, scale: float, offset: float = 0.0) -> np.ndarray:
    """offset + scale * u, with u in [-1, 1) from the upper 24 bits; f64 arithmetic, rounded to f32."""
    u = (bits(name, math.prod(shape)) >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return (offset + scale * u).astype(np.float32).reshape(shape)


def initial(name: str, shape) -> np.ndarray:
    """The initial value of the state tensor `name`."""
    if name.endswith("running_mean"):
        return np.zeros(shape, np.float32)
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    if name.endswith("bias"):
        return uniform(name, shape, 0.1)
    if len(shape) == 1:  # the weight of a batch norm
        return uniform(name, shape, 0.1, 1.0)
    return uniform(name, shape, math.sqrt(6 / math.prod(shape[1:])))


def batch(shape, image="image") -> tuple[np.ndarray, np.ndarray]:
    """Images from the stream `image`, and labels."""
    return uniform(image, shape, 1.7), (bits("label", shape[0]) % np.uint64(CLASSES)).astype(np.int64)


KNOWN_BITS = ["0xb1178fc3f9b00095", "0xf2c8e9091799e73e"]
KNOWN_IMAGE = [0.6520034670829773, 1.52448570728302, 0.4463692307472229]
KNOWN_LABELS = [5, 3, 3, 1, 2, 2, 3, 1]
KNOWN_WEIGHT = -0.025306452065706253
KNOWN_GAIN = 1.0063763856887817
KNOWN_DIGEST = [0.05707293748855591, 0.08890935033559799, 0.3952379822731018, 0.46196219325065613, 0.015255520137741058, 0.6424912910795462, 1.2644884517176214, -0.40359165773304767]


def check_generator():
    """The known values that the Rust side is tested with as well."""
    images, labels = batch((8, 1, 28, 28))
    assert [hex(b) for b in bits("image", 2)] == KNOWN_BITS
    assert images.ravel()[:3].tolist() == KNOWN_IMAGE
    assert labels.tolist() == KNOWN_LABELS
    assert initial("fc1.weight", (256, 784))[255, 783] == np.float32(KNOWN_WEIGHT)
    assert initial("bn1.weight", (16,))[15] == np.float32(KNOWN_GAIN)
    assert np.abs(digest("first.x", images.astype(np.float64), 8) - KNOWN_DIGEST).max() < 1e-14


# The models.


def mlp_256_128():
    return nn.Sequential(OrderedDict([
        ("fc1", nn.Linear(784, 256)), ("relu1", nn.ReLU()),
        ("fc2", nn.Linear(256, 128)), ("relu2", nn.ReLU()),
        ("fc3", nn.Linear(128, 10)),
    ]))  # fmt: skip


def lenet5(activation=nn.ReLU, pool=nn.MaxPool2d):
    """LeCun, Bottou, Bengio & Haffner 1998, in its modern form, or with tanh and average pooling."""
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(1, 6, 5, padding=2)), ("act1", activation()), ("pool1", pool(2)),
        ("conv2", nn.Conv2d(6, 16, 5)), ("act2", activation()), ("pool2", pool(2)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(400, 120)), ("act3", activation()),
        ("fc2", nn.Linear(120, 84)), ("act4", activation()),
        ("fc3", nn.Linear(84, 10)),
    ]))  # fmt: skip


class ZeroPadded(nn.Module):
    """Option A of He et al. 2015: every second pixel, and zero channels, half before and half after."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.extra = (outputs - inputs) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if inputs == outputs:
            self.downsample = nn.Identity()
        elif projection:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        else:
            self.downsample = ZeroPadded(inputs, outputs)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet20(nn.Module):
    """He, Zhang, Ren & Sun 2015, for 3x32x32."""

    def __init__(self, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for stage, outputs in enumerate([16, 32, 64], 1):
            blocks = []
            for position in range(3):
                stride = 2 if stage > 1 and position == 0 else 1
                blocks.append(Block(inputs, outputs, stride, projection))
                inputs = outputs
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class VggMini(nn.Module):
    """Simonyan & Zisserman 2014, shrunk to 3x32x32; torchvision's names. Dropout is at rate 0."""

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for entry in [16, 16, "M", 32, 32, "M"]:
            if entry == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(inputs, entry, 3, padding=1), nn.ReLU()]
                inputs = entry
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Dropout(0.0), nn.Linear(64, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}

# With these, derivatives of ReLU that flip by rounding stay below what is compared (README.md).
GENTLE = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=5e-6, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=5e-6, eps=0.1),
}

# The streams of the images, where they are not `image`.
IMAGES = {"resnet20": "image.27", "resnet20-projection": "image.9"}

MODELS = {  # name: (constructor, shape of the batch, optimisers)
    "mlp-256-128": (mlp_256_128, (64, 784), OPTIMIZERS),
    "lenet5": (lenet5, (64, 1, 28, 28), OPTIMIZERS),
    "lenet5-tanh": (lambda: lenet5(nn.Tanh, nn.AvgPool2d), (32, 1, 28, 28), OPTIMIZERS),
    "resnet20": (lambda: ResNet20(False), (16, 3, 32, 32), GENTLE),
    "resnet20-projection": (lambda: ResNet20(True), (16, 3, 32, 32), GENTLE),
    "vgg-mini": (VggMini, (16, 3, 32, 32), GENTLE),
}


# The runs.


def values(named) -> dict[str, np.ndarray]:
    return {k: v.detach().double().numpy().copy() for k, v in named if not k.endswith("num_batches_tracked")}


def run(model_name: str, optimizer_name: str, dtype: torch.dtype, order=...) -> dict[str, np.ndarray]:
    """Everything that is compared, in f64, from a run in `dtype`; initial values are f32 numbers in both.
    `order` permutes the samples of the training batch, which changes nothing but rounding."""
    constructor, shape, optimizers = MODELS[model_name]
    model = constructor()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: torch.from_numpy(initial(k, tuple(v.shape))) for k, v in state.items()}, strict=False)
    model.to(dtype)
    images, labels = (torch.from_numpy(a) for a in batch(shape, IMAGES.get(model_name, "image")))
    images = images.to(dtype)

    model.eval()
    with torch.no_grad():
        results = {"logits": model(images).double().numpy()}

    model.train()
    images, labels = images[order], labels[order]
    optimizer = optimizers[optimizer_name](model.parameters())
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        if step == 0:
            gradients = ((k, p.grad) for k, p in model.named_parameters())
            results |= {f"grad.{k}": v for k, v in values(gradients).items()}
            results |= {f"first.{k}": v for k, v in values(model.named_buffers()).items()}
        optimizer.step()
        losses.append(loss.item())
    results["losses"] = np.array(losses)
    return results | {f"final.{k}": v for k, v in values(model.state_dict().items()).items()}


def digest(name: str, y: np.ndarray, keep: int) -> np.ndarray:
    """All elements of a tensor of at most `keep`. Of a larger one `keep / 2` elements, and as many sums: sum j is that of
    the elements j, j + keep / 2, ... with signs from a formula, over the root of their number. Every element is in one."""
    flat = y.ravel()
    if flat.size <= keep:
        return flat
    half = keep // 2
    at = bits(f"at.{name}", half) % np.uint64(flat.size)
    signs = 1.0 - 2.0 * (bits(name, flat.size) >> np.uint64(63)).astype(np.float64)
    sums = [(flat * signs)[j::half].sum() for j in range(half)]
    return np.concatenate([flat[at], np.array(sums) / math.sqrt(flat.size / half)])


def write(path: Path, keep: int, tensors: dict[str, tuple[np.ndarray, float, float]]):
    """Writes the digests of tensors, of each of which is given: its elements, the largest, the error in f32."""
    names, counts, scales, numbers, before = [], [], [], [], ""
    for name, (y, largest, error) in sorted(tensors.items()):
        shared = len(os.path.commonprefix([before, name]))
        names.append(f"{shared} {name[shared:]}")
        before = name
        counts.append(y.size)
        scales.append(np.array([largest, error], np.float32))
        fixed = np.rint(digest(name, y, keep) / (float(scales[-1][0]) * 2.0**-36)).astype("<i8")
        assert (np.abs(fixed) < 2**39).all(), name
        numbers.append(fixed.view(np.uint8).reshape(-1, 8)[:, :5])
    content = {"counts": np.array(counts, np.uint32), "scales": np.array(scales), "numbers": np.concatenate(numbers)}
    save_file(content, path, {"keep": str(keep), "names": "\n".join(names)})


def make(model: str):
    """Writes one file. Prints, for each optimiser and kind of tensor, the worst error of PyTorch's f32 run; and how well
    PyTorch keeps the rule with the samples of the batch in other orders: the largest error, as a share of what the rule
    allows."""
    size = MODELS[model][1][0]
    orders = [...] + [np.random.default_rng(seed).permutation(size) for seed in range(ORDERS)]
    tensors = {}
    for optimizer in OPTIMIZERS:
        exact = run(model, optimizer, torch.float64)
        singles = [run(model, optimizer, torch.float32, order) for order in orders]
        worst, share = {}, 0.0
        for name, y in exact.items():
            largest = np.abs(y).max()
            first, *others = [np.abs(single[name] - y).max() / largest for single in singles]
            kind = name.split(".")[0]
            worst[kind] = max(worst.get(kind, 0.0), first)
            share = max(share, max(others) / max(1e-6, 3 * first))
            if kind in ("losses", "final"):
                tensors[f"{optimizer}.{name}"] = (y, largest, first)
            else:  # before the first update: the same with both optimisers
                y_before, *about = tensors.setdefault(name, (y, largest, first))
                assert np.array_equal(y_before, y) and about == [largest, first]
        cells = ["{:.1e}".format(worst[kind]) if kind in worst else "" for kind in KINDS]
        print(f"| {model} | {optimizer} | " + " | ".join(cells) + f" | {share:.2f} |", flush=True)
    write(FOLDER / f"{model}.safetensors", KEEP, tensors)


def main():
    check_generator()
    torch.set_num_threads(1)
    print("| model | optimizer | " + " | ".join(KINDS) + " | other orders |")
    print("|---|---|" + "---|" * (len(KINDS) + 1))
    for model in sys.argv[1:] or MODELS:
        make(model)


if __name__ == "__main__":
    main()
