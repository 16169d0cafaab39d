//! Numbers as files have them, and as inputs want them.
//!
//! A file may have more element types than tensors: what is read becomes the smallest of our types that has the same
//! numbers, and where an input wants another type or shape it is converted once more: [`Tensor::for_input`]. So all
//! commands read alike.

use crate::error::{Error, ErrorKind, Result};
use crate::tensors::dtype::DType;
use crate::tensors::tensor::Tensor;

/// An element type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// One of ours, with the same bytes.
    Own(DType),
    F16,
    Bf16,
    I8,
    I16,
    U16,
    U32,
    U64,
}

impl Stored {
    /// Bytes of an element in the file.
    pub(crate) fn size(self) -> usize {
        match self {
            Stored::Own(dtype) => dtype.size(),
            Stored::I8 => 1,
            Stored::F16 | Stored::Bf16 | Stored::I16 | Stored::U16 => 2,
            Stored::U32 => 4,
            Stored::U64 => 8,
        }
    }

    /// The type that has the same numbers. The largest of u64 have none: where there are such, it is f64.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Stored::Own(dtype) => dtype,
            Stored::F16 | Stored::Bf16 => DType::F32,
            Stored::I8 | Stored::I16 | Stored::U16 => DType::I32,
            Stored::U32 | Stored::U64 => DType::I64,
        }
    }

    /// Its name, if it is none of ours.
    pub(crate) fn foreign(self) -> Option<&'static str> {
        Some(match self {
            Stored::Own(_) => return None,
            Stored::F16 => "f16",
            Stored::Bf16 => "bf16",
            Stored::I8 => "i8",
            Stored::I16 => "i16",
            Stored::U16 => "u16",
            Stored::U32 => "u32",
            Stored::U64 => "u64",
        })
    }

    /// The tensor of those elements, which lie row by row in little-endian order.
    pub(crate) fn tensor(self, dims: &[usize], bytes: &[u8]) -> Result<Tensor> {
        let mut tensor = Tensor::zeros(self.dtype(), dims)?;
        match self {
            Stored::Own(_) => tensor.bytes_mut().copy_from_slice(bytes),
            Stored::F16 => {
                each(tensor.as_mut_slice()?, bytes, |b| half::f16::from_le_bytes(b).to_f32());
            }
            Stored::Bf16 => {
                each(tensor.as_mut_slice()?, bytes, |b| half::bf16::from_le_bytes(b).to_f32());
            }
            Stored::I8 => each(tensor.as_mut_slice()?, bytes, |b| i32::from(i8::from_le_bytes(b))),
            Stored::I16 => each(tensor.as_mut_slice()?, bytes, |b| i32::from(i16::from_le_bytes(b))),
            Stored::U16 => each(tensor.as_mut_slice()?, bytes, |b| i32::from(u16::from_le_bytes(b))),
            Stored::U32 => each(tensor.as_mut_slice()?, bytes, |b| i64::from(u32::from_le_bytes(b))),
            Stored::U64 => {
                let mut numbers = bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b));
                if numbers.any(|number| i64::try_from(number).is_err()) {
                    // An input of floats rounds them anyway, and one of whole numbers has none of them.
                    let mut tensor = Tensor::zeros(DType::F64, dims)?;
                    each(tensor.as_mut_slice()?, bytes, |b| u64::from_le_bytes(b) as f64);
                    return Ok(tensor.read_as(self.foreign()));
                }
                each(tensor.as_mut_slice()?, bytes, |b| u64::from_le_bytes(b).cast_signed());
            }
        }
        tensor.check_bools()?;
        Ok(tensor.read_as(self.foreign()))
    }
}

fn each<T, const N: usize>(values: &mut [T], bytes: &[u8], of: impl Fn([u8; N]) -> T) {
    values.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, &bytes)| *value = of(bytes));
}

