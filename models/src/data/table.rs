//! Tables as text: CSV (RFC 4180) with a header, its values separated by commas, semicolons or tabs, its lines by LF, CR LF or
//! CR.
//!
//! Columns fill the inputs of a model by name:
//!
//! - an input of one number a sample takes the column of its name, or the target (`--target`, `target` in the model's
//!   `data`), which needs no name if it is the only one left;
//! - the one input of several numbers takes the columns that [`Options::columns`] names, or all that are left, in the order
//!   of the file;
//! - whole numbers may be texts: those of the target, or of the last such input, are the classes, numbered as
//!   [`Options::classes`] says, or in the order of their names; any other has a vocabulary of its own
//!   ([`Options::vocabularies`]).

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use brolga_runtime::{
    DType, Error, Field, Result, Shown, Tensor, checksum, counted, cut, listed, listed_in_quotes,
    read_regular,
};

use super::options::Options;
use super::reading::{bad, malformed};

/// Larger tables are not read.
const MOST_BYTES: u64 = 1 << 34;

/// Cells that hold no value, in small letters.
const MISSING: [&str; 7] = ["", "na", "n/a", "nan", "null", "none", "?"];

/// A table in memory: about as much as its file, and 8 bytes a cell.
pub(super) struct Table<'a> {
    file: &'a Path,
    columns: Vec<Column>,
    /// The line of each row.
    lines: Vec<usize>,
    /// The checksum of the file.
    sum: String,
}

struct Column {
    name: String,
    text: String,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
}

impl Column {
    fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    fn cells(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }
}

/// What a table is for the inputs of a model.
pub(super) struct Filled {
    /// One tensor for each field, `[samples, ...]`.
    pub tensors: Vec<Tensor>,
    pub classes: Vec<String>,
    /// Of each other input of a whole number, the texts, if its column has texts.
    pub vocabularies: Vec<(String, Vec<String>)>,
    pub columns: Vec<String>,
    /// What each sample is called.
    pub names: Vec<String>,
    /// The checksum of the file.
    pub sum: String,
}

/// Reads a table for `fields`.
pub(super) fn load(file: &Path, fields: &[Field], options: &Options) -> Result<Filled> {
    let bytes = read_regular(file, MOST_BYTES).map_err(|e| Error::io("read", file, e))?;
    let text = str::from_utf8(&bytes).map_err(|e| {
        malformed(file, format!("it is no text: byte {} is not UTF-8; save it as UTF-8", e.valid_up_to()))
    })?;
    let table = Table { sum: checksum(&bytes), ..Table::parse(file, text)? };
    table.fill(fields, options)
}

