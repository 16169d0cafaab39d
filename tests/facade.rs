//! The library as an application uses it.

use std::sync::Arc;

use brolga::ir::ops::Role;
use brolga::ir::{Builder, DType, Graph, Origin, Type};
use brolga::runtime::Instance;
use brolga::{Error, Model, Network, Settings, State, Tensor, Threads, compile, with_gradients};

fn images(count: usize) -> Vec<f32> {
    (0..count * 784).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

#[test]
fn a_network_is_loaded_and_called() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("lenet5.safetensors");
    let model = Model::load("lenet5", &Settings::default()).unwrap();
    model.initial_state(3).unwrap().save_weights(&weights).unwrap();

    let mut network = Network::load("lenet5").unwrap();
    network.load_weights(&weights).unwrap();
    let probability = network.infer(&images(3)).unwrap();
    assert_eq!(probability.dims(), [3, 10]);
    let rows = probability.as_slice::<f32>().unwrap();
    assert!(rows.chunks(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5), "{rows:?}");

    // A sample alone has the same bits as in a batch.
    let alone = network.infer(&images(1)).unwrap();
    assert_eq!(alone.as_slice::<f32>().unwrap(), &rows[..10]);
    // So many that lanes are images instead of channels.
    for count in [16, 32] {
        let many = network.infer(&images(count)).unwrap();
        assert_eq!(&many.as_slice::<f32>().unwrap()[..30], rows, "{count} images");
    }

    let error = network.infer(&images(1)[1..]).unwrap_err().to_string();
    assert!(error.contains("783") && error.contains("784"), "{error}");
    assert!(network.infer(&[]).is_err());
    assert!(network.load_weights(folder.path().join("none")).unwrap_err().to_string().contains("none"));
}

#[test]
fn a_network_is_trained() {
    let model = Model::load("mlp", &Settings::default().with("hidden", "[8]")).unwrap();
    let mut network = Network::new(model, Threads::serial()).unwrap();
    let image = Tensor::from_slice(&[4, 1, 28, 28], &images(4)).unwrap();
    let label = Tensor::from_slice(&[4], &[1i32, 2, 3, 4]).unwrap();
    let mut losses = Vec::new();
    for _ in 0..20 {
        let metrics = network.run("train", &[("image", &image), ("label", &label)]).unwrap();
        losses.push(metrics[0].1.item().unwrap());
    }
    assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
    assert_eq!(network.state().step(), Some(20));
    let error = network.run("tarin", &[("image", &image)]).unwrap_err();
    assert!(matches!(error, Error::Name(_)) && error.to_string().contains("train"), "{error}");
    let label = Tensor::from_slice(&[4], &[1i32, 2, 3, 10]).unwrap();
    assert!(network.run("train", &[("image", &image), ("label", &label)]).is_err());
}

#[test]
fn executables_are_kept_by_entry_and_sizes() {
    let model = Model::load("softmax-regression", &Settings::default().dim("batch", 2)).unwrap();
    let first = model.compile("infer").unwrap();
    assert!(Arc::ptr_eq(&first, &model.compile_for("infer", &[("batch", 2)]).unwrap()));
    let other = model.compile_for("infer", &[("batch", 3)]).unwrap();
    assert_eq!(other.manifest().inputs[0].dims, [3, 1, 28, 28]);
    // So many more that the first is dropped.
    for batch in 4..40 {
        model.compile_for("infer", &[("batch", batch)]).unwrap();
    }
    assert!(!Arc::ptr_eq(&first, &model.compile("infer").unwrap()));
}

#[test]
fn seeds_draw_the_weights() {
    let model = Model::load("lenet5", &Settings::default()).unwrap();
    let weight = |seed| model.initial_state(seed).unwrap().get("conv1.weight").unwrap().try_clone().unwrap();
    assert!(weight(1) == weight(1) && weight(1) != weight(2));
    // PyTorch's default: uniform within 1 / sqrt(fan in).
    let one = weight(1);
    let largest = one.as_slice::<f32>().unwrap().iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(largest < 0.2 && largest > 0.15, "{largest}");
}

