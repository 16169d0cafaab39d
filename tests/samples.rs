//! What inputs and outputs are of the samples of a batch: the frontend finds it out, manifests say it, and programs go by it. What
//! is as long as the batch, or has an axis of 1 where the batch is 1, is not taken for it.

use brolga::frontend::Samples as Found;
use brolga::runtime::{Manifest, Samples};
use brolga::{Model, ObjectEntry, Settings};

use crate::common::load;

/// A kind of output: its expression over `x`, which is `f32[batch, 3]`, and weights `one` (`f32[1, 3]`) and `three` (`f32[3, 3]`); and
/// what it is of the samples.
const OUTPUTS: &[(&str, Samples)] = &[
    ("softmax(x * 0.25)", Samples::Along(0)),
    ("sum(x, axis=1)", Samples::Along(0)),
    ("x @ three", Samples::Along(0)),
    ("transpose(x, [1, 0])", Samples::Along(1)),
    ("x[none]", Samples::Along(1)),
    ("one", Samples::Same),
    ("three", Samples::Same),
    ("sum(one)", Samples::Same),
    ("sum(x)", Samples::Together),
    ("sum(x, axis=0, keepdims=true)", Samples::Together),
    ("mean(x, axis=0)", Samples::Together),
    ("x - max(x, axis=0, keepdims=true)", Samples::Together),
    ("cumsum(x, axis=0)", Samples::Together),
    ("x[0]", Samples::Together),
    ("x @ transpose(x, [1, 0])", Samples::Together),
    ("reshape(x, [batch * 3])", Samples::Together),
    ("x * batch", Samples::Together),
    ("tanh(x * batch) + 1", Samples::Together),
];

/// A kind of input beside `x`: its type, what it has of the samples, and how it goes into the output.
const INPUTS: &[(&str, Samples, &str)] = &[
    ("f32[batch, 3]", Samples::Along(0), "x * z"),
    ("f32[3, batch]", Samples::Along(1), "x * transpose(z, [1, 0])"),
    ("f32[batch]", Samples::Along(0), "x * z[:, none]"),
    ("f32[1, 3]", Samples::Same, "x + z"),
    ("f32[3, 3]", Samples::Same, "x @ z"),
    ("f32[]", Samples::Same, "x * z"),
    ("f32[batch, batch]", Samples::Together, "z @ x"),
    ("f32[2 * batch, 3]", Samples::Together, "sum(reshape(z, [2, batch, 3]), axis=0) + x"),
];

/// The batches that programs are built for, beside the numbers of samples that they are given.
const BATCHES: [usize; 2] = [1, 3];
const GIVEN: [usize; 4] = [1, 2, 3, 5];

