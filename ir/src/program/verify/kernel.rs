//! The rules of a kernel's body.

use std::cell::Cell;

use super::Error;
use super::schedule::reads_old;
use crate::index::{Atom, Index, Range, Var};
use crate::program::parse::MAX_INDEX_NESTING;
use crate::program::text::head;
use crate::program::{AccId, Access, Combine, Expr, Kernel, MAX_NESTING, Panel, Stmt, Tile, ValueId};
use crate::scalar::{Scalar, ScalarOp};
use crate::types::{DType, MAX_BYTES, Type};
use rustc_hash::FxHashMap;

/// Checks a kernel, which errors call `place`; counts the accesses that are not proven to stay inside their parameters,
/// whatever is in memory and whichever conditions hold. Indices with computed values are not, even if they are clamped.
pub fn verify(kernel: &Kernel, place: &str) -> Result<usize, Error> {
    for (i, param) in kernel.params.iter().enumerate() {
        let size = Type::new(param.dtype, [param.len]).check_size();
        size.map_err(|e| Error::new(place, format!("parameter p{i}: {e}")))?;
    }
    local(kernel).map_err(|message| Error::new(place, message))?;
    let points = kernel.grid.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent.max(1)));
    if points.is_none_or(|n| n > MAX_BYTES) {
        return Err(Error::new(place, format!("the grid {:?} has more than 2^40 points", kernel.grid)));
    }
    let mut checker = Checker {
        kernel,
        vars: kernel.grid.iter().enumerate().map(|(var, &extent)| (var as Var, extent)).collect(),
        values: FxHashMap::default(),
        accs: FxHashMap::default(),
        unproven: Cell::new(0),
        at: At {
            parallel: (0..kernel.grid.len() as Var).filter(|&v| kernel.grid[v as usize] > 1).collect(),
            dead: kernel.grid.contains(&0),
            ..At::default()
        },
    };
    checker.block(&kernel.body).map_err(|(statement, message)| match statement {
        Some(statement) => Error::new(format!("{place}: `{statement}`"), message),
        None => Error::new(place, message),
    })?;
    let early = reads_old(kernel).into_iter().zip(&kernel.params);
    match early.enumerate().find(|(_, (read, param))| *read && param.access == Access::Local) {
        Some((i, _)) => Err(Error::new(place, format!("reads the local p{i} before it stores to it"))),
        None => Ok(checker.unproven.get()),
    }
}

/// The rules of local parameters: their places, and what they take together.
fn local(kernel: &Kernel) -> Result<(), String> {
    let first = kernel.arguments().len();
    let local = &kernel.params[first..];
    if let Some(i) = local.iter().position(|param| param.access != Access::Local) {
        let before = first + i - 1;
        return Err(format!("p{} stands behind p{before}, which is local: local ones come last", first + i));
    }
    // Each has been found to be of at most as many bytes.
    let bytes = local.iter().try_fold(0, |sum: usize, param| {
        sum.checked_add(param.len * param.dtype.size()).filter(|&bytes| bytes <= MAX_BYTES)
    });
    bytes.map(|_| ()).ok_or_else(|| "the local parameters take more than 2^40 bytes together".into())
}

/// A statement's first line, and what is wrong with it.
type Failure = (Option<String>, String);

/// What the statements around the current one make of it.
#[derive(Clone, Default)]
struct At {
    /// Statements around.
    depth: usize,
    /// Under a condition: whether it runs is not known.
    conditional: bool,
    /// In a loop that never runs.
    dead: bool,
    /// In a strip.
    strip: bool,
    /// Variables whose iterations must store different elements.
    parallel: Vec<Var>,
}

struct Value {
    dtype: DType,
    /// Bounds of an integer.
    range: Option<Range>,
    visible: bool,
}

#[derive(Clone, Copy)]
struct Accumulator {
    dtype: DType,
    visible: bool,
    /// Declared inside a strip: belongs to one iteration.
    own: bool,
}

struct Checker<'k> {
    kernel: &'k Kernel,
    /// Extents of the variables in scope.
    vars: FxHashMap<Var, usize>,
    /// All values so far; those of closed blocks are no longer visible.
    values: FxHashMap<ValueId, Value>,
    accs: FxHashMap<AccId, Accumulator>,
    /// The accesses so far that are not proven to stay inside.
    unproven: Cell<usize>,
    at: At,
}

