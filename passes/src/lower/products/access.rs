//! How operands are read where they lie: by strides.

use brolga_ir::definition::{Definition, Element};
use brolga_ir::index::{Atom, Index};
use brolga_ir::program::Access;
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, GraphError, Value};

use crate::facts::definition::definition;
use crate::facts::storage::is_storage;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

/// A tensor read by strides.
#[derive(Clone, Debug)]
pub(in crate::lower) struct StridedAccess {
    pub location: Location,
    /// What elements are to be stored as: narrower than in memory where weights are kept so.
    pub dtype: DType,
    /// Elements from the location on that belong to the tensor in memory.
    pub len: usize,
    /// Position of the first element.
    pub offset: i64,
    /// Elements between neighbours along each axis.
    pub strides: Vec<i64>,
}

impl Lowering<'_> {
    /// How a value can be read where it lies: its place, the stride of each axis, and the offset, if index maps
    /// lead from it to memory by strides alone. Otherwise it is copied first.
    pub(in crate::lower) fn access(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let graph = self.graph;
        let dims = graph.ty(value).dims.clone();
        let range = |atom: &Atom| match atom {
            Atom::Var(axis) => Some((0, dims[*axis as usize].max(1) as i64 - 1)),
            _ => None,
        };
        let mut index: Vec<Index> = (0..dims.len() as u32).map(Index::var).collect();
        let mut at = value;
        while !self.locations.contains_key(&at) {
            let Definition::Element(Element::Operand(operand, map)) = definition(graph, at) else { break };
            let replace = |atom: &Atom| match atom {
                Atom::Var(axis) => Some(index[*axis as usize].clone()),
                _ => None,
            };
            index = map.iter().map(|i| i.substitute(&replace, &range)).collect();
            at = graph.node(at.node).operands[operand];
        }
        if self.locations.contains_key(&at) {
            let strides = graph.ty(at).strides();
            let flat =
                index.iter().zip(strides).fold(Index::default(), |sum, (i, s)| sum.add(&i.scale(s as i64)));
            let linear = flat.terms().iter().all(|(atom, _)| matches!(atom, Atom::Var(_)));
            if linear && flat.offset() >= 0 {
                let strides = (0..dims.len() as u32).map(|axis| flat.coefficient(axis)).collect();
                return Ok(StridedAccess {
                    location: self.locations[&at],
                    dtype: graph.ty(at).dtype,
                    len: graph.ty(at).elements(),
                    offset: flat.offset(),
                    strides,
                });
            }
        }
        self.row_major(value)
    }

    /// A value as it lies in memory, copied there if need be.
    pub(super) fn row_major(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let location = self.location(value)?;
        let ty = self.graph.ty(value);
        let strides = ty.strides().into_iter().map(|s| s as i64).collect();
        Ok(StridedAccess { location, dtype: ty.dtype, len: ty.elements(), offset: 0, strides })
    }

    /// How a value can be read, without gaps along its last axis: copied if `access` has some.
    pub(in crate::lower) fn contiguous(
        &mut self,
        access: StridedAccess,
        value: Value,
    ) -> Result<StridedAccess, GraphError> {
        if access.strides.last() == Some(&1) { Ok(access) } else { self.row_major(value) }
    }

    /// The same for the weights of a product. Those that are stored narrower are read as they were before: packing narrows
    /// them.
    pub(super) fn access_weights(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let graph = self.graph;
        let dtype = graph.ty(value).dtype;
        if !dtype.is_storage() {
            return self.access(value);
        }
        let narrowed = is_storage(graph, value.node) && !self.locations.contains_key(&value);
        match graph.node(value.node).operands.first() {
            Some(&wide) if narrowed && graph.ty(wide).dtype == DType::F32 => {
                Ok(StridedAccess { dtype, ..self.access(wide)? })
            }
            _ => self.widened(value),
        }
    }

    /// A value that is stored narrower, copied to memory as `f32`: for products that do not pack it.
    pub(super) fn widened(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let access = self.access(value)?;
        let ty = self.graph.ty(value).with_dtype(DType::F32);
        let strides: Vec<i64> = ty.strides().into_iter().map(|stride| stride as i64).collect();
        let mut k = KernelBuilder::new("widen");
        let source = k.param(access.dtype, access.len, Access::Read);
        let target = k.param(ty.dtype, ty.elements(), Access::Write);
        let (mut from, mut to) = (Index::constant(access.offset), Index::default());
        for ((&extent, &read), &write) in ty.dims.iter().zip(&access.strides).zip(&strides) {
            let var = Index::var(k.open_for(extent));
            from = from.add(&var.scale(read));
            to = to.add(&var.scale(write));
        }
        let stored = k.load(source, &from, None);
        let wide = k.op(ScalarOp::Convert(ty.dtype), &[stored]);
        k.store(target, to, wide);
        ty.dims.iter().for_each(|_| k.close());
        let (dtype, len) = (ty.dtype, ty.elements());
        let location = self.once("widened", k.finish_kernel(), access.location, ty, value.node);
        Ok(StridedAccess { location, dtype, len, offset: 0, strides })
    }
}
