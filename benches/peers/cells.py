"""Times recurrent cells alone, beside PyTorch (eager) and, for inference, ONNX Runtime: f32, the same threads, in turns.

    env/bin/python benches/peers/cells.py --threads 2 --rounds 3 --json cells.json > cells.md
    env/bin/python benches/peers/cells.py --case lstm-512-16-64-infer --case gru-128-1-64-train

A case is `cell-hidden-batch-steps-entry`. There are 72: LSTM and GRU, hidden 128, 512 and 1024, batch 1, 16 and 64, 32 and 256
steps, inference and training. As many inputs as hidden units. A training call is a whole step: forward, the mean of the product
with a tensor, backward, update by SGD; the inputs want no gradient. Every measurement is a process of its own, bound to as
many cores as it has threads; what is printed is the median over the rounds of each round's median.

The floor is what no implementation is asked to beat: multiply-adds at 75 % of the peak, plus bytes at the bandwidth at
which as many bytes as there are recurrent weights are read over and over. Bytes: weights, inputs and results once; and the
recurrent weights once more in every step, forward and backward, where the threads' second-level caches do not hold them.
"""

import argparse
import itertools
import json
import math
import os
import re
import statistics
import sys
import tempfile

from compare import repeat, run

MODEL = """Model(
    dims: {{ "batch": {batch}, "length": {steps} }},
    inputs: {{ "x": "f32[batch, length, {hidden}]", "y": "f32[batch, length, {hidden}]" }},
    body: [{layer}(name: "cell", features: {hidden}), As("h")],
    entries: {{
        "infer": Infer(outputs: {{ "h": "h" }}),
        "train": Train(loss: "mean(h * y)", optimizer: Sgd(lr: 0.01)),
    }},
)
"""
SIZES = [["lstm", "gru"], [128, 512, 1024], [1, 16, 64], [32, 256], ["infer", "train"]]
CASES = ["-".join(map(str, case)) for case in itertools.product(*SIZES)]
GATES = {"lstm": 4, "gru": 3}
PEERS = ["torch", "onnxruntime"]
CACHE = "/sys/devices/system/cpu/cpu0/cache/index2/size"


def split(case):
    cell, hidden, batch, steps, entry = case.split("-")
    return cell, int(hidden), int(batch), int(steps), entry


