"""A model as a program of its own: how long an answer takes, how large the program is, and how soon it has answered first.
Brolga's C program and its executable beside C from emx-onnx-cgen, a module of IREE and ONNX Runtime.

    python -m venv env && env/bin/pip install -r requirements.txt emx-onnx-cgen iree-base-compiler iree-base-runtime
    cargo build --release
    env/bin/python benches/peers/standalone.py --threads 1 --rounds 3

Networks and batch are those of `compare.py`; weights are random, and do not change what is computed. All is in f32.

- time: the median of the calls of a round, and of the rounds' medians. Systems take turns.
- program: bytes of what runs, stripped, without weights: of a C program all of it, of IREE its module and the runtime that runs
  modules, of ONNX Runtime its library.
- weights: bytes of the weights beside or in it.
- first answer: from the start of the process to its end, one answer in between, less what an empty C program takes; of ONNX
  Runtime, which has no program, from the file's bytes to the first answer within Python. Files are in the page cache.

C programs have one thread. The last column is Brolga's time, of the C program or the executable, whichever is less, by the time
of the fastest peer.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import compare

MODELS = ["lenet5", "resnet18", "mobilenet_v2", "bert_tiny_encoder"]
SYSTEMS = ["brolga C", "brolga exe", "emx-onnx-cgen", "iree", "onnxruntime"]
# Processes that are started for a first answer: so many, or three where that takes longer than so many seconds.
RUNS, MOST_SECONDS = 15, 3

# Calls for so many seconds, and prints the median in milliseconds; one call alone where these are 0.
TIMES = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}
static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static void repeat(void (*call)(void), double seconds) {
    enum { MOST = 1 << 20 };
    call();
    if (seconds == 0) return;
    double *times = malloc(MOST * sizeof *times), end = now() + 1e3 * seconds;
    int count = 0;
    while (count < MOST && (count < 3 || now() < end)) {
        double start = now();
        call();
        times[count++] = now() - start;
    }
    qsort(times, count, sizeof *times, ascending);
    printf("%.6f\n", times[count / 2]);
}
"""

BROLGA = r"""
#include "net.h"
#include <fcntl.h>
#include <sys/mman.h>
static unsigned char scratch[NET_SCRATCH_BYTES];
static net model;
$MEMORY
static void call(void) { if (net_infer(&model, $ARGUMENTS) != 0) exit(3); }
int main(int count, char **words) {
    void *file = mmap(NULL, NET_STATE_BYTES, PROT_READ, MAP_PRIVATE, open("net.weights", O_RDONLY), 0);
    net_setup(&model, NULL, scratch);
    if (file == MAP_FAILED || net_use_file(&model, file, NET_STATE_BYTES) != 0) return 1;
    $INPUTS
    repeat(call, count > 1 ? atof(words[1]) : 0);
    return 0;
}
"""

# Draws the weights, and writes them as safetensors.
DRAW = r"""
#include "draw.h"
#include <stdio.h>
static unsigned char state[DRAW_STATE_BYTES], scratch[DRAW_SCRATCH_BYTES], file[DRAW_FILE_BYTES];
int main(void) {
    draw model;
    draw_setup(&model, state, scratch);
    if (draw_init(&model, 1) != 0) return 1;
    draw_save_state(&model, file);
    return fwrite(file, 1, sizeof file, stdout) != sizeof file;
}
"""


def shell(command, folder, threads=1):
    """What a command prints, on as many cores as there are threads."""
    bind = lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, preexec_fn=bind)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr[-800:]}")
    return done.stdout


def started(command, folder, threads):
    """How long a process takes, in milliseconds."""
    bind = lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True, preexec_fn=bind)
    return 1e3 * (time.perf_counter() - start)


