"""Says ONNX's node tests in the IR's text, and runs them: what can be said, what not, and whether the values are right.

    python say.py [--brolga PATH] [--only PART] [--keep DIR] [--interpret] > said.tsv
    python say.py --document said.tsv > ../../docs/onnx.md

`said.tsv` is committed: a test compares the page with it, tries what the page says cannot be said, and runs some of what can
(`said.txt`, which `corpus.py` writes; `tests/onnx.rs`). All
this needs onnx, numpy and a built command. Each test is a model of one or a few nodes with data. It becomes a graph, which
`brolga eval` compiles and runs; results are compared with ONNX's own tolerance. Where there is no rule for an operator that
ONNX defines as a function, the function's nodes are said. What decides a shape (the operand of `Reshape`, axes, paddings) is
written into the text as a constant, whether it is an input or not: that is how a graph with fixed extents says it.

A line of the output: the test, `right`, `wrong` or `unsaid`, and why not. Of what is right it says where the graph depends on no
input (a range, a window), and where it is a product with a matrix that ONNX's reference gives (resizing, Fourier transforms).
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from emit import Graph, Unsaid, kind  # noqa: E402
from operators import OPERATORS  # noqa: E402

warnings.simplefilter("ignore")
GROUPS = {
    "Sequence": "sequences and optional values", "Optional": "sequences and optional values", "String": "strings", "TfIdf": "strings", "Regex": "strings",
    "LabelEncoder": "strings", "ImageDecoder": "files as inputs", "NonMaxSuppression": "shapes that depend on values", "NonZero": "shapes that depend on values",
    "Unique": "shapes that depend on values", "Random": "random numbers of another generator", "Bernoulli": "random numbers of another generator",
    "Tree": "trees",
}  # fmt: skip


def elements(name):
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(name))


class Node:
    """One node with its operands, as an operator's rule sees it."""

    def __init__(self, say, node, inputs):
        self.say, self.node, self.kind, self.g, self.inputs, self.version = say, node, node.op_type, say.g, inputs, say.version
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def __getitem__(self, i):
        if not self.has(i):
            raise Unsaid(f"{self.kind} in this form")
        return self.inputs[i]

    def has(self, i):
        return i < len(self.inputs) and self.inputs[i] is not None

    def attribute(self, name, *default):
        if name not in self.attributes and not default:
            raise Unsaid(f"{self.kind} in this form")
        return self.attributes.get(name, *default)

    def axis(self, name, default):
        return self.attribute(name, default) % max(1, self[0].rank)

    def known(self, i):
        """The elements of an operand that decides a shape."""
        value = self[i]
        if value.known is None:
            given = self.say.given.get(value.name)
            if given is None:
                raise Unsaid("shapes that depend on values")
            return given
        return value.known

    def reference(self, replaced):
        """What ONNX's reference gives for the node with other operands."""
        self.say.matrices = True
        names = [n for n in self.node.input if n]
        values = {n: replaced.get(i, self.known(i) if i not in replaced else None) for i, n in enumerate(self.node.input) if n}
        return self.say.evaluate(self.node, names, values)


