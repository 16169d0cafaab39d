"""Writes the small part of ONNX's node tests that `cargo test` runs (`said.txt`): at least one for each rule of `operators`.

    python corpus.py [--brolga PATH] > said.txt

For each rule the smallest test whose graph it makes, that is right, is taken (where all are large, one with fewer elements, whose
values are those of ONNX's reference); then the smallest others, whose rules have the fewest
tests so far, until there are enough. The first line names all rules. A test is a line `test NAME RTOL ATOL: RULES`, the text of its graph, and a line for each
input and expected output: `input NAME TYPE: ELEMENTS`, where truth values are 0 and 1.
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import say

# Tests, and bytes of all.
MOST, MOST_BYTES = 160, 80_000
# Bytes of one, but for the smallest of a rule.
LARGE, LARGEST = 700, 8000


def small(operator, version, inputs, **attributes):
    """A test of one node, with the values of ONNX's reference."""
    names = [f"x{i}" for i in range(len(inputs))]
    node = onnx.helper.make_node(operator, names, ["y"], **attributes)
    info = lambda n, v: onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
    known = [info(n, v) for n, v in zip(names, inputs)]
    opset = [onnx.helper.make_opsetid("", version)]

    def model(outputs):
        return onnx.helper.make_model(onnx.helper.make_graph([node], "small", known, outputs), opset_imports=opset)

    values = ReferenceEvaluator(model([onnx.ValueInfoProto(name="y")])).run(None, dict(zip(names, inputs)))
    values = [np.asarray(v, dtype=np.float32) for v in values]
    name = f"test_{operator.lower()}_small"
    return TestCase(name, name, None, None, model([info("y", values[0])]), [(inputs, values)], "node", 1e-3, 1e-6)


def smalls():
    x = np.linspace(-4, 4, 24, dtype=np.float32)
    return [
        small("Mish", 18, [x]),
        # (ONNX's reference takes as many channels as images.)
        small("LRN", 13, [x[:18].reshape(3, 3, 2, 1)], size=3, alpha=0.01, beta=0.5, bias=1.5),
        small("DFT", 20, [x[:12].reshape(2, 6, 1), np.array(6), np.array(1)]),
        small("STFT", 17, [x[:12].reshape(1, 12, 1), np.array(3), np.hanning(6).astype(np.float32), np.array(6)]),
        small("CenterCropPad", 18, [x[:6].reshape(2, 3), np.array([4, 2])]),
        small("AffineGrid", 20, [x[:6].reshape(1, 2, 3), np.array([1, 1, 2, 3])]),
    ]


class Watched(dict):
    """The rules, which note that they were used."""

    def __init__(self, rules):
        super().__init__(rules)
        self.used = set()

    def __getitem__(self, kind):
        self.used.add(kind)
        return super().__getitem__(kind)


def elements(value, digits):
    flat = value.astype(np.int64) if value.dtype.kind == "b" else value
    form = "{:.%dg}" % digits if value.dtype == np.float32 else "{}"
    return " ".join(form.format(v) for v in flat.ravel())


def line(word, name, value):
    return f"{word} {name} {say.kind(value.dtype)}[{', '.join(map(str, value.shape))}]: {elements(value, 9 if word == 'input' else 7)}\n"


def said(case, model, rules):
    """The test as it is written, and the rules that made it; nothing where it is not right."""
    if len(case.data_sets) != 1:
        return None
    inputs, outputs = ([say.array(v) for v in values] for values in case.data_sets[0])
    if not all(say.expected_type(v) for v in outputs):
        return None
    rules.used = set()
    try:
        text, names = say.Say(model).graph(inputs)
    except Exception:
        return None
    used = sorted(rules.used)
    if not used:
        return None
    name = case.name.removeprefix("test_")
    # As `say.py` compares: the expected values of Fourier transforms come from one in f32.
    transform = any("DFT" in node.op_type or "STFT" in node.op_type for node in model.graph.node)
    atol = max(case.atol, 3e-7 * float(np.abs(outputs[0]).max())) if transform else case.atol
    whole = f"test {name} {case.rtol} {atol:.3g}: {' '.join(used)}\n{chr(10).join(map(str.strip, text.splitlines()))}\n"
    whole += "".join(line("input", n, v) for n, v in zip(names, inputs))
    whole += "".join(line("output", f"o{i}", v) for i, v in enumerate(outputs))
    return whole, used


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--brolga", default=pathlib.Path(__file__).parents[2] / "target/debug/brolga")
    args = parser.parse_args()
    rules = say.OPERATORS = Watched(say.OPERATORS)
    folder = pathlib.Path(tempfile.mkdtemp())
    cases = [*collect_testcases(None), *smalls()]
    by_name = {case.name: case for case in cases}
    found = {}
    for case in cases:
        test = said(case, case.model, rules)
        if test and len(test[0]) < LARGEST:
            found[case.name] = test
    by_size = sorted(found, key=lambda name: (len(found[name][0]), name))
    chosen, counts, size = [], collections.Counter(), 0

    def take(name):
        nonlocal size
        case = by_name[name]
        run = lambda more: say.run(case, case.model, args.brolga, folder, more)[0]
        if name in chosen or any(run(more) != "right" for more in ([], ["--interpret"])):
            return
        chosen.append(name)
        counts.update(found[name][1])
        size += len(found[name][0])

    for kind in rules:
        for name in by_size:
            if counts[kind] == 0 and kind in found[name][1]:
                take(name)
        if counts[kind] == 0:
            print("no test of", kind, file=sys.stderr)
    for most in (1, 2, 3):
        for name in by_size:
            small = len(found[name][0]) <= LARGE and size + len(found[name][0]) <= MOST_BYTES and len(chosen) < MOST
            if small and "expanded" not in name and min(counts[kind] for kind in found[name][1]) <= most:
                take(name)
    print("rules:", *sorted(rules), end="\n\n")
    for name in sorted(chosen):
        print(found[name][0])
    print(len(chosen), size, file=sys.stderr)


if __name__ == "__main__":
    main()
