//! Tensor values on the host: constants, and what the interpreters compute with.

use std::alloc::{Layout, handle_alloc_error};

use half::bf16;

use crate::scalar::{NAN_BF16, NAN_F32, NAN_F64, Scalar};
use crate::types::{DType, Type};

/// The elements of a tensor, row-major.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// `bool`
    Bool(Vec<bool>),
    /// `u8`
    U8(Vec<u8>),
    /// `i32`
    I32(Vec<i32>),
    /// `i64`
    I64(Vec<i64>),
    /// `bf16`
    Bf16(Vec<bf16>),
    /// `f32`
    F32(Vec<f32>),
    /// `f64`
    F64(Vec<f64>),
}

/// Runs `$body` with `$v` bound to the typed vector inside a [`Data`].
#[macro_export]
macro_rules! with_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::tensor::Data::Bool($v) => $body,
            $crate::tensor::Data::U8($v) => $body,
            $crate::tensor::Data::I32($v) => $body,
            $crate::tensor::Data::I64($v) => $body,
            $crate::tensor::Data::Bf16($v) => $body,
            $crate::tensor::Data::F32($v) => $body,
            $crate::tensor::Data::F64($v) => $body,
        }
    };
}

/// An empty vector with room for `n` elements.
///
/// # Errors
/// The memory is not there.
pub fn room<T>(n: usize) -> Result<Vec<T>, String> {
    let mut room = Vec::new();
    let lack = |_| format!("there is no memory for {n} elements of {} bytes", size_of::<T>());
    room.try_reserve_exact(n).map_err(lack)?;
    Ok(room)
}

/// `n` times the same element.
///
/// # Errors
/// The memory is not there.
pub fn filled<T: Copy>(value: T, n: usize) -> Result<Vec<T>, String> {
    let mut all = room(n)?;
    all.resize(n, value);
    Ok(all)
}

/// `n` elements, by their positions.
///
/// # Errors
/// The memory is not there.
pub fn listed<T>(n: usize, at: impl FnMut(usize) -> T) -> Result<Vec<T>, String> {
    let mut all = room(n)?;
    all.extend((0..n).map(at));
    Ok(all)
}

