//! Entries of several steps, and several entries, against PyTorch in f64 (`references/entries.py` writes the values); what
//! is written, what is drawn, and what an entry's optimisers remember.

use std::collections::HashMap;

use brolga_frontend::{Instance, Model, Settings, SlotKind, no_imports};
use brolga_ir::ops::{Op, Role};
use brolga_ir::tensor::Data;
use brolga_ir::{Graph, Tensor};

use crate::common::{build, differentiate, digest, expect_close, lines, mistakes, numbers, run, wave};

/// The differentiated graphs of some entries.
fn graphs(instance: &Instance, names: &[&str]) -> HashMap<String, Graph> {
    let graph = |name: &&str| {
        let mut graph = instance.graph(name).expect("an entry").clone();
        differentiate(&mut graph);
        (name.to_string(), graph)
    };
    names.iter().map(graph).collect()
}

/// The initial state.
fn initial(instance: &Instance) -> HashMap<String, Tensor> {
    let mut values: HashMap<String, Tensor> =
        instance.state().iter().map(|slot| (slot.name.clone(), Tensor::zeros(&slot.ty))).collect();
    values.insert("seed".into(), Tensor::new([], Data::I64(vec![7])));
    let init = run(instance.graph("init").expect("init"), &values);
    values.extend(init);
    values
}

/// Runs an entry once; its new state goes into `values`, its outputs are the result.
fn update(graph: &Graph, values: &mut HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let results = run(graph, values);
    for output in graph.outputs().iter().filter(|output| output.role == Role::State) {
        values.insert(output.name.clone(), results[&output.name].clone());
    }
    results
}

