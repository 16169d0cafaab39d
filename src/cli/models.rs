//! `brolga models`

use std::process::ExitCode;

use brolga::models::catalogue;
use brolga::{Model, Result, Settings, names};

use super::args::ModelsArgs;
use super::report::{count, table};

pub fn run(_: &ModelsArgs) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for (name, family) in names()? {
        let model = Model::load(&name, &Settings::default())?;
        let source = catalogue::file(family).map_or("", |file| source(file.text));
        let first = rows.last().is_none_or(|row: &Vec<String>| row[1] != family);
        rows.push(vec![
            name,
            family.to_owned(),
            model.instance().data().unwrap_or("").to_owned(),
            count(model.instance().parameter_count()),
            if first { source.to_owned() } else { String::new() },
        ]);
    }
    out!("{}", table(&["name", "family", "data", "parameters", "source"], &rows, "lllrl"));
    Ok(ExitCode::SUCCESS)
}

/// The first line of the comment that a model file begins with.
fn source(text: &str) -> &str {
    text.lines().next().and_then(|line| line.strip_prefix("//")).unwrap_or("").trim()
}