impl Table<'_> {
    fn parse<'a>(file: &'a Path, text: &str) -> Result<Table<'a>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader { text, at: 0, line: 1, began: 1, separator: separator(text), file };
        let header = reader.row()?.ok_or_else(|| malformed(file, "the table is empty"))?;
        if header.iter().any(|name| name.trim().parse::<f64>().is_ok()) {
            let message =
                format!("the first line must name the columns, found {}", listed_in_quotes(&header));
            return Err(malformed(file, message));
        }
        let mut columns: Vec<Column> = Vec::new();
        let mut seen = HashSet::new();
        for name in header {
            let name = name.trim().to_owned();
            if name.is_empty() || !seen.insert(name.clone()) {
                let message =
                    format!("each column needs a name of its own in the first line; `{}` is not", cut(&name));
                return Err(malformed(file, message));
            }
            columns.push(Column { name, text: String::new(), ends: Vec::new() });
        }
        let mut lines = Vec::new();
        loop {
            let Some(row) = reader.row()? else { break };
            let line = reader.began;
            if row.len() != columns.len() {
                let message = format!(
                    "line {line} has {}, but there are {} columns; is the file whole?",
                    counted(row.len() as u64, "value"),
                    columns.len()
                );
                return Err(malformed(file, message));
            }
            columns.iter_mut().zip(&row).for_each(|(column, cell)| column.push(cell));
            lines.push(line);
        }
        Ok(Table { file, columns, lines, sum: String::new() })
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            bad(format!("`{}` has no column `{name}`; it has {}", self.file.shown(), listed(&self.names())))
        })
    }

    fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    fn fill(&self, fields: &[Field], options: &Options) -> Result<Filled> {
        if self.lines.is_empty() {
            return Err(malformed(self.file, "the table has no rows"));
        }
        let unnamed = self.unnamed(fields);
        self.check_target(fields, &unnamed, options)?;
        if let [first, second, ..] = fields.iter().filter(|field| !is_single(field)).collect::<Vec<_>>()[..] {
            return Err(bad(format!(
                "`{}` and `{}` both take several numbers a sample, and a table fills one such input",
                first.name, second.name
            )));
        }
        let mut filled = Filled {
            tensors: Vec::new(),
            classes: options.classes.clone(),
            vocabularies: Vec::new(),
            columns: Vec::new(),
            names: self.lines.iter().map(|line| format!("line {line}")).collect(),
            sum: self.sum.clone(),
        };
        let is_target = |field: &Field| unnamed.iter().any(|unnamed| unnamed.name == field.name);
        let label = label(fields, options, is_target);
        for (at, field) in fields.iter().enumerate() {
            filled.tensors.push(if is_single(field) {
                let name = options.target.as_ref().filter(|_| is_target(field)).unwrap_or(&field.name);
                let column = self.column(name)?;
                if !is_whole(field) || label == Some(at) {
                    self.single(column, field, &mut filled.classes, "the classes")?
                } else {
                    let known = options.vocabularies.iter().find(|(name, _)| *name == field.name);
                    let mut texts = known.map_or(Vec::new(), |(_, texts)| texts.clone());
                    let what = format!("what is known of `{}`", field.name);
                    let tensor = self.single(column, field, &mut texts, &what)?;
                    filled.vocabularies.push((field.name.clone(), texts));
                    tensor
                }
            } else {
                filled.columns = match &options.columns[..] {
                    [] => self.columns_left(fields, options),
                    given => given.to_vec(),
                };
                self.several(&filled.columns, field)?
            });
        }
        Ok(filled)
    }

    /// The inputs of one number a sample that no column is named after.
    fn unnamed<'f>(&self, fields: &'f [Field]) -> Vec<&'f Field> {
        let lacks = |field: &&Field| self.columns.iter().all(|column| column.name != field.name);
        fields.iter().filter(|field| is_single(field)).filter(lacks).collect()
    }

    /// The columns that neither the target nor an input of one number a sample takes.
    fn columns_left(&self, fields: &[Field], options: &Options) -> Vec<String> {
        let mut taken: Vec<&str> = options.target.as_deref().into_iter().collect();
        taken.extend(fields.iter().filter(|field| is_single(field)).map(|field| field.name.as_str()));
        taken.extend(options.others.iter().map(String::as_str));
        self.names().into_iter().filter(|name| !taken.contains(name)).map(str::to_owned).collect()
    }

    /// Whether the target, if one is named, is there and fills an input, and all inputs without a column are filled by it.
    fn check_target(&self, fields: &[Field], unnamed: &[&Field], options: &Options) -> Result<()> {
        match (unnamed, &options.target) {
            // Where nothing is to be compared with it, a table may lack the target.
            ([], Some(target)) if !options.unlabelled => {
                self.column(target)?;
                if fields.iter().all(|field| field.name != *target) {
                    let singles = fields.iter().filter(|field| is_single(field));
                    let names: Vec<&str> = singles.map(|field| &*field.name).collect();
                    return Err(bad(format!(
                        "the target `{target}` is not used: all inputs of one number a sample have columns of their own \
                         names ({})",
                        listed(&names)
                    )));
                }
                Ok(())
            }
            ([], _) => Ok(()),
            // A target that another input takes is not for this one.
            ([_], Some(target))
                if !options.unlabelled && fields.iter().all(|field| field.name != *target) =>
            {
                self.column(target).map(|_| ())
            }
            ([one, ..], target)
                if options.unlabelled
                    || target.is_some()
                    || fields.len() > 1 && one.name == fields[0].name =>
            {
                Err(bad(format!(
                    "no column is named `{}`, which is an input of the model; name the one that it takes so in the first line \
                     (columns: {})",
                    one.name,
                    listed(&self.names())
                )))
            }
            ([one, ..], _) => Err(bad(format!(
                "no column is named `{}`; say which one it is with --target (columns: {})",
                one.name,
                listed(&self.names())
            ))),
        }
    }

    /// One number a sample, or one of `texts`, which are those of the column where there are none yet; `what` they are.
    fn single(&self, column: &Column, field: &Field, texts: &mut Vec<String>, what: &str) -> Result<Tensor> {
        let dims = [&[self.lines.len()], &field.dims[..]].concat();
        if !is_whole(field) {
            let values = self.numbers(column, field.dtype)?;
            return Tensor::from_slice(&dims, &values)?.converted(field.dtype);
        }
        for (cell, line) in column.cells().zip(&self.lines) {
            self.present(cell, column, *line)?;
        }
        let numbers: Option<Vec<i64>> = column.cells().map(|cell| cell.parse().ok()).collect();
        let numbers = match numbers.filter(|_| texts.is_empty()) {
            Some(numbers) => numbers,
            None => {
                if texts.is_empty() {
                    self.whole_or_texts(column)?;
                    let names: BTreeSet<&str> = column.cells().collect();
                    *texts = names.into_iter().map(str::to_owned).collect();
                }
                let number = |(cell, line): (&str, &usize)| {
                    let number = texts.iter().position(|text| text == cell);
                    let given = || cell.parse().ok().filter(|&number: &usize| number < texts.len());
                    let number = number.or_else(given);
                    number.map(|number| number as i64).ok_or_else(|| {
                        let (cell, texts) = (cut(cell), listed_in_quotes(&texts[..]));
                        let message = format!("line {line}: `{cell}` is none of {what} {texts}");
                        malformed(self.file, message)
                    })
                };
                column.cells().zip(&self.lines).map(number).collect::<Result<Vec<_>>>()?
            }
        };
        Tensor::from_slice(&dims, &numbers)?.converted(field.dtype)
    }

    /// An error where a column is of whole numbers but for some that are numbers too: texts are not what is meant.
    fn whole_or_texts(&self, column: &Column) -> Result<()> {
        let is_whole = |cell: &str| cell.parse::<i64>().is_ok();
        let numbers = column.cells().all(|cell| cell.parse::<f64>().is_ok());
        let odd = column.cells().zip(&self.lines).find(|&(cell, _)| !is_whole(cell));
        match odd {
            Some((cell, line)) if numbers && column.cells().any(is_whole) => {
                let (cell, name) = (cut(cell), cut(&column.name));
                let message = format!(
                    "line {line}: `{cell}` in the column `{name}` is no whole number, as others in it are; correct it, or give \
                     the input floats (`f32[batch]`)"
                );
                Err(malformed(self.file, message))
            }
            _ => Ok(()),
        }
    }

    /// Several numbers a sample.
    fn several(&self, columns: &[String], field: &Field) -> Result<Tensor> {
        let size: usize = field.dims.iter().product();
        if columns.len() != size {
            return Err(bad(format!(
                "`{}` takes {size} numbers a sample, but there are {} columns for it: {}; say with `columns` in the \
                 model's `data` which they are",
                field.name,
                columns.len(),
                listed(columns)
            )));
        }
        let rows = self.lines.len();
        let mut tensor = Tensor::zeros(DType::F64, &[&[rows], &field.dims[..]].concat())?;
        for (at, name) in columns.iter().enumerate() {
            let values = self.numbers(self.column(name)?, field.dtype)?;
            let places = tensor.as_mut_slice::<f64>()?.iter_mut().skip(at).step_by(size);
            places.zip(values).for_each(|(place, value)| *place = value);
        }
        match field.dtype {
            DType::F64 | DType::F32 => tensor.converted(field.dtype),
            to => {
                let whole = |v: f64| match v.fract() == 0.0 && v.abs() < 9e15 {
                    true => Ok(v as i64),
                    false => Err(bad(format!("`{}` takes whole numbers, found {v}", field.name))),
                };
                tensor.map(whole)?.converted(to)
            }
        }
    }

    /// The numbers of a column, for an input of that type.
    fn numbers(&self, column: &Column, dtype: DType) -> Result<Vec<f64>> {
        let number = |(cell, line): (&str, &usize)| {
            self.present(cell, column, *line)?;
            match cell {
                "true" | "True" | "TRUE" => Ok(1.0),
                "false" | "False" | "FALSE" => Ok(0.0),
                _ => number_of(cell, dtype).map_err(|why| {
                    let (cell, name) = (cut(cell), cut(&column.name));
                    let message = format!("line {line}: `{cell}` in the column `{name}` is {why}");
                    malformed(self.file, message)
                }),
            }
        };
        column.cells().zip(&self.lines).map(number).collect()
    }

    fn present(&self, cell: &str, column: &Column, line: usize) -> Result<()> {
        if !MISSING.contains(&cell.to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        let missing = |cell: &&str| MISSING.contains(&cell.to_ascii_lowercase().as_str());
        let more = match column.cells().filter(missing).count() {
            0 | 1 => String::new(),
            count => format!(", one of {count} in this column"),
        };
        let message = format!(
            "line {line}: the value of `{}` is missing (`{cell}`){more}; fill it in, or leave the row out",
            cut(&column.name)
        );
        Err(malformed(self.file, message))
    }
}

