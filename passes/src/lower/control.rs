//! Operators with regions: loops and conditions of the schedule.
//!
//! Carries live in memory of their own and are copied at the end of an iteration, but for those that are changed where they lie
//! (`carried.rs`); captures are read where they lie, and what is made of them alone (packed weights) is made once, before the loop.

use brolga_ir::ops::{Cond, Scan, While};
use brolga_ir::program::{BufferId, Step};
use brolga_ir::{Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashMap;

use super::location::{DEEPEST, Location};
use super::lowering::Lowering;

/// Where the parameters of a region lie.
type Locations = FxHashMap<Value, Location>;

impl Lowering<'_> {
    /// A loop in the schedule around the lowered body. Slices and stacked results are arguments that move with the
    /// iteration. A guarded one is left where its first carry does not hold, and stacks are zeros from there on.
    pub(super) fn scan(&mut self, id: NodeId, scan: &Scan) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let body: &Graph = &scan.body;
        let depth = self.loops.len();
        self.expect_depth(id)?;
        let results = graph.results(id);
        let carries = self.carries(id, scan.carries)?;
        let mut locations: Locations = parameters(body).zip(carries.iter().copied()).collect();
        // The moving argument of a stacked tensor: the first slice visited, and the step to the next.
        let moving = |location: Location, elements: usize| {
            let mut location = location;
            let (first, step) = match scan.reverse {
                true => (scan.length.saturating_sub(1) * elements, -(elements as i64)),
                false => (0, elements as i64),
            };
            location.offset += first;
            location.strides[depth] = step;
            location
        };
        let mut captures = Vec::new();
        for (position, parameter) in parameters(body).enumerate().skip(scan.carries) {
            let mut location = self.location(node.operands[position])?;
            if position < scan.carries + scan.slices {
                location = moving(location, body.ty(parameter).elements());
            } else {
                captures.push(location);
            }
            locations.insert(parameter, location);
        }
        let mut stacked = Vec::new();
        for (&result, output) in results.iter().zip(body.outputs()).skip(scan.carries) {
            let target = self.target(result);
            let is_used = graph.use_count(result) > 0;
            if scan.guarded && scan.length > 0 && is_used {
                let ty = graph.ty(result);
                self.clear(ty.dtype, ty.elements(), target, id);
            }
            stacked.push((output.value, moving(target, body.ty(output.value).elements())));
        }
        if scan.length == 0 {
            return Ok(());
        }
        self.looped(scan.length, captures, |lowering| {
            if let Some(&guard) = carries.first().filter(|_| scan.guarded) {
                lowering.program.schedule.push(Step::Break { unless: guard.into() });
            }
            lowering.inside(body, locations, |inner| inner.iteration(&carries, &stacked))
        })
    }

    /// A loop that begins with the condition, and is left where that does not hold.
    pub(super) fn while_loop(&mut self, id: NodeId, looped: &While) -> Result<(), GraphError> {
        self.expect_depth(id)?;
        let carries = self.carries(id, looped.carries)?;
        let captures = self.graph.node(id).operands[looped.carries..].to_vec();
        let captures = captures.into_iter().map(|v| self.location(v)).collect::<Result<Vec<_>, _>>()?;
        if looped.limit == 0 {
            return Ok(());
        }
        let locations = |region: &Graph| -> Locations {
            parameters(region).zip(carries.iter().chain(&captures).copied()).collect()
        };
        self.looped(looped.limit, captures.clone(), |lowering| {
            let (condition, body) = (&looped.condition, &looped.body);
            let flag = lowering.inside(condition, locations(condition), |inner| {
                inner.nodes()?;
                inner.location(condition.outputs()[0].value)
            })?;
            lowering.program.schedule.push(Step::Break { unless: flag.into() });
            lowering.inside(body, locations(body), |inner| inner.iteration(&carries, &[]))
        })
    }

    /// A condition of the schedule: only the chosen branch runs, and computes the results into their memory.
    pub(super) fn cond(&mut self, id: NodeId, cond: &Cond) -> Result<(), GraphError> {
        let operands = self.graph.node(id).operands.clone();
        let locations = operands.into_iter().map(|v| self.location(v)).collect::<Result<Vec<_>, _>>()?;
        let (condition, captures) = (locations[0], &locations[1..]);
        let results: Vec<BufferId> =
            self.graph.results(id).into_iter().map(|value| self.target(value).buffer).collect();
        let mut branch = |region: &Graph| -> Result<Vec<Step>, GraphError> {
            let locations = parameters(region).zip(captures.iter().copied()).collect();
            let (steps, done) = self.steps(|lowering| {
                lowering.inside(region, locations, |inner| {
                    let outputs = region.outputs().iter().zip(&results);
                    let copies: Vec<_> =
                        outputs.filter_map(|(output, &result)| inner.aim(output.value, result)).collect();
                    inner.nodes()?;
                    copies.into_iter().try_for_each(|(value, to)| inner.copy(value, to.into()))
                })
            });
            done.map(|()| steps)
        };
        let (then, otherwise) = (branch(&cond.then)?, branch(&cond.otherwise)?);
        self.program.schedule.push(Step::If { condition: condition.into(), then, otherwise });
        Ok(())
    }

    fn expect_depth(&self, id: NodeId) -> Result<(), GraphError> {
        if self.loops.len() < DEEPEST {
            return Ok(());
        }
        let node = self.graph.node(id);
        let message = format!("{}: is nested more than {} deep", node.op.get().name(), DEEPEST);
        Err(GraphError { path: node.origin.path.to_string(), message })
    }

    /// Memory for the carries of a loop, the first results, which begin as the first operands.
    fn carries(&mut self, id: NodeId, count: usize) -> Result<Vec<Location>, GraphError> {
        let results = self.graph.results(id).into_iter().take(count);
        let operands = self.graph.node(id).operands.clone();
        let mut carries = Vec::with_capacity(count);
        for (result, operand) in results.zip(operands) {
            let carry = self.target(result);
            self.copy(operand, carry)?;
            carries.push(carry);
        }
        Ok(carries)
    }

    /// The steps of one iteration of a loop's body, which is the graph being lowered.
    fn iteration(&mut self, carries: &[Location], stacked: &[(Value, Location)]) -> Result<(), GraphError> {
        self.change_in_place(carries);
        self.nodes()?;
        for &(value, to) in stacked {
            self.copy(value, to)?;
        }
        let next: Vec<Value> =
            self.graph.outputs()[..carries.len()].iter().map(|output| output.value).collect();
        let old = carries.iter().copied().collect();
        self.replace_old(next.iter().copied().zip(carries.iter().copied()).collect(), &old)
    }
}

/// The parameters of a region as values.
fn parameters(region: &Graph) -> impl Iterator<Item = Value> {
    region.parameters().iter().map(|&id| region.result(id))
}
