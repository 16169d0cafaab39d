//! Tensors at the border of compiled code: element types, aligned memory, owned and borrowed tensors.

use std::alloc::{Layout, alloc, dealloc};
use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Alignment in bytes of all memory that the runtime allocates for compiled code: one cache line, and the
/// widest vector register.
pub const ALIGNMENT: usize = 64;

/// Element type of a tensor.
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

/// Memory that was asked for and not given.
pub(crate) fn no_memory(what: &str, bytes: usize) -> Error {
    let message = format!("there is no memory for {what}: {bytes} bytes were asked for");
    Error::new(ErrorKind::Memory, message)
}

/// Zeros, or an error where memory is short, which says what they were for.
pub(crate) fn zeros(len: usize, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| no_memory(what, len))?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Bytes of a huge page on the processors that code is generated for. Buffers of at least one are aligned to it, and
/// backed by huge pages where the system has any: weights that are read once for each call otherwise wait for
/// address translation as well as for memory.
const HUGE_PAGE: usize = 2 << 20;

/// Memory aligned to [`ALIGNMENT`] bytes: of its own, zeroed when made; or a part of a map, that nobody else has.
pub struct AlignedBytes {
    pointer: NonNull<u8>,
    len: usize,
    /// Owns the memory, where it is a part of a map.
    map: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: the memory is owned by the value, or lives as long as it, and is only reachable through it.
unsafe impl Send for AlignedBytes {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `len` zero bytes; an error where the system does not give them.
    pub fn zeroed(len: usize) -> Result<AlignedBytes> {
        AlignedBytes::try_zeroed(len).ok_or_else(|| no_memory("a buffer", len))
    }

    /// The same; nothing where the system does not give the memory.
    fn try_zeroed(len: usize) -> Option<AlignedBytes> {
        if len == 0 {
            // A dangling pointer that is still aligned: compiled code may form it, and never reads through it.
            let pointer = NonNull::without_provenance(const { std::num::NonZero::new(ALIGNMENT).unwrap() });
            return Some(AlignedBytes { pointer, len, map: None });
        }
        let layout = Self::layout(len)?;
        // SAFETY: the layout has a size above zero.
        let pointer = unsafe { alloc(layout) };
        let pointer = NonNull::new(pointer)?;
        // The advice counts for pages that are touched after it, so it comes before the zeros.
        #[cfg(target_os = "linux")]
        if len >= HUGE_PAGE {
            // Where the system refuses, small pages do.
            // SAFETY: the range was just allocated, starts at a page, and the advice does not change its contents.
            let _ = unsafe { libc::madvise(pointer.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
        // SAFETY: `len` bytes were just allocated.
        unsafe { pointer.write_bytes(0, len) };
        Some(AlignedBytes { pointer, len, map: None })
    }

    /// A part of a map, which is kept as long as the value lives.
    ///
    /// # Safety
    /// As long as `map` lives, the `len` bytes from `pointer` on can be read and written, are initialised, and nobody else reads
    /// or writes them. `pointer` is aligned to [`ALIGNMENT`].
    pub(crate) unsafe fn in_map(
        pointer: NonNull<u8>,
        len: usize,
        map: Arc<dyn Any + Send + Sync>,
    ) -> AlignedBytes {
        debug_assert!(pointer.addr().get().is_multiple_of(ALIGNMENT), "compiled code relies on it");
        AlignedBytes { pointer, len, map: Some(map) }
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len, if len >= HUGE_PAGE { HUGE_PAGE } else { ALIGNMENT }).ok()
    }

    /// A copy of these bytes.
    ///
    /// # Errors
    /// Too little memory.
    pub fn copy_of(bytes: &[u8]) -> Result<AlignedBytes> {
        let mut copy = AlignedBytes::zeroed(bytes.len())?;
        copy.copy_from_slice(bytes);
        Ok(copy)
    }

    /// The address as compiled code gets it. Writing through it needs exclusive access to the value.
    pub(crate) fn base(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len).filter(|l| l.size() > 0 && self.map.is_none()) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.pointer.as_ptr(), layout) }
        }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that live as long as the value.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({})", self.len)
    }
}

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