/// A model with these inputs besides `x` and outputs besides `y`, which is of single samples.
fn model(inputs: &[(String, &str)], outputs: &[(String, &str)]) -> String {
    let list = |all: &[(String, &str)]| -> String {
        all.iter().map(|(name, what)| format!(", \"{name}\": \"{what}\"")).collect()
    };
    format!(
        "Model(
            inputs: {{ \"x\": \"f32[batch, 3]\"{} }},
            body: [
                Parameter(name: \"p\", dims: [1, 3]), As(\"one\"), Parameter(name: \"q\", dims: [3, 3]), As(\"three\"),
            ],
            entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"x * 2\"{} }}) }},
        )",
        list(inputs),
        list(outputs)
    )
}

/// All kinds of outputs in one model, `z0` and so on; and all kinds of inputs, each with an output.
fn models() -> [(String, Vec<Samples>, Vec<Samples>); 2] {
    let z = |at: usize| format!("z{at}");
    let outputs: Vec<_> = OUTPUTS.iter().enumerate().map(|(at, (text, _))| (z(at), *text)).collect();
    let inputs: Vec<_> = INPUTS.iter().enumerate().map(|(at, (ty, ..))| (z(at), *ty)).collect();
    let uses: Vec<_> = INPUTS.iter().enumerate().map(|(at, (.., text))| text.replace('z', &z(at))).collect();
    // A sum has no letter z, and `size` would.
    assert!(uses.iter().all(|text| text.matches('z').count() == 1));
    let used: Vec<_> = uses.iter().enumerate().map(|(at, text)| (format!("u{at}"), &**text)).collect();
    let first = [Samples::Along(0)].into_iter();
    let of_use = |(_, samples, _): &(&str, Samples, &str)| match samples {
        Samples::Together => Samples::Together,
        _ => Samples::Along(0),
    };
    [
        (
            model(&[], &outputs),
            vec![Samples::Along(0)],
            first.clone().chain(OUTPUTS.iter().map(|o| o.1)).collect(),
        ),
        (
            model(&inputs, &used),
            first.clone().chain(INPUTS.iter().map(|input| input.1)).collect(),
            first.chain(INPUTS.iter().map(of_use)).collect(),
        ),
    ]
}

fn said(manifest: &Manifest) -> (Vec<Samples>, Vec<Samples>) {
    let inputs = manifest.inputs.iter().map(|input| input.samples);
    (inputs.collect(), manifest.outputs.iter().map(|output| output.samples).collect())
}

#[test]
fn manifests_say_what_is_of_samples() {
    for (text, inputs, outputs) in models() {
        let settings = Settings::default().dim("batch", 3);
        let model = Model::from_text("m.ron", &text, &settings).unwrap_or_else(|error| panic!("{error}"));
        for batch in GIVEN {
            let executable = model.compile_for("infer", &[("batch", batch)]).unwrap();
            let manifest = executable.manifest();
            assert_eq!(said(manifest), (inputs.clone(), outputs.clone()), "batch {batch}");
            assert_eq!(manifest.batch(), Some(batch));
        }
        let dims = BATCHES.map(|batch| [("batch", batch)]);
        let entries: Vec<ObjectEntry<'_>> = dims.iter().map(|dims| ("infer", &dims[..])).collect();
        let compiled = model.container(&entries, None, None, &[Default::default()]).unwrap();
        for manifest in compiled.entries() {
            assert_eq!(said(manifest), (inputs.clone(), outputs.clone()), "of a container");
        }
    }
}

/// Loops over `x`, which is `f32[batch, 5, 3]`, and `n` of them for each sample, and the axis of samples of what they give.
const LOOPS: &[(&str, usize)] = &[
    ("Rnn(features: 4)", 0),
    ("Lstm(features: 4, layers: 2, bidirectional: true)", 0),
    ("Gru(features: 4, lengths: \"n\")", 0),
    ("Gru(features: 4, bidirectional: true, lengths: \"n\", initial: \"zeros([2, batch, 4])\")", 0),
    ("Scan(name: \"s\", body: [LstmCell(features: 4)]), Expr(\"transpose(it, [1, 0, 2])\")", 1),
    (
        "Scan(name: \"s\", lengths: \"n\", reverse: true, body: [
            Carry(\"h\", \"zeros([batch, 3])\"), Let(\"h\", \"0.5 * prev.h + it\"), Ref(\"h\"),
        ])",
        0,
    ),
    ("Expr(\"x\"), Scan(name: \"s\", axis: -1, body: [Linear(2)])", 0),
];

/// A recurrence goes through the steps of each sample alone.
#[test]
fn loops_keep_samples_apart() {
    for (body, axis) in LOOPS {
        let text = format!(
            "Model(
                inputs: {{ \"x\": \"f32[batch, 5, 3]\", \"n\": \"i32[batch]\" }},
                body: [{body}],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }},
            )"
        );
        let settings = Settings::default();
        let model = Model::from_text("m.ron", &text, &settings).unwrap_or_else(|error| panic!("{error}"));
        let found = model.parsed().output_samples(&settings, model.instance(), "infer");
        assert_eq!(found.get("y"), Some(&Found::Along(*axis)), "{body}");
    }
}

/// Where there is no size `batch` there are no samples, whatever is 1.
#[test]
fn nothing_is_of_samples_without_a_batch() {
    let text = model(&[], &[]).replace("batch", "1");
    let model = Model::from_text("m.ron", &text, &Settings::default()).unwrap();
    let executable = model.compile("infer").unwrap();
    assert_eq!(said(executable.manifest()), (vec![Samples::Same], vec![Samples::Together]));
    assert_eq!(executable.manifest().batch(), None);
}

