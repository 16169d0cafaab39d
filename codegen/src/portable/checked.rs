//! Accesses of kernels that are not proven to stay inside their parameters: each index is tested before it is used.
//!
//! An index is computed as the interpreter does, in 64 bits that wrap. Outside of the parameter a load gives zero, a store or
//! a tile is left out, and the kernel notes where that was; the runtime reports it. No iterations run together here, so
//! there are no vectors.

use brolga_ir::index::Index;
use brolga_ir::program::{Panel, Tile, ValueId};
use brolga_ir::scalar::Scalar;
use brolga_runtime::Refusal;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, condcodes::IntCC, types};

use super::address::Address;
use super::context::{KernelCx, Val};
use super::lanes::scalar_type;

/// What an index is moved by: extents and strides of the loops of a tile.
type Loops = Vec<(usize, i64)>;

impl KernelCx<'_> {
    /// Fills the local memory of a checked kernel with ones.
    pub(super) fn forget_local(&mut self) {
        let first = self.kernel.arguments().len();
        if self.refusals.is_none() || first == self.kernel.params.len() {
            return;
        }
        let start = self.pointers[first];
        self.counted(0, self.kernel.local_bytes() as i64, 8, |cx, byte| {
            let place = cx.b.ins().iadd(start, byte);
            let ones = cx.b.ins().iconst(types::I64, -1);
            cx.b.ins().store(MemFlagsData::new().with_notrap(), ones, place, 0);
        });
    }

    pub(super) fn checked_load(&mut self, param: usize, index: &Index, guard: Option<ValueId>) -> Val {
        let (dtype, depth) = (self.kernel.params[param].dtype, self.depth);
        let (access, done) = (self.b.create_block(), self.b.create_block());
        let loaded = self.b.append_block_param(done, scalar_type(dtype));
        let zero = self.constant(Scalar::zero(dtype));
        if let Some(guard) = guard {
            let wanted = self.b.create_block();
            let guard = self.values[&guard].value;
            self.b.ins().brif(guard, wanted, &[], done, &[zero.into()]);
            self.b.switch_to_block(wanted);
            self.b.seal_block(wanted);
        }
        let refused = self.b.create_block();
        let (element, inside) = self.inside(param, index, &Loops::new());
        self.b.ins().brif(inside, access, &[], refused, &[]);
        self.b.switch_to_block(refused);
        self.b.seal_block(refused);
        self.refuse(param);
        self.b.ins().jump(done, &[zero.into()]);
        self.b.switch_to_block(access);
        self.b.seal_block(access);
        let place = self.element(param, element);
        let value = self.load_scalar(dtype, place);
        self.b.ins().jump(done, &[value.into()]);
        self.b.switch_to_block(done);
        self.b.seal_block(done);
        Val { value: loaded, dtype, wide: false, depth }
    }

    pub(super) fn checked_store(&mut self, param: usize, index: &Index, id: ValueId) {
        let (element, inside) = self.inside(param, index, &Loops::new());
        self.where_inside(&[(param, inside)], |cx| {
            let val = cx.values[&id];
            let value = cx.stored_form(param, val.value);
            let place = cx.element(param, element);
            cx.store_scalar(val.dtype, value, place);
        });
    }

    pub(super) fn checked_tile(&mut self, tile: &Tile) {
        if tile.m == 0 || tile.n == 0 {
            return;
        }
        let columns = (tile.n, 1);
        let along = |stride: fn(&brolga_ir::program::TileLoop) -> i64| {
            tile.reduce.iter().map(move |l| (l.extent, stride(l)))
        };
        let mut panels: Vec<(&Panel, Loops)> = vec![(&tile.c, vec![(tile.m, tile.c.row), columns])];
        if tile.reduce.iter().all(|l| l.extent > 0) {
            let rows = (tile.m, tile.a.row);
            panels.push((&tile.a, std::iter::once(rows).chain(along(|l| l.a)).collect()));
            panels.push((&tile.b, std::iter::once(columns).chain(along(|l| l.b)).collect()));
        }
        let tests: Vec<(usize, Value)> = panels
            .iter()
            .map(|(panel, loops)| (panel.param, self.inside(panel.param, &panel.index, loops).1))
            .collect();
        self.where_inside(&tests, |cx| cx.portable_tile(tile));
    }

    /// The element that an index is, and whether it and all that the loops reach from it lie inside the parameter.
    fn inside(&mut self, param: usize, index: &Index, loops: &Loops) -> (Value, Value) {
        let element = self.sum(index, 1, 0);
        let (mut below, mut above) = (0, 0);
        for &(extent, stride) in loops {
            let span = (extent as i128 - 1) * stride as i128;
            below -= span.min(0);
            above += span.max(0);
        }
        // The elements from which nothing lies outside: `below..below + count`.
        let count = (self.kernel.params[param].len as i128 - below - above).max(0);
        let (below, count) = match (i64::try_from(below), i64::try_from(count)) {
            (Ok(below), Ok(count)) => (below, count),
            _ => (0, 0),
        };
        let first = self.b.ins().iadd_imm_s(element, below.wrapping_neg());
        let inside = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, first, count);
        (element, inside)
    }

    /// Emits `body`, to run where all tests hold; elsewhere the first that fails is noted.
    fn where_inside(&mut self, tests: &[(usize, Value)], body: impl FnOnce(&mut Self)) {
        let done = self.b.create_block();
        for &(param, inside) in tests {
            let (next, refused) = (self.b.create_block(), self.b.create_block());
            self.b.ins().brif(inside, next, &[], refused, &[]);
            self.b.switch_to_block(refused);
            self.b.seal_block(refused);
            self.refuse(param);
            self.b.ins().jump(done, &[]);
            self.b.switch_to_block(next);
            self.b.seal_block(next);
        }
        body(self);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
        self.b.seal_block(done);
    }

    /// Notes that an access of a parameter was refused.
    fn refuse(&mut self, param: usize) {
        let Some((place, checks)) = self.refusals else { return };
        let word = Refusal { kernel: checks.kernel, param: param as u32 }.word();
        let word = self.b.ins().iconst(types::I64, word as i64);
        self.b.ins().store(MemFlagsData::new().with_notrap(), word, place, 0);
    }

    /// Where an element of a parameter lies.
    fn element(&mut self, param: usize, element: Value) -> Address {
        let size = self.kernel.params[param].dtype.size() as i64;
        let distance = self.b.ins().imul_imm_s(element, size);
        Address { base: self.b.ins().iadd(self.pointers[param], distance), offset: 0 }
    }
}