/// The number that a cell holds for an input of that type; or why it holds none.
fn number_of(cell: &str, dtype: DType) -> std::result::Result<f64, &'static str> {
    let number = cell.parse::<f64>().ok();
    let digits = cell.contains(|c: char| c.is_ascii_digit());
    match number {
        Some(v) if dtype == DType::F32 && v.is_finite() && (v as f32).is_infinite() => {
            Err("too large for f32; with --precision f64 it is read")
        }
        Some(v) if v.is_finite() => Ok(v),
        Some(_) if digits => Err("too large for a float of 64 bits"),
        // With a comma for the point it would be one.
        None if cell.matches(',').count() == 1 && cell.replace(',', ".").parse::<f64>().is_ok() => {
            Err("no number: decimals are written with a point, as in `1.5`")
        }
        _ => Err("no number; texts are for an input of their own, `i32[batch]`, such as of an Embedding"),
    }
}

/// Whether an input takes one number a sample.
fn is_single(field: &Field) -> bool {
    field.dims.iter().product::<usize>() == 1
}

/// Whether an input takes a whole number a sample.
fn is_whole(field: &Field) -> bool {
    matches!(field.dtype, DType::I32 | DType::I64)
}

/// The input that takes the classes: that of the target, if it takes a whole number a sample; else the last that does, as labels
/// come behind what they label. One whose vocabulary is known is none, nor is the first of several inputs: an input of the model
/// whose texts are a vocabulary. (Weights that know classes and no vocabulary may be of a time when these were the same.)
fn label(fields: &[Field], options: &Options, is_unnamed: impl Fn(&Field) -> bool) -> Option<usize> {
    let single = |field: &Field| is_whole(field) && field.dims.iter().product::<usize>() == 1;
    let known = |field: &Field| options.vocabularies.iter().any(|(name, _)| *name == field.name);
    let named = |field: &Field| options.target.as_ref() == Some(&field.name);
    let is_target = |field: &Field| options.target.is_some() && (is_unnamed(field) || named(field));
    let of_target = fields.iter().position(|field| single(field) && is_target(field));
    let last = || fields.iter().rposition(|field| single(field) && !known(field));
    let classes_known = !options.classes.is_empty() && options.vocabularies.is_empty();
    of_target.or_else(|| last().filter(|&at| at > 0 || fields.len() == 1 || classes_known))
}