/// What a data set is run through has the axes of the model, as everything else.
#[test]
fn what_is_trained_has_the_axes_of_the_model() {
    let text = "Model(
        inputs: { \"x\": \"f32[3, batch]\" },
        body: [Expr(\"transpose(x, [1, 0])\"), Linear(2), Expr(\"transpose(it, [1, 0])\")],
        entries: {
            \"infer\": Infer(outputs: { \"y\": \"it\" }),
            \"train\": Train(loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 0.1)),
        },
    )";
    let model = Model::from_text("m.ron", text, &Settings::default().dim("batch", 4)).unwrap();
    let axis = |model: &Model, entry: &str| {
        let executable = model.compile(entry).unwrap();
        let input = &executable.manifest().inputs[0];
        (input.samples, input.dims.clone())
    };
    for entry in ["infer", "train", "train.eval"] {
        assert_eq!(axis(&model, entry), (Samples::Along(1), vec![3, 4]), "{entry}");
    }
}

/// No model that comes along answers with what is not of single samples, so all can be run in parts.
#[test]
fn what_models_answer_is_of_single_samples() {
    let mut answers = 0;
    for (name, _) in brolga::names().expect("models") {
        let model = load(&name, 2);
        let parsed = model.parsed();
        let settings = match parsed.variants().contains(&name.as_str()) {
            true => Settings::variant(&name),
            false => Settings::default(),
        };
        if model.instance().graph("infer").is_none() {
            continue;
        }
        let found = parsed.output_samples(&settings, model.instance(), "infer");
        assert!(!found.is_empty(), "{name}");
        for (output, samples) in found {
            assert!(matches!(samples, Found::Along(_)), "{name}: `{output}` is {samples:?}");
            answers += 1;
        }
    }
    assert!(answers >= 20, "{answers}");
}

#[cfg(all(feature = "cli", feature = "exe", target_os = "linux"))]
mod programs {
    use std::fs;
    use std::path::Path;

    use brolga::runtime::{Samples, read_tensors, write_tensors};
    use brolga::{Model, Settings, Tensor};

    use super::{BATCHES, GIVEN, INPUTS, OUTPUTS, model};
    use crate::cli::{folder, good};
    use crate::launched::{fails, has_launcher, prints};

    /// The dimensions of an input for a number of samples.
    type Dims = Box<dyn Fn(usize) -> Vec<usize>>;

    /// A model, whether it has something that is of all samples, and the inputs besides `x`.
    struct Case {
        text: String,
        together: bool,
        dims: Vec<(String, Dims)>,
    }

    /// What can be run in parts, in one model; each kind that cannot in one of its own.
    fn cases() -> Vec<Case> {
        let apart = |samples: Samples| samples != Samples::Together;
        let named = |begin: &str, at: usize| format!("{begin}{at}");
        let dims = |ty: &str| -> Dims {
            let inside = ty.trim_start_matches("f32[").trim_end_matches(']').to_owned();
            Box::new(move |samples| {
                let words = inside.split(", ").filter(|word| !word.is_empty());
                let extent = |word: &str| match word {
                    "batch" => samples,
                    "2 * batch" => 2 * samples,
                    number => number.parse().unwrap(),
                };
                words.map(extent).collect()
            })
        };
        let inputs: Vec<(usize, &str)> =
            (0..INPUTS.len()).filter(|&at| apart(INPUTS[at].1)).map(|at| (at, INPUTS[at].0)).collect();
        let uses: Vec<String> =
            inputs.iter().map(|(at, _)| INPUTS[*at].2.replace('z', &named("i", *at))).collect();
        let declared: Vec<_> = inputs.iter().map(|(at, ty)| (named("i", *at), *ty)).collect();
        let of_inputs = inputs.iter().zip(&uses).map(|((at, _), text)| (named("u", *at), &**text));
        let others = OUTPUTS.iter().enumerate().filter(|(_, output)| apart(output.1));
        let outputs: Vec<_> =
            of_inputs.chain(others.map(|(at, output)| (named("o", at), output.0))).collect();
        let mut all = vec![Case {
            text: model(&declared, &outputs),
            together: false,
            dims: declared.iter().map(|(name, ty)| (name.clone(), dims(ty))).collect(),
        }];
        for (text, _) in OUTPUTS.iter().filter(|output| !apart(output.1)) {
            let text = model(&[], &[("z".to_owned(), *text)]);
            all.push(Case { text, together: true, dims: Vec::new() });
        }
        for (ty, _, text) in INPUTS.iter().filter(|input| !apart(input.1)) {
            let text = model(&[("z".to_owned(), *ty)], &[("u".to_owned(), *text)]);
            all.push(Case { text, together: true, dims: vec![("z".to_owned(), dims(ty))] });
        }
        all
    }

    fn write(file: &Path, case: &Case, samples: usize) {
        let own: (String, Dims) = ("x".to_owned(), Box::new(|samples| vec![samples, 3]));
        let tensors: Vec<(&str, Tensor)> = std::iter::once(&own)
            .chain(&case.dims)
            .map(|(name, dims)| {
                let dims = dims(samples);
                // Whole numbers, so that sums are exact.
                let value = |at: usize| ((at * 7 + name.len() + samples) % 5) as f32 - 2.0;
                let values: Vec<f32> = (0..dims.iter().product()).map(value).collect();
                (name.as_str(), Tensor::from_slice(&dims, &values).unwrap())
            })
            .collect();
        let views: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor.view())).collect();
        write_tensors(file, &views).unwrap();
    }

    #[test]
    fn programs_answer_as_the_command_for_any_batch() {
        let folder = folder();
        let at = folder.path();
        if !has_launcher() {
            return;
        }
        let name = at.join("m.ron");
        let mut refused = 0;
        for case in cases() {
            fs::write(&name, &case.text).unwrap();
            let settings = Settings::default().dim("batch", 1);
            let model =
                Model::load(name.to_str().unwrap(), &settings).unwrap_or_else(|error| panic!("{error}"));
            model.initial_state(3).unwrap().save_weights(at.join("w.safetensors")).unwrap();
            for batch in BATCHES {
                good(at, &format!("build m.ron --weights w.safetensors --dim batch={batch} -o net{batch}"));
            }
            let given = if case.together { &GIVEN[..3] } else { &GIVEN[..] };
            for &samples in given {
                write(&at.join("in.npz"), &case, samples);
                good(at, "run m.ron --weights w.safetensors --inputs in.npz --outputs command.npz --force");
                let expected = read_tensors(at.join("command.npz")).unwrap();
                for batch in BATCHES {
                    let line = format!("net{batch} --inputs in.npz --outputs program.npz --force");
                    // One for a batch of 3 has an entry for single samples, too.
                    if case.together && ![1, batch].contains(&samples) {
                        let errors = fails(at, &line);
                        assert!(errors.contains("is of all samples of a call"), "{errors}\n{}", case.text);
                        refused += 1;
                        continue;
                    }
                    prints(at, &line);
                    let found = read_tensors(at.join("program.npz")).unwrap();
                    assert!(
                        found == expected,
                        "{samples} by {batch}: {found:?}\n{expected:?}\n{}",
                        case.text
                    );
                    // Each sample alone has no part of what is no part of a sample.
                    let alone = !case.together || case.dims.is_empty();
                    if alone && samples == 3 && batch == 3 {
                        let line = "--inputs in.npz --json";
                        let told = good(at, &format!("run m.ron --weights w.safetensors {line}"));
                        assert_eq!(prints(at, &format!("net{batch} {line}")), told, "{}", case.text);
                    }
                }
            }
        }
        assert!(refused >= 20, "{refused}");
    }

    /// Where as many steps as samples are given, nothing but the declared type tells them apart.
    #[test]
    fn programs_take_the_axes_of_the_model_in_what_is_trained_too() {
        let folder = folder();
        let at = folder.path();
        if !has_launcher() {
            return;
        }
        let text = "Model(
            inputs: { \"x\": \"f32[4, batch, 3]\", \"t\": \"f32[batch]\" },
            body: [Expr(\"transpose(x, [1, 0, 2])\"), Linear(2), Expr(\"sum(it * arange(4)[:, none], axis=[1, 2])\")],
            entries: {
                \"infer\": Infer(outputs: { \"y\": \"it\" }),
                \"train\": Train(loss: \"mean((it - t) ** 2)\", optimizer: Sgd(lr: 0.001)),
            },
        )";
        fs::write(at.join("m.ron"), text).unwrap();
        let model =
            Model::load(at.join("m.ron").to_str().unwrap(), &Settings::default().dim("batch", 4)).unwrap();
        model.initial_state(3).unwrap().save_weights(at.join("w.safetensors")).unwrap();
        let x: Vec<f32> = (0..4 * 4 * 3).map(|at| (at as f32).sin()).collect();
        let x = Tensor::from_slice(&[4, 4, 3], &x).unwrap();
        let t = Tensor::from_slice(&[4], &[1f32, -2.0, 0.5, 3.0]).unwrap();
        write_tensors(at.join("in.npz"), &[("x", x.view()), ("t", t.view())]).unwrap();
        good(at, "build m.ron --entry infer,train --weights w.safetensors --dim batch=4 -o net");
        for entry in ["infer", "train.eval"] {
            let line = format!("--entry {entry} --inputs in.npz --outputs");
            good(at, &format!("run m.ron --dim batch=4 --weights w.safetensors {line} command.npz --force"));
            prints(at, &format!("net {line} program.npz --force"));
            let [command, program] =
                ["command", "program"].map(|name| read_tensors(at.join(format!("{name}.npz"))));
            assert_eq!(command.unwrap(), program.unwrap(), "{entry}");
        }
    }
}
