//! Indices of data: whether they are ones that an entry takes.

use crate::run::manifest::IndexRange;
use crate::tensors::dtype::DType;
use crate::tensors::tensor::TensorRef;

/// Place and value of the first element outside of a range; none in tensors of floats and truth values.
pub(crate) fn first_outside(tensor: &TensorRef<'_>, range: IndexRange) -> Option<(usize, i64)> {
    match tensor.dtype() {
        DType::U8 => first(tensor, range, |b: [u8; 1]| i64::from(b[0])),
        DType::I32 => first(tensor, range, |b: [u8; 4]| i64::from(i32::from_ne_bytes(b))),
        DType::I64 => first(tensor, range, i64::from_ne_bytes),
        DType::Bool | DType::F32 | DType::F64 => None,
    }
}

fn first<const N: usize>(
    tensor: &TensorRef<'_>,
    IndexRange { low, high }: IndexRange,
    value: impl Fn([u8; N]) -> i64,
) -> Option<(usize, i64)> {
    // Chunks are whole elements, since tensors are.
    let (elements, _) = tensor.bytes().as_chunks::<N>();
    let at = elements.iter().position(|e| !(low..=high).contains(&value(*e)))?;
    Some((at, value(elements[at])))
}

/// The position of the element at a row-major offset, as `[2, 0]`.
pub(crate) fn coordinates(mut at: usize, dims: &[usize]) -> String {
    let mut place = vec![0; dims.len()];
    for (p, d) in place.iter_mut().zip(dims).rev() {
        *p = at % d;
        at /= d;
    }
    format!("{place:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::tensor::Tensor;

    #[test]
    fn the_first_outside_is_found_in_every_type() {
        let range = IndexRange { low: 0, high: 2 };
        let outside = |tensor: Tensor| first_outside(&tensor.view(), range);
        assert_eq!(outside(Tensor::from_slice(&[3], &[0u8, 2, 3]).unwrap()), Some((2, 3)));
        assert_eq!(outside(Tensor::from_slice(&[3], &[0i32, -1, 3]).unwrap()), Some((1, -1)));
        assert_eq!(outside(Tensor::from_slice(&[3], &[i64::MIN, -1, 3]).unwrap()), Some((0, i64::MIN)));
        assert_eq!(outside(Tensor::from_slice(&[3], &[0i32, 1, 2]).unwrap()), None);
        assert_eq!(outside(Tensor::from_slice(&[1], &[9f32]).unwrap()), None);
        assert_eq!(coordinates(5, &[2, 3]), "[1, 2]");
    }
}
