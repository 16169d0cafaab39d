//! Reductions to few results, in parallel: statistics over whole batches for a handful of channels.
//!
//! A region that reduces along columns forms a partial sum for each index of its outermost reduced axis anyway
//! (`compose::Composer::reductions`, plan `Blocks`). Where there are too few results to share among threads, these
//! partial sums become the points of a grid: one kernel for each level of reductions stores them; whoever needs a
//! result adds them up in ascending order. The bits are those of the region in one kernel.

use std::collections::HashMap;

use brolga_ir::definition::{Definition, Order};
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Combine};
use brolga_ir::{Graph, GraphError, NodeId, Type, Value};

use super::compose::{Composer, Reduction};
use super::region::reduction;
use super::{Location, Lowering, definition};

/// Results from which on their own number is parallel enough.
const MANY_RESULTS: usize = 128;
/// Elements from which on it pays.
const LARGE: usize = 1 << 15;

/// What a region reduces.
struct Shape {
    dims: Vec<usize>,
    axes: Vec<usize>,
    kept: Vec<usize>,
}

impl Shape {
    fn kept_dims(&self) -> Vec<usize> {
        self.kept.iter().map(|&axis| self.dims[axis]).collect()
    }

    fn extents(&self) -> Vec<usize> {
        self.axes.iter().map(|&axis| self.dims[axis]).collect()
    }
}

/// Whether a region is to be split: all its reductions are sums of floats along several columns.
pub(super) fn is_split(body: &Graph) -> bool {
    shape(body).is_some()
}

fn shape(body: &Graph) -> Option<Shape> {
    let reductions: Vec<NodeId> =
        body.order().into_iter().filter(|&id| reduction(body, id).is_some()).collect();
    let (dims, axes) = reduction(body, *reductions.first()?)?;
    let kept: Vec<usize> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
    let results: usize = kept.iter().map(|&axis| dims[axis]).product();
    let innermost = (0..dims.len()).rev().find(|&axis| dims[axis] > 1)?;
    let sums = reductions.iter().all(|&id| {
        let sum =
            matches!(&body.node(id).op, brolga_ir::Op::Reduce(reduce) if reduce.combine == Combine::Add);
        sum && body.node(id).types[0].dtype.is_float()
    });
    let fits = sums
        && !axes.contains(&innermost)
        && axes.len() > 1
        && dims[axes[0]] > 1
        && results < MANY_RESULTS
        && dims.iter().product::<usize>() >= LARGE;
    fits.then_some(Shape { dims, axes, kept })
}

/// A kernel in the making: what its arguments are, and the parameters that hold partial sums.
struct Part<'g> {
    c: Composer<'g>,
    args: Vec<Location>,
    partials: HashMap<Value, usize>,
}

