//! `brolga build`

pub mod args;
mod container;
#[cfg(feature = "exe")]
mod executable;
mod object;
mod sizes;

use std::process::ExitCode;

#[cfg(not(feature = "exe"))]
use brolga::Error;
use brolga::Result;

use super::destination::Destinations;
use args::{BuildArgs, Emit};

pub fn run(args: &BuildArgs, destinations: Destinations) -> Result<ExitCode> {
    args.check_options()?;
    match args.kind() {
        Emit::Container => container::run(args, destinations),
        #[cfg(feature = "exe")]
        Emit::Exe => executable::run(args, destinations),
        #[cfg(not(feature = "exe"))]
        Emit::Exe => {
            let message = "this `brolga` was built without the feature `exe`, and so without a launcher: --emit obj, lib \
                           and container are there";
            Err(Error::Name(message.into()))
        }
        Emit::Lib => object::run(args, destinations, Some(object::LibraryName::of(&args.output)?)),
        Emit::Obj => object::run(args, destinations, None),
    }
}
