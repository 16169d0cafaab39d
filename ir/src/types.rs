//! Element types and tensor types.

use std::fmt;

/// The type of one element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum DType {
    /// Truth value, stored as one byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 32-bit integer, wrapping.
    I32,
    /// Signed 64-bit integer, wrapping.
    I64,
    /// The upper half of an `f32`: 8 bits of exponent, 8 of significand. It only stores: elements are moved, selected
    /// and converted, and every computation converts them first.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DType {
    /// Every element type, in ascending order.
    pub const ALL: [DType; 7] =
        [DType::Bool, DType::U8, DType::I32, DType::I64, DType::Bf16, DType::F32, DType::F64];

    /// Bytes of one stored element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::Bf16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// The name in every text form: `f32`, `bool`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::Bf16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// The element type of that name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Whether elements are floating-point numbers to compute with (`bf16` only stores).
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// Whether elements are only stored: nothing but a conversion computes with them.
    pub fn is_storage(self) -> bool {
        self == DType::Bf16
    }

    /// Whether elements are integers (`bool` is none).
    pub fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::I32 | DType::I64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a tensor: element type and extents, printed as `f32[32, 784]`; a scalar is `f32[]`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Type {
    /// The element type.
    pub dtype: DType,
    /// Extents, outermost first; row-major.
    pub dims: Vec<usize>,
}

/// The largest tensor that a graph may hold, in bytes: addresses and offsets stay far from overflow.
pub const MAX_BYTES: usize = 1 << 40;

/// The most axes of a tensor, as many as NumPy allows.
pub const MAX_RANK: usize = 64;

impl Type {
    /// A tensor type.
    pub fn new(dtype: DType, dims: impl Into<Vec<usize>>) -> Type {
        Type { dtype, dims: dims.into() }
    }

    /// The type of a scalar.
    pub fn scalar(dtype: DType) -> Type {
        Type::new(dtype, [])
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements; 1 for a scalar. Verified graphs never overflow here.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Number of bytes of the row-major tensor.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// The same extents with another element type.
    pub fn with_dtype(&self, dtype: DType) -> Type {
        Type { dtype, dims: self.dims.clone() }
    }

    /// The same element type with other extents.
    pub fn with_dims(&self, dims: impl Into<Vec<usize>>) -> Type {
        Type { dtype: self.dtype, dims: dims.into() }
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank()];
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis] * self.dims[axis];
        }
        strides
    }

    /// An error if the tensor would be larger than [`MAX_BYTES`] (or its size overflows), or have more axes than
    /// [`MAX_RANK`].
    pub fn check_size(&self) -> Result<(), String> {
        if self.rank() > MAX_RANK {
            return Err(format!("a tensor of {} axes is beyond the limit of {MAX_RANK}", self.rank()));
        }
        let bytes = self.dims.iter().try_fold(self.dtype.size(), |size, &d| size.checked_mul(d.max(1)));
        match bytes {
            Some(bytes) if bytes <= MAX_BYTES => Ok(()),
            _ => Err(format!("{self} is larger than the limit of 2^40 bytes")),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (axis, extent) in self.dims.iter().enumerate() {
            write!(f, "{}{extent}", if axis == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}
