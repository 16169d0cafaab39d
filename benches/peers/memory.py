"""Memory of a training step, Brolga's beside PyTorch's: the most bytes of activations, and the largest resident size.

    env/bin/python benches/peers/memory.py --brolga target/release/brolga

Activations are what a step allocates beyond parameters, their gradients, the optimiser's state and the batch: of
PyTorch, from the profiler's record of its allocator (what libraries allocate by themselves is not in it), the most
bytes at any time above those held before the step, with gradients kept from the step before; of Brolga, the arena,
which also holds gradients until they are used, and the local memory of all threads. `live` is the largest sum of what
is alive at once in that arena.
Resident sizes are those of whole processes that do three steps.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile

from compare import TRAINING, build, labels_of


def training_step(name):
    import torch
    import torch.nn.functional as F

    model, images = build(name)
    model.train()
    labels = labels_of(name, images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(keep=False):
        optimizer.zero_grad(set_to_none=not keep)
        F.cross_entropy(model(images).flatten(0, -2), labels.flatten()).backward()
        optimizer.step()

    return step


def activations(step):
    """The most bytes that PyTorch allocates in a step above those that it starts with. `step(keep=True)` keeps gradients."""
    from torch.profiler import ProfilerActivity, profile

    step(keep=True), step(keep=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step(keep=True)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        recorded.export_chrome_trace(path)
        with open(path) as file:
            events = json.load(file)["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    memory.sort(key=lambda event: event["ts"])
    alive = most = 0
    for event in memory:
        alive += event["args"]["Bytes"]
        most = max(most, alive)
    return most


def resident(name):
    """The largest resident size of this process after three steps, in bytes."""
    step = training_step(name)
    for _ in range(3):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(what, name):
    command = [sys.executable, __file__, "--one", what, name]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def brolga(binary, name):
    model, batch, more = TRAINING[name]
    command = [binary, "bench", model, "--entry", "train", "--dim", f"batch={batch}", "--seconds", "0", "--json", *more]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brolga", default="target/release/brolga", help="the command to measure")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "WORKLOAD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, name = arguments.one
        return print(json.dumps(activations(training_step(name)) if what == "activations" else resident(name)))
    print("| training step | live | arena, local | torch | arena, local / torch | resident | torch | ratio |")
    print("|---|" + "--:|" * 7)
    for name in TRAINING:
        own, peer, peer_rss = brolga(arguments.brolga, name), one("activations", name), one("resident", name)
        live, rss = own["live_bytes"], own["peak_rss_mb"]
        arena = own["arena_bytes"] + own["threads"] * own["local_bytes"]
        cells = [f"{live / 1e6:.1f}", f"{arena / 1e6:.1f}", f"{peer / 1e6:.1f}", f"{arena / peer:.2f}"]
        cells += [f"{rss:.0f}", f"{peer_rss / 1e6:.0f}", f"{rss * 1e6 / peer_rss:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
