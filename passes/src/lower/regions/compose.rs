//! Composes definitions: an element of a region's value as code in a kernel.
//!
//! The definition of a value's operator is instantiated at an index; loads of operands become the same question
//! about the operand. The walk ends at the region's parameters, which are memory. Inside a reduction the walk
//! opens serial loops, unless the reduction's result has been computed beforehand.

use std::sync::Arc;

use brolga_ir::definition::{Definition, Element, Order};
use brolga_ir::index::{Atom, Index};
use brolga_ir::program::{AccId, Combine, ValueId};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{DType, Graph, Type, Value};
use rustc_hash::FxHashMap;

use crate::facts::definition::definition;
use crate::lower::kernel::KernelBuilder;

/// An element under a guard, in a part of an axis.
type Known = (Value, Vec<Index>, Option<ValueId>, Option<usize>);

/// A region, the kernel it is lowered to, and the memory that its parameters are.
pub(in crate::lower) struct Composer<'a> {
    pub graph: &'a Graph,
    pub k: KernelBuilder,
    /// The kernel parameter that holds each value that lies in memory, row-major.
    pub memory: FxHashMap<Value, usize>,
    /// Results of reductions computed beforehand, with the index they were computed for.
    pub reduced: FxHashMap<Value, (Vec<Index>, ValueId)>,
    /// Those along columns.
    pub locals: FxHashMap<Value, Local>,
    /// Whether chains are written out: taps are constants.
    pub written_out: bool,
    /// What the loops of the next reductions store.
    pub along: Option<Along>,
    /// Elements emitted already: valid while they are visible.
    known: FxHashMap<Known, ValueId>,
}

/// What an expression has bound so far: gathered indices by number, and shared parts under their guards.
#[derive(Default)]
struct Bound {
    gathered: FxHashMap<u32, ValueId>,
    shared: FxHashMap<(*const Element, Option<ValueId>), ValueId>,
}

/// Where all bounds of a guard hold.
enum Inside {
    Never,
    Always,
    Where(ValueId),
}

/// A reduction in a region: `element` is over the result's axes, then the reduced ones.
pub(in crate::lower) struct Reduction {
    pub value: Value,
    pub combine: Combine,
    pub element: Element,
}

impl Reduction {
    /// A reduction whose order is planned.
    pub fn of(graph: &Graph, value: Value) -> Reduction {
        match definition(graph, value) {
            Definition::Reduce { combine, order: Order::Plan, value: element, .. } => {
                Reduction { value, combine, element }
            }
            _ => unreachable!("a reduction is defined as one"),
        }
    }
}

/// Outputs over the space that is reduced: the parameter of each, and the axis of each index of the loops.
pub(in crate::lower) struct Along {
    pub outputs: Vec<(Value, usize)>,
    pub axes: Vec<usize>,
}

/// The result of a reduction along columns: memory that holds it for the columns from `first` on.
#[derive(Clone)]
pub(in crate::lower) struct Local {
    pub param: usize,
    pub first: Vec<Index>,
    pub widths: Vec<usize>,
}

impl Local {
    /// Where the element at an index lies.
    pub fn position(&self, index: &[Index]) -> Index {
        let columns = &index[index.len() - self.widths.len()..];
        let moved = columns.iter().zip(&self.first).map(|(index, first)| index.sub(first));
        moved.zip(&self.widths).fold(Index::default(), |flat, (i, &width)| flat.scale(width as i64).add(&i))
    }
}

impl<'a> Composer<'a> {
    pub fn new(graph: &'a Graph, name: &str) -> Composer<'a> {
        Composer {
            graph,
            k: KernelBuilder::new(name),
            memory: FxHashMap::default(),
            reduced: FxHashMap::default(),
            locals: FxHashMap::default(),
            written_out: false,
            along: None,
            known: FxHashMap::default(),
        }
    }

    /// A composer of the same kernel, as far as it is, whose code is thrown away.
    pub fn trial(&self) -> Composer<'a> {
        let mut trial = Composer::new(self.graph, "trial");
        trial.k = self.k.clone();
        trial.memory = self.memory.clone();
        trial.reduced = self.reduced.clone();
        trial.locals = self.locals.clone();
        trial
    }