/// Eight threads, a thousand calls each, every one with another image: one executable, one state and one set of prepared
/// values, without a lock.
#[test]
fn threads_share_a_model() {
    const CALLS: usize = 1000;
    let model = Model::load("lenet5", &Settings::default().dim("batch", 1)).unwrap();
    let (executable, state) = (model.compile("infer").unwrap(), model.initial_state(0).unwrap());
    let images: Vec<Tensor> =
        images(16).chunks(784).map(|x| Tensor::from_slice(&[1, 1, 28, 28], x).unwrap()).collect();
    // Every thread begins with another image.
    let run = |instance: &mut Instance, first: usize| {
        let mut output = Tensor::zeros(brolga::runtime::DType::F32, &[1, 10]).unwrap();
        let mut results = Vec::with_capacity(10 * CALLS);
        for call in 0..CALLS {
            let image = images[(first + call) % images.len()].view();
            instance.run_shared(&state, &[image], &mut [output.view_mut()]).unwrap();
            results.extend_from_slice(output.as_slice::<f32>().unwrap());
        }
        results
    };
    let mut first = Instance::bind(executable, &state, &Threads::serial()).unwrap();
    let serial: Vec<Vec<f32>> = (0..8).map(|thread| run(&mut first, 2 * thread)).collect();
    let mut shared: Vec<Instance> = (0..8).map(|_| first.share().unwrap()).collect();
    std::thread::scope(|scope| {
        let run = &run;
        let runs = shared.iter_mut().enumerate();
        let runs: Vec<_> = runs.map(|(n, instance)| scope.spawn(move || run(instance, 2 * n))).collect();
        runs.into_iter().zip(&serial).for_each(|(run, serial)| assert!(run.join().unwrap() == *serial));
    });
}

#[test]
fn a_variant_of_a_file_is_named_behind_a_colon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.ron");
    let text = brolga::models::catalogue::file("lenet5").unwrap().text;
    std::fs::write(&path, text).unwrap();
    let load = |name: &str| Model::load(name, &Settings::default());
    let model = load(path.to_str().unwrap()).unwrap();
    assert_eq!(model.name(), "mine");
    let variant = load(&format!("{}:lenet5-tanh", path.display())).unwrap();
    assert_eq!(variant.name(), "lenet5-tanh");
    let error = load(&format!("{}:lenet5-tan", path.display())).err().unwrap().to_string();
    assert!(error.contains("lenet5-tanh"), "{error}");
}

/// A parameter may be called as an input is: its gradient has another name.
#[test]
fn gradients_by_parameters_and_inputs() {
    let text = r#"Model(
        inputs: { "x": "f32[3]", "label": "i32[]" },
        body: [Sequential(name: "input", body: [Parameter(name: "x", dims: [3], init: Ones)])],
        entries: { "train": Train(loss: "sum(it * x * x) * label", optimizer: Sgd(lr: 1)) },
    )"#;
    let model = Model::from_text("square", text, &Settings::default()).unwrap();
    let graph = with_gradients(model.graph("train").unwrap()).unwrap();
    let executable = Arc::new(compile(&graph, model.options()).unwrap());
    let mut state: State = model.initial_state(0).unwrap();
    let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
    let x = Tensor::from_slice(&[3], &[1f32, -2.0, 0.5]).unwrap();
    let label = Tensor::scalar(3i32).unwrap();
    let outputs = instance.run_named(&mut state, &[("x", &x), ("label", &label)]).unwrap();
    let of = |wanted: &str| {
        let found = outputs.iter().find(|(name, _)| name == wanted);
        found.unwrap_or_else(|| panic!("no {wanted}")).1.as_slice::<f32>().unwrap().to_vec()
    };
    assert_eq!(of("grad.input.x"), [3.0, 12.0, 0.75], "3 x²");
    assert_eq!(of("input.x"), [6.0, -12.0, 3.0], "6 w x");
}