impl<'g> Lowering<'g> {
    /// Lowers a region, whose parameters have their locations, as several kernels.
    pub(super) fn split_region(
        &mut self,
        name: &str,
        outputs: &[(Value, Location)],
        origin: NodeId,
    ) -> Result<(), GraphError> {
        let graph = self.graph;
        let Some(shape) = shape(graph) else { return self.compute(outputs, origin) };
        let ids: Vec<NodeId> =
            graph.order().into_iter().filter(|&id| reduction(graph, id).is_some()).collect();
        let values: Vec<Value> = ids.iter().map(|&id| graph.result(id)).collect();
        let roots: Vec<Value> =
            outputs.iter().map(|&(value, _)| value).chain(values.iter().copied()).collect();
        let levels = self.part(name, &roots, &HashMap::new())?.c.levels(&ids);
        let outer = shape.dims[shape.axes[0]];
        let kept_dims = shape.kept_dims();
        let results: usize = kept_dims.iter().product();
        let mut partials: HashMap<Value, Location> = HashMap::new();
        let last = levels.values().copied().max().unwrap_or(0);
        for level in 0..=last {
            let here: Vec<Value> =
                ids.iter().filter(|id| levels[id] == level).map(|&id| graph.result(id)).collect();
            let mut part = self.part(name, &here, &partials)?;
            let mut stores = Vec::new();
            for &value in &here {
                let ty = Type::new(graph.ty(value).dtype, [outer, results]);
                let location = self.arena(&format!("{name}:partial"), ty.clone());
                stores.push(part.c.k.param(ty.dtype, ty.elements(), Access::Write));
                part.args.push(location);
                partials.insert(value, location);
            }
            let at = Index::var(part.c.k.open_grid(outer));
            let row = part.open_row(&kept_dims);
            part.add_up(graph, &values, &row, &kept_dims, outer);
            let items: Vec<Reduction> = here.iter().map(|&value| item(graph, value)).collect();
            let accs = part.c.declare(&items, 1);
            let mut index = row.clone();
            index.push(at.clone());
            part.c.blocks(&items, &shape.extents()[1..], &accs, &mut index, None, false);
            for (&param, &acc) in stores.iter().zip(&accs) {
                let sum = part.c.k.finish(acc);
                let to = at.scale(results as i64).add(&flat(&row, &kept_dims));
                part.c.k.store(param, to, sum);
            }
            (0..=row.len()).for_each(|_| part.c.k.close());
            self.call(part.c.k.finish_kernel(), part.args, ids[0]);
        }
        let (small, large): (Vec<_>, Vec<_>) =
            outputs.iter().copied().partition(|&(value, _)| graph.ty(value).dims == kept_dims);
        for (group, whole) in [(small, false), (large, true)] {
            if group.is_empty() {
                continue;
            }
            let roots: Vec<Value> = group.iter().map(|&(value, _)| value).collect();
            let mut part = self.part(name, &roots, &partials)?;
            let stores: Vec<(Value, usize)> = group
                .iter()
                .map(|&(value, location)| {
                    part.args.push(location);
                    let ty = graph.ty(value);
                    (value, part.c.k.param(ty.dtype, ty.elements(), Access::Write))
                })
                .collect();
            let at = whole.then(|| Index::var(part.c.k.open_grid(outer)));
            let row = part.open_row(&kept_dims);
            part.add_up(graph, &values, &row, &kept_dims, outer);
            let c = &mut part.c;
            let mut index = row.clone();
            let mut open = row.len();
            if let Some(at) = at {
                index = vec![Index::default(); shape.dims.len()];
                shape.kept.iter().zip(&row).for_each(|(&axis, i)| index[axis] = i.clone());
                index[shape.axes[0]] = at;
                for &axis in &shape.axes[1..] {
                    index[axis] = Index::var(c.k.open_for(shape.dims[axis]));
                }
                open += shape.axes.len();
            }
            let results: Vec<_> = stores.iter().map(|&(value, _)| c.element(value, &index, None)).collect();
            for (&(value, param), result) in stores.iter().zip(results) {
                let position = c.flat(graph.ty(value), &index);
                c.k.store(param, position, result);
            }
            (0..open).for_each(|_| c.k.close());
            self.call(part.c.k.finish_kernel(), part.args, group[0].0.node);
        }
        Ok(())
    }

    /// A kernel that may read everything that `roots` are computed from, and partial sums.
    fn part(
        &mut self,
        name: &str,
        roots: &[Value],
        partials: &HashMap<Value, Location>,
    ) -> Result<Part<'g>, GraphError> {
        let graph = self.graph;
        let mut part = Part { c: Composer::new(graph, name), args: Vec::new(), partials: HashMap::new() };
        for value in self.frontier(roots.iter().copied()) {
            let ty = graph.ty(value);
            let param = part.c.k.param(ty.dtype, ty.elements(), Access::Read);
            part.c.memory.insert(value, param);
            part.args.push(self.location(value)?);
        }
        let mut known: Vec<(&Value, &Location)> = partials.iter().collect();
        known.sort_by_key(|(value, _)| **value);
        for (&value, &location) in known {
            let elements = self.program.buffers[location.buffer.0 as usize].ty.elements();
            part.partials.insert(value, part.c.k.param(graph.ty(value).dtype, elements, Access::Read));
            part.args.push(location);
        }
        Ok(part)
    }
}

fn item(graph: &Graph, value: Value) -> Reduction {
    match definition(graph, value) {
        Definition::Reduce { combine, order: Order::Plan, value: element, .. } => {
            Reduction { value, combine, element }
        }
        _ => unreachable!("a reduction is defined as one"),
    }
}

/// The row-major position in a tensor of those extents.
fn flat(at: &[Index], dims: &[usize]) -> Index {
    at.iter().zip(dims).fold(Index::default(), |sum, (i, &extent)| sum.scale(extent as i64).add(i))
}

impl Part<'_> {
    fn open_row(&mut self, dims: &[usize]) -> Vec<Index> {
        dims.iter().map(|&extent| Index::var(self.c.k.open_for(extent))).collect()
    }

    /// The results whose partial sums are there, in the order of `values`.
    fn add_up(&mut self, graph: &Graph, values: &[Value], row: &[Index], dims: &[usize], outer: usize) {
        let results: usize = dims.iter().product();
        for &value in values {
            let Some(&param) = self.partials.get(&value) else { continue };
            let acc = self.c.k.declare(graph.ty(value).dtype, Combine::Add, 1);
            let at = Index::var(self.c.k.open_for(outer)).scale(results as i64);
            let partial = self.c.k.load(param, &at.add(&flat(row, dims)), None);
            self.c.k.accumulate(acc, partial);
            self.c.k.close();
            let sum = self.c.k.finish(acc);
            self.c.reduced.insert(value, (row.to_vec(), sum));
        }
    }
}
