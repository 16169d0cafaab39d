//! A number for what a kernel does, by which equal ones are found among thousands.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use rustc_hash::FxHasher;

use super::walk::walk;
use super::{Expr, Kernel, Stmt};

impl Kernel {
    /// A number that equal kernels have in common, and different ones hardly ever. Linear in the kernel.
    pub fn digest(&self) -> u64 {
        let mut state = FxHasher::default();
        self.name.hash(&mut state);
        self.params.hash(&mut state);
        self.grid.hash(&mut state);
        for statement in walk(&self.body) {
            discriminant(statement).hash(&mut state);
            statement.indices().for_each(|index| index.hash(&mut state));
            match statement {
                Stmt::For { extent, .. } | Stmt::Strip { extent, .. } => extent.hash(&mut state),
                Stmt::Let { expr, .. } => hash_expression(expr, &mut state),
                Stmt::Store { param, value, .. } => (param, value).hash(&mut state),
                Stmt::Tile(tile) => (tile.m, tile.n, &tile.reduce).hash(&mut state),
                _ => {}
            }
        }
        state.finish()
    }
}

fn hash_expression(expr: &Expr, state: &mut FxHasher) {
    discriminant(expr).hash(state);
    match expr {
        // All NaNs are equal.
        Expr::Constant(scalar) if scalar.to_f64().is_nan() => f64::NAN.to_bits().hash(state),
        Expr::Constant(scalar) => (scalar.to_i64(), scalar.to_f64().to_bits()).hash(state),
        Expr::Op(op, operands) => (op, operands).hash(state),
        Expr::Load { param, .. } => param.hash(state),
        Expr::Index(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::program::ValueId;
    use crate::scalar::Scalar;

    fn kernel(scalar: Scalar, extent: usize) -> Kernel {
        let body = vec![Stmt::Let { id: ValueId(0), dtype: DType::F32, expr: Expr::Constant(scalar) }];
        let body = vec![Stmt::For { var: 0, extent, body }];
        Kernel { name: "kernel".into(), params: Vec::new(), grid: Vec::new(), body }
    }

    #[test]
    fn kernels_that_differ_in_a_constant_or_an_extent_are_told_apart() {
        let of = |value: f32, extent| kernel(Scalar::F32(value), extent).digest();
        assert_eq!(of(1.0, 4), of(1.0, 4));
        assert_ne!(of(0.0, 4), of(-0.0, 4));
        assert_eq!(of(f32::NAN, 4), of(-f32::NAN, 4));
        assert_ne!(of(1.0, 4), of(1.5, 4));
        assert_ne!(of(1.0, 4), of(1.0, 5));
    }
}