/// Gradients are those of the first step that trains a parameter, from the value that it has there: as it was, or as
/// earlier steps left it. A step whose result a later one replaces is none.
#[test]
fn gradients_by_what_earlier_steps_left() {
    const A: &str = "Minimize(loss: \"sum(a1 * a1 * b1) + sum(x)\", of: \"a\", optimizer: Sgd(lr: 1))";
    const B: &str = "Minimize(loss: \"sum(a1 * b1 * b1) + sum(x)\", of: \"b\", optimizer: Sgd(lr: 1))";
    const SET: &str = "Update(state: \"a\", value: \"x[0]\")";
    const DOUBLE: &str = "Update(state: \"a\", value: \"a1 * 2\")";
    // a = 1 and b = 1 at first, x[0] = 3, 5.
    type Row = (&'static [&'static str], [Option<[f32; 2]>; 2]);
    let rows: [Row; 11] = [
        (&[A], [Some([2.0, 2.0]), None]),
        (&[SET, A], [Some([6.0, 10.0]), None]),
        (&[A, DOUBLE], [Some([2.0, 2.0]), None]),
        (&[A, DOUBLE, A], [Some([2.0, 2.0]), None]),
        (&[A, SET, A], [Some([6.0, 10.0]), None]),
        (&[SET, A, SET, A], [Some([6.0, 10.0]), None]),
        (&[SET, SET, B], [None, Some([6.0, 10.0])]),
        (&[A, B], [Some([2.0, 2.0]), Some([-2.0, -2.0])]),
        (&[SET, A, B], [Some([6.0, 10.0]), Some([-6.0, -10.0])]),
        (
            &["Update(state: \"b\", value: \"x[0]\")", "Update(state: \"a\", value: \"b1\")", A, B],
            [Some([18.0, 50.0]), Some([-90.0, -450.0])],
        ),
        (&["Update(state: \"a\", value: \"stop_gradient(x[0])\")", A], [Some([6.0, 10.0]), None]),
    ];
    for (steps, expected) in rows {
        let steps = steps.join(", ");
        let text = format!(
            r#"Model(
                inputs: {{ "x": "f32[2, 2]" }},
                body: [
                    Parameter(name: "a", dims: [2], init: Ones), As("a1"),
                    Parameter(name: "b", dims: [2], init: Ones), As("b1"),
                ],
                entries: {{ "train": Entry(mode: "train", steps: [{steps}]) }},
            )"#
        );
        let model = Model::from_text("steps", &text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
        let graph = with_gradients(model.graph("train").unwrap()).unwrap_or_else(|e| panic!("{steps}: {e}"));
        let executable = Arc::new(compile(&graph, model.options()).unwrap());
        let mut state: State = model.initial_state(0).unwrap();
        let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
        let x = Tensor::from_slice(&[2, 2], &[3f32, 5.0, 7.0, 9.0]).unwrap();
        let outputs = instance.run_named(&mut state, &[("x", &x)]).unwrap();
        for (name, expected) in ["grad.a", "grad.b"].into_iter().zip(expected) {
            let found = outputs.iter().find(|(found, _)| found == name);
            let found = found.map(|(_, tensor)| tensor.as_slice::<f32>().unwrap().to_vec());
            assert_eq!(found, expected.map(Vec::from), "{name} of {steps}");
        }
    }
}

