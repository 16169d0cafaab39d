//! `brolga filetest`

use std::path::PathBuf;
use std::process::ExitCode;

use brolga::passes::filetest::Suite;
use brolga::runtime::Shown;
use brolga::{Error, Result};
use clap::Args;

#[derive(Args)]
#[command(after_help = "\
Each file *.ir is in a folder that bears the name of a pass, and holds a graph or kernel program, a line `// ---- after
PASS`, and what the pass makes of it; a first line `// passes: A, B` names passes instead. The result is verified, read
back, and evaluated on random values before and after. A library does the same for passes of one's own:
brolga_passes::filetest.

Examples:
  brolga filetest tests/filetests
  brolga filetest tests/filetests/simplify --bless")]
pub struct FiletestArgs {
    /// A folder that bears the name of a pass, or one that has such folders in it
    pub folder: PathBuf,
    /// Writes what comes out into the files where it differs
    #[arg(long)]
    pub bless: bool,
}

pub fn run(args: &FiletestArgs) -> Result<ExitCode> {
    let outcome = Suite::new().bless(args.bless).run(&args.folder);
    let outcome = outcome.map_err(|e| Error::io("test the files in", &args.folder, &e))?;
    if outcome.files.is_empty() {
        return Err(Error::Name(format!(
            "`{}` has no file ending in .ir, in a folder that bears the name of a pass",
            args.folder.shown()
        )));
    }
    if outcome.failures.is_empty() {
        outln!("{outcome}");
        return Ok(ExitCode::SUCCESS);
    }
    errln!("{outcome}");
    Ok(ExitCode::FAILURE)
}
