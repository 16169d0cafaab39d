//! The chapters, and what exists for them.

use std::process::ExitCode;

use brolga::Result;
use brolga::models::course::{CHAPTERS, GROUPS, ids, rows};
use brolga::models::rows::{ROWS, Run, runs};
use brolga_command::Json;
use brolga_command::report::{count, metric, table};

use super::results::{Line, line};

/// Whether something can be run for a row.
fn exists(id: &str) -> bool {
    !runs(id).is_empty()
}

/// What there is for a row: a line for each of its runs.
fn cells(id: &str, lines: &[Line]) -> Vec<Vec<String>> {
    let cells = |run: &Run| {
        let line: Option<&Line> = line(lines, id, run);
        let (target, value) = line.map_or_else(Default::default, |line| (line.target.clone(), shown(line)));
        let state = match line {
            None => "not run yet",
            Some(line) if !line.is_fresh(run) => "stale",
            Some(line) if !line.holds() => "missed",
            Some(_) => "",
        };
        vec![id.to_owned(), run.command(), target, value, state.to_owned()]
    };
    runs(id).iter().map(cells).collect()
}

/// A value as its target is written: a count without decimals.
pub fn shown(line: &Line) -> String {
    match line.target.contains(" = ") {
        true => count(line.value as usize),
        false => metric(line.value),
    }
}

pub fn run(lines: &[Line], json: bool) -> Result<ExitCode> {
    if json {
        outln!("{}", object! {"chapters": chapters_json(), "rows": rows_json(lines)});
        return Ok(ExitCode::SUCCESS);
    }
    outln!(
        "{} rows, of which {} can be run; those in brackets do not exist yet.\n",
        ids().count(),
        ROWS.len()
    );
    for chapter in CHAPTERS {
        let ids = rows(chapter.1);
        let there = ids.iter().filter(|id| exists(id)).count();
        let shown = ids.iter().map(|id| if exists(id) { (*id).to_owned() } else { format!("({id})") });
        // Of many the names are those of their groups.
        let shown = match chapter.1.iter().all(|word| GROUPS.iter().any(|(name, ..)| name.starts_with(word)))
        {
            true => format!("groups {}: {there} of {}", chapter.1.join(", "), ids.len()),
            false => shown.collect::<Vec<String>>().join(" "),
        };
        outln!("{:<11}{shown}", chapter.0);
    }
    let rows: Vec<Vec<String>> = ids().flat_map(|id| cells(id, lines)).collect();
    outln!("\n{}", table(&["row", "command", "target", "value", ""], &rows, "lllrl").trim_end());
    Ok(ExitCode::SUCCESS)
}

fn chapters_json() -> Json {
    let texts = |ids: Vec<&str>| ids.into_iter().map(Json::from).collect::<Vec<Json>>();
    CHAPTERS.iter().map(|chapter| (chapter.0.to_owned(), Json::from(texts(rows(chapter.1))))).collect()
}

fn rows_json(lines: &[Line]) -> Vec<Json> {
    let all = ids().flat_map(|id| runs(id).iter().map(move |run| (id, run)));
    let row = |(id, run): (&str, &Run)| {
        let line: Option<&Line> = line(lines, id, run);
        let mut row = object! {"id": id, "command": run.command(), "run": line.is_some()};
        if let Some(line) = line {
            row.set("target", line.target.clone());
            row.set("value", line.value);
            row.set("holds", line.holds());
            row.set("stale", !line.is_fresh(run));
        }
        row
    };
    all.map(row).collect()
}
