//! Choices: how a node is run, which is no business of its operator.
//!
//! A [`Choice`] stands beside a node in its graph ([`Graph::choice`](crate::Graph::choice)), and in the text form in the
//! same braces, behind the operator's attributes:
//!
//! ```text
//! %2 = conv %x, %w {stride: [1, 1], channels_last: true, winograd: 4} : f32[1, 56, 56, 64]
//! ```
//!
//! An algorithm changes rounding, never what is computed. So shape inference, gradients and the interpreter do not look at
//! it: what an operator means is said in [`ops`](crate::ops) alone. It belongs to its node: a node that takes the place of
//! another starts without one.

use crate::attribute::{Attribute, Attributes};
use crate::ops::{Conv, Dot, Op};
use crate::types::Type;

/// How a node is run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Choice {
    /// The algorithm that the numeric plan prescribes.
    pub algorithm: Algorithm,
}

/// An algorithm for products and convolutions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Algorithm {
    /// Sums of products: what the operator says.
    #[default]
    Direct,
    /// Winograd's, for convolutions, with tiles of so many outputs along either axis ([`takes_winograd`]).
    Winograd(usize),
    /// Strassen's, for products of rows with a matrix: from seven products of halves ([`takes_strassen`]).
    Strassen,
}

impl From<Algorithm> for Choice {
    fn from(algorithm: Algorithm) -> Choice {
        Choice { algorithm }
    }
}

impl Algorithm {
    /// The outputs of a tile along either axis, if it is Winograd's.
    pub fn winograd(self) -> Option<usize> {
        match self {
            Algorithm::Winograd(outputs) => Some(outputs),
            Algorithm::Direct | Algorithm::Strassen => None,
        }
    }
}

impl Choice {
    /// An error if an operator cannot be run so, on operands and results of those types.
    pub fn check(self, op: &Op, operands: &[&Type], results: &[Type]) -> Result<(), String> {
        match (self.algorithm, op) {
            (Algorithm::Direct, _) => Ok(()),
            (Algorithm::Winograd(outputs), Op::Conv(conv)) => {
                let [_, w, _] = conv.roles(operands, &results[0]);
                let kernel = &w.dims[2..];
                if takes_winograd(conv, kernel, outputs) {
                    return Ok(());
                }
                Err(format!(
                    "`winograd` needs a square kernel of 2 to 5, tiles of 4 or 6 inputs (a kernel of 3: 2 or 4 outputs), \
                     padding less than the kernel, and no stride, dilation and groups; found {outputs} outputs and a \
                     kernel of {kernel:?}"
                ))
            }
            (Algorithm::Strassen, Op::Dot(dot)) => {
                let (a, b) = (operands[0], operands[1]);
                if takes_strassen(dot, a, b) {
                    return Ok(());
                }
                Err(format!(
                    "`strassen` needs a product of floats without batch axes, one axis that is summed over, a matrix on \
                     the right, and even numbers of rows, terms and columns; found {a} and {b}"
                ))
            }
            (Algorithm::Winograd(_), _) => Err("`winograd` is an algorithm for convolutions".into()),
            (Algorithm::Strassen, _) => Err("`strassen` is an algorithm for products".into()),
        }
    }

    /// As the text form has it, behind the operator's attributes; nothing where nothing is chosen.
    pub(crate) fn attributes(self) -> Vec<(&'static str, Attribute)> {
        match self.algorithm {
            Algorithm::Direct => Vec::new(),
            Algorithm::Winograd(outputs) => vec![("winograd", Attribute::Int(outputs as i64))],
            Algorithm::Strassen => vec![("strassen", Attribute::Bool(true))],
        }
    }

    /// Takes the choice for an operator out of what stands in its braces.
    pub(crate) fn from_attributes(op: &Op, attributes: &mut Attributes) -> Result<Choice, String> {
        let algorithm = match op {
            Op::Conv(_) => match attributes.size_or("winograd", 0)? {
                0 => Algorithm::Direct,
                outputs => Algorithm::Winograd(outputs),
            },
            Op::Dot(_) if attributes.flag("strassen", false)? => Algorithm::Strassen,
            _ => Algorithm::Direct,
        };
        Ok(Choice { algorithm })
    }
}

/// Whether Winograd's algorithm applies to a convolution with kernels of these extents, with tiles of so many outputs (at
/// least 2) along either axis: square kernels, one step at a time, not in groups, and tiles of 4 or 6 inputs.
pub fn takes_winograd(conv: &Conv, kernel: &[usize], outputs: usize) -> bool {
    let ones = |list: &[usize]| list.iter().all(|&n| n == 1);
    let &[rows, columns] = kernel else { return false };
    rows == columns
        && (2..=5).contains(&rows)
        && (2..=5).contains(&outputs)
        && [4, 6].contains(&(outputs + rows - 1))
        && conv.groups == 1
        && ones(&conv.stride)
        && ones(&conv.lhs_dilation)
        && ones(&conv.rhs_dilation)
        && conv.padding.iter().all(|&(low, high)| low < rows && high < rows)
}

/// Whether Strassen's algorithm applies: to a product of rows, along any axes, with one matrix, of even numbers of rows,
/// terms and columns.
pub fn takes_strassen(dot: &Dot, a: &Type, b: &Type) -> bool {
    let ([x], [w]) = (dot.contract[0].as_slice(), dot.contract[1].as_slice()) else { return false };
    let terms = a.dims.get(*x).copied().unwrap_or(0);
    let sizes = [a.elements().checked_div(terms).unwrap_or(0), terms, b.elements() / terms.max(1)];
    let even = sizes.iter().all(|&size| size > 0 && size.is_multiple_of(2));
    dot.batch[0].is_empty() && b.rank() == 2 && *w < 2 && a.dtype.is_float() && even
}
