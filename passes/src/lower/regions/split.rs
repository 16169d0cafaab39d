//! Reductions to few results, in parallel: statistics over whole batches for a handful of channels, losses.
//!
//! Where there are too few results to share among threads, the blocks of a reduction (`sums.rs`) become points of a grid:
//! one kernel for each level of reductions stores their sums, and another one adds what is left over and combines them.
//! The bits are those of the region in one kernel.

use brolga_ir::index::Index;
use brolga_ir::program::Access;
use brolga_ir::{Graph, GraphError, NodeId, Type, Value};

use super::compose::{Composer, Reduction};
use super::space::Space;
use crate::facts::blocking::plan::BLOCK;
use crate::facts::blocking::reductions::{LARGE_ROWS, MANY_POINTS};
use crate::facts::cost::threads::SMALL;
use crate::facts::definition::reduction;
use crate::lower::{Location, Lowering};

/// Whether a region is to be split.
pub(in crate::lower) fn is_split(body: &Graph) -> bool {
    shape(body).is_some()
}

fn shape(body: &Graph) -> Option<Space> {
    let first = body.order().into_iter().find_map(|id| reduction(body, id));
    let (dims, axes) = first?;
    let space = Space::new(&dims, &axes);
    let large = if space.is_by_columns() { SMALL } else { LARGE_ROWS };
    let fits = space.total() >= 2 * BLOCK
        && (1..MANY_POINTS).contains(&space.points())
        && dims.iter().product::<usize>() >= large;
    fits.then_some(space)
}

/// A kernel in the making, and what its arguments are.
struct Part<'g> {
    c: Composer<'g>,
    args: Vec<Location>,
}

impl Part<'_> {
    /// A parameter for what lies at a place.
    fn param(&mut self, ty: &Type, location: Location, access: Access) -> usize {
        self.args.push(location);
        self.c.k.param(ty.dtype, ty.elements(), access)
    }
}

impl<'g> Lowering<'g> {
    /// Lowers a region, whose parameters have their locations, as several kernels.
    pub(in crate::lower) fn split_region(
        &mut self,
        name: &str,
        outputs: &[(Value, Location)],
        origin: NodeId,
    ) -> Result<(), GraphError> {
        let graph = self.graph;
        let Some(space) = shape(graph) else { return self.compute(outputs, origin) };
        let ids: Vec<NodeId> =
            graph.order().into_iter().filter(|&id| reduction(graph, id).is_some()).collect();
        let values: Vec<Value> = ids.iter().map(|&id| graph.result(id)).collect();
        let roots: Vec<Value> =
            outputs.iter().map(|&(value, _)| value).chain(values.iter().copied()).collect();
        let levels = self.part(name, &roots, &[])?.c.levels(&ids);
        let last = levels.values().copied().max().unwrap_or(0);
        let kept_dims = space.kept_dims();
        let (small, large): (Vec<_>, Vec<_>) =
            outputs.iter().copied().partition(|&(value, _)| graph.ty(value).dims == kept_dims);
        for level in 0..=last {
            let here: Vec<Value> =
                ids.iter().filter(|id| levels[id] == level).map(|&id| graph.result(id)).collect();
            let partials = self.block_sums(name, &here, &space, ids[0])?;
            let mut stored: Vec<(Value, Location)> = Vec::new();
            if level < last || !large.is_empty() {
                for &value in &here {
                    let location = self.arena(&format!("{name}:result"), graph.ty(value).clone());
                    stored.push((value, location));
                }
            }
            let results = stored.clone();
            stored.extend(small.iter().filter(|_| level == last));
            self.combined_blocks(name, &here, &stored, &partials, &space)?;
            self.locations.extend(results);
        }
        if !large.is_empty() {
            self.compute(&large, large[0].0.node)?;
        }
        Ok(())
    }

    /// The sums of all whole blocks, in parallel: of each reduction a matrix with a row for each block.
    fn block_sums(
        &mut self,
        name: &str,
        here: &[Value],
        space: &Space,
        origin: NodeId,
    ) -> Result<Vec<(Type, Location)>, GraphError> {
        let graph = self.graph;
        let (blocks, _) = space.blocks();
        let results: usize = space.kept_dims().iter().product();
        let mut part = self.part(name, here, &[])?;
        let mut partials = Vec::new();
        for &value in here {
            let ty = Type::new(graph.ty(value).dtype, [blocks, results]);
            partials.push((ty.clone(), self.arena(&format!("{name}:partial"), ty)));
        }
        let params: Vec<usize> =
            partials.iter().map(|(ty, location)| part.param(ty, *location, Access::Write)).collect();
        let items: Vec<Reduction> = here.iter().map(|&value| Reduction::of(graph, value)).collect();
        let c = &mut part.c;
        let block = Index::var(c.k.open_grid(blocks));
        let (first, opened) = space.open(&mut c.k);
        c.one_block(&items, space, &first, &block, &params);
        (0..=opened).for_each(|_| c.k.close());
        self.call(part.c.k.finish_kernel(), part.args, origin);
        Ok(partials)
    }

    /// Adds what lies behind the whole blocks, combines all of them, and stores what is over the axes that stay.
    fn combined_blocks(
        &mut self,
        name: &str,
        here: &[Value],
        outputs: &[(Value, Location)],
        partials: &[(Type, Location)],
        space: &Space,
    ) -> Result<(), GraphError> {
        let graph = self.graph;
        // Results of earlier levels may be outputs as well.
        let (known, new): (Vec<Value>, Vec<Value>) =
            outputs.iter().map(|output| output.0).partition(|value| self.locations.contains_key(value));
        let mut part = self.part(name, &[here, &new].concat(), &known)?;
        let params: Vec<usize> =
            partials.iter().map(|(ty, location)| part.param(ty, *location, Access::Read)).collect();
        let stores: Vec<(Value, usize)> = outputs
            .iter()
            .map(|&(value, location)| (value, part.param(graph.ty(value), location, Access::Write)))
            .collect();
        let items: Vec<Reduction> = here.iter().map(|&value| Reduction::of(graph, value)).collect();
        let c = &mut part.c;
        let (first, opened) = space.open(&mut c.k);
        c.combine_blocks(&items, space, &first, &params);
        c.store_small(&stores, space, &first);
        (0..opened).for_each(|_| c.k.close());
        self.call(part.c.k.finish_kernel(), part.args, here[0].node);
        Ok(())
    }

    /// A kernel that may read everything that `roots` are computed from, and what is `known`.
    fn part(&mut self, name: &str, roots: &[Value], known: &[Value]) -> Result<Part<'g>, GraphError> {
        let graph = self.graph;
        let mut part = Part { c: Composer::new(graph, name), args: Vec::new() };
        let mut read = self.frontier(roots.iter().copied());
        read.extend(known.iter().filter(|value| !read.contains(value)).copied().collect::<Vec<_>>());
        for value in read {
            let location = self.location(value)?;
            let param = part.param(graph.ty(value), location, Access::Read);
            part.c.memory.insert(value, param);
        }
        Ok(part)
    }
}