/// Elements of `size` bytes in the other byte order.
pub(crate) fn swap_bytes(bytes: &mut [u8], size: usize) {
    if size > 1 {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}

/// From column by column (Fortran's order: the first axis runs fastest) to row by row.
pub(crate) fn by_rows(tensor: &Tensor) -> Result<Tensor> {
    let (dims, size) = (tensor.dims(), tensor.dtype().size());
    let mut rows = Tensor::zeros(tensor.dtype(), dims)?;
    let mut strides = vec![size; dims.len()];
    for axis in 1..dims.len() {
        strides[axis] = strides[axis - 1] * dims[axis - 1];
    }
    let mut position = vec![0; dims.len()];
    let mut from = 0;
    for element in rows.bytes_mut().chunks_exact_mut(size) {
        element.copy_from_slice(&tensor.bytes()[from..from + size]);
        // The next position, the last axis fastest.
        for axis in (0..dims.len()).rev() {
            position[axis] += 1;
            from += strides[axis];
            if position[axis] < dims[axis] {
                break;
            }
            from -= strides[axis] * dims[axis];
            position[axis] = 0;
        }
    }
    Ok(rows.read_as(tensor.stored()))
}

fn outside(value: impl std::fmt::Display, to: DType) -> Error {
    Error::new(ErrorKind::Range, format!("the value {value} does not fit into {to}"))
}

impl Tensor {
    /// The tensor as an input of that type and shape takes it: [`converted`](Tensor::converted), and with those dimensions
    /// where it [`fits`](Tensor::fits) them. Others stay as they are, and who takes the tensor says what is wrong.
    ///
    /// # Errors
    /// Those of [`converted`](Tensor::converted).
    pub fn for_input(self, dtype: DType, dims: &[usize]) -> Result<Tensor> {
        let dims = if self.fits(dims) { dims.to_vec() } else { self.dims().to_vec() };
        Ok(self.converted(dtype)?.with_dims(dims))
    }

    /// Whether it has as many samples (axis 0) as `dims`, and the same elements of each in the same order: a sample may have
    /// more or fewer axes of size 1, and be one row on either side. So `[8, 192]` and `[8, 1, 3, 8, 8]` fit `[8, 3, 8, 8]`, and
    /// `[8, 1]` fits `[8]`; `[8, 3, 64]` and `[8, 8, 8, 3]` do not: which axes were meant is not known.
    pub fn fits(&self, dims: &[usize]) -> bool {
        let (Some((count, found)), Some((samples, expected))) =
            (self.dims().split_first(), dims.split_first())
        else {
            return self.dims() == dims;
        };
        let row = found.len() == 1 || expected.len() == 1;
        let without_ones =
            |dims: &[usize]| -> Vec<usize> { dims.iter().copied().filter(|d| *d != 1).collect() };
        let (found, expected) = (without_ones(found), without_ones(expected));
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        count == samples && (found == expected || row && size(&found) == size(&expected))
    }

    /// The same numbers in another element type; rounded where floats lose digits. Truth values are 0 and 1.
    ///
    /// # Errors
    /// Numbers that the type does not have, floats for whole numbers, numbers for truth values.
    pub fn converted(self, to: DType) -> Result<Tensor> {
        fn fitting<A: Copy + std::fmt::Display, B: TryFrom<A>>(to: DType) -> impl Fn(A) -> Result<B> {
            move |value| B::try_from(value).map_err(|_| outside(value, to))
        }
        match (self.dtype(), to) {
            (from, to) if from == to => Ok(self),
            (DType::Bool, DType::U8) => Tensor::from_bytes(to, self.dims(), self.bytes()),
            (DType::Bool, _) => self.converted(DType::U8)?.converted(to),
            (DType::U8, DType::I32) => self.map(|v: u8| Ok(i32::from(v))),
            (DType::U8, DType::I64) => self.map(|v: u8| Ok(i64::from(v))),
            (DType::U8, DType::F32) => self.map(|v: u8| Ok(f32::from(v))),
            (DType::U8, DType::F64) => self.map(|v: u8| Ok(f64::from(v))),
            (DType::I32, DType::U8) => self.map(fitting::<i32, u8>(to)),
            (DType::I32, DType::I64) => self.map(|v: i32| Ok(i64::from(v))),
            (DType::I32, DType::F32) => self.map(|v: i32| Ok(v as f32)),
            (DType::I32, DType::F64) => self.map(|v: i32| Ok(f64::from(v))),
            (DType::I64, DType::U8) => self.map(fitting::<i64, u8>(to)),
            (DType::I64, DType::I32) => self.map(fitting::<i64, i32>(to)),
            (DType::I64, DType::F32) => self.map(|v: i64| Ok(v as f32)),
            (DType::I64, DType::F64) => self.map(|v: i64| Ok(v as f64)),
            (DType::F32, DType::F64) => self.map(|v: f32| Ok(f64::from(v))),
            (DType::F64, DType::F32) => self.map(|v: f64| match v as f32 {
                rounded if rounded.is_infinite() && v.is_finite() => {
                    let message =
                        format!("the value {v:e} is too large for f32; with --precision f64 it is read");
                    Err(Error::new(ErrorKind::Range, message))
                }
                rounded => Ok(rounded),
            }),
            (from, to) => {
                let found = self.stored().unwrap_or(from.name());
                // It has been read as floats, since there is a number that i64 has not.
                if (from, found) == (DType::F64, "u64") && matches!(to, DType::I64 | DType::I32 | DType::U8) {
                    let message = format!("a value above {} does not fit into {to}", i64::MAX);
                    return Err(Error::new(ErrorKind::Range, message));
                }
                let message = format!("expected elements of {to}, found {found}; convert them before saving");
                Err(Error::new(ErrorKind::Data, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused is told in the type of the file, not in the one that has its numbers here.
    #[test]
    fn types_are_those_of_the_file() {
        let stored = [
            (Stored::F16, "f16"),
            (Stored::Bf16, "bf16"),
            (Stored::I8, "i8"),
            (Stored::I16, "i16"),
            (Stored::U16, "u16"),
            (Stored::U32, "u32"),
            (Stored::U64, "u64"),
            (Stored::Own(DType::F32), "f32"),
            (Stored::Own(DType::I32), "i32"),
        ];
        for (stored, name) in stored {
            let read = || stored.tensor(&[2, 3], &vec![1; 6 * stored.size()]).unwrap();
            assert_eq!(read().type_found(), format!("{name}[2, 3]"));
            assert_eq!(by_rows(&read()).unwrap().type_found(), format!("{name}[2, 3]"));
            let error = read().converted(DType::Bool).unwrap_err().to_string();
            assert!(error.contains(&format!("expected elements of bool, found {name};")), "{error}");
        }
        // What is converted is of our types.
        let float = Stored::I8.tensor(&[1], &[1]).unwrap().converted(DType::F32).unwrap();
        assert_eq!(float.type_found(), "f32[1]");
    }
}
