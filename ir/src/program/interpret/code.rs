//! Kernels with ids resolved to slots of small arrays.

use std::collections::HashMap;

use super::error::Error;
use crate::index::{Atom, Index, Var};
use crate::program::{AccId, Combine, Expr, Kernel, Panel, Param, Stmt, Tile, ValueId};
use crate::scalar::{Scalar, ScalarOp};
use crate::types::DType;

/// A kernel ready to run.
pub struct Code {
    pub name: String,
    pub params: Vec<Param>,
    /// How many of them are given by calls; those behind them are local.
    pub arguments: usize,
    /// Extents; the grid's variables have the first slots.
    pub grid: Vec<usize>,
    pub body: Vec<Node>,
    /// Variables by slot, as the kernel numbers them.
    pub vars: Vec<Var>,
    /// Number of scalar slots.
    pub values: usize,
    /// Number of accumulator lanes, of all accumulators together.
    pub lanes: usize,
}

/// A statement. Serial loops and strips run alike; an accumulator knows its strip.
pub enum Node {
    Loop { var: usize, extent: usize, body: Vec<Node> },
    If { condition: usize, then: Vec<Node>, otherwise: Vec<Node> },
    Constant { to: usize, value: Scalar },
    Index { to: usize, dtype: DType, address: Address },
    Op { to: usize, op: ScalarOp, args: [usize; 3] },
    Load { to: usize, param: usize, address: Address, guard: Option<usize> },
    Store { param: usize, address: Address, value: usize },
    Declare { lanes: Lanes },
    Accumulate { lanes: Lanes, strip: Option<usize>, value: usize },
    Finish { to: usize, lanes: Lanes },
    Tile(Box<TileCode>),
}

/// The lanes of an accumulator: `first..first + count`.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub first: usize,
    pub count: usize,
    pub combine: Combine,
    pub dtype: DType,
}

/// An index over slots.
pub struct Address {
    constant: i64,
    vars: Vec<(usize, i64)>,
    others: Vec<(Term, i64)>,
}

enum Term {
    Value(usize),
    Div(Address, i64),
    Rem(Address, i64),
}

impl Address {
    /// The value for those variables and scalars.
    #[inline]
    pub fn evaluate(&self, vars: &[i64], values: &[Scalar]) -> i64 {
        let mut sum = self.constant;
        for &(slot, c) in &self.vars {
            sum = sum.wrapping_add(vars[slot].wrapping_mul(c));
        }
        for (term, c) in &self.others {
            let value = match term {
                Term::Value(slot) => values[*slot].to_i64(),
                Term::Div(inner, d) => inner.evaluate(vars, values).div_euclid(*d),
                Term::Rem(inner, d) => inner.evaluate(vars, values).rem_euclid(*d),
            };
            sum = sum.wrapping_add(value.wrapping_mul(*c));
        }
        sum
    }
}

/// A tile with its addresses resolved.
pub struct TileCode {
    pub tile: Tile,
    pub a: Address,
    pub b: Address,
    pub c: Address,
}

impl Code {
    /// Resolves a kernel; an error names what it uses and does not have.
    pub fn new(kernel: &Kernel) -> Result<Code, Error> {
        let mut resolver = Resolver::default();
        for var in 0..kernel.grid.len() as u32 {
            resolver.var(var);
        }
        let body = resolver
            .block(&kernel.body, None)
            .map_err(|e| e.within(format_args!("kernel @{}", kernel.name)))?;
        Ok(Code {
            name: kernel.name.clone(),
            params: kernel.params.clone(),
            arguments: kernel.arguments().len(),
            grid: kernel.grid.clone(),
            body,
            vars: resolver.vars,
            values: resolver.value_slots.len(),
            lanes: resolver.lanes,
        })
    }
}

#[derive(Default)]
struct Resolver {
    vars: Vec<Var>,
    var_slots: HashMap<Var, usize>,
    value_slots: HashMap<ValueId, usize>,
    /// Lanes, and whether the accumulator was declared inside a strip.
    accs: HashMap<AccId, (Lanes, bool)>,
    lanes: usize,
}

impl Resolver {
    fn var(&mut self, var: Var) -> usize {
        *self.var_slots.entry(var).or_insert_with(|| {
            self.vars.push(var);
            self.vars.len() - 1
        })
    }

    fn define(&mut self, id: ValueId) -> usize {
        let next = self.value_slots.len();
        *self.value_slots.entry(id).or_insert(next)
    }