class Say:
    def __init__(self, model):
        self.model, self.g, self.given, self.matrices = model, Graph(), {}, False
        self.version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=20)

    def evaluate(self, node, names, values):
        values = {n: np.asarray(values[n]) for n in names}
        inputs = [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in values.items()]
        outputs = [onnx.ValueInfoProto(name=n) for n in node.output if n]
        graph = onnx.helper.make_graph([node], "node", inputs, outputs)
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
        return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, values)]

    def graph(self, data):
        """The text of the model, and the names of its inputs."""
        model, env = self.model.graph, {"": None}
        for tensor in model.initializer:
            env[tensor.name] = self.g.constant(numpy_helper.to_array(tensor))
        names = []
        for i, (info, given) in enumerate(zip(model.input, data)):
            if not info.type.HasField("tensor_type") or not isinstance(given, np.ndarray):
                raise Unsaid("sequences and optional values")
            if info.type.tensor_type.elem_type == onnx.TensorProto.STRING:
                raise Unsaid("strings")
            dtype = kind(elements(info.type.tensor_type.elem_type))
            env[info.name] = self.g.input(f"i{i}", dtype, given.shape)
            self.given[f"i{i}"] = given
            names.append(f"i{i}")
        self.nodes(model.node, env)
        for i, info in enumerate(model.output):
            self.g.outputs.append((f"o{i}", env[info.name]))
        # Outputs may be constants, which are written when they are used.
        for _, value in self.g.outputs:
            self.g.use(value)
        return self.g.text(), names

    def nodes(self, nodes, env):
        for node in nodes:
            inputs = [env[name] for name in node.input]
            for name, value in zip(node.output, self.node(node, inputs, env)):
                env[name] = value

    def body(self, graph, env, inputs):
        """The results of a subgraph, which sees the names around it."""
        env = dict(env)
        for tensor in graph.initializer:
            env[tensor.name] = self.g.constant(numpy_helper.to_array(tensor))
        env.update({info.name: value for info, value in zip(graph.input, inputs)})
        self.nodes(graph.node, env)
        return [env[info.name] for info in graph.output]

    def loop(self, cx, env):
        """A loop whose number of steps is known, written out."""
        g, count = self.g, len(cx.inputs) - 2
        carried, stacks = cx.inputs[2:], None
        holds = bool(np.reshape(cx.known(1), -1)[0]) if cx.has(1) else True
        for i in range(int(np.reshape(cx.known(0), -1)[0]) if cx.has(0) else 1000):
            if not holds:
                break
            condition, *results = self.body(cx.attribute("body"), env, [g.constant(np.array(i)), g.constant(np.array(True)), *carried])
            if condition.known is None:
                raise Unsaid("loops that end by a computed condition")
            holds, carried = bool(condition.known), results[:count]
            stacks = stacks or [[] for _ in results[count:]]
            for stack, value in zip(stacks, results[count:]):
                stack.append(g.reshape(value, (1, *value.dims)))
        if stacks is None:
            raise Unsaid("loops without steps")
        return [*carried, *[g.concat(stack, 0) for stack in stacks]]

    def scan(self, cx, env):
        g, slices = self.g, cx.attribute("num_scan_inputs")
        inputs = cx.inputs if self.version >= 9 else None
        if inputs is None or any(cx.attribute(name, None) for name in ("scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions")):
            raise Unsaid("scans of another form")
        carried, sequences, stacks = inputs[:-slices], inputs[-slices:], None
        for i in range(sequences[0].dims[0]):
            rows = [g.reshape(g.slice_axis(s, 0, i, i + 1), s.dims[1:]) for s in sequences]
            results = self.body(cx.attribute("body"), env, [*carried, *rows])
            carried, own = results[: len(carried)], results[len(carried) :]
            stacks = stacks or [[] for _ in own]
            for stack, value in zip(stacks, own):
                stack.append(g.reshape(value, (1, *value.dims)))
        return [*carried, *[g.concat(stack, 0) for stack in stacks]]

    def node(self, node, inputs, env):
        cx = Node(self, node, inputs)
        if node.op_type == "If":
            chosen = bool(np.reshape(cx.known(0), -1)[0])
            return self.body(cx.attribute("then_branch" if chosen else "else_branch"), env, [])
        if node.op_type in ("Loop", "Scan"):
            return self.loop(cx, env) if node.op_type == "Loop" else self.scan(cx, env)
        if node.op_type == "Constant":
            return [self.g.constant(self.evaluate(node, [], {})[0])]
        if node.op_type == "Shape":
            dims = inputs[0].dims[slice(cx.attribute("start", 0), cx.attribute("end", None))]
            return [self.g.constant(np.array(dims, dtype=np.int64))]
        if node.op_type == "Size":
            return [self.g.constant(np.array(np.prod(inputs[0].dims), dtype=np.int64))]
        here = [(n, v) for n, v in zip(node.input, inputs) if v is not None]
        shaping = ("ConstantOfShape", "Range", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix")
        if node.op_type in shaping or all(v.known is not None for _, v in here) and node.op_type not in ("Dropout",):
            values = {n: cx.known(i) for i, n in enumerate(node.input) if n}
            return [self.g.constant(v) for v in self.evaluate(node, [n for n, _ in here], values)]
        if node.op_type in OPERATORS:
            return OPERATORS[node.op_type](cx)
        for part, reason in GROUPS.items():
            if part in node.op_type:
                raise Unsaid(reason)
        raise Unsaid(f"no rule: {node.op_type}")


def array(value):
    """Data as an array, where it is a tensor."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) or np.isscalar(value) else value


def expected_type(value):
    return isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"


def run(case, model, command, folder, more):
    """`right` or what is wrong, and a remark; the model may be the expanded form of the case's."""
    remark = ""
    for number, (inputs, outputs) in enumerate(case.data_sets):
        inputs, outputs = [array(v) for v in inputs], [array(v) for v in outputs]
        if not all(expected_type(v) for v in outputs):
            raise Unsaid("strings" if any(getattr(v, "dtype", np.dtype("f4")).kind in "OUS" for v in outputs) else "sequences and optional values")
        say = Say(model)
        text, names = say.graph(inputs)
        body = text.split("\n", 1)[1]
        if names and not any(f"%{name}" in body for name in names):
            remark = "a constant"
        elif say.matrices:
            remark = "a matrix"
        stem = folder / f"{case.name}.{number}"
        pathlib.Path(f"{stem}.ir").write_text(text)
        np.savez(f"{stem}.in.npz", **dict(zip(names, inputs)))
        call = [command, "eval", f"{stem}.ir", "--inputs", f"{stem}.in.npz", "--outputs", f"{stem}.out.npz", *more]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120)
        if done.returncode:
            return "refused: " + " ".join(done.stderr.split())[:200], ""
        found = np.load(f"{stem}.out.npz")
        for i, value in enumerate(outputs):
            got = found[f"o{i}"]
            if got.dtype != value.dtype or got.shape != value.shape:
                return f"output {i} is {got.dtype}{list(got.shape)}, not {value.dtype}{list(value.shape)}", ""
            # The expected values of Fourier transforms come from one in f32, which is so exact.
            transform = any("DFT" in n.op_type or "STFT" in n.op_type for n in case.model.graph.node)
            atol = max(case.atol, 3e-7 * float(np.abs(value).max())) if transform else case.atol
            try:
                np.testing.assert_allclose(got, value, rtol=case.rtol, atol=atol)
            except AssertionError as error:
                return f"output {i}: " + " ".join(str(error).split())[:160], ""
    return "right", remark


