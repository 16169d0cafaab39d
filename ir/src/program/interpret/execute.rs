//! Running the resolved code of one kernel.

use super::code::{Code, Lanes, Node};
use super::error::Error;
use super::memory::{Binding, Memory, decode, encode};
use super::tile;
use crate::scalar::Scalar;
use crate::types::DType;

/// In which order the points of a grid run. A valid program gives the same bits for either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GridOrder {
    /// First to last.
    #[default]
    Forward,
    /// Last to first.
    Reverse,
}

/// Runs every point of the grid. Local parameters get memory of their own behind the bindings of the others.
pub fn execute(
    code: &Code,
    mut bindings: Vec<Binding>,
    memory: &mut Memory,
    order: GridOrder,
) -> Result<(), Error> {
    let local = bindings.len();
    for param in &code.params[local..] {
        let home = memory.allocate(param.len * param.dtype.size())?;
        bindings.push(Binding { space: home.space, start: home.start });
    }
    let result = points(code, &bindings, local, memory, order);
    memory.free(code.params.len() - local);
    result
}

/// Runs every point; parameters from `local` on are local.
fn points(
    code: &Code,
    bindings: &[Binding],
    local: usize,
    memory: &mut Memory,
    order: GridOrder,
) -> Result<(), Error> {
    let mut run = Run {
        code,
        bindings,
        memory,
        vars: vec![0; code.vars.len()],
        values: vec![Scalar::Bool(false); code.values],
        lanes: vec![Scalar::Bool(false); code.lanes],
        scratch: tile::Scratch::default(),
    };
    let points: usize = code.grid.iter().product();
    for point in 0..points {
        let mut rest = if order == GridOrder::Forward { point } else { points - 1 - point };
        for axis in (0..code.grid.len()).rev() {
            run.vars[axis] = (rest % code.grid[axis]) as i64;
            rest /= code.grid[axis];
        }
        bindings[local..].iter().for_each(|binding| run.memory.forget(binding.space));
        if let Err(error) = run.block(&code.body) {
            let at: Vec<String> =
                code.vars.iter().zip(&run.vars).map(|(v, x)| format!("i{v} = {x}")).collect();
            let at = if at.is_empty() { String::new() } else { format!(", at {}", at.join(", ")) };
            return Err(Error::new(format!("kernel @{}: {}{at}", code.name, error.message)));
        }
    }
    Ok(())
}

struct Run<'a> {
    code: &'a Code,
    bindings: &'a [Binding],
    memory: &'a mut Memory,
    vars: Vec<i64>,
    values: Vec<Scalar>,
    lanes: Vec<Scalar>,
    scratch: tile::Scratch,
}

impl Run<'_> {
    fn block(&mut self, nodes: &[Node]) -> Result<(), Box<Error>> {
        for node in nodes {
            self.node(node)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), Box<Error>> {
        match node {
            Node::Loop { var, extent, body } => {
                for i in 0..*extent as i64 {
                    self.vars[*var] = i;
                    self.block(body)?;
                }
            }
            Node::If { condition, then, otherwise } => {
                self.block(if self.values[*condition].to_bool() { then } else { otherwise })?;
            }
            Node::Constant { to, value } => self.values[*to] = *value,
            Node::Index { to, dtype, address } => {
                self.values[*to] = Scalar::from_i64(*dtype, address.evaluate(&self.vars, &self.values));
            }
            Node::Op { to, op, args } => {
                let operands = args.map(|arg| self.values[arg]);
                self.values[*to] = op.apply(&operands[..op.arity()]);
            }
            Node::Load { to, param, address, guard } => {
                let dtype = self.code.params[*param].dtype;
                self.values[*to] = match guard {
                    Some(guard) if !self.values[*guard].to_bool() => Scalar::zero(dtype),
                    _ => {
                        let element = address.evaluate(&self.vars, &self.values);
                        self.load(*param, dtype, element)?
                    }
                };
            }
            Node::Store { param, address, value } => {
                let element = address.evaluate(&self.vars, &self.values);
                let value = self.values[*value];
                let at = self.locate("store to", *param, value.dtype(), element)?;
                encode(value, self.memory.bytes_mut(at.space, at.start));
            }
            Node::Declare { lanes } => {
                let identity = lanes.combine.identity(lanes.dtype);
                self.lanes[lanes.first..lanes.first + lanes.count].fill(identity);
            }
            Node::Accumulate { lanes, strip, value } => {
                let lane = strip.map_or(0, |var| self.vars[var] as usize % lanes.count);
                let lane = &mut self.lanes[lanes.first + lane];
                *lane = lanes.combine.apply(*lane, self.values[*value]);
            }
            Node::Finish { to, lanes } => self.values[*to] = self.finish(*lanes),
            Node::Tile(tile) => {
                let panels = [&tile.a, &tile.b, &tile.c];
                let elements = panels.map(|panel| panel.evaluate(&self.vars, &self.values));
                tile::execute(tile, elements, self.code, self.bindings, self.memory, &mut self.scratch)?;
            }
        }
        Ok(())
    }

    fn load(&self, param: usize, dtype: DType, element: i64) -> Result<Scalar, Error> {
        let at = self.locate("load of", param, dtype, element)?;
        decode(dtype, self.memory.bytes(at.space, at.start))
            .ok_or_else(|| Error::new(format!("load of p{param}[{element}]: memory that was never written")))
    }

    #[inline]
    fn locate(&self, what: &str, param: usize, dtype: DType, element: i64) -> Result<Binding, Error> {
        let len = self.code.params[param].len;
        match usize::try_from(element) {
            Ok(i) if i < len => {
                let binding = self.bindings[param];
                Ok(Binding { start: binding.start + i * dtype.size(), ..binding })
            }
            _ => Err(Error::new(format!("{what} p{param}[{element}], which has {len} elements"))),
        }
    }

    /// Folds the lanes by halves; the lanes themselves stay as they are.
    fn finish(&self, lanes: Lanes) -> Scalar {
        let mut folded = [Scalar::Bool(false); 32];
        folded[..lanes.count].copy_from_slice(&self.lanes[lanes.first..lanes.first + lanes.count]);
        let mut half = lanes.count / 2;
        while half > 0 {
            for i in 0..half {
                folded[i] = lanes.combine.apply(folded[i], folded[i + half]);
            }
            half /= 2;
        }
        folded[0]
    }
}
