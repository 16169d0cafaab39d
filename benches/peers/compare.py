"""Times Brolga beside PyTorch (eager and compiled), ONNX Runtime, OpenVINO and JAX: the same networks, f32, the same
threads, in turns.

    python -m venv env && env/bin/pip install -r requirements.txt
    cargo build --release
    env/bin/python benches/peers/compare.py --threads 2 --rounds 3 > benches/peers/RESULTS.md

Every measurement is a process of its own, bound to as many cores as it has threads. A round measures every system
on a workload before the next workload begins; what is printed is the median over the rounds of each round's median, and
the ratio of Brolga's to the best peer's. Weights are random: they do not change what is computed. A training call is
a whole step: forward, loss, backward, update by SGD with momentum, on the same batch every time. In `alexnet_bf16`
Brolga keeps its weights as bf16 and the peers theirs as f32. A call of `char_gru` writes 256 characters, each the likeliest
behind those before it: Brolga by a loop in one call, the peers by a model of one step that takes its own results. `inductor` is
`torch.compile`, which needs a C++ compiler; for inference it freezes the weights. JAX takes part in training steps only. A peer
that is not installed is left out.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

# name: (Brolga's model, batch, Brolga's further settings)
INFERENCE = {
    "lenet5": ("lenet5-tanh", 1, []),
    "lenet5_b16": ("lenet5-tanh", 16, []),
    "alexnet": ("alexnet-tv", 1, []),
    "alexnet_bf16": ("alexnet-tv", 1, ["--precision", "bf16"]),
    "vgg16": ("vgg16", 1, []),
    "googlenet": ("googlenet-tv", 1, []),
    "resnet18": ("resnet18", 1, []),
    "resnet18_b16": ("resnet18", 16, []),
    "resnet50": ("resnet50", 1, []),
    "mobilenet_v2": ("mobilenet_v2", 1, []),
    "densenet121": ("densenet121", 1, []),
    "bert_tiny_encoder": ("bert-tiny-encoder", 1, []),
    "char_gru": ("char-gru", 1, []),
}
TRAINING = {
    "mlp_b64": ("mlp-256-128", 64, []),
    "lenet_b64": ("lenet5-tanh", 64, []),
    "resnet20_cifar_b64": ("resnet20-projection", 64, []),
    "resnet18_224_b8": ("resnet18", 8, []),
    "vgg11_224_b4": ("vgg11", 4, ["--set", "dropout=0"]),
    "ptb_lstm_small_T20_b20": ("ptb-lstm-small", 20, []),
    "char_gru_T64_b32": ("char-gru", 32, []),
}
# Calls of a model of one step, each of which takes the results of the one before; of Brolga, the entry that has the loop.
STEPS = {"char_gru": (256, "write")}
WORKLOADS = INFERENCE | TRAINING
PEERS = ["torch", "inductor", "onnxruntime", "openvino", "jax"]


def build(name):
    """The PyTorch module of a workload, and an input, or a tuple of them."""
    import torch
    import torchvision
    from torch import nn
    from words import words

    torch.manual_seed(0)
    batch = WORKLOADS[name][1]
    if name.startswith(("char", "ptb")):
        return words(name, batch)
    if name.startswith("mlp"):
        layers = [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)]
        return nn.Sequential(*layers), torch.randn(batch, 1, 28, 28)
    if name.startswith("lenet"):
        layers = [nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh()]
        layers += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(84, 10)), torch.randn(batch, 1, 28, 28)
    if name.startswith("resnet20"):
        return resnet20(), torch.randn(batch, 3, 32, 32)
    if name.startswith("bert"):
        return encoder(30522, 128, 256, 4, 4), torch.randint(0, 30522, (batch, 128))
    images = torch.randn(batch, 3, 224, 224)
    family = name.split("_")[0] if name.startswith(("resnet", "vgg", "alexnet")) else name
    options = {"weights": None}
    if family == "googlenet":
        options |= {"aux_logits": False, "init_weights": False}
    if family == "vgg11":
        options |= {"dropout": 0.0}
    return getattr(torchvision.models, family)(**options), images


def labels_of(name, x):
    """The labels of a training step's input: classes of images, or the word behind each."""
    import torch

    return torch.arange(len(x)) % 10 if x.is_floating_point() else x.roll(-1, 1)


