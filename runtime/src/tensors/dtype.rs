//! Element types of tensors, and types as they are printed.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::tensors::memory::ALIGNMENT;

/// Element type of a tensor: what programs take and give. The compiler has an enumeration of its own (`brolga_ir::DType`), with types
/// that lie inside of programs only: the runtime sees no compiler, and the names are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DType {
    /// All element types.
    pub const ALL: [DType; 6] = [DType::Bool, DType::U8, DType::I32, DType::I64, DType::F32, DType::F64];

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// The name used in all text: `bool`, `u8`, `i32`, `i64`, `f32`, `f64`.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// The element type with this name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that tensors can be viewed as. `bool` is not one, because a byte other than 0 and 1 in a
/// borrowed buffer would make it undefined behaviour; bool tensors are viewed as bytes.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The element type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust { const DTYPE: DType = DType::$dtype; }
    )*};
}
elements!(u8 => U8, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

/// A type as it is printed everywhere: `f32[32, 784]`, `i64[]` for a scalar.
pub fn type_name(dtype: DType, dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    format!("{dtype}[{}]", dims.join(", "))
}

/// A type as the file has it that it was read from, whose elements may be called otherwise there: `f16[2, 3]`.
pub(crate) fn type_found(dtype: DType, stored: Option<&str>, dims: &[usize]) -> String {
    let name = type_name(dtype, dims);
    stored.map_or(name.clone(), |stored| name.replacen(dtype.name(), stored, 1))
}

/// Bytes of a row-major tensor of this type; an error where that exceeds the address space.
pub fn byte_len(dtype: DType, dims: &[usize]) -> Result<usize> {
    // A zero anywhere makes the tensor empty, whatever the other dimensions would multiply to.
    if dims.contains(&0) {
        return Ok(0);
    }
    dims.iter()
        .try_fold(dtype.size(), |n, d| n.checked_mul(*d))
        .filter(|n| *n <= isize::MAX as usize - ALIGNMENT)
        .ok_or_else(|| too_large(&type_name(dtype, dims)))
}

fn too_large(what: &str) -> Error {
    Error::new(ErrorKind::Memory, format!("{what} is larger than the memory of this machine can hold"))
}
