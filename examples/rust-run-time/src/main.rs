//! A model in RON, compiled, trained and asked in one program: which of two classes a point belongs to. The classes lie like the
//! squares of a chess board of two by two.

use brolga::runtime::Instance;
use brolga::{Model, Result, Settings, Tensor, Threads};

const MODEL: &str = r#"Model(
    inputs: { "point": "f32[batch, 2]", "label": "i32[batch]" },
    body: [Linear(16), Tanh, Linear(2), As("logits")],
    entries: {
        "infer": Infer(outputs: { "probability": "softmax(logits)" }),
        "train": Train(loss: "cross_entropy(logits, label)", optimizer: Adam(lr: 0.05)),
    },
)"#;

/// Points on a grid of 8 x 8 from -1 to 1, and the class of each.
fn grid() -> Result<(Tensor, Tensor)> {
    let at = |number: usize| (number % 8) as f32 / 3.5 - 1.0;
    let points: Vec<f32> = (0..64).flat_map(|number| [at(number), at(number / 8)]).collect();
    let labels: Vec<i32> = points.chunks(2).map(|point| i32::from(point[0] * point[1] > 0.0)).collect();
    Ok((Tensor::from_slice(&[64, 2], &points)?, Tensor::from_slice(&[64], &labels)?))
}

fn main() -> Result<()> {
    let model = Model::from_text("squares.ron", MODEL, &Settings::default().dim("batch", 64))?;
    let (mut state, threads) = (model.initial_state(1)?, Threads::available()?);
    let (points, labels) = grid()?;
    let mut train = Instance::bind(model.compile("train")?, &state, &threads)?;
    for step in 1..=200 {
        let metrics = train.run_named(&mut state, &[("point", &points), ("label", &labels)])?;
        if step % 50 == 0 {
            println!("step {step}: loss {:.3}", metrics[0].1.item()?);
        }
    }
    // The same model for one point at a time.
    let mut infer = Instance::bind(model.compile_for("infer", &[("batch", 1)])?, &state, &threads)?;
    for point in [[0.5f32, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]] {
        let tensor = Tensor::from_slice(&[1, 2], &point)?;
        let outputs = infer.run_named_shared(&state, &[("point", &tensor)])?;
        let probability = outputs[0].1.as_slice::<f32>()?;
        println!("{point:?}: class {}", usize::from(probability[1] > probability[0]));
    }
    Ok(())
}
