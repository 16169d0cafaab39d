"""What the length of a sequence costs before and while a recurrent network trains: the time to compile a training step, and its
memory beside PyTorch's.

    env/bin/python benches/peers/lengths.py --brolga target/release/brolga

`compile` is the median of `--rounds` processes, in milliseconds. `arena` is what Brolga's step needs beyond parameters, their
gradients' memory and the batch, with the local memory of all threads; `live` the largest sum of what is alive at once in it; of
PyTorch, the most bytes that its allocator holds in a step above those before it, as in `memory.py`. Both in MB. `ratio` is Brolga's arena
to PyTorch's bytes; `grows` how many times the arena is that of the length before, beside how many times the length is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from memory import activations
from words import words

LENGTHS = [8, 256, 4096]

LSTM = """Model(
    parameters: { "n": 128 },
    dims: { "batch": 16, "length": 64 },
    inputs: { "x": "f32[batch, length, n]" },
    body: [Lstm(name: "rnn", features: "n")],
    entries: { "train": Train(loss: "mean(it ** 2)", optimizer: Sgd(lr: 0.01, momentum: 0.9)) },
)"""

# name: the text of Brolga's model, or its name; the batch
NETWORKS = {"Lstm(128)": (LSTM, 16), "ptb-lstm-small": ("ptb-lstm-small", 1)}


def training_step(name, length):
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)
    batch = NETWORKS[name][1]
    if name == "ptb-lstm-small":
        model, x = words(f"ptb_lstm_small_T20_b{batch}", batch, length)
        loss_of = lambda: F.cross_entropy(model(x).flatten(0, -2), x.roll(-1, 1).flatten())
    else:
        model, x = nn.LSTM(128, 128, batch_first=True), torch.randn(batch, length, 128)
        loss_of = lambda: (model(x)[0] ** 2).mean()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(keep=False):
        optimizer.zero_grad(set_to_none=not keep)
        loss_of().backward()
        optimizer.step()

    return step


def brolga(binary, name, length, rounds, folder):
    model, batch = NETWORKS[name]
    if model.startswith("Model("):
        path = os.path.join(folder, "model.ron")
        with open(path, "w") as file:
            file.write(model)
        model = path
    command = [binary, "bench", model, "--entry", "train", "--seconds", "0", "--json"]
    command += ["--dim", f"batch={batch}", "--dim", f"length={length}"]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(rounds)]
    found = runs[0]
    found["compile_ms"] = statistics.median(run["compile_ms"] for run in runs)
    found["scratch"] = found["arena_bytes"] + found["threads"] * found["local_bytes"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brolga", default="target/release/brolga", help="the command to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", action="append", choices=NETWORKS, help="only these")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "LENGTH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, length = arguments.one
        return print(activations(training_step(name, int(length))))
    print("| network | batch | steps | compile | live | arena | torch | ratio | grows |")
    print("|---|" + "--:|" * 8)
    for name in arguments.network or NETWORKS:
        before = None
        with tempfile.TemporaryDirectory() as folder:
            for length in LENGTHS:
                own = brolga(arguments.brolga, name, length, arguments.rounds, folder)
                command = [sys.executable, __file__, "--one", name, str(length)]
                peer = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                grows = f"{own['scratch'] / before[1]:.1f} of {length / before[0]:.0f}" if before else ""
                before = length, own["scratch"]
                cells = [str(NETWORKS[name][1]), str(length), f"{own['compile_ms']:.1f}"]
                cells += [f"{bytes / 1e6:.2f}" for bytes in (own["live_bytes"], own["scratch"], peer)]
                print(f"| {name} | {' | '.join(cells)} | {own['scratch'] / peer:.2f} | {grows} |", flush=True)


if __name__ == "__main__":
    main()
