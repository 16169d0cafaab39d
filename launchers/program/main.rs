//! A compiled model as a program: the container that it carries is opened where the system has mapped it.

mod place;

use std::process::ExitCode;

use brolga_runtime::container::Container;
use brolga_runtime::type_name;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = place::container()
        .ok_or("this program has no model: `brolga build --emit exe` makes some that have")?;
    let container = Container::of_bytes(bytes)?;
    let contents = container.contents();
    match std::env::args().nth(1).as_deref() {
        Some("--version") => {
            println!(
                "{} {}, numerics version {}",
                contents.model,
                env!("CARGO_PKG_VERSION"),
                container.numerics()
            );
        }
        _ => {
            for manifest in &contents.entries {
                println!("{}", manifest.entry);
                for input in &manifest.inputs {
                    println!("  input   {}: {}", input.name, type_name(input.dtype, &input.dims));
                }
                for output in &manifest.outputs {
                    println!("  output  {}: {}", output.name, type_name(output.dtype, &output.dims));
                }
            }
        }
    }
    Ok(())
}