    fn value(&self, id: ValueId) -> Result<usize, Error> {
        self.value_slots.get(&id).copied().ok_or_else(|| Error::new(format!("v{} is never assigned", id.0)))
    }

    fn acc(&self, id: AccId) -> Result<(Lanes, bool), Error> {
        self.accs.get(&id).copied().ok_or_else(|| Error::new(format!("a{} is never declared", id.0)))
    }

    fn address(&self, index: &Index) -> Result<Address, Error> {
        let mut address = Address { constant: index.offset(), vars: Vec::new(), others: Vec::new() };
        for (atom, c) in index.terms() {
            let term = match atom {
                Atom::Var(var) => {
                    let slot =
                        self.var_slots.get(var).ok_or_else(|| Error::new(format!("no loop binds i{var}")))?;
                    address.vars.push((*slot, *c));
                    continue;
                }
                Atom::Value(value) => Term::Value(self.value(ValueId(*value))?),
                Atom::Div(_, d) | Atom::Rem(_, d) if *d <= 0 => {
                    return Err(Error::new(format!("an index is divided by {d}")));
                }
                Atom::Div(inner, d) => Term::Div(self.address(inner)?, *d),
                Atom::Rem(inner, d) => Term::Rem(self.address(inner)?, *d),
            };
            address.others.push((term, *c));
        }
        Ok(address)
    }

    /// `strip`: slot of the variable of the enclosing strip.
    fn block(&mut self, statements: &[Stmt], strip: Option<usize>) -> Result<Vec<Node>, Error> {
        statements.iter().map(|s| self.statement(s, strip)).collect()
    }

    fn statement(&mut self, statement: &Stmt, strip: Option<usize>) -> Result<Node, Error> {
        Ok(match statement {
            Stmt::For { var, extent, body } => {
                let var = self.var(*var);
                Node::Loop { var, extent: *extent, body: self.block(body, strip)? }
            }
            Stmt::Strip { var, extent, body } => {
                let var = self.var(*var);
                Node::Loop { var, extent: *extent, body: self.block(body, Some(var))? }
            }
            Stmt::If { condition, then, otherwise } => Node::If {
                condition: self.value(*condition)?,
                then: self.block(then, strip)?,
                otherwise: self.block(otherwise, strip)?,
            },
            Stmt::Let { id, dtype, expr } => self.assign(*id, *dtype, expr)?,
            Stmt::Store { param, index, value } => {
                Node::Store { param: *param, address: self.address(index)?, value: self.value(*value)? }
            }
            Stmt::Declare { acc, dtype, combine, lanes } => {
                let count = *lanes as usize;
                let lanes = Lanes { first: self.lanes, count, combine: *combine, dtype: *dtype };
                self.lanes += count;
                self.accs.insert(*acc, (lanes, strip.is_some()));
                Node::Declare { lanes }
            }
            Stmt::Accumulate { acc, value } => {
                let (lanes, own) = self.acc(*acc)?;
                let strip = if own { None } else { strip };
                Node::Accumulate { lanes, strip, value: self.value(*value)? }
            }
            Stmt::Finish { id, acc } => {
                let (lanes, _) = self.acc(*acc)?;
                Node::Finish { to: self.define(*id), lanes }
            }
            Stmt::Tile(tile) => Node::Tile(Box::new(TileCode {
                a: self.panel(&tile.a)?,
                b: self.panel(&tile.b)?,
                c: self.panel(&tile.c)?,
                tile: tile.clone(),
            })),
        })
    }

    fn panel(&self, panel: &Panel) -> Result<Address, Error> {
        self.address(&panel.index)
    }

    fn assign(&mut self, id: ValueId, dtype: DType, expr: &Expr) -> Result<Node, Error> {
        Ok(match expr {
            Expr::Constant(value) => Node::Constant { to: self.define(id), value: *value },
            Expr::Index(index) => {
                let address = self.address(index)?;
                Node::Index { to: self.define(id), dtype, address }
            }
            Expr::Op(op, operands) => {
                let mut args = [0; 3];
                for (arg, operand) in args.iter_mut().zip(operands) {
                    *arg = self.value(*operand)?;
                }
                Node::Op { to: self.define(id), op: *op, args }
            }
            Expr::Load { param, index, guard } => {
                let address = self.address(index)?;
                let guard = guard.map(|g| self.value(g)).transpose()?;
                Node::Load { to: self.define(id), param: *param, address, guard }
            }
        })
    }
}