def resnet20():
    """ResNet-20 for 32 x 32 images, with 1 x 1 convolutions as shortcuts."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
            plain = stride == 1 and inputs == outputs
            self.shortcut = nn.Identity() if plain else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            return (self.main(x) + self.shortcut(x)).relu()

    sizes = [(16, 1)] * 3 + [(32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)]
    blocks, inputs = [], 16
    for outputs, stride in sizes:
        blocks.append(Block(inputs, outputs, stride))
        inputs = outputs
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def encoder(vocabulary, length, width, heads, layers):
    """BERT's encoder: post-norm, bidirectional."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x):
            split = self.qkv(x).view(x.shape[0], length, 3, heads, width // heads)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(x.shape)
            x = self.ln1(x + self.proj(seen))
            return self.ln2(x + self.down(F.gelu(self.up(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(vocabulary, width)
            self.position = nn.Parameter(torch.randn(length, width) * 0.02)
            self.ln, self.blocks = nn.LayerNorm(width), nn.Sequential(*(Layer() for _ in range(layers)))

        def forward(self, words):
            return self.blocks(self.ln(self.embed(words) + self.position))

    return Encoder()


def repeat(call, seconds):
    """The median time of a call in milliseconds."""
    call(), call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def stepped(name, function, inputs):
    """A call of a function that gives a list, as often as the workload says, of its own results but the first time."""
    count, _ = STEPS.get(name, (1, None))

    def call():
        values = inputs
        for _ in range(count):
            values = function(values)

    return call


def torch_call(name, layout, compiled=False):
    import torch
    import torch.nn.functional as F

    model, x = build(name)
    compile = torch.compile if compiled else lambda function: function
    if not isinstance(x, tuple) and x.ndim == 4:
        model, x = model.to(memory_format=layout), x.contiguous(memory_format=layout)
    if name in INFERENCE:
        model.eval()
        network = compile(model)
        call = stepped(name, lambda values: network(*values), x if isinstance(x, tuple) else (x,))
        return torch.inference_mode()(call)
    model.train()
    labels = labels_of(name, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)

    loss_of = compile(lambda x: F.cross_entropy(model(x).flatten(0, -2), labels.flatten()))

    def step():
        optimizer.zero_grad()
        loss_of(x).backward()
        optimizer.step()

    return step


def peer(system, name, threads, seconds):
    """The median of one peer in this process; `None` where it does not apply."""
    import torch

    torch.set_num_threads(threads)
    if system == "torch":
        words = name.startswith(("char", "ptb"))
        layouts = [torch.contiguous_format] if words else [torch.contiguous_format, torch.channels_last]
        return min(repeat(torch_call(name, layout), seconds / len(layouts)) for layout in layouts)
    if system == "inductor":
        # Compiled for the default layout, from which it chooses its own.
        return repeat(torch_call(name, torch.contiguous_format, compiled=True), seconds)
    if (system == "jax") == (name in INFERENCE) or importlib.util.find_spec(system) is None:
        return None
    if system == "jax":
        import jax_step

        model, x = build(name)
        return repeat(jax_step.training_call(model, x, labels_of(name, x)), seconds)
    if name not in INFERENCE:
        return None
    model, x = build(name)
    model.eval()
    inputs = x if isinstance(x, tuple) else (x,)
    arrays = [value.numpy() for value in inputs]
    if system == "openvino":
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(openvino.convert_model(model, example_input=inputs), "CPU", settings)
        request, count = compiled.create_infer_request(), len(compiled.outputs)

        def infer(values):
            results = request.infer(list(values), share_inputs=True, share_outputs=True)
            # Results of a step are the inputs of the next, and may not be written over while they are read.
            return [results[at].copy() if name in STEPS else results[at] for at in range(count)]

        return repeat(stepped(name, infer, arrays), seconds)
    import io

    import onnxruntime

    buffer = io.BytesIO()
    names = [f"x{at}" for at in range(len(inputs))]
    torch.onnx.export(model, inputs, buffer, input_names=names, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    return repeat(stepped(name, lambda values: session.run(None, dict(zip(names, values))), arrays), seconds)


def brolga(binary, name, threads, seconds):
    model, batch, more = WORKLOADS[name]
    _, entry = STEPS.get(name, (1, "infer" if name in INFERENCE else "train"))
    command = [binary, "bench", model, "--entry", entry, "--dim", f"batch={batch}", "--threads", str(threads)]
    output = run(command + ["--seconds", str(seconds), "--json", *more], threads)
    return json.loads(output)["median_ms"]


def run(command, threads):
    bind = lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_FREEZING": "1"}
    if threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=bind, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-500:]}")
    return done.stdout


def compare(arguments):
    print(f"| workload | brolga | {' | '.join(PEERS)} | brolga / best peer |")
    print("|---|" + "--:|" * (len(PEERS) + 2))
    for name in arguments.workload or WORKLOADS:
        times = {system: [] for system in ["brolga", *PEERS]}
        for _ in range(arguments.rounds):
            for system in times:
                if system == "brolga":
                    found = brolga(arguments.brolga, name, arguments.threads, arguments.seconds)
                else:
                    own = [sys.executable, __file__, "--one", system, name, "--threads", str(arguments.threads)]
                    found = json.loads(run(own + ["--seconds", str(arguments.seconds)], arguments.threads))
                if found is not None:
                    times[system].append(found)
        medians = {system: statistics.median(values) for system, values in times.items() if values}
        best = min(value for system, value in medians.items() if system != "brolga")
        cells = [f"{medians[system]:.3g}" if system in medians else "" for system in times]
        print(f"| {name} | {' | '.join(cells)} | {medians['brolga'] / best:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brolga", default="target/release/brolga", help="the command to measure")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to repeat a call")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only these")
    parser.add_argument("--one", nargs=2, metavar=("PEER", "WORKLOAD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        system, name = arguments.one
        return print(json.dumps(peer(system, name, arguments.threads, arguments.seconds)))
    compare(arguments)


if __name__ == "__main__":
    main()