#[test]
fn several_optimizers_are_those_of_pytorch() {
    for fields in lines(include_str!("references/entries.tsv")) {
        let instance = build(&format!(
            "Model(
                inputs: {{ \"t\": \"f32[5]\", \"c\": \"f32[5]\" }},
                body: [Parameter(name: \"a\", dims: [5]), Parameter(name: \"b\", dims: [5])],
                entries: {{ {} }},
            )",
            fields[0]
        ));
        let names: Vec<&str> = fields[1].split(' ').collect();
        let graphs = graphs(&instance, &names);
        let mut values = initial(&instance);
        values.insert("a".into(), wave(&[5], 1.0, 0.8, 0.2));
        values.insert("b".into(), wave(&[5], 1.0, 1.1, 0.9));
        values.insert("t".into(), wave(&[5], 1.0, 1.9, 0.4));
        let curvature = numbers(&wave(&[5], 0.5, 0.5, 0.6)).iter().map(|v| v + 1.0).collect::<Vec<_>>();
        values.insert("c".into(), Tensor::f64([5], curvature));
        for name in names {
            update(&graphs[name], &mut values);
        }
        for (parameter, expected) in ["a", "b"].iter().zip(&fields[2..]) {
            let what = format!("{parameter} behind {}: {}", fields[1], fields[0]);
            expect_close(&what, digest(&values[*parameter]), expected);
        }
    }
}

/// One memory for each optimiser; names that say whose it is only where that is a question.
#[test]
fn names_of_optimizer_memory() {
    let state = |entries: &str| -> Vec<String> {
        let instance = build(&format!(
            "Model(
                parameters: {{ \"freeze\": true }},
                inputs: {{ \"t\": \"f32[5]\" }},
                body: [Parameter(name: \"a\", dims: [5]), Parameter(name: \"b\", dims: [5])],
                entries: {{ {entries} }},
            )"
        ));
        let slots = instance.state().iter().filter(|slot| !matches!(slot.kind, SlotKind::Parameter));
        slots.map(|slot| slot.name.clone()).collect()
    };
    let sgd = "optimizer: Sgd(lr: 0.1, momentum: 0.9)";
    let alone = format!("\"train\": Train(loss: \"sum(a * b)\", {sgd})");
    assert_eq!(state(&alone), ["step", "optim.momentum_buffer.a", "optim.momentum_buffer.b"]);
    let parts = format!(
        "\"train\": Entry(steps: [
            Minimize(loss: \"sum(a * b)\", of: \"a\", {sgd}), Minimize(loss: \"sum(a * b)\", of: \"b\", {sgd})])"
    );
    assert_eq!(state(&parts), ["step", "optim.momentum_buffer.a", "optim.momentum_buffer.b"]);
    let twice = format!(
        "\"train\": Entry(steps: [
            Minimize(loss: \"sum(a * b)\", of: \"a\", {sgd}), Minimize(loss: \"sum(a * b)\", {sgd})])"
    );
    let names =
        ["optim.train.1.momentum_buffer.a", "optim.train.2.momentum_buffer.a", "optim.momentum_buffer.b"];
    assert_eq!(state(&twice), [&["step"], &names[..]].concat());
    let entries = format!(
        "\"d\": Train(loss: \"sum(a * b)\", {sgd}),
         \"g\": Train(loss: \"sum(a * b)\", {sgd}, groups: [Group(of: \"b\", frozen: \"freeze\")])"
    );
    let names = ["optim.d.step", "optim.d.momentum_buffer.a", "optim.momentum_buffer.b", "step"];
    let rest = ["optim.g.step", "optim.g.momentum_buffer.a"];
    assert_eq!(state(&entries), [&names[..], &rest[..]].concat());
}

/// As in PyTorch, an optimiser leaves alone what the loss does not depend on, decay included.
#[test]
fn what_the_loss_does_not_depend_on_stays() {
    let instance = build(
        "Model(
            inputs: { \"t\": \"f32[5]\" },
            body: [Parameter(name: \"a\", dims: [5], init: Ones), Parameter(name: \"b\", dims: [5], init: Ones)],
            entries: { \"train\": Train(loss: \"sum(a * t)\", optimizer: Sgd(lr: 0.1, weight_decay: 0.5)) },
        )",
    );
    let graph = instance.graph("train").expect("train");
    let written: Vec<&str> =
        graph.outputs().iter().filter(|o| o.role == Role::State).map(|o| o.name.as_str()).collect();
    assert_eq!(written, ["a", "step"]);
}

/// Nor what it depends on without a gradient: behind `stop_gradient`, a comparison, a whole number.
#[test]
fn what_the_loss_has_no_gradient_by_stays() {
    let text = |loss: &str| {
        format!(
            "Model(
                inputs: {{ \"t\": \"f32[5]\" }},
                body: [Parameter(name: \"a\", dims: [5], init: Ones), Parameter(name: \"b\", dims: [5], init: Ones)],
                entries: {{ \"train\": Train(loss: \"{loss}\", optimizer: Sgd(lr: 0.1, weight_decay: 0.5)) }},
            )"
        )
    };
    for way in ["stop_gradient(b)", "float(b > 0)", "float(int(b))", "t * t[argmax(b)]", "where(b > 0, t, 1)"]
    {
        let instance = build(&text(&format!("sum(a * {way})")));
        let graph = instance.graph("train").expect("train");
        let written: Vec<&str> =
            graph.outputs().iter().filter(|o| o.role == Role::State).map(|o| o.name.as_str()).collect();
        assert_eq!(written, ["a", "step"], "{way}");
        let found = mistakes(&text(&format!("sum({way})")));
        assert!(
            found.contains("the loss does not depend on any parameter that is trained"),
            "{way}: {found}"
        );
    }
}

/// The second step sees the updated value, not the way to it.
#[test]
fn steps_see_values() {
    let instance = build(
        "Model(
            inputs: { \"x\": \"f32[1]\" },
            body: [Parameter(name: \"a\", dims: []), Parameter(name: \"b\", dims: [])],
            entries: { \"train\": Entry(steps: [
                Minimize(loss: \"mean(x*a*b)\", of: \"a\", optimizer: Sgd(lr: 1)),
                Minimize(loss: \"mean(x*a*b)\", of: \"b\", optimizer: Sgd(lr: 1)),
            ]) },
        )",
    );
    let graphs = graphs(&instance, &["train"]);
    let mut values = initial(&instance);
    values.insert("a".into(), Tensor::f64([], [2.0]));
    values.insert("b".into(), Tensor::f64([], [3.0]));
    values.insert("x".into(), Tensor::f64([1], [1.0]));
    update(&graphs["train"], &mut values);
    assert_eq!([numbers(&values["a"]), numbers(&values["b"])], [[-1.0], [4.0]]);
}

/// So with an explicit update, and with running statistics: `b` is updated by the gradient of `b * a` where `a` is a
/// value that was set to `b ** 2`, and of `b * mean` where the mean was learnt.
#[test]
fn what_was_set_is_a_value() {
    let instance = build(
        "Model(
            inputs: { \"x\": \"f32[4, 1]\" },
            body: [
                Parameter(name: \"a\", dims: []), Parameter(name: \"b\", dims: []),
                Expr(\"x * b\"), BatchNorm(name: \"n\", affine: false), As(\"y\"),
            ],
            entries: { \"train\": Entry(steps: [
                Update(state: \"a\", value: \"b ** 2\"),
                Minimize(loss: \"b * a + sum(b * parameter('n.running_mean')) + 0 * sum(y)\", of: \"b\", optimizer: Sgd(lr: 1)),
            ]) },
        )",
    );
    let graphs = graphs(&instance, &["train"]);
    let mut values = initial(&instance);
    values.insert("b".into(), Tensor::f64([], [3.0]));
    values.insert("x".into(), Tensor::f64([4, 1], [1.0, 2.0, 3.0, 4.0]));
    update(&graphs["train"], &mut values);
    // Two passes of batch normalisation, each moving the mean a tenth of the way to 2.5 * 3.
    let mean = 7.5 * 0.1 + (7.5 * 0.1) * 0.9;
    assert!((numbers(&values["b"])[0] - (3.0 - 9.0 - mean)).abs() < 1e-9, "{:?}", values["b"]);
    assert_eq!(numbers(&values["a"]), [9.0]);
}

/// State that is written is an entry's, whether its old value is read or not: parameters, running statistics, and
/// state that nothing else uses.
#[test]
fn written_state_is_there() {
    for (state, value) in
        [("a", "t"), ("n.running_mean", "t"), ("unused", "t"), ("a", "parameter('b')"), ("step", "3")]
    {
        // An entry in inference mode does not count its steps.
        let modes: &[&str] = if state == "step" { &["train"] } else { &["train", "infer"] };
        for mode in modes {
            let instance = build(&format!(
                "Model(
                    inputs: {{ \"t\": \"f32[5]\", \"x\": \"f32[2, 5]\" }},
                    body: [
                        Parameter(name: \"a\", dims: [5]), Parameter(name: \"b\", dims: [5]), Ref(\"x\"),
                        BatchNorm(name: \"n\"), Dropout(0.5), Aside([Parameter(name: \"unused\", dims: [5])]),
                    ],
                    entries: {{ \"set\": Entry(mode: \"{mode}\", steps: [Update(state: \"{state}\", value: \"{value}\")], outputs: {{ \"y\": \"it\" }}) }},
                )"
            ));
            let graph = instance.graph("set").expect("set");
            let verified = brolga_ir::verify::verify(graph);
            assert!(verified.is_ok(), "{state} = {value}: {verified:?}");
            let mut values = initial(&instance);
            values.insert("t".into(), wave(&[5], 1.0, 0.3, 0.1));
            values.insert("b".into(), wave(&[5], 2.0, 0.3, 0.1));
            values.insert("x".into(), wave(&[2, 5], 2.0, 0.9, 0.1));
            update(graph, &mut values);
            let expected = match value {
                "t" => numbers(&values["t"]),
                "3" => vec![4.0],
                _ => numbers(&values["b"]),
            };
            assert_eq!(numbers(&values[state]), expected, "{state} = {value}");
        }
    }
}

/// Layers of a frozen group run as in inference, in the gradient step that freezes them alone; metrics are those of the first step.
#[test]
fn frozen_groups_run_as_in_inference() {
    let model = |steps: &str| {
        build(&format!(
            "Model(
                parameters: {{ \"freeze\": true }},
                inputs: {{ \"x\": \"f32[8, 6]\" }},
                body: [
                    Sequential(name: \"base\", body: [
                        Linear(4), BatchNorm, Relu, Dropout(0.5), GaussianNoise(0.3), DropPath(0.5), RRelu,
                        If(\"training\", [Expr(\"it + 1\")]),
                    ]),
                    As(\"h\"),
                    Linear(name: \"fc\", features: 4), BatchNorm(name: \"norm\"), Dropout(0.5), As(\"y\"),
                ],
                entries: {{
                    \"train\": Entry(steps: [{steps}], metrics: {{ \"m\": \"mean(h)\" }}, outputs: {{ \"h\": \"h\", \"y\": \"y\" }}),
                    \"infer\": Infer(outputs: {{ \"h\": \"h\", \"y\": \"y\", \"m\": \"mean(h)\" }}),
                }},
            )"
        ))
    };
    let sgd = "optimizer: Sgd(lr: 0.1)";
    let step = |groups: &str| format!("Minimize(loss: \"mean(y ** 2)\", {sgd}, groups: [{groups}])");
    let frozen = step("Group(of: \"base.*\", frozen: \"freeze\")");
    // The first group that names a parameter decides.
    let free = step("Group(of: \"base.1.weight\", lr: 1), Group(of: \"base.*\", frozen: true)");
    for (steps, first, last, means) in [
        (frozen.clone(), true, true, 0),
        (step("Group(of: \"base.*\", lr: 0.5)"), false, false, 1),
        (format!("{frozen}, {}", step("")), true, false, 1),
        (format!("{}, {frozen}", step("")), false, true, 1),
        (format!("Update({{ \"fc.bias\": \"it + 1\" }}), {frozen}"), true, true, 0),
        (step("Group(of: \"norm.*\", frozen: true), Group(of: \"base.0.*\", frozen: true)"), false, false, 1),
        (free, false, false, 1),
    ] {
        let instance = model(&steps);
        let graphs = graphs(&instance, &["train", "infer"]);
        let mut values = initial(&instance);
        values.insert("x".into(), wave(&[8, 6], 1.0, 0.8, 0.2));
        let expected = run(&graphs["infer"], &values);
        let found = update(&graphs["train"], &mut values);
        let same = |name: &str| numbers(&found[name]) == numbers(&expected[name]);
        assert_eq!([same("m"), same("y")], [first, false], "{steps}");
        // Behind two steps that train it the base has other weights.
        assert_eq!(same("h"), first && last, "{steps}");
        let updated = graphs["train"].outputs().iter().filter(|output| output.name == "base.1.running_mean");
        assert_eq!(updated.count(), means, "{steps}");
    }
}

/// Running averages are of the state's type, whatever the input's is.
#[test]
fn averages_keep_the_type_of_their_state() {
    for input in ["f32", "f64"] {
        let text = format!(
            "Model(inputs: {{ \"x\": \"{input}[3, 4]\" }}, body: [BatchNorm], entries: {{ \"train\": \
             Train(loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 0.1)) }})"
        );
        let instance = Model::parse("test.ron", &text, &no_imports)
            .and_then(|model| model.instantiate(&Settings::default()))
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let graph = &graphs(&instance, &["train"])["train"];
        assert!(brolga_ir::verify::verify(graph).is_ok(), "{input}");
    }
}

/// Two states change places: both values are from before.
#[test]
fn updates_in_turn() {
    let instance = build(
        "Model(
            inputs: { \"t\": \"f32[]\" },
            body: [Parameter(name: \"a\", dims: []), Parameter(name: \"b\", dims: [])],
            entries: { \"set\": Entry(steps: [
                Update(state: \"a\", value: \"parameter('b') + t\"), Update(state: \"b\", value: \"parameter('a') * 2\"),
            ]) },
        )",
    );
    let mut values = initial(&instance);
    for (name, value) in [("a", 2.0), ("b", 3.0), ("t", 10.0)] {
        values.insert(name.into(), Tensor::f64([], [value]));
    }
    update(instance.graph("set").expect("set"), &mut values);
    assert_eq!([numbers(&values["a"]), numbers(&values["b"])], [[13.0], [26.0]], "the second sees the first");
}

/// Names of the random inputs of an entry, with all draws fed.
fn draws(body: &str, entries: &str, entry: &str) -> (Vec<String>, Vec<u32>) {
    let text =
        format!("Model(inputs: {{ \"x\": \"f32[4, 6, 3, 3]\" }}, body: [{body}], entries: {{ {entries} }})");
    let instance = |feed_random: bool| {
        let settings = Settings { feed_random, ..Settings::default() };
        Model::parse("test.ron", &text, &no_imports)
            .and_then(|model| model.instantiate(&settings))
            .unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"))
    };
    let fed = instance(true);
    let graph = fed.graph(entry).expect("an entry");
    let names = graph.parameters().iter().map(|&id| graph.parameter(id).expect("one").name.clone());
    let names = names.filter(|name| name.starts_with("random.")).collect();
    let drawn = instance(false);
    let graph = drawn.graph(entry).expect("an entry");
    let mut streams: Vec<u32> = Vec::new();
    for id in graph.nodes() {
        if let Op::Random(random) = &graph.node(id).op {
            streams.push(random.stream);
        }
    }
    streams.sort_unstable();
    (names, streams)
}

/// A layer that is used again draws anew, each kind of layer; the steps of an entry share their draws.
#[test]
fn every_call_draws_anew() {
    let run = "\"train\": Entry(steps: [], outputs: { \"y\": \"it\" })";
    for layer in ["Dropout", "Dropout2d", "DropPath", "GaussianNoise", "RRelu"] {
        let layer = format!("{layer}(name: \"r\")");
        for body in [
            format!("{layer}, Reuse(\"r\"), Reuse(\"r\")"),
            format!("{layer}, Repeat(2, [Reuse(\"r\")])"),
            format!("{layer}, Residual([Reuse(\"r\")]), Reuse(\"r\")"),
        ] {
            let (names, mut streams) = draws(&body, run, "train");
            assert_eq!(names, ["random.r", "random.r#2", "random.r#3"], "{body}");
            assert_eq!(streams.len(), 3, "{body}");
            streams.dedup();
            assert_eq!(streams.len(), 3, "{body}");
        }
    }
    let scope = "Sequential(name: \"s\", body: [Dropout, Relu, Dropout]), Reuse(\"s\")";
    let (names, mut streams) = draws(scope, run, "train");
    assert_eq!(names, ["random.s.0", "random.s.2", "random.s.0#2", "random.s.2#2"]);
    streams.dedup();
    assert_eq!(streams.len(), 4);
    let steps = "\"train\": Entry(steps: [
        Minimize(loss: \"mean(it)\", optimizer: Sgd(lr: 0.1)), Minimize(loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 0.1))])";
    let (names, mut streams) = draws("Conv2d(4, 1), Dropout(name: \"r\"), Reuse(\"r\")", steps, "train");
    assert_eq!(names, ["random.r", "random.r#2"], "one input for both steps");
    assert_eq!(streams.len(), 4);
    streams.dedup();
    assert_eq!(streams.len(), 2, "the same draws in both steps");
}

/// Several states at once: all from what was before, `it` the old value, and a second `*` what the first one stands for.
#[test]
fn updates_of_several_states() {
    let instance = build(
        "Model(
            inputs: { \"t\": \"f32[]\" },
            body: [
                Parameter(name: \"a\", dims: []), Parameter(name: \"b\", dims: []),
                Parameter(name: \"d.x\", dims: []), Parameter(name: \"d.y\", dims: []),
                Parameter(name: \"e.x\", dims: []), Parameter(name: \"e.y\", dims: []),
            ],
            entries: { \"set\": Entry(steps: [Update({
                \"a\": \"b\", \"b\": \"it * a + t\", \"d.*\": \"clip(it, -1, 1)\", \"e.*\": \"parameter('d.*') + it\",
            })]) },
        )",
    );
    let mut values = initial(&instance);
    let given =
        [("a", 2.0), ("b", 3.0), ("t", 10.0), ("d.x", 5.0), ("d.y", -5.0), ("e.x", 0.5), ("e.y", 0.25)];
    for (name, value) in given {
        values.insert(name.into(), Tensor::f64([], [value]));
    }
    update(instance.graph("set").expect("set"), &mut values);
    for (name, value) in [("a", 3.0), ("b", 16.0), ("d.x", 1.0), ("d.y", -1.0), ("e.x", 5.5), ("e.y", -4.75)]
    {
        assert_eq!(numbers(&values[name]), [value], "{name}");
    }
    for (update, message) in [
        ("{ \"c\": \"1\" }", "there is no state `c`"),
        ("{ \"c.*\": \"1\" }", "no state has a name like `c.*`"),
        ("{ \"*.*\": \"1\" }", "`*.*` has more than one `*`"),
        ("{ \"a\": \"it\", \"*\": \"1\" }", "`a` is updated twice in one step"),
        ("{ \"a\": \"[1, 2]\" }", "`a` is f32[], but its new value is f32[2]"),
        ("{ \"a\": \"it\" }, value: \"1\"", "`value` has no effect beside a map"),
        ("\"a\"", "`Update` needs `value`, or a map of states"),
        ("{ \"d.*\": \"parameter('f.*')\" }", "there is no parameter 'f.x' before this place"),
    ] {
        let found = mistakes(&format!(
            "Model(
                body: [Parameter(name: \"a\", dims: []), Parameter(name: \"d.x\", dims: [])],
                entries: {{ \"set\": Entry(steps: [Update({update})]) }},
            )"
        ));
        assert!(found.contains(message), "{update}: {found}");
    }
}

#[test]
fn a_metric_is_one_number() {
    let model = |metric: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[batch, 8]\", \"label\": \"i32[batch]\" }},
                body: [Linear(4), As(\"logits\")],
                entries: {{ \"train\": Train(
                    loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1), metrics: {{ \"m\": \"{metric}\" }},
                ) }},
            )"
        )
    };
    for metric in ["argmax(logits) == label", "logits", "mean(logits, axis=0)", "label[:1]"] {
        let found = mistakes(&model(metric));
        assert!(
            found.contains("a metric is one number, found") && found.contains("mean(...)"),
            "{metric}: {found}"
        );
    }
    for metric in
        ["mean(argmax(logits) == label)", "total(argmax(logits) == label)", "1", "1 - 2 * mean(logits)"]
    {
        assert_eq!(mistakes(&model(metric)), "", "{metric}");
    }
}

#[test]
fn a_metric_is_one_of_the_whole_set() {
    let model = |metric: &str, batch: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[{batch}, 8]\", \"label\": \"i32[{batch}]\" }},
                body: [Linear(4), As(\"logits\"), Expr(\"logits[:, 0]\"), As(\"y\"), Let(\"level\", \"mean(y)\"),
                    Expr(\"y - level\"), As(\"centred\"),
                    Scan(name: \"s\", times: 3, body: [
                        Let(\"m\", \"mean(y)\"),
                        Carry(\"e\", 0.0), Let(\"e\", \"prev.e + mean(y)\"),
                        Carry(\"p\", 1.0), Let(\"p\", \"prev.p * mean(y)\"),
                        Carry(\"t\", 1.0), Let(\"t\", \"prev.t + sum(y)\"),
                    ])],
                entries: {{ \"train\": Train(
                    loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1), metrics: {{ \"m\": \"{metric}\" }},
                ) }},
            )"
        )
    };
    let no_mean = "`m` is not a mean over samples";
    let wrong = [
        ("sum(y) / sum(label)", no_mean),
        ("sqrt(mean(y ** 2))", no_mean),
        ("max(y)", no_mean),
        ("any(y > 0)", no_mean),
        ("label[0]", no_mean),
        ("norm(y)", no_mean),
        ("std(y)", no_mean),
        ("mean((y - mean(y)) ** 2)", no_mean),
        ("float(mean(y) > 0.5)", no_mean),
        ("mean(y) + sum(y)", no_mean),
        ("level ** 2", no_mean),
        ("mean(y) * mean(y)", no_mean),
        ("cross_entropy(logits, label, weights=[1, 2, 3, 4])", no_mean),
        ("mean(cumsum(y, axis=0))", no_mean),
        ("mean(y[::-1] * y)", no_mean),
        ("mean(sort(y, axis=0) * label)", no_mean),
        ("mean(y[:2])", no_mean),
        ("mean(logits @ transpose(logits, [1, 0]))", no_mean),
        ("accuracy(logits @ transpose(logits, [1, 0]), label)", no_mean),
        ("mean(centred ** 2)", no_mean),
        ("mean(y * range(batch))", no_mean),
        ("log(batch)", "`m` depends on the batch"),
        ("sum(y)", "`m` is a sum over one batch"),
        ("sum(argmax(logits) == label)", "`m` is a sum over one batch"),
        ("mean(y) * batch", "`m` is a sum over one batch"),
        ("total(mean(y)) / total(batch)", "`total` adds up means"),
        ("total(1)", "`total` adds up what does not depend on the samples"),
        ("total((y - mean(y)) ** 2)", "`total` adds up what is made of a whole batch"),
        ("total(centred ** 2) / total(batch)", "`total` adds up what is made of a whole batch"),
        ("total(cumsum(y, axis=0))", "`total` adds up what is made of a whole batch"),
        ("sum(total(logits, axis=1))", "`total` does not add up along the axis of samples"),
        ("total(sum(y) ** 2)", "`total` adds up what is made of a whole batch"),
        ("total(y) * mean(y)", "`m` mixes totals with values of a single batch"),
        ("s.last.p", no_mean),
        ("s.last.t", no_mean),
    ];
    for (metric, message) in wrong {
        let found = mistakes(&model(metric, "batch"));
        assert!(found.contains(message), "{metric}: {found}");
    }
    let right = [
        "mean(y)",
        "2 * mean(y) - mean(label) / 3 + 1",
        "sum(y) / batch",
        "sum(y * y) / batch",
        "level",
        "sum(y / batch)",
        "mean(cumsum(logits, axis=1))",
        "mean(sort(logits)[:, ::-1])",
        "mean(reshape(logits, [4 * batch]))",
        "mean(concat([y, y], axis=0))",
        "accuracy(logits, label)",
        "top_k_accuracy(logits, label, 2)",
        "mean(norm(logits, axis=1))",
        "cross_entropy(logits, label, smoothing=0.1)",
        "mean(bce_with_logits(y, 1.0, reduction='none'))",
        "total(sum(y)) / total(batch)",
        "sqrt(total(y ** 2))",
        "total(sum(y * y))",
        "total(batch - sum(label))",
        "max(total(logits, axis=0))",
        "norm(parameter('fc1.weight'))",
        "total(y) * norm(parameter('fc1.weight'))",
        // Carries that begin with a number.
        "s.last.e",
        "s.last.m",
        "mean(s.e)",
    ];
    for metric in right {
        assert_eq!(mistakes(&model(metric, "batch")), "", "{metric}");
    }
    // Without a size `batch` nothing is known of samples.
    assert_eq!(mistakes(&model("sum(y) / sum(label)", "16")), "");
    let found = mistakes(&model("mean(y)", "batch").replace("loss: \"", "loss: \"total(y) + "));
    assert!(found.contains("`total` belongs into metrics"), "{found}");
    let found = mistakes(&model("mean(y)", "batch").replace("\"m\"", "\"total.m\""));
    assert!(found.contains("an output cannot be named `total.m`"), "{found}");
}
