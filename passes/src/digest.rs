//! Equal kernels among thousands: found by a number for what a kernel does.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use brolga_ir::program::walk::walk;
use brolga_ir::program::{Expr, Kernel, KernelId, Stmt};
use rustc_hash::{FxHashMap, FxHasher};

/// The kernels of a program, by their digest.
#[derive(Default)]
pub(crate) struct Kernels(FxHashMap<u64, Vec<KernelId>>);

impl Kernels {
    /// Those that are there.
    pub fn new(kernels: &[Kernel]) -> Kernels {
        let mut known = Kernels::default();
        for (id, kernel) in (0..).map(KernelId).zip(kernels) {
            known.0.entry(digest(kernel)).or_default().push(id);
        }
        known
    }

    /// The number of a kernel among those that this was made of, and all that it has added; it is added if there is no equal one.
    pub fn number(&mut self, kernels: &mut Vec<Kernel>, kernel: Kernel) -> KernelId {
        let alike = self.0.entry(digest(&kernel)).or_default();
        let equal = alike.iter().copied().find(|id| kernels[id.0 as usize] == kernel);
        equal.unwrap_or_else(|| {
            let id = KernelId(kernels.len() as u32);
            kernels.push(kernel);
            alike.push(id);
            id
        })
    }
}

/// Equal kernels have the same number, different ones hardly ever. Linear in the kernel.
fn digest(kernel: &Kernel) -> u64 {
    let mut state = FxHasher::default();
    kernel.name.hash(&mut state);
    kernel.params.hash(&mut state);
    kernel.grid.hash(&mut state);
    for statement in walk(&kernel.body) {
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
    use brolga_ir::DType;
    use brolga_ir::program::ValueId;
    use brolga_ir::scalar::Scalar;

    fn kernel(scalar: Scalar, extent: usize) -> Kernel {
        let body = vec![Stmt::Let { id: ValueId(0), dtype: DType::F32, expr: Expr::Constant(scalar) }];
        let body = vec![Stmt::For { var: 0, extent, body }];
        Kernel { name: "kernel".into(), params: Vec::new(), grid: Vec::new(), body }
    }

    #[test]
    fn kernels_that_differ_in_a_constant_or_an_extent_are_told_apart() {
        let of = |value: f32, extent| digest(&kernel(Scalar::F32(value), extent));
        assert_eq!(of(1.0, 4), of(1.0, 4));
        assert_ne!(of(0.0, 4), of(-0.0, 4));
        assert_eq!(of(f32::NAN, 4), of(-f32::NAN, 4));
        assert_ne!(of(1.0, 4), of(1.5, 4));
        assert_ne!(of(1.0, 4), of(1.0, 5));
    }
}