/// The separator of a table: what the first line has most of, outside of quotes.
fn separator(text: &str) -> char {
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut quoted = false;
    for c in text.split(['\n', '\r']).next().unwrap_or("").chars() {
        quoted ^= c == '"';
        counts.iter_mut().filter(|(known, _)| *known == c && !quoted).for_each(|(_, count)| *count += 1);
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(',', |(separator, _)| separator)
}

/// The rows of a table with commas, the first line among them; an error where a quote is wrong.
pub fn rows(file: &Path, text: &str) -> Result<Vec<Vec<String>>> {
    let mut reader = Reader { text, at: 0, line: 1, began: 1, separator: ',', file };
    std::iter::from_fn(|| reader.row().transpose()).collect()
}

/// Goes through the rows of a table.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Where the last row began.
    began: usize,
    separator: char,
    file: &'a Path,
}

impl Reader<'_> {
    /// The next row that is not empty.
    fn row(&mut self) -> Result<Option<Vec<String>>> {
        loop {
            if self.at >= self.text.len() {
                return Ok(None);
            }
            self.began = self.line;
            let row = self.cells()?;
            if row.len() > 1 || !row[0].is_empty() {
                return Ok(Some(row));
            }
        }
    }

    /// The cells up to the end of the line.
    fn cells(&mut self) -> Result<Vec<String>> {
        let mut row = Vec::new();
        loop {
            let (cell, last) = self.cell()?;
            row.push(cell);
            if last {
                self.line += 1;
                return Ok(row);
            }
        }
    }

    /// A cell, and whether it is the last one of its line.
    fn cell(&mut self) -> Result<(String, bool)> {
        let rest = &self.text[self.at..];
        let start = rest.trim_start_matches([' ']);
        if let Some(inside) = start.strip_prefix('"') {
            return self.quoted(rest.len() - inside.len());
        }
        let (end, next, last) = self.end(rest);
        self.at += next;
        Ok((rest[..end].trim().to_owned(), last))
    }

    /// Where a cell ends, where the next one begins, and whether that is on the next line: lines end in LF, CR LF or CR.
    fn end(&self, rest: &str) -> (usize, usize, bool) {
        let end = rest.find([self.separator, '\n', '\r']).unwrap_or(rest.len());
        let behind = &rest[end..];
        let length = if behind.starts_with("\r\n") { 2 } else { behind.len().min(1) };
        (end, end + length, !behind.starts_with(self.separator))
    }

    /// A cell in quotes, whose text begins `skip` bytes from here; two quotes stand for one.
    fn quoted(&mut self, skip: usize) -> Result<(String, bool)> {
        let began = self.line;
        let rest = &self.text[self.at..];
        let mut cell = String::new();
        let mut at = skip;
        loop {
            let Some(quote) = rest[at..].find('"') else {
                return Err(malformed(self.file, format!("line {began}: a quote is never closed")));
            };
            cell.push_str(&rest[at..at + quote]);
            at += quote + 1;
            if !rest[at..].starts_with('"') {
                break;
            }
            cell.push('"');
            at += 1;
        }
        self.line += cell.matches(['\n', '\r']).count() - cell.matches("\r\n").count();
        let behind = &rest[at..];
        let (end, next, last) = self.end(behind);
        if !behind[..end].trim().is_empty() {
            let message = format!("line {began}: something follows behind a closing quote");
            return Err(malformed(self.file, message));
        }
        self.at += at + next;
        Ok((cell, last))
    }
}
