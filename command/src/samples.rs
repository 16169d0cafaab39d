//! Samples of tensors, along whatever axis they are.

use brolga_runtime::{Result, Tensor};

/// The parts of a tensor that some neighbours along an axis take: where each begins, and how long all are, in bytes. There is one
/// for each position of the axes before it.
fn parts(
    tensor: &Tensor,
    axis: usize,
    begin: usize,
    count: usize,
) -> (impl Iterator<Item = usize> + use<>, usize) {
    let dims = tensor.dims();
    let one = dims[axis + 1..].iter().product::<usize>() * tensor.dtype().size();
    let (outer, all) = (dims[..axis].iter().product::<usize>(), dims[axis] * one);
    ((0..outer).map(move |at| at * all + begin * one), count * one)
}

/// The dimensions of a tensor of so many samples along an axis.
pub(crate) fn with_samples(dims: &[usize], axis: usize, count: usize) -> Vec<usize> {
    let mut dims = dims.to_vec();
    dims[axis] = count;
    dims
}

/// Some samples of a tensor.
///
/// # Errors
/// Too little memory.
pub(crate) fn taken(tensor: &Tensor, axis: usize, begin: usize, count: usize) -> Result<Tensor> {
    let mut found = Tensor::zeros(tensor.dtype(), &with_samples(tensor.dims(), axis, count))?;
    let (places, length) = parts(tensor, axis, begin, count);
    if length > 0 {
        for (part, place) in found.bytes_mut().chunks_exact_mut(length).zip(places) {
            part.copy_from_slice(&tensor.bytes()[place..place + length]);
        }
    }
    Ok(found)
}

/// Puts samples into a tensor that has more of them along this axis, from `begin` on; `some` are the bytes of a tensor that has
/// `count` of them there.
pub(crate) fn put(tensor: &mut Tensor, axis: usize, begin: usize, count: usize, some: &[u8]) {
    let (places, length) = parts(tensor, axis, begin, count);
    if length > 0 {
        for (part, place) in some.chunks_exact(length).zip(places) {
            tensor.bytes_mut()[place..place + length].copy_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_and_put_along_any_axis() {
        let dims = [2, 3, 4];
        let whole = Tensor::from_slice(&dims, &(0..24).collect::<Vec<i32>>()).unwrap();
        for axis in 0..3 {
            let mut again = Tensor::zeros(whole.dtype(), &dims).unwrap();
            for (begin, count) in [(0, 1), (1, dims[axis] - 1)] {
                let some = taken(&whole, axis, begin, count).unwrap();
                let expected: Vec<i32> = (0..24)
                    .filter(|at| {
                        let position = [at / 12, at / 4 % 3, at % 4][axis] as usize;
                        (begin..begin + count).contains(&position)
                    })
                    .collect();
                assert_eq!(some.as_slice::<i32>().unwrap(), expected, "{axis} {begin}");
                put(&mut again, axis, begin, count, some.bytes());
            }
            assert_eq!(again, whole, "{axis}");
        }
    }
}
