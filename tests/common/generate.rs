//! Initial weights and batches from a formula, so that no reference file has to store them; the same values as
//! in `tests/references/make.py`, and specified in `tests/references/README.md`.

use brolga_ir::random::splitmix64;

/// The stream of the tensor `name`, by index: that of SplitMix64, seeded with the FNV-1a hash of the name.
pub fn stream(name: &str) -> impl Fn(usize) -> u64 + use<> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    move |index| splitmix64(&mut seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The element `index` of the stream of the tensor `name`.
pub fn bits(name: &str, index: usize) -> u64 {
    stream(name)(index)
}

/// `offset + scale * u` with u in [-1, 1) from the upper 24 bits; f64 arithmetic, rounded to f32.
pub fn uniform(name: &str, count: usize, scale: f64, offset: f64) -> Vec<f32> {
    let stream = stream(name);
    let u = |index| (stream(index) >> 40) as f64 / f64::from(1 << 23) - 1.0;
    (0..count).map(|index| (offset + scale * u(index)) as f32).collect()
}

/// The initial value of the state tensor `name`, row-major.
pub fn initial(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    if name.ends_with("running_mean") {
        vec![0.0; count]
    } else if name.ends_with("running_var") {
        vec![1.0; count]
    } else if name.ends_with("bias") {
        uniform(name, count, 0.1, 0.0)
    } else if shape.len() == 1 {
        uniform(name, count, 0.1, 1.0) // the weight of a batch norm
    } else {
        let fan_in: usize = shape[1..].iter().product();
        uniform(name, count, (6.0 / fan_in as f64).sqrt(), 0.0)
    }
}

/// `count` values of the input `image`, from this stream.
pub fn images(stream: &str, count: usize) -> Vec<f32> {
    uniform(stream, count, 1.7, 0.0)
}

/// `count` values of the input `label`, in 0..10.
pub fn labels(count: usize) -> Vec<i32> {
    (0..count).map(|index| (bits("label", index) % 10) as i32).collect()
}
