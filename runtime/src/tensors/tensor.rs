//! Tensors at the border of compiled code, owned and borrowed.

use crate::error::{Error, ErrorKind, Result};
use crate::tensors::dtype::{DType, Element, byte_len, type_found, type_name};
use crate::tensors::memory::{AlignedBytes, no_memory};

/// An owned tensor: row-major, aligned.
#[derive(Debug)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    bytes: AlignedBytes,
    /// The element type of the file that it was read from, where that is none of ours.
    stored: Option<&'static str>,
}

impl Tensor {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// More bytes than can be addressed; too little memory.
    pub fn zeros(dtype: DType, dims: &[usize]) -> Result<Tensor> {
        let len = byte_len(dtype, dims)?;
        let bytes = AlignedBytes::try_zeroed(len);
        let bytes = bytes.ok_or_else(|| no_memory(&format!("a tensor {}", type_name(dtype, dims)), len))?;
        Ok(Tensor { dtype, dims: dims.to_vec(), bytes, stored: None })
    }

    /// A tensor with these elements in row-major order.
    ///
    /// # Errors
    /// Another number of elements than the dimensions have; too little memory.
    pub fn from_slice<T: Element>(dims: &[usize], elements: &[T]) -> Result<Tensor> {
        Tensor::from_bytes(T::DTYPE, dims, TensorRef::from_slice(&[elements.len()], elements)?.bytes())
    }

    /// A tensor with these elements in row-major order, given as bytes in the machine's order. The bytes of a
    /// bool tensor must be 0 or 1.
    ///
    /// # Errors
    /// Another number of bytes than the type has; a bool that is neither 0 nor 1; too little memory.
    pub fn from_bytes(dtype: DType, dims: &[usize], bytes: &[u8]) -> Result<Tensor> {
        TensorRef::new(dtype, dims, bytes)?.to_owned()
    }

    /// A tensor whose elements lie in this memory, in row-major order.
    ///
    /// # Errors
    /// Another number of bytes than the type has; a bool that is neither 0 nor 1.
    pub(crate) fn of_memory(dtype: DType, dims: &[usize], bytes: AlignedBytes) -> Result<Tensor> {
        check_len(dtype, dims, bytes.len())?;
        check_bools(dtype, &bytes)?;
        Ok(Tensor { dtype, dims: dims.to_vec(), bytes, stored: None })
    }

    /// A tensor of dimension `[]` with one element.
    ///
    /// # Errors
    /// Too little memory.
    pub fn scalar<T: Element>(value: T) -> Result<Tensor> {
        Tensor::from_slice(&[], &[value])
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its type as the file has it that it was read from: `f16[2, 3]`, though the elements are `f32` here.
    pub fn type_found(&self) -> String {
        type_found(self.dtype, self.stored, &self.dims)
    }

    /// The element type of the file, if it is none of ours.
    pub(crate) fn stored(&self) -> Option<&'static str> {
        self.stored
    }

    /// Notes the element type of the file, if it is none of ours.
    pub(crate) fn read_as(mut self, stored: Option<&'static str>) -> Tensor {
        self.stored = stored;
        self
    }

