//! The committed results of PyTorch, and how far others are from them; `tests/references/README.md` describes the files.

use std::error::Error;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::generate::stream;

/// One file of `tests/references` or `tests/networks`.
pub struct Reference {
    path: PathBuf,
    pub rows: Vec<Row>,
}

/// What a file has of one tensor.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// How many elements it has.
    pub count: usize,
    /// `max|y64|` over the whole tensor; of `tests/networks`, where it is nothing but rounding, over all gradients.
    pub largest: f64,
    /// `max|y32 - y64| / largest` of PyTorch's run in f32.
    pub torch_error: f64,
    /// The [`digest`] of its elements in f64.
    numbers: Vec<f64>,
    keep: usize,
}

impl Reference {
    /// Reads a file of the folder `tests`.
    pub fn open(file: &str) -> Result<Self, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let rows = rows(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { path, rows })
    }

    pub fn row(&self, name: &str) -> Result<&Row, String> {
        let row = self.rows.iter().find(|row| row.name == name);
        row.ok_or_else(|| format!("{}: no `{name}`", self.path.display()))
    }
}

impl Row {
    /// What a file that keeps `keep` numbers would have of this tensor.
    pub fn of(name: &str, values: &[f64], torch_error: f64, keep: usize) -> Self {
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let numbers = digest(name, values, keep);
        Self { name: name.to_owned(), count: values.len(), largest, torch_error, numbers, keep }
    }

    /// How far the whole tensor, row-major, is off: the largest difference of the digests, as a part of `largest`. A NaN
    /// if an element is one.
    pub fn error(&self, values: &[f64]) -> Result<f64, String> {
        if values.len() != self.count {
            return Err(format!("`{}`: {} elements, not {}", self.name, values.len(), self.count));
        }
        let found = digest(&self.name, values, self.keep);
        let differences = found.iter().zip(&self.numbers).map(|(y, y64)| (y - y64).abs());
        // Unlike f64::max, this keeps a NaN.
        let worst = differences.fold(0.0, |worst: f64, d| if d > worst || d.is_nan() { d } else { worst });
        Ok(if worst == 0.0 { 0.0 } else { worst / self.largest })
    }

    /// What is stored of it.
    pub fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// `max(1e-6, 3 * the error of PyTorch's run in f32)`.
    pub fn bound(&self) -> f64 {
        (3.0 * self.torch_error).max(1e-6)
    }

    /// A NaN does not.
    pub fn passes(&self, error: f64) -> bool {
        error <= self.bound()
    }

    /// A change of any one element by more than this is seen, where all is within the bound without it.
    pub fn seen(&self) -> f64 {
        let half = self.keep / 2;
        let root = if self.count > self.keep { (self.count as f64 / half as f64).sqrt() } else { 1.0 };
        2.0 * self.bound() * self.largest * root
    }
}

/// What is stored of a tensor: all elements of up to `keep`; of more, `keep / 2` of them, and as many sums. The sum j is
/// that of the elements j, j + `keep / 2`, ... with signs from a formula, over the root of their number. Every element is
/// in one. Signs that know nothing of the errors add n of them up to their root mean square times the root of n.
pub fn digest(name: &str, values: &[f64], keep: usize) -> Vec<f64> {
    if values.len() <= keep {
        return values.to_vec();
    }
    let half = keep / 2;
    let (at, sign) = (stream(&format!("at.{name}")), stream(name));
    let mut numbers: Vec<f64> = (0..half).map(|j| values[(at(j) % values.len() as u64) as usize]).collect();
    let mut sums = vec![0.0; half];
    for (first, group) in values.chunks(half).enumerate() {
        for (j, y) in group.iter().enumerate() {
            sums[j] += if sign(first * half + j) >> 63 == 1 { -y } else { *y };
        }
    }
    let root = (values.len() as f64 / half as f64).sqrt();
    numbers.extend(sums.iter().map(|sum| sum / root));
    numbers
}

fn rows(bytes: &[u8]) -> Result<Vec<Row>, Box<dyn Error>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let texts = metadata.metadata().as_ref().ok_or("no metadata")?;
    let keep: usize = texts.get("keep").ok_or("no `keep`")?.parse()?;
    let names = names(texts.get("names").ok_or("no `names`")?)?;
    let file = SafeTensors::deserialize(bytes)?;
    let data = |name: &str, dtype: Dtype| match file.tensor(name)? {
        view if view.dtype() == dtype => Ok(view.data()),
        view => Err(Box::<dyn Error>::from(format!("`{name}` is {:?}, not {dtype:?}", view.dtype()))),
    };
    let counts = data("counts", Dtype::U32)?.as_chunks::<4>().0;
    let scales = data("scales", Dtype::F32)?.as_chunks::<4>().0;
    let numbers = data("numbers", Dtype::U8)?.as_chunks::<5>().0;
    let counts: Vec<usize> = counts.iter().map(|&count| u32::from_le_bytes(count) as usize).collect();
    let scales: Vec<f64> = scales.iter().map(|&scale| f64::from(f32::from_le_bytes(scale))).collect();
    let kept: usize = counts.iter().map(|&count| count.min(keep)).sum();
    if (counts.len(), scales.len(), numbers.len()) != (names.len(), 2 * names.len(), kept) {
        return Err("not as much of everything as there are names".into());
    }
    let mut numbers = numbers.iter();
    let each = names.into_iter().zip(counts).zip(scales.as_chunks::<2>().0);
    let rows = each.map(|((name, count), &[largest, torch_error])| {
        let unit = largest * 2f64.powi(-36);
        let numbers = numbers.by_ref().take(count.min(keep)).map(|&number| unit * fixed(number)).collect();
        Row { name, count, largest, torch_error, numbers, keep }
    });
    Ok(rows.collect())
}

/// A signed whole number of five bytes.
fn fixed([a, b, c, d, e]: [u8; 5]) -> f64 {
    (i64::from_le_bytes([0, 0, 0, a, b, c, d, e]) >> 24) as f64
}

/// The names of a file: each line says how much of the name before begins it, and how it goes on.
fn names(text: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut name = String::new();
    let mut names = Vec::new();
    for line in text.lines() {
        let (shared, rest) = line.split_once(' ').ok_or("a name without its number")?;
        name = name.get(..shared.parse()?).ok_or("a name shares more than there is")?.to_owned() + rest;
        names.push(name.clone());
    }
    Ok(names)
}