impl Checker<'_> {
    /// Checks a block; what it defines goes out of sight at its end.
    fn block(&mut self, statements: &[Stmt]) -> Result<(), Failure> {
        let mut values = Vec::new();
        let mut accs = Vec::new();
        for statement in statements {
            self.statement(statement)
                .map_err(|(place, message)| (place.or_else(|| Some(head(statement))), message))?;
            match statement {
                Stmt::Let { id, .. } | Stmt::Finish { id, .. } => values.push(*id),
                Stmt::Declare { acc, .. } => accs.push(*acc),
                _ => {}
            }
        }
        for id in values {
            self.values.get_mut(&id).expect("defined in this block").visible = false;
        }
        for acc in accs {
            self.accs.get_mut(&acc).expect("declared in this block").visible = false;
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Stmt) -> Result<(), Failure> {
        let checked = match statement {
            Stmt::For { var, extent, body } => return self.enter(*var, *extent, body, |at, _| at),
            Stmt::Strip { var, extent, body } => {
                self.outside_strips().map_err(|e| (None, e))?;
                return self.enter(*var, *extent, body, |at, var| {
                    let mut parallel = at.parallel;
                    parallel.extend((*extent > 1).then_some(var));
                    At { strip: true, parallel, ..at }
                });
            }
            Stmt::If { condition, then, otherwise } => {
                self.outside_strips().map_err(|e| (None, e))?;
                self.expect(*condition, DType::Bool, "a condition is").map_err(|e| (None, e))?;
                let inside = At { conditional: true, ..self.at.clone() };
                self.nested(inside.clone(), then)?;
                return self.nested(inside, otherwise);
            }
            Stmt::Let { id, dtype, expr } => self.assign(*id, *dtype, expr),
            Stmt::Store { param, index, value } => self.store(*param, index, *value),
            Stmt::Declare { acc, dtype, combine, lanes } => self.declare(*acc, *dtype, *combine, *lanes),
            Stmt::Accumulate { acc, value } => self
                .accumulator(*acc)
                .and_then(|found| self.expect(*value, found.dtype, &format!("accumulator a{} takes", acc.0))),
            Stmt::Finish { id, acc } => self.accumulator(*acc).and_then(|found| {
                if self.at.strip && !found.own {
                    return Err(format!(
                        "a{} is declared outside the strip, so it is finished outside",
                        acc.0
                    ));
                }
                self.define(*id, found.dtype, None)
            }),
            Stmt::Tile(tile) => self.tile(tile),
        };
        checked.map_err(|message| (None, message))
    }

    /// Checks the body of a loop.
    fn enter(
        &mut self,
        var: Var,
        extent: usize,
        body: &[Stmt],
        inside: impl FnOnce(At, Var) -> At,
    ) -> Result<(), Failure> {
        if extent > MAX_BYTES {
            return Err((None, "the extent is larger than 2^40".into()));
        }
        if self.vars.insert(var, extent).is_some() {
            return Err((None, format!("i{var} is already bound by the grid or a loop around")));
        }
        let at = inside(self.at.clone(), var);
        let dead = at.dead || extent == 0;
        self.nested(At { dead, ..at }, body)?;
        self.vars.remove(&var);
        Ok(())
    }

    fn nested(&mut self, at: At, body: &[Stmt]) -> Result<(), Failure> {
        let depth = at.depth + 1;
        if depth > MAX_NESTING {
            return Err((None, format!("statements nest deeper than {MAX_NESTING}")));
        }
        let outside = std::mem::replace(&mut self.at, At { depth, ..at });
        self.block(body)?;
        self.at = outside;
        Ok(())
    }

    fn outside_strips(&self) -> Result<(), String> {
        if self.at.strip {
            return Err("a strip holds values, stores, accumulators and serial loops only".into());
        }
        Ok(())
    }

    fn assign(&mut self, id: ValueId, dtype: DType, expr: &Expr) -> Result<(), String> {
        let range = match expr {
            Expr::Constant(value) if value.dtype() != dtype => {
                return Err(format!("expected a constant of type {dtype}, found one of {}", value.dtype()));
            }
            Expr::Constant(value) => dtype.is_int().then(|| (value.to_i64(), value.to_i64())),
            Expr::Index(_) if !dtype.is_int() => {
                return Err(format!("an index is an integer, not {dtype}"));
            }
            Expr::Index(index) => {
                self.index(index, 0)?;
                self.range(index)
            }
            Expr::Op(op, operands) => {
                let types: Vec<DType> =
                    operands.iter().map(|v| self.value(*v).map(|v| v.dtype)).collect::<Result<_, _>>()?;
                let result = op.result(&types)?;
                if result != dtype {
                    return Err(format!("{} gives {result}, not {dtype}", op.name()));
                }
                self.op_range(*op, operands)
            }
            Expr::Load { param, index, guard } => {
                if let Some(guard) = guard {
                    self.expect(*guard, DType::Bool, "a guard is")?;
                }
                let found = self.access(*param, Access::Read)?;
                if found != dtype {
                    return Err(format!("p{param} holds {found}, not {dtype}"));
                }
                // A guard may keep an index inside that its variables do not.
                if guard.is_some() {
                    self.index(index, 0)?;
                    self.reach(*param, index, &[]);
                } else {
                    self.bounds(*param, index, &[])?
                }
                None
            }
        };
        self.define(id, dtype, range)
    }

    fn store(&mut self, param: usize, index: &Index, value: ValueId) -> Result<(), String> {
        let dtype = self.access(param, Access::Write)?;
        self.expect(value, dtype, &format!("p{param} holds"))?;
        self.bounds(param, index, &[])?;
        self.independent(param, index)
    }

    fn declare(&mut self, acc: AccId, dtype: DType, combine: Combine, lanes: u32) -> Result<(), String> {
        if !matches!(lanes, 1 | 32) {
            return Err(format!("an accumulator has 1 or 32 lanes, not {lanes}"));
        }
        if self.at.strip && lanes != 1 {
            return Err("an accumulator that belongs to one iteration of a strip has 1 lane".into());
        }
        combine.op().result(&[dtype, dtype])?;
        let new = Accumulator { dtype, visible: true, own: self.at.strip };
        match self.accs.insert(acc, new) {
            Some(_) => Err(format!("a{} is declared twice", acc.0)),
            None => Ok(()),
        }
    }

    fn tile(&mut self, tile: &Tile) -> Result<(), String> {
        self.outside_strips()?;
        if !tile.dtype.is_float() {
            return Err(format!("a tile is of f32 or f64, not {}", tile.dtype));
        }
        let Tile { a, b, c, .. } = tile;
        let accesses = [(a, Access::Read), (b, Access::Read), (c, Access::Write)];
        let again = (!tile.zero).then_some((c, Access::Read));
        for (panel, access) in accesses.into_iter().chain(again) {
            let found = self.access(panel.param, access)?;
            let widens = panel.param == b.param
                && panel.param != a.param
                && (tile.dtype, found) == (DType::F32, DType::Bf16);
            if found != tile.dtype && !widens {
                return Err(format!("p{} holds {found}, not {}", panel.param, tile.dtype));
            }
        }
        if c.param == a.param || c.param == b.param {
            return Err(format!("C is p{}, which A or B is as well", c.param));
        }
        if b.row != 0 {
            return Err(format!(
                "rows of B follow from the reduction loops, but its row stride is {}",
                b.row
            ));
        }
        if tile.m > 1 && c.row.unsigned_abs() < tile.n as u64 {
            return Err(format!("rows of C, {} elements apart, overlap: each has {}", c.row, tile.n));
        }
        let sizes = [tile.m, tile.n].into_iter().chain(tile.reduce.iter().map(|l| l.extent));
        let strides = [a.row, c.row].into_iter().chain(tile.reduce.iter().flat_map(|l| [l.a, l.b]));
        if sizes.max().is_some_and(|n| n > MAX_BYTES)
            || strides.map(i64::unsigned_abs).max() > Some(MAX_BYTES as u64)
        {
            return Err("an extent or a stride is larger than 2^40".into());
        }
        let columns = (tile.n, 1);
        self.panel(c, &[(tile.m, c.row), columns])?;
        let reduce =
            |of: fn(&crate::program::TileLoop) -> i64| tile.reduce.iter().map(move |l| (l.extent, of(l)));
        let loops: Vec<_> = std::iter::once((tile.m, a.row)).chain(reduce(|l| l.a)).collect();
        self.panel(a, if tile.n == 0 { &[(0, 0)] } else { &loops })?;
        let loops: Vec<_> = std::iter::once(columns).chain(reduce(|l| l.b)).collect();
        self.panel(b, if tile.m == 0 { &[(0, 0)] } else { &loops })?;
        if tile.m > 0 && tile.n > 0 { self.independent(c.param, &c.index) } else { Ok(()) }
    }

    fn panel(&self, panel: &Panel, loops: &[(usize, i64)]) -> Result<(), String> {
        self.bounds(panel.param, &panel.index, loops)
    }

    fn define(&mut self, id: ValueId, dtype: DType, range: Option<Range>) -> Result<(), String> {
        let whole = integer_range(dtype);
        // A range beyond the type wraps, and says nothing.
        let range = range.filter(|r| whole.is_some_and(|w| w.0 <= r.0 && r.1 <= w.1)).or(whole);
        match self.values.insert(id, Value { dtype, range, visible: true }) {
            Some(_) => Err(format!("v{} is assigned twice", id.0)),
            None => Ok(()),
        }
    }

    fn value(&self, id: ValueId) -> Result<&Value, String> {
        match self.values.get(&id) {
            Some(value) if value.visible => Ok(value),
            Some(_) => Err(format!("v{} is assigned in a block that does not enclose this", id.0)),
            None => Err(format!("v{} is not assigned before this", id.0)),
        }
    }

    fn expect(&self, id: ValueId, dtype: DType, what: &str) -> Result<(), String> {
        let found = self.value(id)?.dtype;
        if found == dtype { Ok(()) } else { Err(format!("{what} {dtype}, but v{} is {found}", id.0)) }
    }

    fn accumulator(&self, id: AccId) -> Result<Accumulator, String> {
        match self.accs.get(&id) {
            Some(acc) if acc.visible => Ok(*acc),
            Some(_) => Err(format!("a{} is declared in a block that does not enclose this", id.0)),
            None => Err(format!("a{} is not declared before this", id.0)),
        }
    }

    /// The type of a parameter, if it may be accessed so.
    fn access(&self, param: usize, access: Access) -> Result<DType, String> {
        let count = self.kernel.params.len();
        let found = self
            .kernel
            .params
            .get(param)
            .ok_or_else(|| format!("p{param} is not among the {count} parameters"))?;
        match (found.access, access) {
            (Access::Read, Access::Write) => Err(format!("p{param} is only read, but stored to")),
            (Access::Write, Access::Read) => Err(format!("p{param} is only written, but loaded from")),
            _ => Ok(found.dtype),
        }
    }

    /// Names, types, divisors and depth of an index.
    fn index(&self, index: &Index, depth: usize) -> Result<(), String> {
        if depth > MAX_INDEX_NESTING {
            return Err(format!("quotients and remainders nest deeper than {MAX_INDEX_NESTING}"));
        }
        for (atom, _) in index.terms() {
            match atom {
                Atom::Var(var) if !self.vars.contains_key(var) => {
                    return Err(format!("i{var} is bound by no loop around this"));
                }
                Atom::Var(_) => {}
                Atom::Value(id) => {
                    let found = self.value(ValueId(*id))?.dtype;
                    if !found.is_int() {
                        return Err(format!("v{id} in an index is {found}, not an integer"));
                    }
                }
                Atom::Div(_, divisor) | Atom::Rem(_, divisor) if *divisor <= 0 => {
                    return Err(format!("the divisor {divisor} is not positive"));
                }
                Atom::Div(inner, _) | Atom::Rem(inner, _) => self.index(inner, depth + 1)?,
            }
        }
        Ok(())
    }

    /// Bounds of an index, where nothing overflows. Loops that never run count as one iteration.
    fn range(&self, index: &Index) -> Option<Range> {
        index.range(&|atom| match atom {
            Atom::Var(var) => Some((0, (*self.vars.get(var)?).max(1) as i64 - 1)),
            Atom::Value(id) => self.values.get(&ValueId(*id))?.range,
            Atom::Div(..) | Atom::Rem(..) => None,
        })
    }

    /// The least and the greatest element that `index + Σ i * stride`, each `i` below its extent, is; none where that is
    /// not known. Notes where it is not surely inside the parameter.
    fn reach(&self, param: usize, index: &Index, loops: &[(usize, i64)]) -> Option<(i128, i128)> {
        if self.at.dead || loops.iter().any(|&(extent, _)| extent == 0) {
            return None;
        }
        let reach = self.range(index).map(|(low, high)| {
            let (mut first, mut last) = (low as i128, high as i128);
            for &(extent, stride) in loops {
                let span = (extent as i128 - 1) * stride as i128;
                first += span.min(0);
                last += span.max(0);
            }
            (first, last)
        });
        let mut computed = false;
        index.visit(&mut |atom| computed |= matches!(atom, Atom::Value(_)));
        let len = self.kernel.params[param].len as i128;
        if computed || reach.is_none_or(|(first, last)| first < 0 || last >= len) {
            self.unproven.set(self.unproven.get() + 1);
        }
        reach
    }

    /// Whether `index + Σ i * stride`, each `i` below its extent, may stay inside the parameter.
    fn bounds(&self, param: usize, index: &Index, loops: &[(usize, i64)]) -> Result<(), String> {
        self.index(index, 0)?;
        let Some((first, last)) = self.reach(param, index, loops).filter(|_| !self.at.conditional) else {
            return Ok(());
        };
        let len = self.kernel.params[param].len as i128;
        // Each bound of a sum of distinct variables is taken by some iteration; other sums may stay inside theirs.
        let exact = index.terms().iter().all(|(atom, _)| matches!(atom, Atom::Var(_)));
        let outside = if exact { first < 0 || last >= len } else { last < 0 || first >= len };
        if outside {
            return Err(format!("reaches p{param}[{first}..={last}], but p{param} has {len} elements"));
        }
        Ok(())
    }

    /// Whether iterations of parallel loops may store different elements.
    fn independent(&self, param: usize, index: &Index) -> Result<(), String> {
        if self.at.dead || self.at.conditional {
            return Ok(());
        }
        let mut computed = false;
        index.visit(&mut |atom| computed |= matches!(atom, Atom::Value(_)));
        let own = self.kernel.params[param].access == Access::Local;
        let shared = |var: Var| !own || var as usize >= self.kernel.grid.len();
        match self.at.parallel.iter().find(|&&var| !computed && shared(var) && !index.mentions(var)) {
            Some(var) => Err(format!("every iteration of i{var} stores the same element of p{param}")),
            None => Ok(()),
        }
    }

    /// Bounds of the integer that an operation gives: enough for clamped indices.
    fn op_range(&self, op: ScalarOp, operands: &[ValueId]) -> Option<Range> {
        let range = |i: usize| self.values.get(&operands[i])?.range;
        match op {
            ScalarOp::Max => Some((range(0)?.0.max(range(1)?.0), range(0)?.1.max(range(1)?.1))),
            ScalarOp::Min => Some((range(0)?.0.min(range(1)?.0), range(0)?.1.min(range(1)?.1))),
            ScalarOp::Add => {
                Some((range(0)?.0.checked_add(range(1)?.0)?, range(0)?.1.checked_add(range(1)?.1)?))
            }
            ScalarOp::Sub => {
                Some((range(0)?.0.checked_sub(range(1)?.1)?, range(0)?.1.checked_sub(range(1)?.0)?))
            }
            ScalarOp::Select => Some((range(1)?.0.min(range(2)?.0), range(1)?.1.max(range(2)?.1))),
            ScalarOp::Convert(_) => range(0),
            _ => None,
        }
    }
}

/// Every value of an integer type.
fn integer_range(dtype: DType) -> Option<Range> {
    let bound = |value: f64| Scalar::from_f64(dtype, value).to_i64();
    dtype.is_int().then(|| (bound(f64::NEG_INFINITY), bound(f64::INFINITY)))
}
