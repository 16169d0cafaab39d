//! Bytes, and the elements in them.

use half::bf16;

use super::error::Error;
use crate::scalar::Scalar;
use crate::tensor::{Data, Tensor, filled};
use crate::types::DType;

/// The bytes that a parameter's index 0 stands for.
#[derive(Clone, Copy)]
pub struct Binding {
    pub space: usize,
    pub start: usize,
}

/// What every byte holds before it is written.
pub const UNWRITTEN: u8 = 0xff;

/// Where a buffer begins.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    /// Which block of bytes.
    pub space: usize,
    /// First byte in it.
    pub start: usize,
}

/// Separate blocks of bytes.
#[derive(Default)]
pub struct Memory {
    spaces: Vec<Vec<u8>>,
}

impl Memory {
    /// Blocks of those sizes.
    pub fn new(sizes: &[usize]) -> Result<Memory, Error> {
        let spaces = sizes.iter().map(|&size| filled(UNWRITTEN, size));
        Ok(Memory { spaces: spaces.collect::<Result<_, _>>().map_err(Error::new)? })
    }

    /// A new block.
    pub fn allocate(&mut self, bytes: usize) -> Result<Home, Error> {
        self.spaces.push(filled(UNWRITTEN, bytes).map_err(Error::new)?);
        Ok(Home { space: self.spaces.len() - 1, start: 0 })
    }

    /// Gives the last blocks back.
    pub fn free(&mut self, count: usize) {
        self.spaces.truncate(self.spaces.len() - count);
    }

    /// Makes a block unwritten again.
    pub fn forget(&mut self, space: usize) {
        self.spaces[space].fill(UNWRITTEN);
    }

    /// A block, from a byte on.
    pub fn bytes(&self, space: usize, start: usize) -> &[u8] {
        &self.spaces[space][start..]
    }

    /// A block, from a byte on, to be written.
    pub fn bytes_mut(&mut self, space: usize, start: usize) -> &mut [u8] {
        &mut self.spaces[space][start..]
    }

    /// Copies a tensor in.
    pub fn write_tensor(&mut self, home: Home, tensor: &Tensor) {
        let bytes = self.bytes_mut(home.space, home.start);
        macro_rules! copy {
            ($values:expr, $size:expr, $to_bytes:expr) => {
                for (value, out) in $values.iter().zip(bytes.chunks_exact_mut($size)) {
                    out.copy_from_slice(&$to_bytes(*value));
                }
            };
        }
        match tensor.data() {
            Data::Bool(v) => copy!(v, 1, |b| [b as u8]),
            Data::U8(v) => copy!(v, 1, u8::to_ne_bytes),
            Data::I32(v) => copy!(v, 4, i32::to_ne_bytes),
            Data::I64(v) => copy!(v, 8, i64::to_ne_bytes),
            Data::Bf16(v) => copy!(v, 2, bf16::to_ne_bytes),
            Data::F32(v) => copy!(v, 4, f32::to_ne_bytes),
            Data::F64(v) => copy!(v, 8, f64::to_ne_bytes),
        }
    }

    /// Copies a tensor out, over `tensor`.
    pub fn read_tensor(&self, home: Home, tensor: &mut Tensor) -> Result<(), Error> {
        let (dtype, count) = (tensor.dtype(), tensor.elements());
        let bytes = self.bytes(home.space, home.start);
        for (i, element) in bytes.chunks_exact(dtype.size()).take(count).enumerate() {
            let value = decode(dtype, element).ok_or_else(|| {
                Error::new(format!("element {i} was never written (no bool has the bits {element:?})"))
            })?;
            tensor.set(i, value);
        }
        Ok(())
    }
}

/// The element at the start of `bytes`; `None` if they are no value of the type.
#[inline]
pub fn decode(dtype: DType, bytes: &[u8]) -> Option<Scalar> {
    fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
        *bytes.first_chunk().expect("the caller has checked the index")
    }
    Some(match dtype {
        DType::Bool => match bytes[0] {
            0 => Scalar::Bool(false),
            1 => Scalar::Bool(true),
            _ => return None,
        },
        DType::U8 => Scalar::U8(bytes[0]),
        DType::I32 => Scalar::I32(i32::from_ne_bytes(first(bytes))),
        DType::I64 => Scalar::I64(i64::from_ne_bytes(first(bytes))),
        DType::Bf16 => Scalar::Bf16(bf16::from_ne_bytes(first(bytes))),
        DType::F32 => Scalar::F32(f32::from_ne_bytes(first(bytes))),
        DType::F64 => Scalar::F64(f64::from_ne_bytes(first(bytes))),
    })
}

/// Writes an element at the start of `bytes`.
#[inline]
pub fn encode(value: Scalar, bytes: &mut [u8]) {
    match value {
        Scalar::Bool(v) => bytes[0] = v as u8,
        Scalar::U8(v) => bytes[0] = v,
        Scalar::I32(v) => bytes[..4].copy_from_slice(&v.to_ne_bytes()),
        Scalar::I64(v) => bytes[..8].copy_from_slice(&v.to_ne_bytes()),
        Scalar::Bf16(v) => bytes[..2].copy_from_slice(&v.to_ne_bytes()),
        Scalar::F32(v) => bytes[..4].copy_from_slice(&v.to_ne_bytes()),
        Scalar::F64(v) => bytes[..8].copy_from_slice(&v.to_ne_bytes()),
    }
}
