//! `brolga build --emit exe`

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use brolga::runtime::{Shown, read_regular, write_atomically};
use brolga::{Error, Result};
use brolga_command::report::bytes;

use super::args::BuildArgs;
use super::container::{compiled, describe};
use crate::cli::destination::{Destinations, Written};

/// The launchers for the machine that this command was built for: one for models that only answer, and about anything but pictures
/// in colour, which are JPEGs most often; and the whole one. Empty where there are none.
static SMALL: &[u8] = brolga_launchers_link::launcher!();
static WHOLE: &[u8] = brolga_launchers_link::launcher!(whole);

/// The largest launcher that is read, in bytes.
const MAX_LAUNCHER: u64 = 1 << 30;

pub fn run(args: &BuildArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let given = match &args.launcher {
        None if args.targets()?.iter().any(|target| !target.triple.is_host()) => {
            let message =
                "executables for other machines need a launcher that was built for them: --launcher FILE";
            return Err(Error::Name(message.into()));
        }
        None if SMALL.is_empty() => {
            let message = "no launcher comes along for this system: executables are made for Linux, or with --launcher FILE";
            return Err(Error::Name(message.into()));
        }
        None => None,
        Some(path) => Some(read_regular(path, MAX_LAUNCHER).map_err(|e| Error::io("read", path, &e))?),
    };
    let compiled = compiled(args, &mut destinations, Written::Executable)?;
    let whole = args.whole || compiled.trains() || compiled.takes_colour();
    let own = if whole { WHOLE } else { SMALL };
    let program = compiled.executable(given.as_deref().unwrap_or(own))?;
    write_atomically(&args.output, |file| {
        file.write_all(&program)?;
        make_executable(file.get_ref())
    })?;
    outln!("executable: {} ({})", args.output.shown(), bytes(program.len()));
    describe(&compiled, &args.entries);
    Ok(ExitCode::SUCCESS)
}

/// Lets whoever may read a file execute it.
#[cfg(unix)]
fn make_executable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = file.metadata()?.permissions();
    let mode = permissions.mode();
    permissions.set_mode(mode | (mode & 0o444) >> 2);
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
fn make_executable(_: &File) -> io::Result<()> {
    Ok(())
}
