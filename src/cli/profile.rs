use super::args::ProfileArgs;
use brolga::Result;
use std::process::ExitCode;
pub fn run(_: &ProfileArgs) -> Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
