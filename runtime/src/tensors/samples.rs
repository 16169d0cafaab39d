//! Samples of tensors, along whatever axis they are.

use crate::error::Result;
use crate::tensors::tensor::Tensor;

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
///
/// # Panics
/// If there is no such axis.
pub fn with_samples(dims: &[usize], axis: usize, count: usize) -> Vec<usize> {
    let mut dims = dims.to_vec();
    dims[axis] = count;
    dims
}

/// Some samples of a tensor.
///
/// # Errors
/// Too little memory.
///
/// # Panics
/// If there is no such axis, or it has no such samples.
pub fn taken(tensor: &Tensor, axis: usize, begin: usize, count: usize) -> Result<Tensor> {
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
///
/// # Panics
/// If there is no such axis, or it has no such samples.
pub fn put(tensor: &mut Tensor, axis: usize, begin: usize, count: usize, some: &[u8]) {
    let (places, length) = parts(tensor, axis, begin, count);
    if length > 0 {
        for (part, place) in some.chunks_exact(length).zip(places) {
            tensor.bytes_mut()[place..place + length].copy_from_slice(part);
        }
    }
}

/// Brings samples that lie one behind the other to where they are in a tensor of these dimensions that has them along an axis.
/// Elements are `size` values each, which `convert` makes of those that are given.
pub(crate) fn spread<T: Copy, U>(
    to: &mut [U],
    from: &[T],
    dims: &[usize],
    axis: usize,
    size: usize,
    convert: impl Fn(T) -> U,
) {
    let (batch, run) = (dims[axis], dims[axis + 1..].iter().product::<usize>() * size);
    let sample = from.len() / batch.max(1);
    if sample == 0 {
        return;
    }
    for (number, sample) in from.chunks_exact(sample).enumerate() {
        for (at, run) in sample.chunks_exact(run).enumerate() {
            let place = (at * batch + number) * run.len();
            to[place..place + run.len()].iter_mut().zip(run).for_each(|(to, from)| *to = convert(*from));
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
            let samples = (0..dims[axis]).flat_map(|at| taken(&whole, axis, at, 1).unwrap().bytes().to_vec());
            let mut again = Tensor::zeros(whole.dtype(), &dims).unwrap();
            let samples: Vec<u8> = samples.collect();
            spread(again.bytes_mut(), &samples, &dims, axis, 4, |byte| byte);
            assert_eq!(again, whole, "{axis}");
        }
    }
}