class System:
    """A system with a model, in a folder. `program` and `weights` are bytes."""

    program = weights = None

    def __init__(self, name, folder, arguments):
        self.name, self.folder, self.arguments = name, folder, arguments
        self.threads = arguments.threads
        self.model, self.batch, more = compare.WORKLOADS[name]
        self.more = " ".join(more)
        folder.mkdir(parents=True, exist_ok=True)
        self.make()

    def compiled(self, text, flags, output):
        """A C program, stripped; its bytes."""
        (self.folder / f"{output}.c").write_text(text)
        shell(f"cc {flags} -o {output} -lm && strip {output}", self.folder)
        return (self.folder / output).stat().st_size

    def answered(self):
        """The time to the first answer, less that of an empty program, which takes turns with it."""
        empty = [str(Path(self.arguments.work).resolve() / "empty")]
        more = lambda: started(self.first, self.folder, self.threads) - started(empty, self.folder, self.threads)
        found, end = [], time.perf_counter() + MOST_SECONDS
        while len(found) < 3 or (len(found) < RUNS and time.perf_counter() < end):
            found.append(more())
        return statistics.median(found)


class BrolgaC(System):
    def make(self):
        brolga = self.arguments.brolga
        build = f"{brolga} build {self.model} {self.more}"
        shell(f"{build} --entry init --symbol draw -o draw.o", self.folder)
        self.compiled(DRAW, "-O1 draw.c draw.o", "draw")
        shell("./draw > w.safetensors", self.folder)
        told = shell(
            f"{build} --dim batch={self.batch} --weights w.safetensors --mapped net.weights --symbol net -o net.o",
            self.folder)
        memory, inputs, names = self.parameters(told)
        text = BROLGA.replace("$MEMORY", memory).replace("$INPUTS", inputs).replace("$ARGUMENTS", names)
        # Its size is that of a program that answers, without what measures.
        once = text.replace("repeat(call, count > 1 ? atof(words[1]) : 0);", "(void)count, (void)words, call();")
        self.program = self.compiled("#include <stdlib.h>\n" + once, "-Os once.c net.o", "once")
        self.compiled(TIMES + text, "-O2 times.c net.o", "times")
        self.weights = (self.folder / "net.weights").stat().st_size
        self.first = ["./once"]

    def parameters(self, told):
        """Arrays for inputs and outputs, what fills them, and their names, by the prototype."""
        prototype = re.search(r"int net_infer\(net \*model, (.*)\)", told).group(1)
        memory, fill, names = [], [], []
        for parameter in prototype.split(", "):
            constant, kind, name = re.fullmatch(r"(const )?(\w+) \*(\w+)", parameter).groups()
            role = "INPUT" if constant else "OUTPUT"
            bytes = f"NET_INFER_{role}_{name.upper()}_BYTES"
            memory.append(f"static {kind} {name}[{bytes} / sizeof({kind})];")
            names.append(name)
            if constant:
                value = "i % 97 / 97.0f - 0.5f" if kind == "float" else "i % 97"
                fill.append(f"for (size_t i = 0; i < sizeof {name} / sizeof *{name}; i++) {name}[i] = {value};")
        return "\n".join(memory), " ".join(fill), ", ".join(names)

    def time(self):
        return float(shell(f"./times {self.arguments.seconds}", self.folder))


class BrolgaExe(System):
    def make(self):
        brolga, weights = self.arguments.brolga, self.folder.parent / "brolga C" / "w.safetensors"
        build = f"{brolga} build {self.model} {self.more} --emit exe --dim batch={self.batch}"
        shell(f"{build} -o bare && strip bare", self.folder)
        shell(f"{build} --weights '{weights}' -o net && strip net", self.folder)
        self.program = (self.folder / "bare").stat().st_size
        self.weights = (self.folder / "net").stat().st_size - self.program
        self.write_inputs()
        self.first = ["./net", "--inputs", "in.npz", "--outputs", "out.npz", "--threads", str(self.threads)]

    def write_inputs(self):
        """A file with an input for the first answer."""
        import numpy

        _, images = compare.build(self.name)
        array = images.numpy()
        array = array.astype("int32") if array.dtype == "int64" else array
        told = shell("./net --help", self.folder)
        name = re.search(r"input +(\w+):", told).group(1)
        numpy.savez(self.folder / "in.npz", **{name: array})

    def time(self):
        command = f"./net bench --seconds {self.arguments.seconds} --threads {self.threads} --json"
        return json.loads(shell(command, self.folder, self.threads))["median_ms"]