/// That a value is a state since earlier steps is said by its operator, not by what a layer is called.
#[test]
fn gradients_by_what_is_called_settled() {
    let mut graph = Graph::new("train");
    let ty = Type::new(DType::F32, [2]);
    let x = graph.add_parameter("x", Role::Data, ty.clone());
    let a = graph.add_parameter("a", Role::State, ty);
    let mut b = Builder::new(&mut graph, Origin::new("settled.a"));
    let fixed = b.stop_gradient(x).unwrap();
    let square = b.mul(fixed, fixed).unwrap();
    let inner = b.sum(square, &[0]).unwrap();
    let slope = b.gradient(inner, &[fixed]).unwrap()[0];
    let penalty = b.mul(slope, a).unwrap();
    let loss = b.sum(penalty, &[0]).unwrap();
    let gradient = b.gradient(loss, &[a]).unwrap()[0];
    let next = b.sub(a, gradient).unwrap();
    graph.add_output("loss", Role::Data, loss);
    graph.add_output("a", Role::State, next);
    let graph = with_gradients(&graph).unwrap();
    let found: Vec<_> = graph.outputs().iter().filter(|output| output.name.starts_with("grad.")).collect();
    assert_eq!(
        found.iter().map(|output| (&*output.name, output.value)).collect::<Vec<_>>(),
        [("grad.a", gradient)]
    );
}

/// The row of `padding_idx` is not trained, however the index of it is written.
#[test]
fn padding_is_not_trained() {
    for index in [4, -1] {
        let text = format!(
            r#"Model(
                inputs: {{ "x": "f32[2]" }},
                body: [Expr("full([2], {index}, 'i32')"), Embedding(name: "e", vocabulary: 5, features: 2, padding_idx: 4)],
                entries: {{ "train": Train(loss: "sum(it) + sum(x)", optimizer: Sgd(lr: 1)) }},
            )"#
        );
        let model =
            Model::from_text("padding", &text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"));
        let graph = with_gradients(model.graph("train").unwrap()).unwrap();
        let executable = Arc::new(compile(&graph, model.options()).unwrap());
        let mut state: State = model.initial_state(0).unwrap();
        let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
        let x = Tensor::from_slice(&[2], &[0f32, 0.0]).unwrap();
        let outputs = instance.run_named(&mut state, &[("x", &x)]).unwrap();
        let (_, gradient) = outputs.iter().find(|(name, _)| name == "grad.e.weight").unwrap();
        assert_eq!(gradient.as_slice::<f32>().unwrap(), [0.0; 10], "index {index}");
    }
}

/// A path in an import counts from the folder of the file that it stands in, however deep; what comes along is found by name.
#[test]
fn imports_are_found_from_the_importing_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, body: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32[2, 1, 28, 28]\" }}, body: [{body}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
        );
        std::fs::write(path, text).unwrap();
    };
    write("nets/main.ron", "Import(model: \"parts/outer.ron\")");
    write(
        "nets/parts/outer.ron",
        "Import(model: \"inner.ron\", name: \"i\"), Import(model: \"../side.ron\", name: \"s\"), Linear(name: \"o\", features: 3)",
    );
    write("nets/parts/inner.ron", "Linear(name: \"fc\", features: 28)");
    write("nets/side.ron", "Import(model: \"lenet5\", until: \"conv1\"), Flatten");
    // Files of the same names in the root's folder are others.
    write("nets/inner.ron", "Linear(name: \"wrong\", features: 7)");
    write("nets/parts/side.ron", "Linear(name: \"wrong\", features: 7)");
    let path = folder.path().join("nets/main.ron");
    let model = Model::load(&path.display().to_string(), &Settings::default()).unwrap();
    let state = model.instance().state().iter();
    let parameters = state.filter(|slot| slot.kind == brolga::frontend::SlotKind::Parameter);
    let names: Vec<&str> = parameters.map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["i.fc.weight", "i.fc.bias", "s.conv1.weight", "s.conv1.bias", "o.weight", "o.bias"]);
    // What is not there is named as it is looked for, at its place in the file that imports it.
    write("nets/parts/outer.ron", "Import(model: \"nothing.ron\")");
    let error = Model::load(&path.display().to_string(), &Settings::default()).err().unwrap().to_string();
    assert!(error.contains("cannot import `nothing.ron`") && error.contains("parts/outer.ron:1:"), "{error}");
    // A file that imports itself is one file, by whatever name.
    write("nets/cycle.ron", "Import(model: \"./cycle.ron\")");
    let path = folder.path().join("nets/cycle.ron").display().to_string();
    let error = Model::load(&path, &Settings::default()).err().unwrap().to_string();
    let twice = format!("{path} -> {path}");
    assert!(error.contains("a model imports itself") && error.contains(&twice), "{error}");
}

