//! The transforms of Winograd's algorithm, along one axis, as straight-line code over channels.
//!
//! Tiles of 4 inputs evaluate polynomials at 0, 1, -1 and infinity, tiles of 6 at 2 and -2 too; how many of the 4 or 6
//! are outputs, and how many weights there are, changes the sizes of the matrices only.

use brolga_ir::DType;
use brolga_ir::program::ValueId;
use brolga_ir::scalar::{Scalar, ScalarOp};

use crate::lower::kernel::KernelBuilder;

/// Straight-line arithmetic of the transforms.
pub(super) struct Lane<'k> {
    pub k: &'k mut KernelBuilder,
    pub dtype: DType,
}

impl Lane<'_> {
    fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.k.op_now(ScalarOp::Add, &[a, b])
    }

    fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.k.op_now(ScalarOp::Sub, &[a, b])
    }

    fn scale(&mut self, c: f64, x: ValueId) -> ValueId {
        let c = self.k.constant(Scalar::from_f64(self.dtype, c));
        self.k.op_now(ScalarOp::Mul, &[c, x])
    }

    /// c x + y
    fn fma(&mut self, c: f64, x: ValueId, y: ValueId) -> ValueId {
        let c = self.k.constant(Scalar::from_f64(self.dtype, c));
        self.k.op_now(ScalarOp::Fma, &[c, x, y])
    }

    /// Bᵀ d
    pub fn input(&mut self, d: &[ValueId]) -> Vec<ValueId> {
        if let &[d0, d1, d2, d3] = d {
            return vec![self.sub(d0, d2), self.add(d1, d2), self.sub(d2, d1), self.sub(d1, d3)];
        }
        let first = self.scale(4.0, d[0]);
        let first = self.fma(-5.0, d[2], first);
        let first = self.add(first, d[4]);
        let (even, odd) = (self.fma(-4.0, d[2], d[4]), self.fma(-4.0, d[1], d[3]));
        let (near, far) = (self.sub(d[4], d[2]), self.sub(d[3], d[1]));
        let last = self.scale(4.0, d[1]);
        let last = self.fma(-5.0, d[3], last);
        let last = self.add(last, d[5]);
        vec![
            first,
            self.add(even, odd),
            self.sub(even, odd),
            self.fma(2.0, far, near),
            self.fma(-2.0, far, near),
            last,
        ]
    }

    /// The polynomial with coefficients `e` at the points of a tile of `a` inputs, 0, 1, -1 (2, -2), and its last
    /// coefficient, which is that at infinity.
    fn evaluate(&mut self, e: &[ValueId], a: usize) -> Vec<ValueId> {
        let none = || -> Option<ValueId> { None };
        // Even and odd powers apart, from the lowest on.
        let part = |lane: &mut Self, first: usize, point: f64| {
            let powers = e.iter().enumerate().skip(first).step_by(2);
            powers.fold(none(), |sum, (power, &value)| {
                let factor = point.powi(power as i32);
                Some(match sum {
                    None if factor == 1.0 => value,
                    None => lane.scale(factor, value),
                    Some(sum) if factor == 1.0 => lane.add(sum, value),
                    Some(sum) => lane.fma(factor, value, sum),
                })
            })
        };
        let mut values = vec![e[0]];
        for point in [1.0, 2.0].into_iter().take(a / 2 - 1) {
            let even = part(self, 0, point).expect("a tile has two outputs");
            let odd = part(self, 1, point).expect("a tile has two outputs");
            values.extend([self.add(even, odd), self.sub(even, odd)]);
        }
        values.push(e[e.len() - 1]);
        values
    }

    /// The transpose of [`Lane::evaluate`] but for what belongs to infinity: `n` sums over the points, of `p` times
    /// `scales` (of 0, of 1 and -1, of 2 and -2).
    fn interpolate(&mut self, p: &[ValueId], n: usize, scales: [f64; 3]) -> Vec<ValueId> {
        let mut scaled = |scale: f64, value| if scale == 1.0 { value } else { self.scale(scale, value) };
        let zero = scaled(scales[0], p[0]);
        let mut pairs = Vec::new();
        for (pair, &scale) in p[1..p.len() - 1].chunks(2).zip(&scales[1..]) {
            let (sum, difference) = (self.add(pair[0], pair[1]), self.sub(pair[0], pair[1]));
            let mut scaled = |value| if scale == 1.0 { value } else { self.scale(scale, value) };
            pairs.push([scaled(sum), scaled(difference)]);
        }
        (0..n)
            .map(|power| {
                let near = pairs[0][power % 2];
                let near = if power == 0 { self.add(zero, near) } else { near };
                match pairs.get(1) {
                    None => near,
                    Some(far) if power == 0 => self.add(near, far[0]),
                    Some(far) => self.fma(2f64.powi(power as i32), far[power % 2], near),
                }
            })
            .collect()
    }

    /// G g, for a tile of `a` inputs: [`Lane::evaluate`], divided by the products of the differences of the points.
    pub fn kernel(&mut self, a: usize, g: &[ValueId]) -> Vec<ValueId> {
        let mut values = self.evaluate(g, a);
        let [zero, near, far] = divisors(a);
        let factors = [zero, near, near, far, far].into_iter().take(a - 1);
        for (value, factor) in values.iter_mut().zip(factors).filter(|(_, factor)| *factor != 1.0) {
            *value = self.scale(factor, *value);
        }
        values
    }

    /// Aᵀ p: `m` outputs.
    pub fn output(&mut self, m: usize, p: &[ValueId]) -> Vec<ValueId> {
        let mut y = self.interpolate(p, m, [1.0; 3]);
        let (last, at_infinity) = (y[m - 1], p[p.len() - 1]);
        y[m - 1] = if p.len() == 4 { self.sub(last, at_infinity) } else { self.add(last, at_infinity) };
        y
    }

    /// A e, for a tile of `a` inputs: the transpose of [`Lane::output`].
    pub fn gradient(&mut self, a: usize, e: &[ValueId]) -> Vec<ValueId> {
        let mut values = self.evaluate(e, a);
        if a == 4 {
            values[a - 1] = self.scale(-1.0, values[a - 1]);
        }
        values
    }

    /// Gᵀ p, `k` weights: the transpose of [`Lane::kernel`].
    pub fn kernel_gradient(&mut self, k: usize, p: &[ValueId]) -> Vec<ValueId> {
        let mut g = self.interpolate(p, k, divisors(p.len()));
        g[k - 1] = self.add(g[k - 1], p[p.len() - 1]);
        g
    }
}

/// One over the product of the differences of a point to the others: of 0, of 1 and -1, of 2 and -2. With 4 inputs the sign of
/// the first is in `Bᵀ`.
fn divisors(a: usize) -> [f64; 3] {
    if a == 4 { [1.0, 0.5, 0.0] } else { [0.25, -1.0 / 6.0, 1.0 / 24.0] }
}
