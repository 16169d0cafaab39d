//! Tensors of `ir` as those of `runtime`, and back: what tests and fuzz targets of several crates share.

use brolga_ir::tensor::Data;
use brolga_ir::{DType, Tensor, Type, scalar::Scalar};
use brolga_runtime as rt;

/// The tensor for the runtime. A `bf16` exists inside of programs only; at the border it is a `f32`.
pub fn to_runtime(tensor: &Tensor) -> rt::Tensor {
    let dims = tensor.dims();
    match tensor.data() {
        Data::Bool(v) => {
            let bytes: Vec<u8> = v.iter().map(|&b| u8::from(b)).collect();
            rt::Tensor::from_bytes(rt::DType::Bool, dims, &bytes)
        }
        Data::U8(v) => rt::Tensor::from_slice(dims, v),
        Data::I32(v) => rt::Tensor::from_slice(dims, v),
        Data::I64(v) => rt::Tensor::from_slice(dims, v),
        Data::Bf16(v) => rt::Tensor::from_slice(dims, &v.iter().map(|x| x.to_f32()).collect::<Vec<_>>()),
        Data::F32(v) => rt::Tensor::from_slice(dims, v),
        Data::F64(v) => rt::Tensor::from_slice(dims, v),
    }
    .expect("a tensor")
}

/// The tensor of the runtime for `ir`.
pub fn from_runtime(tensor: &rt::Tensor) -> Tensor {
    let dtype = DType::from_name(tensor.dtype().name()).expect("a type of both");
    Tensor::generate(&Type::new(dtype, tensor.dims()), |at| element(tensor, at).expect("a bool of 0 or 1"))
}

/// The element of a tensor, if it is one: a bool that nothing has written is none.
pub fn element(tensor: &rt::Tensor, at: usize) -> Option<Scalar> {
    let size = tensor.dtype().size();
    let bytes = &tensor.bytes()[at * size..(at + 1) * size];
    fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("the size of its type")
    }
    Some(match tensor.dtype() {
        rt::DType::Bool => match bytes[0] {
            0 => Scalar::Bool(false),
            1 => Scalar::Bool(true),
            _ => return None,
        },
        rt::DType::U8 => Scalar::U8(bytes[0]),
        rt::DType::I32 => Scalar::I32(i32::from_ne_bytes(word(bytes))),
        rt::DType::I64 => Scalar::I64(i64::from_ne_bytes(word(bytes))),
        rt::DType::F32 => Scalar::F32(f32::from_ne_bytes(word(bytes))),
        rt::DType::F64 => Scalar::F64(f64::from_ne_bytes(word(bytes))),
    })
}