    /// With other dimensions for as many elements.
    pub(crate) fn with_dims(mut self, dims: Vec<usize>) -> Tensor {
        debug_assert_eq!(dims.iter().product::<usize>(), self.len());
        self.dims = dims;
        self
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements as bytes, to change. The bytes of a bool tensor must stay 0 or 1: a run checks them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The elements; an error where the type is another one.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        check_view::<T>(self.dtype, &self.dims)?;
        // SAFETY: the type was checked, the memory is aligned to 64 bytes, and every bit pattern is a value.
        Ok(unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len()) })
    }

    /// The elements, to change; an error where the type is another one.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        check_view::<T>(self.dtype, &self.dims)?;
        // SAFETY: as for `as_slice`, and `&mut self` is exclusive.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.len()) })
    }

    /// A tensor of the same dimensions with a function of each element; an error where this tensor's elements are of
    /// another type, memory is short, or the function gives one.
    pub fn map<A: Element, B: Element>(&self, mut f: impl FnMut(A) -> Result<B>) -> Result<Tensor> {
        let mut mapped = Tensor::zeros(B::DTYPE, &self.dims)?;
        for (to, from) in mapped.as_mut_slice::<B>()?.iter_mut().zip(self.as_slice::<A>()?) {
            *to = f(*from)?;
        }
        Ok(mapped)
    }

    /// The single element of a tensor that has just one, as f64.
    ///
    /// # Errors
    /// There is not exactly one element.
    pub fn item(&self) -> Result<f64> {
        self.view().item()
    }

    /// Whether an element is NaN.
    pub fn has_nan(&self) -> bool {
        match self.dtype() {
            DType::F32 => self.as_slice::<f32>().is_ok_and(|all| all.iter().any(|v| v.is_nan())),
            DType::F64 => self.as_slice::<f64>().is_ok_and(|all| all.iter().any(|v| v.is_nan())),
            DType::Bool | DType::U8 | DType::I32 | DType::I64 => false,
        }
    }

    /// Borrows it as an input.
    pub fn view(&self) -> TensorRef<'_> {
        TensorRef { dtype: self.dtype, dims: &self.dims, bytes: &self.bytes }
    }

    /// Borrows it as an output.
    pub fn view_mut(&mut self) -> TensorMut<'_> {
        TensorMut { dtype: self.dtype, dims: &self.dims, bytes: &mut self.bytes }
    }

    /// A copy; an error where memory is short.
    pub fn try_clone(&self) -> Result<Tensor> {
        self.view().to_owned()
    }

    /// Checks that a bool tensor holds nothing but 0 and 1.
    pub(crate) fn check_bools(&self) -> Result<()> {
        check_bools(self.dtype, &self.bytes)
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.bytes.base()
    }
}

impl PartialEq for Tensor {
    /// Equal type, dimensions and bits (so a NaN equals itself, and 0.0 differs from -0.0).
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype && self.dims == other.dims && self.bytes() == other.bytes()
    }
}

fn check_view<T: Element>(dtype: DType, dims: &[usize]) -> Result<()> {
    if dtype == T::DTYPE || (dtype == DType::Bool && T::DTYPE == DType::U8) {
        return Ok(());
    }
    let found = type_name(dtype, dims);
    Err(Error::new(ErrorKind::DType, format!("the tensor is {found} and cannot be viewed as {}", T::DTYPE)))
}

fn check_len(dtype: DType, dims: &[usize], bytes: usize) -> Result<()> {
    let expected = byte_len(dtype, dims)?;
    if expected == bytes {
        return Ok(());
    }
    let message = format!("{} takes {expected} bytes, but {bytes} were given", type_name(dtype, dims));
    Err(Error::new(ErrorKind::Shape, message))
}

/// A borrowed tensor to read: row-major elements of any alignment.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    dtype: DType,
    dims: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// Borrows elements given as bytes in the machine's order. The bytes of a bool tensor must be 0 or 1: a
    /// run checks them.
    ///
    /// # Errors
    /// Another number of bytes than the type has.
    pub fn new(dtype: DType, dims: &'a [usize], bytes: &'a [u8]) -> Result<TensorRef<'a>> {
        check_len(dtype, dims, bytes.len())?;
        Ok(TensorRef { dtype, dims, bytes })
    }

    /// Borrows a slice.
    ///
    /// # Errors
    /// Another number of elements than the dimensions have.
    pub fn from_slice<T: Element>(dims: &'a [usize], elements: &'a [T]) -> Result<TensorRef<'a>> {
        // SAFETY: elements are plain numbers without padding, so all their bytes are initialised.
        let bytes = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) };
        TensorRef::new(T::DTYPE, dims, bytes)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &'a [usize] {
        self.dims
    }

    /// The elements as bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The single element of a tensor that has just one, as f64.
    ///
    /// # Errors
    /// There is not exactly one element.
    pub fn item(&self) -> Result<f64> {
        if self.bytes.len() != self.dtype.size() {
            let message = format!("{} does not have exactly one element", type_name(self.dtype, self.dims));
            return Err(Error::new(ErrorKind::Shape, message));
        }
        Ok(scalar_value(self.dtype, self.bytes))
    }

    /// An owned copy.
    ///
    /// # Errors
    /// A bool that is neither 0 nor 1; too little memory.
    pub fn to_owned(&self) -> Result<Tensor> {
        check_bools(self.dtype, self.bytes)?;
        let mut copy = Tensor::zeros(self.dtype, self.dims)?;
        copy.bytes_mut().copy_from_slice(self.bytes);
        Ok(copy)
    }
}

