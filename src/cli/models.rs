//! `brolga models`

use std::process::ExitCode;

use brolga::models::catalogue;
use brolga::{Error, Model, Result, Settings, names};
use clap::Args;

use brolga_command::report::{count, table};

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga models
  brolga models resnet
  brolga models language")]
pub struct ModelsArgs {
    /// Only those that have all these words in their name, family, chapter or source
    pub filter: Vec<String>,
}

pub fn run(args: &ModelsArgs) -> Result<ExitCode> {
    let wanted: Vec<String> = args.filter.iter().map(|word| word.to_lowercase()).collect();
    let (mut rows, mut chapters) = (Vec::new(), Vec::new());
    for (name, family) in names()? {
        let Some(file) = catalogue::file(family) else { continue };
        let source = source(file.text);
        let about = format!("{name} {family} {} {source}", file.chapter).to_lowercase();
        if !wanted.iter().all(|word| about.contains(word)) {
            continue;
        }
        let model = Model::load(&name, &Settings::default())?;
        let first = rows.last().is_none_or(|row: &Vec<String>| row[1] != family);
        rows.push(vec![
            name,
            family.to_owned(),
            model.instance().data().unwrap_or("").to_owned(),
            count(model.instance().parameter_count()),
            if first { source.to_owned() } else { String::new() },
        ]);
        chapters.push(file.chapter);
    }
    if rows.is_empty() {
        return Err(Error::Name(format!(
            "no model has `{}` in its name, family, chapter or source; `brolga models` lists all",
            args.filter.join(" ")
        )));
    }
    let text = table(&["name", "family", "data", "parameters", "source"], &rows, "lllrl");
    let mut lines = text.lines();
    outln!("{}", lines.next().unwrap_or(""));
    let mut last = "";
    for (line, chapter) in lines.zip(chapters) {
        if chapter != last {
            outln!("\n{chapter}");
            last = chapter;
        }
        outln!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The first line of the comment that a model file begins with.
fn source(text: &str) -> &str {
    text.lines().next().and_then(|line| line.strip_prefix("//")).unwrap_or("").trim()
}
