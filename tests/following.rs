//! Sizes that follow the inputs of `run` and `step`: the batch is that of the file, in the state too. Takes about a second.

#![cfg(feature = "cli")]

use std::fs;

use brolga::runtime::{TensorRef, read_tensors, write_tensors};

use crate::cli::{bad, folder, good};

/// The first axis is the batch, or the last, by which the weights are sized then.
const MODELS: [(&str, &str); 2] = [("first.ron", "f32[batch, 3]"), ("last.ron", "f32[3, batch]")];

#[test]
fn the_batch_of_the_inputs_is_that_of_the_state() {
    let folder = folder();
    let at = folder.path();
    for (name, ty) in MODELS {
        let model = format!(
            "Model(
                inputs: {{ \"x\": \"{ty}\" }},
                body: [Linear(2)],
                entries: {{
                    \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),
                    \"train\": Train(loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 0.1)),
                }},
            )"
        );
        fs::write(at.join(name), model).unwrap();
    }
    let write = |name: &str, dims: &[usize]| {
        let values = vec![0.5f32; dims.iter().product()];
        write_tensors(at.join(name), &[("x", TensorRef::from_slice(dims, &values).unwrap())]).unwrap();
    };
    write("two.npz", &[3, 2]);
    write("five.safetensors", &[5, 3]);
    for (model, file, rows) in [("first.ron", "five.safetensors", 5), ("last.ron", "two.npz", 3)] {
        good(at, &format!("run {model} --inputs {file} --outputs y.npz --force"));
        assert_eq!(read_tensors(at.join("y.npz")).unwrap()[0].1.dims(), [rows, 2], "{model}");
        let text =
            good(at, &format!("step {model} --inputs {file} --grads g.npz --save s.safetensors --force"));
        assert!(text.contains("step 1: loss"), "{text}");
        let gradients = read_tensors(at.join("g.npz")).unwrap();
        let weight = gradients.iter().find(|(name, _)| name == "grad.fc1.weight").unwrap();
        assert_eq!(weight.1.dims(), [2, if model == "last.ron" { 2 } else { 3 }]);
        // What was saved so is used so.
        good(at, &format!("run {model} --inputs {file} --weights s.safetensors --outputs y.npz --force"));
    }
    // No samples are said to be none.
    for (model, dims, ty) in [("first.ron", [0, 3], "f32[0, 3]"), ("last.ron", [3, 0], "f32[3, 0]")] {
        for file in ["none.npz", "none.safetensors"] {
            write(file, &dims);
            for command in ["run", "step"] {
                let outputs = if command == "run" { "--outputs z.npz" } else { "" };
                let errors = bad(at, &format!("{command} {model} --inputs {file} {outputs}"));
                assert!(errors.contains(&format!("`{file}` has no samples: `x` is {ty}")), "{errors}");
            }
        }
    }
    // Of a tensor without the axes of its input the batch is not known.
    write("flat.npz", &[3]);
    for (model, ty) in MODELS {
        let errors = bad(at, &format!("run {model} --inputs flat.npz --outputs z.npz"));
        assert!(errors.contains(&format!("`x` must be {ty}, but `flat.npz` has f32[3]")), "{errors}");
    }
    write("none.npz", &[0, 3]);
    assert!(bad(at, "train first.ron --data none.npz").contains("no samples"));
    let evaluate = "evaluate first.ron --data none.npz --weights s.safetensors";
    good(at, "step first.ron --inputs five.safetensors --save s.safetensors --force");
    assert!(bad(at, evaluate).contains("no samples"));
}

/// Sizes are for the entry point that is asked for: another one need not take them.
#[test]
fn an_entry_point_takes_sizes_that_others_do_not() {
    let folder = folder();
    let at = folder.path();
    let pairs = "Model(
        inputs: { \"x\": \"f32[batch, 3]\" },
        body: [Linear(2)],
        entries: {
            \"infer\": Infer(outputs: { \"y\": \"it\" }),
            \"train\": Train(loss: \"mean(reshape(it, [batch // 2, 4]) ** 2)\", optimizer: Sgd(lr: 0.1)),
        },
    )";
    fs::write(at.join("pairs.ron"), pairs).unwrap();
    let values = TensorRef::from_slice(&[3, 3], &[0.5f32; 9]).unwrap();
    write_tensors(at.join("three.npz"), &[("x", values)]).unwrap();
    good(at, "run pairs.ron --dim batch=3 --inputs three.npz --outputs y.npz");
    assert_eq!(read_tensors(at.join("y.npz")).unwrap()[0].1.dims(), [3, 2]);
    good(at, "build pairs.ron --dim batch=3 -o pairs.o");
    for line in ["check pairs.ron --dim batch=3", "bench pairs.ron --dim batch=3 --entry train --seconds 0"] {
        let errors = bad(at, line);
        assert!(errors.contains("reshape(it, [batch // 2, 4])"), "{line}: {errors}");
    }
    assert!(
        bad(at, "run pairs.ron --dim bach=3 --inputs three.npz --outputs z.npz")
            .contains("did you mean `batch`?")
    );
}
