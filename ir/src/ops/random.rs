//! `random`: counter-based random numbers.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011). The element at row-major position i of the result takes word `i mod 4` of the block with
//!
//! - key: the low and the high 32 bits of the seed;
//! - counter: `[low 32 bits of i / 4, stream, low 32 bits of step, high 32 bits of i / 4]`.
//!
//! With the third operand `iteration` (inside a `scan`), `i + iteration * size` stands for i, where size is the
//! number of elements of the result.

use std::sync::Arc;

use super::*;
use crate::definition::Element;
use crate::index::{Atom, Index};
use crate::scalar::{Comparison, Function, Scalar, ScalarOp};
use crate::types::DType;

/// Random numbers. Operands: seed `i64[]`, step `i64[]`, and, if wanted, iteration `i64[]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Random {
    /// Which sequence: nodes of different streams draw independent numbers.
    pub stream: u32,
    /// How they are distributed.
    pub distribution: Distribution,
    /// The result's type.
    pub ty: Type,
}

/// How random numbers are distributed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Distribution {
    /// The words themselves, as `i32`.
    Bits,
    /// Evenly in `[0, 1)`: `(word >> 8) · 2^-24`, the same numbers in `f32` and in `f64`.
    Uniform,
    /// Standard normal, by the inverse of its distribution function: `sqrt 2 · erf_inv(v)` with
    /// `v = ((word >> 9) + 1/2) · 2^-22 - 1`, which is exact in `f32`, inside (-1, 1) and symmetric.
    Normal,
}

impl Distribution {
    /// Every distribution.
    pub const ALL: [Distribution; 3] = [Distribution::Bits, Distribution::Uniform, Distribution::Normal];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Bits => "bits",
            Distribution::Uniform => "uniform",
            Distribution::Normal => "normal",
        }
    }
}

/// Multipliers and key increments of Philox4x32.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const INCREMENTS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: four words for a counter and a key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [a, b] = [0, 1].map(|i| u64::from(MULTIPLIERS[i]) * u64::from(counter[2 * i]));
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(INCREMENTS[0]), key[1].wrapping_add(INCREMENTS[1])];
    }
    counter
}

fn op(op: ScalarOp, args: impl Into<Vec<Element>>) -> Element {
    Element::Op(op, args.into())
}

fn word(value: u32) -> Element {
    Element::Constant(Scalar::I32(value as i32))
}

/// [`philox`] as expressions of `i32`.
fn philox_elements(mut counter: [Element; 4], key: [Element; 2]) -> [Element; 4] {
    for round in 0..10u32 {
        // Written out, the words of ten rounds would be thousands of operations.
        counter = counter.map(|word| Element::Shared(Arc::new(word)));
        let key = |i: usize| op(ScalarOp::Add, [key[i].clone(), word(INCREMENTS[i].wrapping_mul(round))]);
        let product = |i: usize, half: ScalarOp| op(half, [counter[2 * i].clone(), word(MULTIPLIERS[i])]);
        let mixed = |i: usize, other: usize| {
            let upper = op(ScalarOp::Xor, [product(i, ScalarOp::MulHigh), counter[other].clone()]);
            op(ScalarOp::Xor, [upper, key(1 - i)])
        };
        counter = [mixed(1, 1), product(1, ScalarOp::Mul), mixed(0, 3), product(0, ScalarOp::Mul)];
    }
    counter
}