def judged(case, expanded, command, folder, more):
    try:
        return run(case, case.model, command, folder, more)
    except Unsaid as reason:
        why = str(reason)
    except Exception as error:  # a rule that does not reach so far
        why = f"no rule: {type(error).__name__} {error} in {case.model.graph.node[0].op_type}"[:160]
    if expanded is not None:
        try:
            return run(case, expanded.model, command, folder, more)
        except Unsaid as reason:
            why = str(reason)
        except Exception as error:
            why = f"no rule: {type(error).__name__} {error}"[:160]
    return "unsaid", why


def document(path):
    """The page that says what can be said."""
    rows = [line.rstrip("\n").split("\t") for line in open(path)]
    words = collections.Counter(row[1] for row in rows)
    reasons, remarks = collections.defaultdict(list), collections.Counter(row[2] for row in rows if row[1] == "right")
    for name, word, why in rows:
        if word != "right":
            reasons["wrong values" if word == "wrong" else "no rule in the script" if why.startswith("no rule") else why].append(name)
    print(f"""# ONNX's node tests

Of the {len(rows)} tests of single operators that the package `onnx` {onnx.__version__} collects, {words["right"]} can be said in the IR's text and
give ONNX's values, compiled, within ONNX's tolerance; {words["wrong"]} of those that can be said give others. `tests/onnx/say.py` says
and runs them all, and writes this page. Its rules (`tests/onnx/operators`) show how an operator is made of primitives. What
decides a shape stands in the text as a constant, also where ONNX has it as an input. Quantised numbers are kept as they are in
ONNX, and computed in i32, f32 or f64. {remarks["a constant"]} of the tests are constants then (ranges, windows, shapes), and {remarks["a matrix"]} products with a
matrix that ONNX's reference gives (resizing, Fourier transforms). For Fourier transforms the absolute tolerance is at least
3e-7 of the largest value, as exact as the expected values are.

| why not | tests | such as |
|---|---|---|""")
    for why, names in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        short = [name for name in names if "expanded" not in name] or names
        some = ", ".join(f"`{name}`" for name in short[:: max(1, len(short) // 3)][:3])
        print(f"| {why} | {len(names)} | {some} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--document")
    root = pathlib.Path(__file__).parent.parent.parent
    parser.add_argument("--brolga", default=root / "target/debug/brolga")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep")
    parser.add_argument("--interpret", action="store_true")
    args = parser.parse_args()
    if args.document:
        return document(args.document)
    from onnx.backend.test.case.node import collect_testcases

    cases = collect_testcases(None)
    by_name = {case.name: case for case in cases}
    folder = pathlib.Path(args.keep or tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    count = collections.Counter()
    for case in cases:
        if args.only not in case.name:
            continue
        twin = by_name.get(f"{case.name}_expanded") or by_name.get(f"{case.name}_expanded_ver18")
        found, why = judged(case, twin, args.brolga, folder, ["--interpret"] if args.interpret else [])
        word = found if found in ("right", "unsaid") else "wrong"
        count[word] += 1
        print(case.name.removeprefix("test_"), word, why or (found if word == "wrong" else ""), sep="\t", flush=True)
    print(dict(count), file=sys.stderr)


if __name__ == "__main__":
    main()