    /// The row-major position of an index in a tensor.
    pub fn flat(&self, ty: &Type, index: &[Index]) -> Index {
        Index::dot(index.iter().zip(ty.strides().into_iter().map(|stride| stride as i64)))
    }

    /// The element of `value` at `index`. Where `guard` is false, any value may be given, but nothing outside of
    /// memory is touched.
    pub fn element(&mut self, value: Value, index: &[Index], guard: Option<ValueId>) -> ValueId {
        if let Some((at, known)) = self.reduced.get(&value) {
            // Along an axis of extent 1 there is one index, however it is written.
            let dims = &self.graph.ty(value).dims;
            let same =
                at.iter().zip(index).zip(dims).all(|((at, index), &extent)| extent == 1 || at == index);
            if same {
                return *known;
            }
        }
        if let Some(local) = self.local(value, index) {
            return local;
        }
        let key = (value, index.to_vec(), guard, self.k.part());
        if let Some(&known) = self.known.get(&key)
            && self.k.is_visible(known)
        {
            return known;
        }
        let result = self.element_anew(value, index, guard);
        self.known.insert(key, result);
        result
    }

    /// Where the element of a reduction along columns lies, if that is known.
    fn local(&mut self, value: Value, index: &[Index]) -> Option<ValueId> {
        let local = self.locals.get(&value)?;
        let (param, position) = (local.param, local.position(index));
        Some(self.k.load(param, &position, None))
    }

    fn element_anew(&mut self, value: Value, index: &[Index], guard: Option<ValueId>) -> ValueId {
        let graph = self.graph;
        let ty = graph.ty(value);
        if let Some(&param) = self.memory.get(&value) {
            let position = self.flat(ty, index);
            return self.k.load(param, &position, guard);
        }
        let node = graph.node(value.node);
        let definitions = node.op.get().definition(&graph.operand_types(value.node), &node.types);
        match &definitions[value.index as usize] {
            Definition::Element(element) => self.expression(value, element, index, guard),
            Definition::Pieces(pieces) => {
                let (last, first) = pieces.split_last().expect("a result is made of pieces");
                let mut chain = last.value.clone();
                for piece in first.iter().rev() {
                    let bounds = (0..ty.rank()).filter(|&axis| piece.extents[axis] != ty.dims[axis]);
                    let bounds = bounds
                        .map(|axis| {
                            (Index::var(axis as u32).plus(-(piece.start[axis] as i64)), piece.extents[axis])
                        })
                        .collect();
                    chain = Element::Guard {
                        bounds,
                        then: Box::new(piece.value.clone()),
                        otherwise: Box::new(chain),
                    };
                }
                self.expression(value, &chain, index, guard)
            }
            Definition::Reduce { extents, combine, order: Order::Chain, value: element } => {
                let item = Reduction { value, combine: *combine, element: element.clone() };
                self.chain(&item, extents, index, guard)
            }
            Definition::Reduce { .. } => unreachable!("reductions of a region are computed beforehand"),
            Definition::Loops => unreachable!("{} is not part of a region", node.op.get().name()),
        }
    }

    /// An expression of the definition of `value`, at `index` (result axes, then reduction axes).
    pub fn expression(
        &mut self,
        value: Value,
        element: &Element,
        index: &[Index],
        guard: Option<ValueId>,
    ) -> ValueId {
        self.expression_with(value, element, index, &mut Bound::default(), guard)
    }

    fn instantiate(&self, index: &Index, at: &[Index], bound: &Bound) -> Index {
        let replace = |atom: &Atom| match atom {
            Atom::Var(axis) => Some(at[*axis as usize].clone()),
            Atom::Value(value) => Some(Index::value(bound.gathered[value].0)),
            _ => None,
        };
        index.substitute(&replace, &|atom| self.k.range(atom))
    }