impl Random {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["random"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Random, String> {
        let name = attributes.name("distribution")?;
        let distribution = Distribution::ALL.into_iter().find(|d| d.name() == name);
        let stream = attributes.int("stream")?;
        Ok(Random {
            stream: u32::try_from(stream)
                .map_err(|_| format!("`stream` is {stream}, not a 32-bit number"))?,
            distribution: distribution
                .ok_or_else(|| format!("`{name}` is no distribution; there are bits, uniform, normal"))?,
            ty: Type::new(attributes.dtype("dtype")?, attributes.sizes("dims")?),
        })
    }

    /// The word at a position, for seed and step.
    fn word_at(&self, position: u64, seed: i64, step: i64) -> u32 {
        let block = position / 4;
        let counter = [block as u32, self.stream, step as u32, (block >> 32) as u32];
        philox(counter, [seed as u32, (seed >> 32) as u32])[(position % 4) as usize]
    }

    /// The expression of a random word, by the index of the result's axes.
    fn word_element(&self, has_iteration: bool) -> Element {
        let range = |atom: &Atom| match atom {
            Atom::Var(axis) => Some((0, self.ty.dims[*axis as usize] as i64 - 1)),
            _ => None,
        };
        let strides = self.ty.strides().into_iter().enumerate();
        let position = strides.fold(Index::default(), |sum, (axis, stride)| {
            sum.add(&Index::var(axis as u32).scale(stride as i64))
        });
        let scalar = |operand: usize| Element::Operand(operand, Vec::new());
        let long = |value: i64| Element::Constant(Scalar::I64(value));
        let narrow = |element: Element| op(ScalarOp::Convert(DType::I32), [element]);
        let upper = |element: Element| narrow(op(ScalarOp::ShrLogical, [element, long(32)]));
        let (low, high, remainder) = if has_iteration {
            let start = op(ScalarOp::Mul, [scalar(2), long(self.ty.elements() as i64)]);
            let position = op(ScalarOp::Add, [start, Element::Index(position, DType::I64)]);
            let block = op(ScalarOp::ShrLogical, [position.clone(), long(2)]);
            let remainder = op(ScalarOp::And, [narrow(position), word(3)]);
            (narrow(block.clone()), upper(block), remainder)
        } else {
            let index = |index: Index| Element::Index(index, DType::I32);
            let block = position.div(4, &range);
            (index(block), index(position.div(1 << 34, &range)), index(position.rem(4, &range)))
        };
        let counter = [low, word(self.stream), narrow(scalar(1)), high];
        let [first, second, third, fourth] = philox_elements(counter, [narrow(scalar(0)), upper(scalar(0))]);
        let is = |n: u32| op(ScalarOp::Compare(Comparison::Eq), [remainder.clone(), word(n)]);
        let last = op(ScalarOp::Select, [is(2), third, fourth]);
        let rest = op(ScalarOp::Select, [is(1), second, last]);
        op(ScalarOp::Select, [is(0), first, rest])
    }
}

impl Operator for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("distribution", Attribute::name(self.distribution.name())),
            ("dtype", Attribute::name(self.ty.dtype.name())),
            ("dims", Attribute::sizes(&self.ty.dims)),
            ("stream", Attribute::Int(i64::from(self.stream))),
        ]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        if !(2..=3).contains(&operands.len()) {
            return Err(format!(
                "takes seed, step and at most an iteration, found {} operands",
                operands.len()
            ));
        }
        if let Some(other) = operands.iter().find(|ty| ***ty != Type::scalar(DType::I64)) {
            return Err(format!("seed, step and iteration must be i64[], found {other}"));
        }
        let fits = match self.distribution {
            Distribution::Bits => self.ty.dtype == DType::I32,
            Distribution::Uniform | Distribution::Normal => self.ty.dtype.is_float(),
        };
        if !fits {
            let kind = if self.distribution == Distribution::Bits { "i32" } else { "f32 or f64" };
            return Err(format!("{} numbers are {kind}, not {}", self.distribution.name(), self.ty.dtype));
        }
        Ok(vec![self.ty.clone()])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        Ok(vec![None; cx.operands.len()])
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let word = self.word_element(operands.len() == 3);
        let dtype = self.ty.dtype;
        let constant = |value: f64| Element::Constant(Scalar::from_f64(dtype, value));
        // The upper bits are not negative as `i32`, so the conversion is that of the unsigned number.
        let upper = |shift: i32| {
            let bits = op(ScalarOp::ShrLogical, [word.clone(), Element::Constant(Scalar::I32(shift))]);
            op(ScalarOp::Convert(dtype), [bits])
        };
        vec![Definition::Element(match self.distribution {
            Distribution::Bits => word,
            Distribution::Uniform => op(ScalarOp::Mul, [upper(8), constant(f64::powi(2.0, -24))]),
            Distribution::Normal => {
                let middle = op(ScalarOp::Add, [upper(9), constant(0.5)]);
                let scaled = op(ScalarOp::Mul, [middle, constant(f64::powi(2.0, -22))]);
                let centred = op(ScalarOp::Sub, [scaled, constant(1.0)]);
                let quantile = op(ScalarOp::Function(Function::ErfInv), [centred]);
                op(ScalarOp::Mul, [quantile, constant(std::f64::consts::SQRT_2)])
            }
        })]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let scalar = |operand: usize| operands[operand].get(0).to_i64();
        let (seed, step) = (scalar(0), scalar(1));
        let iteration = if operands.len() == 3 { scalar(2) } else { 0 };
        let start = iteration.wrapping_mul(self.ty.elements() as i64);
        let float = |value: f64| Scalar::from_f64(self.ty.dtype, value);
        Ok(vec![Tensor::try_generate(&results[0], |i| {
            let word = self.word_at(start.wrapping_add(i as i64) as u64, seed, step);
            match self.distribution {
                Distribution::Bits => Scalar::I32(word as i32),
                Distribution::Uniform => float(f64::from(word >> 8) * f64::powi(2.0, -24)),
                Distribution::Normal => {
                    let centred = float((f64::from(word >> 9) + 0.5) * f64::powi(2.0, -22) - 1.0);
                    let quantile = ScalarOp::Function(Function::ErfInv).apply(&[centred]);
                    ScalarOp::Mul.apply(&[quantile, float(std::f64::consts::SQRT_2)])
                }
            }
        })?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the Random123 library.
    #[test]
    fn philox_gives_the_known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(pi, [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