/// Checks the bytes of a tensor, if it is a bool one.
pub(crate) fn check_bools(dtype: DType, bytes: &[u8]) -> Result<()> {
    if dtype != DType::Bool {
        return Ok(());
    }
    let Some(at) = bytes.iter().position(|b| *b > 1) else { return Ok(()) };
    let message = format!("element {at} is the byte {}, but bools are 0 or 1", bytes[at]);
    Err(Error::new(ErrorKind::Range, message))
}

/// The first element in `bytes`, which hold at least one.
pub(crate) fn scalar_value(dtype: DType, bytes: &[u8]) -> f64 {
    fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut word = [0; N];
        word.copy_from_slice(&bytes[..N]);
        word
    }
    match dtype {
        DType::Bool | DType::U8 => f64::from(bytes[0]),
        DType::I32 => f64::from(i32::from_ne_bytes(first(bytes))),
        DType::I64 => i64::from_ne_bytes(first(bytes)) as f64,
        DType::F32 => f64::from(f32::from_ne_bytes(first(bytes))),
        DType::F64 => f64::from_ne_bytes(first(bytes)),
    }
}

/// A borrowed tensor to write.
#[derive(Debug)]
pub struct TensorMut<'a> {
    dtype: DType,
    dims: &'a [usize],
    bytes: &'a mut [u8],
}

impl<'a> TensorMut<'a> {
    /// Borrows memory for elements as bytes in the machine's order.
    ///
    /// # Errors
    /// Another number of bytes than the type has.
    pub fn new(dtype: DType, dims: &'a [usize], bytes: &'a mut [u8]) -> Result<TensorMut<'a>> {
        check_len(dtype, dims, bytes.len())?;
        Ok(TensorMut { dtype, dims, bytes })
    }

    /// Borrows a slice.
    ///
    /// # Errors
    /// Another number of elements than the dimensions have.
    pub fn from_slice<T: Element>(dims: &'a [usize], elements: &'a mut [T]) -> Result<TensorMut<'a>> {
        let size = size_of_val(elements);
        // SAFETY: elements are plain numbers: all bytes are initialised, and any bytes make valid elements.
        let bytes = unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size) };
        TensorMut::new(T::DTYPE, dims, bytes)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.dims
    }

    /// The elements as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Borrows it for a while.
    pub fn reborrow(&mut self) -> TensorMut<'_> {
        TensorMut { dtype: self.dtype, dims: self.dims, bytes: self.bytes }
    }

    /// The elements as bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// The elements, to write; an error where the type is another one or the memory is not aligned for it.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        check_view::<T>(self.dtype, self.dims)?;
        // SAFETY: any bytes make valid elements; `align_to_mut` keeps misaligned ones out of the middle part.
        let (head, elements, tail) = unsafe { self.bytes.align_to_mut::<T>() };
        if head.is_empty() && tail.is_empty() {
            return Ok(elements);
        }
        Err(Error::new(ErrorKind::Memory, format!("the buffer is not aligned for elements of {}", T::DTYPE)))
    }
}
