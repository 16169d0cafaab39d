//! How operands are read where they lie: by strides.

use brolga_ir::definition::{Definition, Element};
use brolga_ir::index::{Atom, Index};
use brolga_ir::{GraphError, Value};

use crate::facts::definition::definition;
use crate::lower::{Location, Lowering};

/// A tensor read by strides.
#[derive(Clone, Debug)]
pub(in crate::lower) struct StridedAccess {
    pub location: Location,
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
        Ok(StridedAccess { location, len: ty.elements(), offset: 0, strides })
    }

    /// How a value can be read, without gaps along its last axis: copied if `access` has some.
    pub(in crate::lower) fn contiguous(
        &mut self,
        access: StridedAccess,
        value: Value,
    ) -> Result<StridedAccess, GraphError> {
        if access.strides.last() == Some(&1) { Ok(access) } else { self.row_major(value) }
    }
}

/// The elements from row to row, if rows along axes of these extents and strides count as one axis. 4 x 6 rows whose strides are
/// 60 and 10 elements are 24 rows 10 elements apart.
pub(super) fn apart(extents: &[usize], strides: &[i64]) -> Option<i64> {
    let mut axes = extents.iter().zip(strides).filter(|&(&extent, _)| extent != 1).rev();
    let Some((&extent, &apart)) = axes.next() else { return Some(0) };
    let mut inner = extent as i64 * apart;
    axes.all(|(&extent, &stride)| {
        let fits = stride == inner;
        inner *= extent as i64;
        fits
    })
    .then_some(apart)
}
