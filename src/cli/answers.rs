//! What a network says of single samples: labels and probabilities, or numbers; of pictures, folders of them, and tables.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga::models::data::{self, HeldOut};
use brolga::runtime::{
    Batches, DType, Field, Input, Instance, Request, Shown, Split, TensorRef, holds_nan, read_regular,
    write_atomically, write_results,
};
use brolga::{Error, Model, Result, State, Tensor};
use serde_json::{Map, Value, json};

use super::destination::{Destinations, Written};
use super::files::state;
use super::report::metric;
use super::run::RunArgs;
use super::tune::tune;

/// What the inputs of an entry point take of a data set.
pub fn fields(inputs: &[Input]) -> Vec<Field> {
    let field = |input: &Input| Field {
        name: input.name.clone(),
        dtype: input.dtype,
        dims: input.dims.get(1..).unwrap_or(&[]).to_vec(),
    };
    inputs.iter().map(field).collect()
}

/// The numbers of one sample of a batch.
pub fn numbers(tensor: &Tensor, sample: usize) -> Result<Vec<f64>> {
    let size: usize = tensor.dims().iter().skip(1).product();
    part(tensor, sample * size..(sample + 1) * size)
}

/// Some of the numbers of a tensor.
fn part(tensor: &Tensor, own: Range<usize>) -> Result<Vec<f64>> {
    Ok(match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>()?[own].iter().map(|&v| f64::from(v)).collect(),
        DType::F64 => tensor.as_slice::<f64>()?[own].to_vec(),
        DType::I32 => tensor.as_slice::<i32>()?[own].iter().map(|&v| f64::from(v)).collect(),
        DType::I64 => tensor.as_slice::<i64>()?[own].iter().map(|&v| v as f64).collect(),
        DType::U8 | DType::Bool => tensor.bytes()[own].iter().map(|&v| f64::from(v)).collect(),
    })
}

/// The dimensions of an output of one sample; all where none is the batch.
fn dims_of_one(output: &Tensor) -> &[usize] {
    match output.dims() {
        [1, own @ ..] => own,
        all => all,
    }
}

/// The numbers of an output of one sample.
fn all_numbers(output: &Tensor) -> Result<Vec<f64>> {
    part(output, 0..output.dims().iter().product())
}

/// Whether an output of one sample has a score for each class.
fn is_labelled(output: &Tensor) -> bool {
    scores(output) && output.dims()[0] == 1
}

/// Whether an output has a score for each class: floats, `[batch, classes]`.
pub fn scores(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::F64) && tensor.dims().len() == 2 && tensor.dims()[1] > 1
}

/// The place of the largest score; the first of equal ones, or of NaN.
pub fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if !scores[best].is_nan() && (score.is_nan() || *score > scores[best]) {
            best = at;
        }
    }
    best
}

/// The name of a class: its number where nobody gave it one.
pub fn class(classes: &[String], number: usize) -> String {
    classes.get(number).cloned().unwrap_or_else(|| number.to_string())
}

/// A cell of a CSV file.
pub fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) || text.trim() != text {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A row of a CSV file, with the end of its line.
fn line(row: &[String]) -> String {
    row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",") + "\n"
}

/// Writes the rows of a CSV file.
pub fn write_csv(path: &Path, rows: &[Vec<String>]) -> Result<()> {
    Ok(write_atomically(path, |file| rows.iter().try_for_each(|row| file.write_all(line(row).as_bytes())))?)
}

