//! What passes may depend on besides the representation itself: what a person chooses.

use std::fmt;
use std::str::FromStr;

use brolga_ir::names::nearest;

use crate::facts::cost::threads::LEAST_PART;
use crate::tuning::Tunings;

/// What passes may depend on besides the representation itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// The largest tensor, in elements, that constant folding reads or makes.
    pub fold_limit: usize,
    /// The least work of one part of a parallel kernel, in vector operations.
    pub least_part: u64,
    /// Which fast algorithms may be used.
    pub algorithms: Algorithms,
    /// What weights are kept as.
    pub precision: Precision,
    /// The bytes that the arena of one call may take; what does not fit is computed again.
    pub memory_limit: Option<usize>,
    /// Loops that are differentiated are cut into segments from so many steps on. Sums over time are formed by segments, so
    /// this is part of the numeric plan.
    pub segments_from: usize,
    /// Whether the way back runs segments again from what they begin with, instead of reading what was kept of them: for a
    /// memory limit that is not met otherwise. It changes no bit.
    pub run_again: bool,
    /// How products are tuned, where that is not the compiler's own choice. It changes no bit.
    pub tunings: Tunings,
    /// How many threads will compute, if that is known: one thread wants weights to pass once, several want rows of their
    /// own. It changes no bit, and any number may run what is compiled.
    pub threads: Option<usize>,
}

/// What the weights of products are kept as, where the entry does not change them. Arithmetic is in `f32`, but for `F64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to `bf16`: half the memory, and as much less to read.
    Bf16,
    /// As they are, in a model that was built in `f64`: whoever builds it looks here.
    F64,
}

impl fmt::Display for Precision {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F64 => "f64",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    /// `f32`, `f64` or `bf16`. `bf16-native`, products of `bf16` by the processor, is an error that says why.
    fn from_str(name: &str) -> Result<Precision, String> {
        match name {
            "f32" => Ok(Precision::F32),
            "f64" => Ok(Precision::F64),
            "bf16" => Ok(Precision::Bf16),
            "bf16-native" => {
                Err("multiplying in bf16, as processors with AVX512-BF16 can, is not supported yet: \
                                  use `bf16`, which keeps weights the same way and multiplies in f32"
                    .into())
            }
            _ => {
                let hint =
                    nearest(name, ["f32", "f64", "bf16"]).map(|near| format!("did you mean `{near}`? "));
                Err(format!(
                    "expected f32, f64, bf16 or bf16-native, found `{name}`; {}weights are kept as f32 unless \
                             told otherwise",
                    hint.unwrap_or_default()
                ))
            }
        }
    }
}

/// Which algorithms may be used in the place of direct sums: they multiply less, and round more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Algorithms {
    /// Winograd's, for convolutions.
    pub winograd: bool,
    /// Strassen's in Winograd's form, for products of rows with a matrix: in entries that do not train, for convolutions of
    /// images with an even number of positions only.
    pub strassen: bool,
    /// So many percent of what an algorithm is estimated to cost count: 100. With 0 it is used wherever it applies, however
    /// small the product.
    pub cost: u32,
    /// Outputs of Winograd's tiles along either axis (2 to 5; kernels of 3 x 3 take 2 and 4), where only these may be chosen.
    pub tile: Option<usize>,
}

impl Algorithms {
    /// Direct sums everywhere.
    pub const NONE: Algorithms = Algorithms { winograd: false, strassen: false, cost: 100, tile: None };

    /// What counts of an estimated cost.
    pub(crate) fn counted(self, cost: f64) -> f64 {
        cost * (f64::from(self.cost) / 100.0)
    }
}

impl Default for Algorithms {
    /// Both, where they gain.
    fn default() -> Algorithms {
        Algorithms { winograd: true, strassen: true, ..Algorithms::NONE }
    }
}

impl fmt::Display for Algorithms {
    /// As they are read; what is not read is behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("winograd", self.winograd), ("strassen", self.strassen)];
        let names: Vec<&str> = names.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))?;
        if self.cost != Algorithms::NONE.cost {
            write!(f, " at {} % of their cost", self.cost)?;
        }
        match self.tile {
            Some(tile) => write!(f, " in tiles of {tile}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Algorithms {
    type Err = String;

    /// Names separated by commas, each algorithm where it gains; or `none`.
    fn from_str(text: &str) -> Result<Algorithms, String> {
        let mut algorithms = Algorithms::NONE;
        if text.trim() == "none" {
            return Ok(algorithms);
        }
        for name in text.split(',').map(str::trim) {
            match name {
                "winograd" => algorithms.winograd = true,
                "strassen" => algorithms.strassen = true,
                _ => {
                    let hint = nearest(name, ["winograd", "strassen", "none"]);
                    let hint = hint.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                    return Err(format!(
                        "expected winograd, strassen, both with a comma between them, or none, found `{name}`; \
                         {hint}both are used unless told otherwise"
                    ));
                }
            }
        }
        Ok(algorithms)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            fold_limit: 1024,
            least_part: LEAST_PART,
            algorithms: Algorithms::default(),
            precision: Precision::F32,
            memory_limit: None,
            segments_from: 512,
            run_again: false,
            tunings: Tunings::default(),
            threads: None,
        }
    }
}