def exported(name, file):
    """Writes the network as ONNX, with weights inside."""
    import warnings

    import torch

    # The exporter is the one of `compare.py`.
    warnings.simplefilter("ignore", DeprecationWarning)
    model, images = compare.build(name)
    model.eval()
    torch.onnx.export(model, (images,), str(file), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False)
    return images


EMX = r"""
#include "emx.c"
$MEMORY
static void call(void) { net($ARGUMENTS); }
int main(int count, char **words) {
    if (!net_load("net.bin")) return 1;
    $INPUTS
    repeat(call, count > 1 ? atof(words[1]) : 0);
    return 0;
}
"""


class Emx(System):
    def make(self):
        exported(self.name, self.folder / "net.onnx")
        tool = Path(sys.executable).parent / "emx-onnx-cgen"
        shell(f"{tool} compile net.onnx emx.c --model-name net --large-weight-threshold 1024 --restrict-arrays", self.folder)
        prototype = re.search(r"^void net\((.*)\) \{", (self.folder / "emx.c").read_text(), re.M).group(1)
        memory, fill, names = [], [], []
        for parameter in prototype.split(", "):
            constant, kind, name, dims = re.fullmatch(r"(const )?(\w+) (\w+)((?:\[.*\])+)", parameter).groups()
            memory.append(f"static {kind} {name}{dims.replace('restrict ', '')};")
            names.append(name)
            if constant:
                value = "i % 97 / 97.0f - 0.5f" if kind == "float" else "i % 97"
                fill.append(f"for (size_t i = 0; i < sizeof {name} / sizeof({kind}); i++) (({kind} *){name})[i] = {value};")
        text = EMX.replace("$MEMORY", "\n".join(memory)).replace("$INPUTS", " ".join(fill))
        text = text.replace("$ARGUMENTS", ", ".join(names))
        once = text.replace("repeat(call, count > 1 ? atof(words[1]) : 0);", "(void)count, (void)words, call();")
        optimised = "-O3 -march=native"
        self.program = self.compiled(once, f"{optimised} once.c", "once")
        self.compiled(TIMES + text, f"{optimised} times.c", "times")
        self.weights = (self.folder / "net.bin").stat().st_size
        self.first = ["./once"]

    def time(self):
        return float(shell(f"./times {self.arguments.seconds}", self.folder))