    fn expression_with(
        &mut self,
        value: Value,
        element: &Element,
        at: &[Index],
        bound: &mut Bound,
        guard: Option<ValueId>,
    ) -> ValueId {
        match element {
            Element::Operand(operand, index) => {
                let index: Vec<Index> = index.iter().map(|i| self.instantiate(i, at, bound)).collect();
                let operand = self.graph.node(value.node).operands[*operand];
                self.element(operand, &index, guard)
            }
            Element::Constant(constant) => self.k.constant(*constant),
            Element::Index(index, dtype) => {
                let index = self.instantiate(index, at, bound);
                self.k.index(&index, *dtype)
            }
            Element::Op(op, args) => {
                let args: Vec<ValueId> =
                    args.iter().map(|arg| self.expression_with(value, arg, at, bound, guard)).collect();
                self.k.op(*op, &args)
            }
            Element::Guard { bounds, then, otherwise } => match self.inside_bounds(bounds, at, bound) {
                Inside::Never => self.expression_with(value, otherwise, at, bound, guard),
                Inside::Always => self.expression_with(value, then, at, bound, guard),
                Inside::Where(inside) => {
                    let then_guard = self.k.and(guard, Some(inside));
                    let then = self.expression_with(value, then, at, bound, then_guard);
                    let outside = self.k.op(ScalarOp::Not, &[inside]);
                    let else_guard = self.k.and(guard, Some(outside));
                    let otherwise = self.expression_with(value, otherwise, at, bound, else_guard);
                    self.k.op(ScalarOp::Select, &[inside, then, otherwise])
                }
            },
            Element::Shared(element) => {
                let key = (Arc::as_ptr(element), guard);
                if let Some(&known) = bound.shared.get(&key) {
                    return known;
                }
                let result = self.expression_with(value, element, at, bound, guard);
                bound.shared.insert(key, result);
                result
            }
            Element::Gathered { first, values, body } => {
                for (position, (index, extent)) in values.iter().enumerate() {
                    let raw = self.expression_with(value, index, at, bound, guard);
                    let clamped = self.clamped(raw, *extent);
                    bound.gathered.insert(first + position as u32, clamped);
                }
                self.expression_with(value, body, at, bound, guard)
            }
        }
    }

    /// Whether indices lie inside of their bounds.
    fn inside_bounds(&mut self, bounds: &[(Index, usize)], at: &[Index], bound: &Bound) -> Inside {
        let mut inside = None;
        self.k.begin_guard();
        for (index, extent) in bounds {
            let index = self.instantiate(index, at, bound);
            if self.k.never_in_bounds(&index, *extent) {
                return Inside::Never;
            }
            let test = self.k.in_bounds(&index, *extent);
            inside = self.k.and(inside, test);
        }
        inside.map_or(Inside::Always, Inside::Where)
    }

    /// An index from memory, as the nearest of `0..extent`.
    fn clamped(&mut self, raw: ValueId, extent: usize) -> ValueId {
        let wide = if self.k.dtype(raw) == DType::I64 {
            raw
        } else {
            self.k.op(ScalarOp::Convert(DType::I64), &[raw])
        };
        let zero = self.k.constant(Scalar::I64(0));
        let last = self.k.constant(Scalar::I64(extent as i64 - 1));
        let low = self.k.op(ScalarOp::Max, &[wide, zero]);
        self.k.op(ScalarOp::Min, &[low, last])
    }