/// A tensor value: extents and elements.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of those extents; `data` must hold exactly their product of elements.
    pub fn new(dims: impl Into<Vec<usize>>, data: Data) -> Tensor {
        let dims = dims.into();
        let len = with_data!(&data, v => v.len());
        assert_eq!(dims.iter().product::<usize>(), len, "elements of a tensor of extents {dims:?}");
        Tensor { dims, data }
    }

    /// A tensor with every element equal to `value`. For small ones: where memory is short this ends the process, and
    /// [`Tensor::try_full`] is an error.
    pub fn full(dims: impl Into<Vec<usize>>, value: Scalar) -> Tensor {
        let ty = Type::new(value.dtype(), dims);
        Tensor::try_full(&ty, value).unwrap_or_else(|_| lacking(&ty))
    }

    /// A tensor of type `ty` with every element equal to `value`, which must have its dtype.
    ///
    /// # Errors
    /// The memory is not there.
    pub fn try_full(ty: &Type, value: Scalar) -> Result<Tensor, String> {
        let n = ty.elements();
        let data = match value {
            Scalar::Bool(v) => Data::Bool(filled(v, n)?),
            Scalar::U8(v) => Data::U8(filled(v, n)?),
            Scalar::I32(v) => Data::I32(filled(v, n)?),
            Scalar::I64(v) => Data::I64(filled(v, n)?),
            Scalar::Bf16(v) => Data::Bf16(filled(v, n)?),
            Scalar::F32(v) => Data::F32(filled(v, n)?),
            Scalar::F64(v) => Data::F64(filled(v, n)?),
        };
        Ok(Tensor { dims: ty.dims.clone(), data })
    }

    /// A tensor of zeros (false for `bool`); see [`Tensor::full`].
    pub fn zeros(ty: &Type) -> Tensor {
        Tensor::full(ty.dims.clone(), Scalar::zero(ty.dtype))
    }

    /// A tensor of zeros (false for `bool`).
    ///
    /// # Errors
    /// The memory is not there.
    pub fn try_zeros(ty: &Type) -> Result<Tensor, String> {
        Tensor::try_full(ty, Scalar::zero(ty.dtype))
    }

    /// A copy.
    ///
    /// # Errors
    /// The memory is not there.
    pub fn try_clone(&self) -> Result<Tensor, String> {
        fn copy<T: Copy>(from: &[T]) -> Result<Vec<T>, String> {
            let mut to = room(from.len())?;
            to.extend_from_slice(from);
            Ok(to)
        }
        let data = match &self.data {
            Data::Bool(v) => Data::Bool(copy(v)?),
            Data::U8(v) => Data::U8(copy(v)?),
            Data::I32(v) => Data::I32(copy(v)?),
            Data::I64(v) => Data::I64(copy(v)?),
            Data::Bf16(v) => Data::Bf16(copy(v)?),
            Data::F32(v) => Data::F32(copy(v)?),
            Data::F64(v) => Data::F64(copy(v)?),
        };
        Ok(Tensor { dims: self.dims.clone(), data })
    }

    /// A scalar tensor.
    pub fn scalar(value: Scalar) -> Tensor {
        Tensor::full([], value)
    }

    /// A tensor of type `ty` whose element at row-major position `i` is `f(i)`, which must have its dtype; see
    /// [`Tensor::full`].
    pub fn generate(ty: &Type, mut f: impl FnMut(usize) -> Scalar) -> Tensor {
        Tensor::generate_dyn(ty, &mut f).unwrap_or_else(|_| lacking(ty))
    }

    /// A tensor of type `ty` whose element at row-major position `i` is `f(i)`, which must have its dtype.
    ///
    /// # Errors
    /// The memory is not there.
    pub fn try_generate(ty: &Type, mut f: impl FnMut(usize) -> Scalar) -> Result<Tensor, String> {
        Tensor::generate_dyn(ty, &mut f)
    }

    /// [`Tensor::try_generate`] itself, compiled once and not for each of its many functions.
    fn generate_dyn(ty: &Type, f: &mut dyn FnMut(usize) -> Scalar) -> Result<Tensor, String> {
        let n = ty.elements();
        let wrong = |s: Scalar| -> ! { panic!("{s:?} generated for a tensor of {}", ty.dtype) };
        macro_rules! collect {
            ($($variant:ident),*) => {
                match ty.dtype {
                    $(DType::$variant => Data::$variant(listed(n, |i| match f(i) {
                        Scalar::$variant(v) => v,
                        other => wrong(other),
                    })?),)*
                }
            };
        }
        let data = collect!(Bool, U8, I32, I64, Bf16, F32, F64);
        Ok(Tensor { dims: ty.dims.clone(), data })
    }

    /// A tensor of `f32` elements.
    pub fn f32(dims: impl Into<Vec<usize>>, values: impl Into<Vec<f32>>) -> Tensor {
        Tensor::new(dims, Data::F32(values.into()))
    }

    /// A tensor of `f64` elements.
    pub fn f64(dims: impl Into<Vec<usize>>, values: impl Into<Vec<f64>>) -> Tensor {
        Tensor::new(dims, Data::F64(values.into()))
    }

    /// A tensor of `i32` elements.
    pub fn i32(dims: impl Into<Vec<usize>>, values: impl Into<Vec<i32>>) -> Tensor {
        Tensor::new(dims, Data::I32(values.into()))
    }

    /// Its type.
    pub fn ty(&self) -> Type {
        Type::new(self.dtype(), self.dims.clone())
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::Bool(_) => DType::Bool,
            Data::U8(_) => DType::U8,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::Bf16(_) => DType::Bf16,
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
        }
    }

    /// Its extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        with_data!(&self.data, v => v.len())
    }

    /// Its elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its elements, to change in place.
    pub fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// The element at a row-major position.
    pub fn get(&self, position: usize) -> Scalar {
        match &self.data {
            Data::Bool(v) => Scalar::Bool(v[position]),
            Data::U8(v) => Scalar::U8(v[position]),
            Data::I32(v) => Scalar::I32(v[position]),
            Data::I64(v) => Scalar::I64(v[position]),
            Data::Bf16(v) => Scalar::Bf16(v[position]),
            Data::F32(v) => Scalar::F32(v[position]),
            Data::F64(v) => Scalar::F64(v[position]),
        }
    }

    /// Overwrites the element at a row-major position; `value` must have the tensor's element type.
    pub fn set(&mut self, position: usize, value: Scalar) {
        match (&mut self.data, value) {
            (Data::Bool(v), Scalar::Bool(x)) => v[position] = x,
            (Data::U8(v), Scalar::U8(x)) => v[position] = x,
            (Data::I32(v), Scalar::I32(x)) => v[position] = x,
            (Data::I64(v), Scalar::I64(x)) => v[position] = x,
            (Data::Bf16(v), Scalar::Bf16(x)) => v[position] = x,
            (Data::F32(v), Scalar::F32(x)) => v[position] = x,
            (Data::F64(v), Scalar::F64(x)) => v[position] = x,
            (_, value) => panic!("{value:?} stored into a tensor of {}", self.dtype()),
        }
    }

    /// The same elements, every NaN in the one form that outputs have.
    pub fn with_one_nan(mut self) -> Tensor {
        fn unify<T: Copy>(values: &mut [T], is_nan: fn(T) -> bool, nan: T) {
            values.iter_mut().filter(|value| is_nan(**value)).for_each(|value| *value = nan);
        }
        match &mut self.data {
            Data::F32(v) => unify(v, f32::is_nan, f32::from_bits(NAN_F32)),
            Data::F64(v) => unify(v, f64::is_nan, f64::from_bits(NAN_F64)),
            Data::Bf16(v) => unify(v, bf16::is_nan, bf16::from_bits(NAN_BF16)),
            Data::Bool(_) | Data::U8(_) | Data::I32(_) | Data::I64(_) => {}
        }
        self
    }

    /// The same elements with other extents of the same product.
    pub fn reshaped(self, dims: impl Into<Vec<usize>>) -> Tensor {
        Tensor::new(dims, self.data)
    }
}

/// Ends the process as where a `Vec` gets no memory.
fn lacking(ty: &Type) -> ! {
    handle_alloc_error(Layout::array::<u8>(ty.bytes()).unwrap_or(Layout::new::<Tensor>()))
}