/// Whether a file is a table that `run` or `evaluate` has written with these names of columns: every row begins with what
/// samples are called, and has numbers behind it, but for classes.
pub fn is_written_table(path: &Path, columns: &[String]) -> bool {
    let text = read_regular(path, u64::MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text else { return false };
    // As [`write_csv`] would write it again.
    let is_own = |rows: &Vec<Vec<String>>| rows.iter().map(|row| line(row)).collect::<String>() == text;
    let Some(rows) = data::rows(path, &text).ok().filter(is_own) else { return false };
    let Some((head, rows)) = rows.split_first() else { return false };
    // Only `evaluate` knows arrays, whose samples have numbers, and it says what is true of each.
    let evaluated = columns.get(1).is_some_and(|name| name == "true" || name.starts_with("true."));
    let is_name = |name: &str| {
        let ending = name.rsplit('.').next().unwrap_or("").to_lowercase();
        let line = name.rsplit(' ').next().unwrap_or("");
        let of_table = name.strip_suffix(line).is_some_and(|before| before.ends_with("line "));
        let is_number = |text: &str| text.parse::<usize>().is_ok();
        ["png", "jpg", "jpeg"].contains(&&*ending)
            || (of_table && is_number(line))
            || (evaluated && is_number(name))
    };
    let is_cell = |(name, cell): (&String, &String)| {
        name == "true" || name == "predicted" || cell.parse::<f64>().is_ok()
    };
    head == columns
        && rows.iter().all(|row| {
            row.len() == columns.len() && is_name(&row[0]) && columns.iter().zip(row).skip(1).all(is_cell)
        })
}

/// The samples that a path stands for.
enum Source {
    Pictures(Vec<PathBuf>, Field),
    Table(Box<dyn Batches>),
}

impl Source {
    fn open(path: &Path, fields: &[Field], model: &Model, state: &State) -> Result<Source> {
        if path == Path::new("-") {
            return Err(Error::Name("standard input is not read here: name a file or a folder".into()));
        }
        if data::is_table(path) {
            let options = model.data_options(0).known_to(state.record());
            let options = data::Options { held_out: HeldOut::All, unlabelled: true, ..options };
            return Ok(Source::Table(data::open(path, fields, &options)?));
        }
        let [field] = fields else {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(Error::Name(format!(
                "a picture fills one input, but the entry point has {}: give them with --inputs",
                names.join(", ")
            )));
        };
        Ok(Source::Pictures(data::pictures(path)?, field.clone()))
    }

    fn len(&self) -> usize {
        match self {
            Source::Pictures(files, _) => files.len(),
            Source::Table(table) => table.len(Split::Validation),
        }
    }

    /// The name of a sample, and its inputs.
    fn sample(&mut self, number: usize, fields: &[Field]) -> Result<(String, Vec<Tensor>)> {
        match self {
            Source::Pictures(files, field) => {
                let file = &files[number];
                Ok((file.display().to_string(), vec![data::picture(file, field)?]))
            }
            Source::Table(table) => {
                let request = Request { split: Split::Validation, indices: &[number], seed: 0, epoch: 0 };
                let mut tensors = Vec::new();
                for (at, field) in fields.iter().enumerate() {
                    let mut tensor = Tensor::zeros(field.dtype, &[&[1], &field.dims[..]].concat())?;
                    table.fill(&request, at, &mut tensor.view_mut())?;
                    tensors.push(tensor);
                }
                Ok((table.name(Split::Validation, number), tensors))
            }
        }
    }
}

/// `brolga run MODEL picture.png …`
pub fn run(args: &RunArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let threads = args.machine.threads()?;
    let mut model = args.model.load(args.machine.options(&threads)?)?.with_batch_first();
    if model.instance().dims().iter().any(|(name, _)| name == "batch") {
        // The state is that of one sample, too, where its shapes depend on the batch.
        model = model.with_dims(&[("batch", 1)])?;
    }
    let mut executable = model.compile(&args.entry.name)?;
    let manifest = executable.manifest().clone();
    if manifest.inputs.iter().any(|input| input.dims.first() != Some(&1)) {
        let message = format!("`{}` does not take one sample at a time: use --inputs", args.entry.name);
        return Err(Error::Name(message));
    }
    for output in manifest.outputs.iter().filter(|output| output.dims.first().is_some_and(|&n| n != 1)) {
        errln!("note: no axis of `{}` is `batch`: each sample is given all of it", output.name);
    }
    let fields = fields(&manifest.inputs);
    let mut state = state(&model, &args.start)?;
    destinations.reads_model(&model);
    let classes = model.classes(&state);
    let mut outputs: Vec<Tensor> = manifest
        .outputs
        .iter()
        .map(|o| Tensor::zeros(o.dtype, &o.dims))
        .collect::<std::result::Result<_, _>>()?;
    let names: Vec<&str> = manifest.outputs.iter().map(|output| output.name.as_str()).collect();
    let updates = manifest.updates_state();
    destined(args, &mut destinations, &state, updates, || head(&names, &outputs, &classes))?;
    if tune(&mut model, &args.machine, &threads, &args.entry.name, &[])?.is_some() {
        executable = model.compile(&args.entry.name)?;
    }
    let mut instance = Instance::bind(executable, &state, &threads)?;
    let (mut report, mut kept, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    let (mut answered, mut no_number) = (0, 0);
    let several = args.paths.len() > 1;
    for path in &args.paths {
        let mut source = Source::open(path, &fields, &model, &state)?;
        for number in 0..source.len() {
            let (name, inputs) = match source.sample(number, &fields) {
                Ok(sample) => sample,
                // One picture that cannot be read keeps no other from its answer.
                Err(error) if (several || source.len() > 1) && matches!(source, Source::Pictures(..)) => {
                    broken.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Lines of one table need no name, of several they do; pictures have theirs.
            let name = match source {
                Source::Table(_) if several => format!("{} {name}", path.display()),
                _ => name,
            };
            instance.run_tensors(&mut state, &inputs, &mut outputs)?;
            answered += 1;
            no_number += usize::from(outputs.iter().any(Tensor::has_nan));
            if args.json {
                report.push(as_json(&name, &names, &outputs, &classes)?);
            } else {
                outln!("{}: {}", name.shown(), as_text(&names, &outputs, &classes)?);
            }
            if args.outputs.is_some() {
                let copies = outputs.iter().map(Tensor::try_clone).collect::<std::result::Result<_, _>>()?;
                kept.push((name, copies));
            }
        }
    }
    if let Some(path) = &args.outputs {
        write(path, &names, &kept, &classes)?;
    }
    if let Some(path) = &args.save {
        state.save(path)?;
    }
    if args.json {
        outln!("{}", json!({"model": model.name(), "entry": args.entry.name, "samples": report}));
    }
    broken.iter().for_each(|error| errln!("error: {error}"));
    if no_number > 0 {
        errln!("error: the outputs of {no_number} of {answered} samples hold NaN{}", of_weights(&state));
    }
    Ok(if broken.is_empty() && no_number == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks where answers and state will be written, before anything is computed; `head` is that of a table of answers.
///
/// # Errors
/// Those of [`Destinations`].
fn destined(
    args: &RunArgs,
    destinations: &mut Destinations,
    state: &State,
    updates: bool,
    head: impl FnOnce() -> Result<Vec<String>>,
) -> Result<()> {
    if let Some(path) = &args.outputs {
        let table = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let what = if table { Written::Table } else { Written::Tensors };
        destinations.writes("--outputs", path, what, 0)?;
        if table {
            destinations.replaces("--outputs", path, &head()?)?;
        }
    }
    if let Some(path) = &args.save {
        let idle = (!updates).then_some("the entry point updates nothing");
        destinations.saves(path, state, state.bytes(), idle)?;
    }
    Ok(())
}

/// Whether the weights are why outputs are no numbers.
pub fn of_weights(state: &State) -> String {
    holds_nan(state).map(|weights| format!(", as does `{weights}`")).unwrap_or_default()
}

/// How many of the next best classes are shown.
const NEXT: usize = 2;

/// `cat  probability 0.9871  (dog 0.0129)`
fn as_text(names: &[&str], outputs: &[Tensor], classes: &[String]) -> Result<String> {
    let mut parts = Vec::new();
    for (name, output) in names.iter().zip(outputs) {
        let numbers = all_numbers(output)?;
        if is_labelled(output) && parts.is_empty() {
            let first = best(&numbers);
            let mut order: Vec<usize> = (0..numbers.len()).filter(|&at| at != first).collect();
            order.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
            let next: Vec<String> = (order.iter().take(NEXT))
                .map(|&at| format!("{} {}", class(classes, at).shown(), metric(numbers[at])))
                .collect();
            let (label, score) = (class(classes, first).shown(), metric(numbers[first]));
            parts.push(format!("{label}  {name} {score}  ({})", next.join(", ")));
        } else if let [number] = numbers[..] {
            parts.push(format!("{name} {}", metric(number)));
        } else {
            parts.push(format!("{name} {}", brolga::runtime::type_name(output.dtype(), dims_of_one(output))));
        }
    }
    Ok(parts.join("  "))
}

/// The same for programs.
fn as_json(name: &str, names: &[&str], outputs: &[Tensor], classes: &[String]) -> Result<Value> {
    let mut about = Map::new();
    about.insert("name".into(), json!(name));
    for (name, output) in names.iter().zip(outputs) {
        let numbers = all_numbers(output)?;
        if is_labelled(output) && !about.contains_key("class") {
            let first = best(&numbers);
            about.insert("class".into(), json!(first));
            about.insert("label".into(), json!(class(classes, first)));
            let all = numbers.iter().enumerate().map(|(at, score)| (class(classes, at), json!(score)));
            about.insert((*name).to_owned(), Value::Object(all.collect()));
        } else if let [number] = numbers[..] {
            about.insert((*name).to_owned(), json!(number));
        } else {
            about.insert((*name).to_owned(), json!(numbers));
        }
    }
    Ok(Value::Object(about))
}

/// Writes the outputs of all samples: a table, or tensors with the samples as first dimension.
fn write(path: &Path, names: &[&str], kept: &[(String, Vec<Tensor>)], classes: &[String]) -> Result<()> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if extension == "csv" {
        return write_csv(path, &rows(names, kept, classes)?);
    }
    let mut stacked = Vec::new();
    for at in 0..names.len() {
        let Some((_, first)) = kept.first() else { break };
        let dims = [&[kept.len()], dims_of_one(&first[at])].concat();
        let bytes: Vec<u8> =
            kept.iter().flat_map(|(_, outputs)| outputs[at].bytes().iter().copied()).collect();
        stacked.push(Tensor::from_bytes(first[at].dtype(), &dims, &bytes)?);
    }
    let views: Vec<(&str, TensorRef<'_>)> =
        names.iter().copied().zip(stacked.iter().map(Tensor::view)).collect();
    Ok(write_results(path, &views)?)
}

/// The names of the columns of an output: `predicted` for the class, if there are classes, and one for each number.
pub fn columns(output: &str, count: usize, classes: Option<&[String]>) -> Vec<String> {
    let predicted = classes.map(|_| "predicted".to_owned());
    predicted.into_iter().chain((0..count).map(|at| column(output, count, at, classes))).collect()
}

/// The name of one of several numbers: `price`, `probability.cat`, `box.0`.
pub fn column(name: &str, count: usize, at: usize, classes: Option<&[String]>) -> String {
    match classes {
        Some(classes) => format!("{name}.{}", class(classes, at)),
        None if count == 1 => name.to_owned(),
        None => format!("{name}.{at}"),
    }
}

/// The names of the columns of outputs of one sample.
fn head(names: &[&str], outputs: &[Tensor], classes: &[String]) -> Result<Vec<String>> {
    let mut head = vec!["sample".to_owned()];
    for (at, (name, output)) in names.iter().zip(outputs).enumerate() {
        let named = (at == 0 && is_labelled(output)).then_some(classes);
        head.extend(columns(name, all_numbers(output)?.len(), named));
    }
    Ok(head)
}

/// A row for each sample: its name, its class where there are scores, and all numbers.
fn rows(names: &[&str], kept: &[(String, Vec<Tensor>)], classes: &[String]) -> Result<Vec<Vec<String>>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (sample, outputs) in kept {
        let mut row = vec![sample.clone()];
        for (at, output) in outputs.iter().enumerate() {
            let numbers = all_numbers(output)?;
            if at == 0 && is_labelled(output) {
                row.push(class(classes, best(&numbers)));
            }
            row.extend(numbers.iter().map(|&number| shortest(number, output.dtype())));
        }
        if rows.is_empty() {
            rows.push(head(names, outputs, classes)?);
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The fewest digits that read back as the same number of its type.
pub fn shortest(number: f64, dtype: DType) -> String {
    match dtype {
        DType::F32 => (number as f32).to_string(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_best() {
        assert_eq!(best(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(best(&[1.0, f64::NAN, 9.0, f64::NAN]), 1);
        assert_eq!(best(&[f64::NAN, 9.0]), 0);
        assert_eq!(best(&[f64::NEG_INFINITY]), 0);
    }

    #[test]
    fn cells_are_quoted_where_they_must() {
        assert_eq!(["a b", "a,b", "a\"b"].map(cell), ["a b", "\"a,b\"", "\"a\"\"b\""]);
        assert_eq!(shortest(f64::from(0.1f32), DType::F32), "0.1");
    }

    /// A table that was written is known again, whatever the names in it, and no other.
    #[test]
    fn written_tables_are_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let rows = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
        };
        let own = [
            rows(&[&["sample", "price"], &["line 2", "1.5"], &["a \"b\",c.csv line 30", "NaN"]]),
            rows(&[&["sample", "predicted", "p.a,b", "p.c\nd"], &["x,\n\"y\".JPG", "a,b", "0.5", "1e-7"]]),
            rows(&[&["sample", "true", "predicted", "p.a"], &["0", "a", "b", "-inf"], &["1", "", "b", "3"]]),
        ];
        for table in &own {
            write_csv(&path, table).unwrap();
            let read = data::rows(&path, &std::fs::read_to_string(&path).unwrap());
            assert_eq!(read.ok().as_ref(), Some(table));
            assert!(is_written_table(&path, &table[0]), "{table:?}");
            for other in own.iter().filter(|other| *other != table) {
                assert!(!is_written_table(&path, &other[0]), "{table:?}");
            }
        }
        let columns = ["sample".to_owned(), "price".to_owned()];
        let others = [
            "",
            "sample,price",
            "sample,price\n1,2\n",
            "sample,price\nline 2,cheap\n",
            "sample,price\nline 2,1,2\n",
            "sample,price\nline 2,1\nline 3,2",
            "sample,price\r\nline 2,1\r\n",
            "sample,price,note\nline 2,1,mine\n",
            "sample,cost\nline 2,1\n",
            "sample,price\n\"line 2\"x,1\n",
            "sample,price\nline 2,1\n\nTotal: 1\n",
        ];
        for text in others {
            std::fs::write(&path, text).unwrap();
            assert!(!is_written_table(&path, &columns), "{text:?}");
        }
    }
}
