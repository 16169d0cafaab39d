//! The transforms of Winograd's algorithm, along one axis, as straight-line code over channels.

use brolga_ir::DType;
use brolga_ir::program::ValueId;
use brolga_ir::scalar::{Scalar, ScalarOp};

use super::super::kernel::KernelBuilder;

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

    /// G g
    pub fn kernel(&mut self, m: usize, g: [ValueId; 3]) -> Vec<ValueId> {
        let [g0, g1, g2] = g;
        let sum = self.add(g0, g2);
        let (plus, minus) = (self.add(sum, g1), self.sub(sum, g1));
        if m == 2 {
            return vec![g0, self.scale(0.5, plus), self.scale(0.5, minus), g2];
        }
        let spread = self.fma(4.0, g2, g0);
        let (up, down) = (self.fma(2.0, g1, spread), self.fma(-2.0, g1, spread));
        vec![
            self.scale(0.25, g0),
            self.scale(-1.0 / 6.0, plus),
            self.scale(-1.0 / 6.0, minus),
            self.scale(1.0 / 24.0, up),
            self.scale(1.0 / 24.0, down),
            g2,
        ]
    }

    /// Aᵀ p
    pub fn output(&mut self, p: &[ValueId]) -> Vec<ValueId> {
        let (sum, difference) = (self.add(p[1], p[2]), self.sub(p[1], p[2]));
        if let &[p0, _, _, p3] = p {
            return vec![self.add(p0, sum), self.sub(difference, p3)];
        }
        let (far_sum, far_difference) = (self.add(p[3], p[4]), self.sub(p[3], p[4]));
        let first = self.add(p[0], sum);
        let last = self.fma(8.0, far_difference, difference);
        vec![
            self.add(first, far_sum),
            self.fma(2.0, far_difference, difference),
            self.fma(4.0, far_sum, sum),
            self.add(last, p[5]),
        ]
    }

    /// A e: the transpose of [`Lane::output`].
    pub fn gradient(&mut self, e: &[ValueId]) -> Vec<ValueId> {
        if let &[e0, e1] = e {
            return vec![e0, self.add(e0, e1), self.sub(e0, e1), self.scale(-1.0, e1)];
        }
        let (even, odd) = (self.add(e[0], e[2]), self.add(e[1], e[3]));
        let far_even = self.fma(4.0, e[2], e[0]);
        let far_odd = self.scale(2.0, e[1]);
        let far_odd = self.fma(8.0, e[3], far_odd);
        vec![
            e[0],
            self.add(even, odd),
            self.sub(even, odd),
            self.add(far_even, far_odd),
            self.sub(far_even, far_odd),
            e[3],
        ]
    }

    /// Gᵀ p: the transpose of [`Lane::kernel`].
    pub fn kernel_gradient(&mut self, p: &[ValueId]) -> [ValueId; 3] {
        let (sum, difference) = (self.add(p[1], p[2]), self.sub(p[1], p[2]));
        if let &[p0, _, _, p3] = p {
            let half = self.scale(0.5, sum);
            return [self.add(p0, half), self.scale(0.5, difference), self.add(half, p3)];
        }
        let (far_sum, far_difference) = (self.add(p[3], p[4]), self.sub(p[3], p[4]));
        let first = self.scale(0.25, p[0]);
        let first = self.fma(-1.0 / 6.0, sum, first);
        let second = self.scale(-1.0 / 6.0, difference);
        let both = self.sub(far_sum, sum);
        [
            self.fma(1.0 / 24.0, far_sum, first),
            self.fma(1.0 / 12.0, far_difference, second),
            self.fma(1.0 / 6.0, both, p[5]),
        ]
    }
}
