//! Answers of a compiled model, in an application that has no compiler in it:
//!
//! ```text
//! brolga build lenet5 --weights w.safetensors --emit container -o lenet5.brolga
//! rust-container lenet5.brolga seven.f32 three.f32
//! ```
//!
//! Each file has what the model's input takes, as it lies in memory. Each is answered on a thread of its own; all of them share the
//! model, its weights and its prepared values.

use std::{env, error, fs, thread};

use brolga_runtime::container::{Loaded, open};
use brolga_runtime::{Instance, Tensor, Threads};

type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("usage: rust-container MODEL.brolga FILE...")?;
    // SAFETY: the code of the container is that of the compiler, and nobody changes the file while it is used.
    let model = &unsafe { open(path)? };
    let first = model.instance("infer", &Threads::serial())?;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for file in arguments {
            // An arena of its own; nothing else is copied.
            let own = first.share()?;
            threads.push(scope.spawn(move || answer(model, own, &file)));
        }
        for thread in threads {
            println!("{}", thread.join().expect("no panic")?);
        }
        Ok(())
    })
}

/// The class of what a file holds, and its probability.
fn answer(model: &Loaded, mut own: Instance, file: &str) -> Result<String> {
    let input = own.executable().manifest().inputs[0].clone();
    let tensor = Tensor::from_bytes(input.dtype, &input.dims, &fs::read(file)?)?;
    let outputs = own.run_named_shared(&model.state, &[(input.name.as_str(), &tensor)])?;
    let probability = outputs[0].1.as_slice::<f32>()?;
    let best = probability.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let (class, probability) = best.ok_or("the model has no classes")?;
    let name = model.classes().get(class).cloned().unwrap_or_else(|| class.to_string());
    Ok(format!("{file}: {name} ({:.1} %)", 100.0 * probability))
}