class Iree(System):
    def make(self):
        images = exported(self.name, self.folder / "net.onnx")
        tools = Path(sys.executable).parent
        shell(f"{tools}/iree-import-onnx net.onnx -o net.mlir", self.folder)
        target = "--iree-hal-target-device=local --iree-hal-local-target-device-backends=llvm-cpu"
        shell(f"{tools}/iree-compile {target} --iree-llvmcpu-target-cpu=host --iree-opt-level=O3 net.mlir -o net.vmfb", self.folder)
        import iree.runtime

        self.tools = next(Path(iree.runtime.__file__).parent.parent.glob("_runtime_libs"))
        self.weights = sum(4 * p.numel() for p in compare.build(self.name)[0].parameters())
        module = (self.folder / "net.vmfb").stat().st_size
        self.program = module - self.weights + (self.tools / "iree-run-module").stat().st_size
        kind = {"torch.float32": "f32=0.5", "torch.int64": "i64=7"}[str(images.dtype)]
        shape = "x".join(map(str, images.shape))
        function = re.search(r"func\.func @(\w+)", (self.folder / "net.mlir").read_text()).group(1)
        # With a queue of tasks, as many workers as there are threads.
        device = f"local-task --task_topology_group_count={self.threads}" if self.threads > 1 else "local-sync"
        self.call = f"--module=net.vmfb --device={device} --function={function} --input={shape}x{kind}"
        self.first = [str(self.tools / "iree-run-module"), *self.call.split(" ")]

    def time(self):
        more = f"--benchmark_format=json --benchmark_min_time={self.arguments.seconds}s"
        told = shell(f"{self.tools}/iree-benchmark-module {self.call} {more}", self.folder, self.threads)
        found = json.loads(told[told.index("{"):])["benchmarks"][0]
        return found["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}[found["time_unit"]]


class OnnxRuntime(System):
    def make(self):
        exported(self.name, self.folder / "net.onnx")
        import onnxruntime

        library = Path(onnxruntime.__file__).parent / "capi"
        self.program = sum(file.stat().st_size for file in library.glob("onnxruntime_pybind11_state*.so"))
        self.weights = (self.folder / "net.onnx").stat().st_size

    def in_process(self, seconds):
        own = f"{sys.executable} {Path(__file__).resolve()} --one {self.name} --threads {self.threads}"
        return json.loads(shell(f"{own} --seconds {seconds}", self.folder, self.threads))

    def time(self):
        return self.in_process(self.arguments.seconds)["time"]

    def answered(self):
        return statistics.median(self.in_process(0)["first"] for _ in range(3))


def onnxruntime_here(name, threads, seconds):
    """The time of an answer and of the first one, in this process; the folder has the network."""
    import onnxruntime

    feed = {"x": compare.build(name)[1].numpy()}
    start = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession("net.onnx", options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    first = 1e3 * (time.perf_counter() - start)
    return {"first": first, "time": compare.repeat(lambda: session.run(None, feed), seconds)}


KINDS = dict(zip(SYSTEMS, [BrolgaC, BrolgaExe, Emx, Iree, OnnxRuntime]))


def kilobytes(bytes):
    return "" if bytes is None else f"{bytes / 1000:.0f}"


def measured(name, arguments):
    """The rows of a network."""
    made, times, firsts = {}, {}, {}
    for system in arguments.system or SYSTEMS:
        try:
            made[system] = KINDS[system](name, Path(arguments.work).resolve() / name / system, arguments)
        except (RuntimeError, StopIteration) as failure:
            print(f"{name}, {system}: {failure}", file=sys.stderr)
    for _ in range(arguments.rounds):
        for system, own in made.items():
            times.setdefault(system, []).append(own.time())
            firsts.setdefault(system, []).append(own.answered())
    medians = {system: statistics.median(found) for system, found in times.items()}
    peers = [time for system, time in medians.items() if not system.startswith("brolga")]
    own = [time for system, time in medians.items() if system.startswith("brolga")]
    for system, found in made.items():
        fastest = own and peers and medians[system] == min(own)
        ratio = f"{min(own) / min(peers):.2f}" if fastest else ""
        first = statistics.median(firsts[system])
        sizes = f"{kilobytes(found.program)} | {kilobytes(found.weights)}"
        print(f"| {name} | {system} | {medians[system]:.4g} | {first:.3g} | {sizes} | {ratio} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brolga", default="target/release/brolga", help="the command that compiles")
    parser.add_argument("--work", default="target/standalone", help="where programs are made")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long to repeat a call")
    parser.add_argument("--model", action="append", choices=MODELS, help="only these")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="only these")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return print(json.dumps(onnxruntime_here(arguments.one, arguments.threads, arguments.seconds)))
    arguments.brolga = str(Path(shutil.which(arguments.brolga) or arguments.brolga).resolve())
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    (work / "empty.c").write_text("int main(void) { return 0; }\n")
    shell("cc -Os empty.c -o empty", work)
    print(f"{arguments.threads} thread(s); times in ms, sizes in kB\n")
    print("| network | system | time | first answer | program | weights | Brolga / fastest peer |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name in arguments.model or MODELS:
        measured(name, arguments)


if __name__ == "__main__":
    main()
