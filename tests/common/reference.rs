//! The committed results of PyTorch, and the rule by which ours are compared with them; the files are described
//! in `tests/references/README.md`.

use std::fmt;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// One file `tests/references/<model>.<optimizer>.safetensors`.
pub struct Reference {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// How one tensor compares.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    /// `max|y - y64| / max|y64|`, the first maximum over the sampled elements, the second over all.
    pub error: f64,
    /// `max(1e-6, 3 * the error of PyTorch's f32 run)`.
    pub bound: f64,
}

impl Row {
    pub fn passes(&self) -> bool {
        self.error <= self.bound // a NaN does not
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Row { name, error, bound } = self;
        let verdict = if self.passes() { "" } else { "  TOO LARGE" };
        write!(f, "{name:<44} {error:9.2e} of {bound:8.2e}{verdict}")
    }
}

impl Reference {
    /// Reads the file of `model` and `optimizer` (`sgd` or `adam`).
    pub fn open(model: &str, optimizer: &str) -> Result<Self, String> {
        let file = format!("tests/references/{model}.{optimizer}.safetensors");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let reference = Self { path, bytes };
        reference.file()?;
        Ok(reference)
    }

    /// What can be compared: `logits`, `losses`, `grad.<parameter>`, `first.<running statistic>`,
    /// `final.<parameter or running statistic>`.
    pub fn names(&self) -> Vec<String> {
        let names = self.file().map(|file| file.names().into_iter().map(String::from).collect());
        let mut names: Vec<_> = names.unwrap_or_default();
        names.retain(|name| !name.starts_with("error."));
        names.sort();
        names
    }

    /// Compares the whole tensor `name`, row-major, with what is stored of it.
    pub fn compare(&self, name: &str, values: &[f32]) -> Result<Row, String> {
        let stored = self.tensor(name)?;
        let about = self.tensor(&format!("error.{name}"))?;
        let [largest, torch_error] = about[..] else {
            return Err(format!(
                "{}: `error.{name}` has {} elements, not 2",
                self.path.display(),
                about.len()
            ));
        };
        let step = stride(values.len());
        if values.len().div_ceil(step) != stored.len() {
            let (found, stored) = (values.len(), stored.len());
            return Err(format!("`{name}`: {found} elements do not give the {stored} samples stored"));
        }
        if stored.is_empty() {
            return Err(format!("`{name}` is empty"));
        }
        let differences =
            values.iter().step_by(step).zip(&stored).map(|(&y, y64)| (f64::from(y) - y64).abs());
        // Unlike f64::max, this keeps a NaN.
        let worst = differences.fold(0.0, |worst: f64, d| if d > worst || d.is_nan() { d } else { worst });
        let error = if worst == 0.0 { 0.0 } else { worst / largest };
        Ok(Row { name: name.into(), error, bound: (3.0 * torch_error).max(1e-6) })
    }

    fn file(&self) -> Result<SafeTensors<'_>, String> {
        SafeTensors::deserialize(&self.bytes).map_err(|e| format!("{}: {e}", self.path.display()))
    }

    /// What is stored of the tensor `name`.
    pub fn tensor(&self, name: &str) -> Result<Vec<f64>, String> {
        let file = self.file()?;
        let view = file.tensor(name).map_err(|e| format!("{}: {e}", self.path.display()))?;
        if view.dtype() != Dtype::F64 {
            return Err(format!("{}: `{name}` is {:?}, not F64", self.path.display(), view.dtype()));
        }
        Ok(view.data().as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect())
    }
}

/// Of `count` elements every `stride(count)`-th is stored: all of up to 1,024, else about 1,000, spread over all
/// rows, columns and channels because the stride has no factor in common with the count.
pub fn stride(count: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut stride = count.div_ceil(1024).max(1);
    while stride > 1 && gcd(stride, count) > 1 {
        stride += 1;
    }
    stride
}
