//! `dot`: the general product of tensors, over any batch and contracting axes.

use super::*;
use crate::types::DType;

/// For every point of the batch axes, which run through both operands together, the sum of products over the
/// contracting axes. Axes of the result: batch, the free axes of the left operand, those of the right.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Dot {
    /// Batch axes of the left and the right operand, in pairs.
    pub batch: [Vec<usize>; 2],
    /// Contracting axes of the left and the right operand, in pairs.
    pub contract: [Vec<usize>; 2],
}

impl Dot {
    /// A product with those pairs of axes.
    pub fn new(batch: [Vec<usize>; 2], contract: [Vec<usize>; 2]) -> Dot {
        Dot { batch, contract }
    }

    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["dot"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Dot, String> {
        let batch = attributes.size_lists_or("batch", vec![Vec::new(); 2])?;
        let contract = attributes.size_lists("contract")?;
        let two = |name, lists: Vec<Vec<usize>>| {
            <[Vec<usize>; 2]>::try_from(lists).map_err(|_| format!("`{name}` must hold two lists of axes"))
        };
        Ok(Dot { batch: two("batch", batch)?, contract: two("contract", contract)? })
    }

    /// The axes of the left (0) or right (1) operand, of that rank, that are neither batch nor contracting.
    pub fn free(&self, side: usize, rank: usize) -> Vec<usize> {
        let taken = |axis: &usize| self.batch[side].contains(axis) || self.contract[side].contains(axis);
        (0..rank).filter(|axis| !taken(axis)).collect()
    }

    /// The gradient with respect to one side: `dy` times the other operand, its axes put in order.
    fn side_gradient(&self, cx: &mut GradientCx, dy: Value, side: usize) -> Result<Value, GraphError> {
        let other = 1 - side;
        let ranks = [cx.b.ty(cx.operands[0]).rank(), cx.b.ty(cx.operands[1]).rank()];
        let free = [self.free(0, ranks[0]), self.free(1, ranks[1])];
        let batches = self.batch[0].len();
        // The axes of dy that belong to the free axes of either side.
        let starts = [batches, batches + free[0].len()];
        let dy_batch: Vec<usize> = (0..batches).collect();
        let dy_other: Vec<usize> = (starts[other]..starts[other] + free[other].len()).collect();
        let product = if side == 0 {
            let dot = Dot::new([dy_batch, self.batch[1].clone()], [dy_other, free[1].clone()]);
            cx.b.add_node(dot, &[dy, cx.operands[1]])?
        } else {
            let dot = Dot::new([self.batch[0].clone(), dy_batch], [free[0].clone(), dy_other]);
            cx.b.add_node(dot, &[cx.operands[0], dy])?
        };
        // The contracting axes come out in the order of the other operand.
        let mut pairs: Vec<(usize, usize)> =
            self.contract[other].iter().copied().zip(self.contract[side].iter().copied()).collect();
        pairs.sort_unstable();
        let contracted = pairs.into_iter().map(|(_, mine)| mine);
        let axes: Vec<usize> = if side == 0 {
            self.batch[0].iter().copied().chain(free[0].iter().copied()).chain(contracted).collect()
        } else {
            self.batch[1].iter().copied().chain(contracted).chain(free[1].iter().copied()).collect()
        };
        let order: Vec<usize> =
            (0..axes.len()).map(|axis| axes.iter().position(|&a| a == axis).unwrap_or(axis)).collect();
        cx.b.transpose(product, &order)
    }
}

impl Operator for Dot {
    fn name(&self) -> &'static str {
        "dot"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let lists =
            |lists: &[Vec<usize>; 2]| Attribute::List(lists.iter().map(|l| Attribute::sizes(l)).collect());
        let mut attributes = Vec::new();
        if !self.batch[0].is_empty() {
            attributes.push(("batch", lists(&self.batch)));
        }
        attributes.push(("contract", lists(&self.contract)));
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 2)?;
        let (a, b) = (operands[0], operands[1]);
        expect_numbers(operands)?;
        if a.dtype != b.dtype || a.dtype == DType::Bool {
            return Err(format!("operands must have one numeric element type, found {a} and {b}"));
        }
        for (side, ty) in [a, b].into_iter().enumerate() {
            let mut axes: Vec<usize> = self.batch[side].iter().chain(&self.contract[side]).copied().collect();
            axes.sort_unstable();
            if !axes.is_sorted_by(|x, y| x < y) || axes.last().is_some_and(|&last| last >= ty.rank()) {
                let (batch, contract) = (&self.batch[side], &self.contract[side]);
                return Err(format!(
                    "batch {batch:?} and contract {contract:?} must be different axes of {ty}"
                ));
            }
        }
        for (name, [left, right]) in [("batch", &self.batch), ("contract", &self.contract)] {
            if left.len() != right.len() {
                return Err(format!("`{name}` must pair axes, found {left:?} and {right:?}"));
            }
            for (&i, &j) in left.iter().zip(right) {
                if a.dims[i] != b.dims[j] {
                    return Err(format!(
                        "{name} axis {i} of {a} has extent {}, its partner, axis {j} of {b}, has {}",
                        a.dims[i], b.dims[j]
                    ));
                }
            }
        }
        let batch = self.batch[0].iter().map(|&axis| a.dims[axis]);
        let left = self.free(0, a.rank()).into_iter().map(|axis| a.dims[axis]);
        let right = self.free(1, b.rank()).into_iter().map(|axis| b.dims[axis]);
        let dims: Vec<usize> = batch.chain(left).chain(right).collect();
        expect_steps(dims.iter().chain(self.contract[0].iter().map(|&axis| &a.dims[axis])))?;
        Ok(vec![a.with_dims(dims)])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        if !cx.b.ty(dy).dtype.is_float() {
            return Ok(vec![None, None]);
        }
        Ok(vec![Some(self.side_gradient(cx, dy, 0)?), Some(self.side_gradient(cx, dy, 1)?)])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    /// Floats are summed in f64 and rounded once.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (a, b) = (operands[0], operands[1]);
        let extents = |x: &Tensor, axes: &[usize]| axes.iter().map(|&axis| x.dims()[axis]).product::<usize>();
        let (left, right) = (self.free(0, a.dims().len()), self.free(1, b.dims().len()));
        let arranged = |x: &Tensor, axes: [&[usize]; 3]| {
            let strides = x.ty().strides();
            let axes: Vec<usize> = axes.concat();
            let steps: Vec<isize> = axes.iter().map(|&axis| strides[axis] as isize).collect();
            let dims: Vec<usize> = axes.iter().map(|&axis| x.dims()[axis]).collect();
            view(x, 0, &steps, &dims)
        };
        let a_matrix = arranged(a, [&self.batch[0], &left, &self.contract[0]])?;
        let b_matrix = arranged(b, [&self.batch[1], &self.contract[1], &right])?;
        let sizes = [
            extents(a, &self.batch[0]),
            extents(a, &left),
            extents(a, &self.contract[0]),
            extents(b, &right),
        ];
        let ty = &results[0];
        Ok(vec![if ty.dtype.is_float() {
            from_f64(ty, products(&to_f64(&a_matrix)?, &to_f64(&b_matrix)?, sizes)?)?
        } else {
            from_i64(ty, products(&to_i64(&a_matrix)?, &to_i64(&b_matrix)?, sizes)?)?
        }])
    }
}

/// `c[s, i, j] = Σ_k a[s, i, k] b[s, k, j]` for `[batch, rows, inner, columns]`.
fn products<T: Wide>(a: &[T], b: &[T], [batch, rows, inner, columns]: [usize; 4]) -> Result<Vec<T>, String> {
    let mut c = filled(T::ZERO, batch * rows * columns)?;
    for s in 0..batch {
        for i in 0..rows {
            let row = &mut c[(s * rows + i) * columns..][..columns];
            for k in 0..inner {
                let x = a[(s * rows + i) * inner + k];
                for (sum, &y) in row.iter_mut().zip(&b[(s * inner + k) * columns..][..columns]) {
                    *sum = sum.add_product(x, y);
                }
            }
        }
    }
    Ok(c)
}
