//! `brolga filetest`

use std::process::ExitCode;

use brolga::passes::filetest::Suite;
use brolga::{Error, Result};

use super::args::FiletestArgs;

pub fn run(args: &FiletestArgs) -> Result<ExitCode> {
    let outcome = Suite::new().bless(args.bless).run(&args.folder);
    let outcome = outcome.map_err(|e| Error::io("test the files in", &args.folder, &e))?;
    if outcome.files.is_empty() {
        return Err(Error::Name(format!(
            "`{}` has no file ending in .ir, in a folder that bears the name of a pass",
            args.folder.display()
        )));
    }
    if outcome.failures.is_empty() {
        outln!("{outcome}");
        return Ok(ExitCode::SUCCESS);
    }
    errln!("{outcome}");
    Ok(ExitCode::FAILURE)
}
