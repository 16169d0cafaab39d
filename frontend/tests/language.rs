//! What the language can say, seen in the graphs and the state that it gives.

use brolga_frontend::{Instance, Model, Resolver, Settings, SlotKind, no_imports};
use brolga_ir::ops::{Op, Role};

fn build_with(text: &str, settings: &Settings, files: Resolver) -> Instance {
    Model::parse("test.ron", text, files)
        .and_then(|model| model.instantiate(settings))
        .unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"))
}

fn build(text: &str) -> Instance {
    build_with(text, &Settings::default(), &no_imports)
}

fn infer(body: &str, output: &str) -> String {
    format!(
        "Model(
            inputs: {{ \"x\": \"f32[2, 3, 8, 8]\", \"y\": \"f32[2]\" }},
            body: [{body}],
            entries: {{ \"infer\": Infer(outputs: {{ \"out\": \"{output}\" }}) }},
        )"
    )
}

fn parameters(instance: &Instance) -> Vec<(&str, Vec<usize>)> {
    let slots = instance.state().iter().filter(|slot| slot.kind == SlotKind::Parameter);
    slots.map(|slot| (slot.name.as_str(), slot.ty.dims.clone())).collect()
}

/// Types of a graph's outputs by name, and whether they are state.
fn outputs(instance: &Instance, entry: &str) -> Vec<(String, bool, Vec<usize>)> {
    let graph = instance.graph(entry).expect("an entry");
    let outputs = graph.outputs().iter();
    outputs.map(|o| (o.name.clone(), o.role == Role::State, graph.ty(o.value).dims.clone())).collect()
}

#[test]
fn unused_inputs_and_parameters_are_left_out() {
    let instance = build(&infer(
        "Conv2d(name: \"c\", features: 4, kernel: 3), Aside([Flatten, Linear(5), As(\"aux\")])",
        "it",
    ));
    let graph = instance.graph("infer").expect("infer");
    let names: Vec<&str> =
        graph.parameters().iter().map(|&id| graph.parameter(id).expect("one").name.as_str()).collect();
    assert_eq!(names, ["x", "c.weight", "c.bias"]);
    assert_eq!(parameters(&instance).len(), 4, "the state is that of the whole model");
    assert_eq!(instance.layers().len(), 3);
}

/// A row of `check` says which activation or pooling it is.
#[test]
fn rows_say_which_layer_it_is() {
    let instance = build(&infer(
        "Conv2d(features: 4, kernel: 3, padding: \"same\"), Activation(\"relu\"), Pool2d(\"avg\", 2, stride: 1),
         MaxPool2d([2, 1]), Relu, LeakyRelu(0.1), Gelu, Gelu(form: \"tanh\"), Dropout, Dropout(0.25), Flatten,
         Linear(name: \"fc\", features: \"2 * 5\", bias: false, init: Zeros), Parameter([1, 1, 1, 1, 1, 1, 1])",
        "it",
    ));
    let calls: Vec<&str> = instance.layers().iter().map(|row| row.call.as_str()).collect();
    let expected = [
        "Conv2d(4, 3, padding: same)",
        "Activation(relu)",
        "Pool2d(avg, 2)",
        "MaxPool2d([2, 1])",
        "Relu",
        "LeakyRelu(0.1)",
        "Gelu",
        "Gelu(tanh)",
        "Dropout",
        "Dropout(0.25)",
        "Flatten",
        "Linear(10)",
        "Parameter([...])",
    ];
    assert_eq!(calls, expected);
    assert!(instance.layers().iter().all(|row| row.call.starts_with(&row.kind)));
}

#[test]
fn names_by_position_kind_and_index() {
    let instance = build(&infer(
        "Conv2d(features: 4, kernel: 3), Conv2d(features: 4, kernel: 3),
         Sequential(name: \"s\", body: [Relu, Repeat(2, [Conv2d(features: 4, kernel: 1), Relu])]),
         Repeat(times: 2, index: \"k\", body: [Conv2d(name: \"r.{k + 1}\", features: 4, kernel: 1, bias: false)])",
        "it",
    ));
    let names: Vec<&str> = parameters(&instance).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "conv1.weight",
        "conv1.bias",
        "conv2.weight",
        "conv2.bias",
        "s.1.weight",
        "s.1.bias",
        "s.3.weight",
        "s.3.bias",
        "r.1.weight",
        "r.2.weight",
    ];
    assert_eq!(names, expected);
}

#[test]
fn weights_are_shared_by_reuse() {
    let instance = build(&infer(
        "Conv2d(name: \"c\", features: 3, kernel: 3, padding: 1), As(\"once\"), Reuse(\"c\"), As(\"twice\")",
        "once + twice",
    ));
    assert_eq!(parameters(&instance), [("c.weight", vec![3, 3, 3, 3]), ("c.bias", vec![3])]);
    let graph = instance.graph("infer").expect("infer");
    let convolutions = graph.nodes().filter(|&id| matches!(graph.node(id).op, Op::Conv(_))).count();
    assert_eq!(convolutions, 2);
}

#[test]
fn tied_weights_by_expression() {
    let instance = build(
        "Model(
            inputs: { \"token\": \"i32[2, 5]\" },
            body: [Embedding(name: \"embed\", vocabulary: 11, features: 6), Expr(\"it @ transpose(parameter('embed.weight'))\")],
            entries: { \"infer\": Infer(outputs: { \"logits\": \"it\" }) },
        )",
    );
    assert_eq!(parameters(&instance), [("embed.weight", vec![11, 6])]);
    assert_eq!(outputs(&instance, "infer"), [("logits".to_owned(), false, vec![2, 5, 11])]);
}

#[test]
fn an_imported_backbone() {
    let files = |name: &str, _: &str| match name {
        "net" => Ok((
            "net.ron".to_owned(),
            "Model(
                parameters: { \"width\": 4 }, variants: { \"wide\": { \"width\": 8 } },
                inputs: { \"image\": \"f32[batch, 3, 32, 32]\" },
                body: [
                    Conv2d(name: \"stem\", features: \"width\", kernel: 3, stride: 2), Relu,
                    Sequential(name: \"layer1\", body: [Conv2d(features: \"2 * width\", kernel: 3)]),
                    Flatten, Linear(name: \"head\", features: 10),
                ],
                entries: { \"infer\": Infer(outputs: { \"y\": \"it\" }) },
            )"
            .to_owned(),
        )),
        _ => Err("no such file".to_owned()),
    };
    let steps = "Import(model: \"net\", variant: \"wide\", name: \"backbone\", until: \"layer1\"), GlobalAvgPool, Linear(name: \"fc\", features: 2)";
    let instance = build_with(&infer(steps, "it"), &Settings::default(), &files);
    let expected = [
        ("backbone.stem.weight", vec![8, 3, 3, 3]),
        ("backbone.stem.bias", vec![8]),
        ("backbone.layer1.0.weight", vec![16, 8, 3, 3]),
        ("backbone.layer1.0.bias", vec![16]),
        ("fc.weight", vec![2, 16]),
        ("fc.bias", vec![2]),
    ];
    assert_eq!(parameters(&instance), expected);
}

/// `none` is an argument that is not given, wherever it stands, in strings and without.
#[test]
fn none_is_not_given() {
    let init = |body: &str| build(&infer(body, "it")).graph("init").expect("init").to_string();
    for none in ["none", "None", "\"none\""] {
        let linear = format!("Flatten, Linear(name: \"a\", features: 5, init: {none}, bias: {none})");
        assert_eq!(init(&linear), init("Flatten, Linear(name: \"a\", features: 5)"), "{none}");
        let pool = build(&infer(&format!("AdaptiveAvgPool2d([3, {none}])"), "it"));
        assert_eq!(outputs(&pool, "infer"), [("out".to_owned(), false, vec![2, 3, 3, 8])], "{none}");
    }
}

/// A training entry gives its evaluation; dropout and batch normalisation behave differently in the two.
#[test]
fn training_and_evaluation() {
    let instance = build(
        "Model(
            inputs: { \"x\": \"f32[batch, 8]\", \"label\": \"i32[batch]\" },
            body: [
                Linear(name: \"fc1\", features: 6), BatchNorm(name: \"bn\"), Relu, Dropout(0.3),
                Aside([Linear(name: \"aux\", features: 4), As(\"aux_logits\")]),
                Linear(name: \"fc2\", features: 4), As(\"logits\"),
            ],
            entries: { \"train\": Train(
                loss: \"cross_entropy(logits, label) + 0.3 * cross_entropy(aux_logits, label)\",
                optimizer: Adam(lr: Warmup(steps: 10, then: Cosine(initial: 1e-3, steps: 100)), weight_decay: 1e-4),
                metrics: { \"accuracy\": \"accuracy(logits, label)\" },
                clip: ClipNorm(1.0),
                groups: [Group(of: \"aux.*\", lr: 0.1, weight_decay: 0), Group(of: \"fc1.*\", frozen: true)],
            ) },
        )",
    );
    assert_eq!(instance.entries(), ["train", "train.eval", "init"]);
    let eval: Vec<String> = outputs(&instance, "train.eval").into_iter().map(|(name, ..)| name).collect();
    assert_eq!(eval, ["loss", "accuracy"]);
    let train = outputs(&instance, "train");
    let updated: Vec<&str> =
        train.iter().filter(|(_, state, _)| *state).map(|(name, ..)| name.as_str()).collect();
    assert!(
        updated.contains(&"bn.running_mean") && updated.contains(&"fc2.weight") && updated.contains(&"step")
    );
    assert!(!updated.contains(&"fc1.weight"), "frozen");
    assert!(!updated.contains(&"seed"));
    let random = |entry: &str| {
        let graph = instance.graph(entry).expect("an entry");
        graph.nodes().filter(|&id| matches!(graph.node(id).op, Op::Random(_))).count()
    };
    assert_eq!((random("train"), random("train.eval")), (1, 0));
    let kinds = |kind: SlotKind| instance.state().iter().filter(|slot| slot.kind == kind).count();
    assert_eq!((kinds(SlotKind::Step), kinds(SlotKind::Seed), kinds(SlotKind::Buffer)), (1, 1, 2));
    assert_eq!(kinds(SlotKind::Optimizer), 2 * 6, "two moments of each trained parameter");
    let seedless = |slot: &&brolga_frontend::Slot| slot.kind != SlotKind::Seed;
    let init: Vec<String> = outputs(&instance, "init").into_iter().map(|(name, ..)| name).collect();
    let state: Vec<String> = instance.state().iter().filter(seedless).map(|slot| slot.name.clone()).collect();
    assert_eq!(init, state);
}

/// Two optimisers in one entry, the second seeing what the first has left, and a projection: a GAN's critic.
#[test]
fn several_gradient_steps() {
    let instance = build(
        "Model(
            inputs: { \"real\": \"f32[batch, 2]\", \"noise\": \"f32[batch, 3]\" },
            body: [
                Sequential(name: \"d\", body: [Linear(5), Relu, Linear(1)]), As(\"real_score\"),
                Ref(\"noise\"), Sequential(name: \"g\", body: [Linear(4), Relu, Linear(2)]), As(\"fake\"),
                Reuse(\"d\"), As(\"fake_score\"),
            ],
            entries: {
                \"train\": Entry(
                    steps: [
                        Minimize(loss: \"mean(fake_score) - mean(real_score)\", of: \"d.*\", optimizer: RmsProp(lr: 5e-5)),
                        Update(state: \"d.0.weight\", value: \"clip(parameter('d.0.weight'), -0.01, 0.01)\"),
                        Minimize(loss: \"-mean(fake_score)\", of: \"g.*\", optimizer: RmsProp(lr: 5e-5)),
                    ],
                    outputs: { \"gap\": \"mean(real_score) - mean(fake_score)\" },
                ),
                \"sample\": Infer(body: [Ref(\"noise\"), Reuse(\"g\")], outputs: { \"x\": \"it\" }),
            },
        )",
    );
    let graph = instance.graph("train").expect("train");
    let gradients = graph.nodes().filter(|&id| matches!(graph.node(id).op, Op::Differentiate(_))).count();
    assert_eq!(gradients, 2);
    let sample = instance.graph("sample").expect("sample");
    let names: Vec<&str> =
        sample.parameters().iter().map(|&id| sample.parameter(id).expect("one").name.as_str()).collect();
    assert_eq!(names, ["noise", "g.0.weight", "g.0.bias", "g.2.weight", "g.2.bias"]);
}

#[test]
fn random_numbers_can_be_fed() {
    let settings = Settings { feed_random: true, ..Settings::default() };
    let text = infer("Dropout(name: \"drop\", p: 0.5)", "it").replace("Infer(", "Entry(steps: [], ");
    let instance = build_with(&text, &settings, &no_imports);
    let graph = instance.graph("infer").expect("infer");
    let names: Vec<&str> =
        graph.parameters().iter().map(|&id| graph.parameter(id).expect("one").name.as_str()).collect();
    assert!(names.contains(&"random.drop"), "{names:?}");
}

/// Each initialiser has the spread that its rule states, and equal seeds give equal numbers.
#[test]
fn initial_values() {
    use brolga_ir::interpret::interpret;
    use brolga_ir::tensor::{Data, Tensor};
    let variance = |init: &str| -> f64 {
        let instance =
            build(&infer(&format!("Flatten, Linear(name: \"fc\", features: 100, init: {init})"), "it"));
        let graph = instance.graph("init").expect("init");
        let run = |seed: i64| {
            let values: Vec<Tensor> = graph
                .parameters()
                .iter()
                .map(|&id| match graph.parameter(id).expect("a parameter") {
                    seeded if seeded.name == "seed" => Tensor::new([], Data::I64(vec![seed])),
                    state => Tensor::zeros(&state.ty),
                })
                .collect();
            interpret(graph, &values.iter().collect::<Vec<_>>()).expect("initial values")
        };
        let weight = run(3).swap_remove(0);
        assert!(weight == run(3).swap_remove(0), "{init}: equal seeds give equal numbers");
        let values: Vec<f64> = (0..weight.ty().elements()).map(|i| weight.get(i).to_f64()).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        assert!(mean.abs() < 0.02, "{init}: mean {mean}");
        values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count
    };
    // 192 inputs, 100 outputs.
    let cases = [
        ("Default", 1.0 / (3.0 * 192.0)),
        ("HeNormal", 2.0 / 192.0),
        ("HeUniform(fan: \"out\")", 2.0 / 100.0),
        ("XavierNormal", 2.0 / 292.0),
        ("XavierUniform(gain: 2)", 8.0 / 292.0),
        ("LecunNormal", 1.0 / 192.0),
        ("Normal(std: 0.1)", 0.01),
        ("Uniform(low: -0.3, high: 0.3)", 0.03),
        // The variance of a normal distribution cut at two standard deviations is 0.774 of the whole.
        ("TruncatedNormal(std: 0.1)", 0.007_741),
        ("Zeros", 0.0),
    ];
    for (init, expected) in cases {
        let found = variance(init);
        assert!((found - expected).abs() <= 0.05 * expected, "{init}: variance {found}, not {expected}");
    }
}