/// A layer that trains on several values refuses a batch of 1 where it trains; single samples are inferred and evaluated.
#[test]
fn a_batch_of_one_is_refused_only_where_it_is_trained_on() {
    let text = r#"Model(
        inputs: { "x": "f32[batch, 2]", "t": "f32[batch, 3]" },
        body: [Linear(4), BatchNorm, Tanh, Linear(3)],
        entries: {
            "infer": Infer(outputs: { "y": "it" }),
            "train": Train(loss: "mse(it, t)", optimizer: Adam(lr: 0.1)),
        },
    )"#;
    let [one, four] =
        [1, 4].map(|batch| Model::from_text("norm", text, &Settings::default().dim("batch", batch)).unwrap());
    for entry in ["infer", "train.eval", "init"] {
        one.compile(entry).unwrap();
    }
    four.compile("train").unwrap();
    assert!(four.evaluation("train.eval", 7).unwrap().is_some());
    let state =
        |model: &Model| model.instance().state().iter().map(|slot| slot.name.clone()).collect::<Vec<_>>();
    assert_eq!(state(&one), state(&four));
    let refused = [
        one.graph("train").err(),
        one.compile("train").err(),
        four.compile_for("train", &[("batch", 1)]).err(),
    ];
    for error in refused {
        let error = error.expect("a mistake").to_string();
        let wanted = "BatchNorm `bn1`: training needs more than one value per channel, found 1";
        assert!(error.contains(wanted) && error.contains("the input of this layer is f32[1, 4]"), "{error}");
    }
}

/// An entry that takes even batches only stands in the way of no other.
#[test]
fn an_entry_that_does_not_take_a_batch_is_refused_alone() {
    let text = r#"Model(
        inputs: { "x": "f32[batch, 2]" },
        body: [Linear(3)],
        entries: {
            "infer": Infer(outputs: { "y": "it" }),
            "train": Train(loss: "mean(reshape(it, [batch // 2, 2, 3]) ** 2)", optimizer: Adam(lr: 0.1)),
        },
    )"#;
    let model = |batch| Model::from_text("pairs", text, &Settings::default().dim("batch", batch));
    let four = model(4).unwrap();
    let values = |model: &Model| {
        let state = model.initial_state(5).unwrap();
        let slots = state.slots().iter().map(|slot| (slot.name().to_owned(), slot.tensor().bytes().to_vec()));
        slots.collect::<Vec<_>>()
    };
    for batch in [1, 3] {
        let dims = [("batch", batch)];
        let other = model(4).unwrap().with_dims(&dims).unwrap();
        assert_eq!(values(&other), values(&four));
        for entry in ["infer", "init"] {
            four.compile_for(entry, &dims).unwrap();
            other.compile(entry).unwrap();
        }
        for entry in ["train", "train.eval"] {
            let refused = [
                four.compile_for(entry, &dims).err(),
                other.compile(entry).err(),
                other.graph(entry).err(),
                other.built(entry).err(),
            ];
            for error in refused {
                let error = error.expect("a mistake").to_string();
                let wanted = format!("f32[{batch}, 3] cannot be reshaped to [{}, 2, 3]", batch / 2);
                assert!(error.contains(&wanted), "{error}");
            }
        }
        // Sizes that it takes are found again.
        other.compile_for("train", &[("batch", 6)]).unwrap();
    }
    assert!(model(3).is_err());
}