    /// What a reduction combines at a point: the identity outside of a guard at the root; nothing where it never
    /// holds.
    fn summand(&mut self, item: &Reduction, at: &[Index], guard: Option<ValueId>) -> Option<ValueId> {
        let value = match &item.element {
            Element::Guard { bounds, then, .. } => {
                let outside = |(index, extent): &(Index, usize)| {
                    let index = self.instantiate(index, at, &Bound::default());
                    self.k.never_in_bounds(&index, *extent)
                };
                if self.written_out && bounds.iter().any(outside) {
                    return None;
                }
                let identity = Element::Constant(item.combine.identity(self.graph.ty(item.value).dtype));
                let skipped = Element::Guard {
                    bounds: bounds.clone(),
                    then: then.clone(),
                    otherwise: Box::new(identity),
                };
                self.expression(item.value, &skipped, at, guard)
            }
            element => self.expression(item.value, element, at, guard),
        };
        Some(value)
    }

    /// A reduction that is one chain in row-major order, at `index`, in the innermost open loop; its result.
    fn chain(
        &mut self,
        item: &Reduction,
        extents: &[usize],
        index: &[Index],
        guard: Option<ValueId>,
    ) -> ValueId {
        let acc = self.k.declare(self.graph.ty(item.value).dtype, item.combine, 1);
        let (items, accs, mut at) = (std::slice::from_ref(item), [acc], index.to_vec());
        if self.written_out {
            self.write_out(items, extents, &accs, &mut at, guard);
        } else {
            at.extend(extents.iter().map(|&extent| Index::var(self.k.open_for(extent))));
            self.accumulate(items, &accs, &at, guard);
            extents.iter().for_each(|_| self.k.close());
        }
        self.k.finish(acc)
    }

    /// Combines what reductions combine at a point.
    pub fn accumulate(&mut self, items: &[Reduction], accs: &[AccId], at: &[Index], guard: Option<ValueId>) {
        self.each(items, at, guard, &mut |c, item, value| c.k.accumulate(accs[item], value));
    }

    /// What reductions combine at a point, to `combine`; what is stored along with them is stored.
    pub fn each(
        &mut self,
        items: &[Reduction],
        at: &[Index],
        guard: Option<ValueId>,
        combine: &mut dyn FnMut(&mut Self, usize, ValueId),
    ) {
        // Reductions inside of these have no part in it.
        let along = self.along.take();
        for (position, item) in items.iter().enumerate() {
            if let Some(value) = self.summand(item, at, guard) {
                combine(self, position, value);
            }
        }
        if let Some(along) = &along {
            let mut point = vec![Index::default(); at.len()];
            along.axes.iter().zip(at).for_each(|(&axis, index)| point[axis] = index.clone());
            self.store_elements(&along.outputs, &[point]);
        }
        self.along = along;
    }

    /// Every point of `extents` by itself, in row-major order.
    fn write_out(
        &mut self,
        items: &[Reduction],
        extents: &[usize],
        accs: &[AccId],
        at: &mut Vec<Index>,
        guard: Option<ValueId>,
    ) {
        let Some((&extent, rest)) = extents.split_first() else {
            return self.accumulate(items, accs, at, guard);
        };
        for i in 0..extent as i64 {
            at.push(Index::constant(i));
            self.write_out(items, rest, accs, at, guard);
            at.pop();
        }
    }

    /// Computes and stores the outputs at some points. Everything is loaded before anything is stored: an update in
    /// place sees the old values.
    pub fn store_elements(&mut self, outputs: &[(Value, usize)], points: &[Vec<Index>]) {
        let results: Vec<Vec<ValueId>> = points
            .iter()
            .map(|at| outputs.iter().map(|&(value, _)| self.element(value, at, None)).collect())
            .collect();
        for (at, results) in points.iter().zip(results) {
            for (&(value, param), result) in outputs.iter().zip(results) {
                let position = self.flat(self.graph.ty(value), at);
                self.k.store(param, position, result);
            }
        }
    }

    /// Serial loops over extents, outermost first.
    pub fn loops(&mut self, extents: &[usize], body: &mut dyn FnMut(&mut Self, &[Index])) {
        let mut at = Vec::with_capacity(extents.len());
        for &extent in extents {
            let var = self.k.open_for(extent);
            at.push(Index::var(var));
        }
        body(self, &at);
        for _ in extents {
            self.k.close();
        }
    }
}
