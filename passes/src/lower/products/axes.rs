//! The axes of a product of two tensors where they lie, and the loops that go over them.

/// An axis of a contraction: its extent, and its strides in the operands it occurs in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::lower) struct Axis {
    pub extent: usize,
    pub a: i64,
    pub b: i64,
    pub c: i64,
}

/// The loops of `C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n]`. Axes that lie one behind the other are one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::lower) struct Loops {
    /// Around everything else, outermost first.
    pub outer: Vec<Axis>,
    /// The rows and the columns of tiles: the innermost axis of m, and of n.
    pub rows: Axis,
    pub columns: Axis,
    /// Around the innermost axis that is summed over, and that axis.
    pub sums: Vec<Axis>,
    pub terms: Axis,
}

impl Loops {
    /// By the axes of all three tensors, those of A and C, those of B and C, and those of A and B in the order of the chain.
    pub fn of(batch: &[Axis], m: &[Axis], n: &[Axis], k: &[Axis]) -> Loops {
        let unit = Axis { extent: 1, a: 0, b: 0, c: 0 };
        let [mut outer, mut m, mut n, mut sums] = [batch, m, n, k].map(merged);
        let rows = m.pop().unwrap_or(unit);
        // Columns that are not contiguous (an image of width 1) are taken one by one.
        let contiguous = n.last().is_some_and(|axis| axis.b == 1 && axis.c == 1);
        let columns = n.pop_if(|_| contiguous).unwrap_or(Axis { b: 1, c: 1, ..unit });
        let terms = sums.pop().unwrap_or(unit);
        outer.extend(m);
        outer.extend(n);
        Loops { outer, rows, columns, sums, terms }
    }

    /// Multiply-adds.
    pub fn work(&self) -> usize {
        let inner = [&self.rows, &self.columns, &self.terms];
        let all = self.outer.iter().chain(&self.sums).chain(inner);
        all.fold(1, |work, axis| work.saturating_mul(axis.extent))
    }
}

/// The axes, those as one that are contiguous in every operand, without those of extent 1.
fn merged(axes: &[Axis]) -> Vec<Axis> {
    let mut result: Vec<Axis> = Vec::new();
    for &axis in axes.iter().filter(|axis| axis.extent != 1) {
        let inner = axis.extent as i64;
        match result.last_mut() {
            Some(last)
                if last.a == axis.a * inner && last.b == axis.b * inner && last.c == axis.c * inner =>
            {
                *last = Axis { extent: last.extent * axis.extent, ..axis };
            }
            _ => result.push(axis),
        }
    }
    result
}
