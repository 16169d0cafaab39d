//! A compiled model as a program: the container that it carries is opened where the system has mapped it.
//!
//! With `--cfg whole` it trains and evaluates, and reads JPEG, too; without, it has nothing of that.

mod backtrace;
mod place;
#[cfg(target_env = "gnu")]
#[allow(non_snake_case)]
mod unwind;

use std::process::ExitCode;

use brolga_command::{Extent, launch};
use brolga_runtime::container::{Check, open_in_place};

#[cfg(whole)]
static EXTENT: Extent = Extent { learning: &brolga_command::LEARNING, formats: &brolga_command::FORMATS };
#[cfg(not(whole))]
static EXTENT: Extent = Extent { learning: &[], formats: &[&brolga_command::PNG] };

fn main() -> ExitCode {
    let Some(place) = place::container() else {
        eprintln!("error: this program has no model: `brolga build --emit exe` makes one that has");
        return ExitCode::FAILURE;
    };
    // SAFETY: `embed` has put a whole container here, from code that was just compiled, into segments that are mapped as long as
    // the program runs: code to be executed, and what is behind it, privately, to be written. This is done once. Weights are
    // as much part of the program as its code.
    match unsafe { open_in_place(place, Check::Code) } {
        Ok(model) => launch(model, std::env::args_os(), &EXTENT),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