def peer(system, case, threads, seconds):
    """The median of one peer in this process; `None` where it does not apply."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    cell, hidden, batch, steps, entry = split(case)
    model = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](hidden, hidden, batch_first=True)
    x, y = (torch.randn(batch, steps, hidden) for _ in range(2))
    if entry == "train":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)

        def step():
            optimizer.zero_grad()
            (model(x)[0] * y).mean().backward()
            optimizer.step()

        return repeat(step, seconds) if system == "torch" else None
    model.eval()
    if system == "torch":

        def infer():
            with torch.inference_mode():
                model(x)

        return repeat(infer, seconds)
    import io

    import onnxruntime

    buffer = io.BytesIO()
    torch.onnx.export(model, (x,), buffer, input_names=["x"], output_names=["h"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    feed = {"x": x.numpy()}
    return repeat(lambda: session.run(["h"], feed), seconds)


def brolga(binary, case, threads, seconds):
    cell, hidden, batch, steps, entry = split(case)
    with tempfile.NamedTemporaryFile("w", suffix=".ron") as file:
        file.write(MODEL.format(layer=cell.title(), hidden=hidden, batch=batch, steps=steps))
        file.flush()
        command = [binary, "bench", file.name, "--entry", entry, "--threads", str(threads)]
        return json.loads(run(command + ["--seconds", str(seconds), "--json"], threads))["median_ms"]


def bandwidth(size, threads):
    """Bytes that a millisecond reads, of so many that are read over and over."""
    import torch

    torch.set_num_threads(threads)
    halves = torch.randn(2, max(size // 8, 1))
    return size / repeat(lambda: torch.dot(halves[0], halves[1]), 0.3)


class Machine:
    """What the floor is made of."""

    def __init__(self, binary, threads):
        told = run([binary, "profile", "lenet5", "--threads", "1", "--seconds", "0.2"], threads)
        self.peak = float(re.search(r"peak ([\d.]+) GFLOP/s", told)[1]) * threads
        self.cache = int(open(CACHE).read().strip().rstrip("K")) * 1024 * threads if os.path.exists(CACHE) else 1 << 20
        self.threads, self.known = threads, {}

    def bandwidth(self, size):
        if size not in self.known:
            own = [sys.executable, __file__, "--bandwidth", str(size), "--threads", str(self.threads)]
            self.known[size] = json.loads(run(own, self.threads))
        return self.known[size]

    def floor(self, case):
        """The floor in milliseconds, and multiply-adds as FLOPs."""
        cell, hidden, batch, steps, entry = split(case)
        weights = GATES[cell] * hidden * hidden
        # Forward two products; backward one to the state before, and two for the weights.
        flops = (5 if entry == "train" else 2) * 2 * steps * batch * weights
        walks = (2 if entry == "train" else 1) * steps if weights * 4 > self.cache else 1
        data = steps * batch * hidden * (3 if entry == "train" else 2)
        size = 4 * (weights * (1 + walks) + data)
        return flops / (0.75 * self.peak * 1e6) + size / self.bandwidth(4 * weights), flops


def measure(arguments, machine, case):
    times = {system: [] for system in ["brolga", *PEERS]}
    for _ in range(arguments.rounds):
        for system in times:
            if system == "brolga":
                found = brolga(arguments.brolga, case, arguments.threads, arguments.seconds)
            else:
                own = [sys.executable, __file__, "--one", system, case, "--threads", str(arguments.threads)]
                found = json.loads(run(own + ["--seconds", str(arguments.seconds)], arguments.threads))
            if found is not None:
                times[system].append(found)
    medians = {system: statistics.median(values) for system, values in times.items() if values}
    best = min(value for system, value in medians.items() if system != "brolga")
    floor, flops = machine.floor(case)
    ours = medians["brolga"]
    share = flops / (ours * 1e6 * machine.peak)
    return {"case": case, **medians, "ratio": ours / best, "floor": floor, "floor_ratio": floor / best, "of_peak": share}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brolga", default="target/release/brolga", help="the command to measure")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long to repeat a call")
    parser.add_argument("--case", action="append", choices=CASES, metavar="CASE", help="only these")
    parser.add_argument("--json", help="a file for the same as JSON")
    parser.add_argument("--one", nargs=2, metavar=("PEER", "CASE"), help=argparse.SUPPRESS)
    parser.add_argument("--bandwidth", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return print(json.dumps(peer(*arguments.one, arguments.threads, arguments.seconds)))
    if arguments.bandwidth:
        return print(json.dumps(bandwidth(arguments.bandwidth, arguments.threads)))
    machine, rows = Machine(arguments.brolga, arguments.threads), []
    print(f"| case | brolga | {' | '.join(PEERS)} | brolga / best peer | floor / best peer | of the peak |")
    print("|---|" + "--:|" * (len(PEERS) + 4))
    for case in arguments.case or CASES:
        row = measure(arguments, machine, case)
        rows.append(row)
        cells = [f"{row[system]:.3g}" if system in row else "" for system in ["brolga", *PEERS]]
        ends = f"{row['ratio']:.2f} | {row['floor_ratio']:.2f} | {row['of_peak']:.0%}"
        print(f"| {case} | {' | '.join(cells)} | {ends} |", flush=True)
    ratios = [row["ratio"] for row in rows]
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    slower = sum(ratio > 1 for ratio in ratios)
    print(f"\n{len(rows)} cases, {arguments.threads} threads: geometric mean {mean:.2f}, {slower} slower, worst {max(ratios):.2f}.")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"threads": arguments.threads, "peak": machine.peak, "cases": rows}, file, indent=1)


if __name__ == "__main__":
    main()
