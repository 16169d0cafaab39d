//! Random trees of loops, strips and tiles, with values, accumulators and stores at every level.

use super::by_hand::{Values, kernel, param};
use crate::index::{Atom, Index, Var};
use crate::program::walk::walk_mut;
use crate::program::{AccId, Access, Combine, Expr, Kernel, Panel, Param, Stmt, Tile, TileLoop, ValueId};
use crate::random::Rng;
use crate::scalar::{Comparison, Scalar, ScalarOp};
use crate::types::DType;

/// Elements of every parameter, for each point of the grid.
const LEN: i64 = 3000;

/// A value, its type, and whether it may be an index: an `i32` in `0..8`.
type Value = (ValueId, DType, bool);

/// What a statement can see.
#[derive(Clone, Default)]
struct Scope {
    vars: Vec<(Var, usize)>,
    values: Vec<Value>,
}

/// A kernel in the making.
pub(super) struct Generator {
    random: Rng,
    params: Vec<Param>,
    grid: usize,
    next_var: Var,
    next_value: u32,
    next_acc: u32,
    /// Statements that may still come.
    budget: usize,
    /// Now and then something that the wide emitter has no code for.
    odd: bool,
    types: Vec<DType>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let mut random = Rng(seed);
        let types = match random.below(3) {
            0 => vec![DType::F32],
            1 => vec![DType::F32, DType::F32, DType::I32],
            _ => vec![DType::F32, DType::F32, DType::I32, DType::Bool, DType::U8],
        };
        let (grid, odd) = (random.below(3), random.chance(25));
        let budget = 8 + random.below(30);
        Generator {
            random,
            params: Vec::new(),
            grid,
            next_var: 1,
            next_value: 0,
            next_acc: 0,
            budget,
            odd,
            types,
        }
    }

    fn dtype(&mut self) -> DType {
        let types = self.types.clone();
        self.random.of(&types)
    }

    fn param(&mut self, dtype: DType, access: Access) -> usize {
        let found: Vec<usize> = (0..self.params.len())
            .filter(|&p| self.params[p].dtype == dtype && self.params[p].access == access)
            .collect();
        if !found.is_empty() && self.random.chance(60) {
            return self.random.of(&found);
        }
        self.params.push(param(dtype, LEN as usize * self.grid.max(1), access));
        self.params.len() - 1
    }

    /// An index below `LEN` less `after`, of which that coefficient of a variable is given.
    fn index(&mut self, scope: &Scope, given: Option<(Var, i64)>, after: i64) -> Index {
        let mut index = Index::default();
        let range = |atom: &Atom| match atom {
            Atom::Var(var) => scope.vars.iter().find(|v| v.0 == *var).map(|v| (0, v.1.max(1) as i64 - 1)),
            _ => Some((0, 7)),
        };
        if let Some((var, c)) = given {
            index = Index::var(var).scale(c);
        }
        for &(var, extent) in scope.vars.iter().filter(|v| given.is_none_or(|g| g.0 != v.0)) {
            let c = self.random.of(&[0, 1, 1, 2, 3, 7, -1, -2, 16, 40, extent as i64]);
            let mut term = Index::var(var).scale(c);
            if self.random.chance(7) {
                let by = 1 + self.random.below(5) as i64;
                let shifted = Index::var(var).plus(self.random.below(3) as i64);
                term = if self.random.chance(50) { shifted.div(by, &range) } else { shifted.rem(by, &range) };
            }
            index = index.add(&term);
        }
        let gathers: Vec<Value> = scope.values.iter().copied().filter(|v| v.2).collect();
        if given.is_none() && !gathers.is_empty() && self.random.chance(40) {
            let value = self.random.of(&gathers);
            index = index.add(&Index::value(value.0.0).scale(1 + self.random.below(30) as i64));
        }
        let mut bounds = index.range(&range).expect("all atoms are bounded");
        if bounds.1 - bounds.0 + after >= LEN - 8 {
            index = given.map_or(Index::default(), |(var, c)| Index::var(var).scale(c));
            bounds = index.range(&range).expect("all atoms are bounded");
        }
        let index = index.plus(self.random.below(6) as i64 - bounds.0);
        if self.grid > 0 { index.add(&Index::var(0).scale(LEN)) } else { index }
    }

    fn define(&mut self, out: &mut Vec<Stmt>, dtype: DType, expr: Expr) -> ValueId {
        let id = ValueId(self.next_value);
        self.next_value += 1;
        out.push(Stmt::Let { id, dtype, expr });
        id
    }

    /// Some value: a load, an index, a constant, or an operation. Loads are from what is not written, and from
    /// `written` if nothing else of the strip touches it.
    fn value(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope, written: Access) {
        let dtype = self.dtype();
        let (id, dtype, small) = match self.random.below(10) {
            0..4 => {
                let param = self.param(dtype, written);
                let index = self.index(scope, None, 0);
                let bools: Vec<Value> = scope.values.iter().copied().filter(|v| v.1 == DType::Bool).collect();
                let guard = (!bools.is_empty() && self.random.chance(20)).then(|| self.random.of(&bools).0);
                (self.define(out, dtype, Expr::Load { param, index, guard }), dtype, false)
            }
            4 => {
                let dtype = if self.random.chance(30) { DType::I64 } else { DType::I32 };
                let index = self.index(scope, None, 0);
                let wide = self.define(out, dtype, Expr::Index(index));
                let mut id = wide;
                for (op, bound) in [(ScalarOp::Max, 2), (ScalarOp::Min, 7)] {
                    let bound = self.define(out, dtype, Expr::Constant(Scalar::from_i64(dtype, bound)));
                    id = self.define(out, dtype, Expr::Op(op, vec![id, bound]));
                }
                (id, dtype, true)
            }
            5 => {
                let scalar = self.random.scalar(dtype);
                (self.define(out, dtype, Expr::Constant(scalar)), dtype, false)
            }
            _ => {
                let ops = [
                    ScalarOp::Add,
                    ScalarOp::Sub,
                    ScalarOp::Mul,
                    ScalarOp::Max,
                    ScalarOp::Min,
                    ScalarOp::Neg,
                    ScalarOp::Fma,
                    ScalarOp::Select,
                    ScalarOp::Compare(Comparison::Lt),
                    ScalarOp::Convert(dtype),
                    ScalarOp::Function(crate::scalar::Function::ALL[0]),
                    if self.odd { ScalarOp::Convert(DType::F64) } else { ScalarOp::Abs },
                ];
                let op = self.random.of(&ops);
                if scope.values.is_empty() {
                    return;
                }
                let args: Vec<Value> = (0..op.arity()).map(|_| self.random.of(&scope.values)).collect();
                let types: Vec<DType> = args.iter().map(|a| a.1).collect();
                let Ok(result) = op.result(&types) else { return };
                let args = args.iter().map(|a| a.0).collect();
                (self.define(out, result, Expr::Op(op, args)), result, false)
            }
        };
        scope.values.push((id, dtype, small));
    }

    fn some_value(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope, dtype: DType) -> ValueId {
        let fitting: Vec<Value> = scope.values.iter().copied().filter(|v| v.1 == dtype).collect();
        if !fitting.is_empty() {
            // Later ones are more interesting.
            return fitting[fitting.len() - 1 - self.random.below(fitting.len().min(3))].0;
        }
        let param = self.param(dtype, Access::Read);
        let index = self.index(scope, None, 0);
        let id = self.define(out, dtype, Expr::Load { param, index, guard: None });
        scope.values.push((id, dtype, false));
        id
    }

    fn combine(&mut self, dtype: DType) -> Combine {
        let all: &[Combine] = match dtype {
            DType::F32 | DType::F64 => &[Combine::Add, Combine::Mul, Combine::Max, Combine::Min],
            DType::Bool => &[Combine::And, Combine::Or, Combine::Max],
            _ => &[Combine::Add, Combine::Max, Combine::Min, Combine::Or],
        };
        self.random.of(all)
    }

    fn declare(&mut self, out: &mut Vec<Stmt>, lanes: u32) -> (AccId, DType) {
        let dtype = self.dtype();
        let combine = self.combine(dtype);
        let acc = AccId(self.next_acc);
        self.next_acc += 1;
        out.push(Stmt::Declare { acc, dtype, combine, lanes });
        (acc, dtype)
    }

    fn finish(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope, acc: AccId, dtype: DType) {
        let id = ValueId(self.next_value);
        self.next_value += 1;
        out.push(Stmt::Finish { id, acc });
        scope.values.push((id, dtype, false));
    }

    fn strip(&mut self, scope: &Scope, accs: &[(AccId, DType)]) -> Stmt {
        let var = self.next_var;
        self.next_var += 1;
        let extent = match self.random.below(5) {
            0 => self.random.of(&[0, 1, 8, 16, 32, 64]),
            1 => self.random.of(&[71, 128, 300]),
            _ => 1 + self.random.below(40),
        };
        let mut inside = scope.clone();
        inside.vars.push((var, extent));
        let mut body = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            self.value(&mut body, &mut inside, Access::Read);
        }
        // A reduction within each iteration.
        if self.random.chance(25) {
            let (acc, dtype) = self.declare(&mut body, 1);
            let var = self.next_var;
            self.next_var += 1;
            let extent = self.random.of(&[0, 1, 2, 3, 11]);
            let mut inner = inside.clone();
            inner.vars.push((var, extent));
            let mut lines = Vec::new();
            for _ in 0..1 + self.random.below(3) {
                self.value(&mut lines, &mut inner, Access::Read);
            }
            let value = self.some_value(&mut lines, &mut inner, dtype);
            lines.push(Stmt::Accumulate { acc, value });
            body.push(Stmt::For { var, extent, body: lines });
            self.finish(&mut body, &mut inside, acc, dtype);
        }
        for &(acc, dtype) in accs {
            let value = self.some_value(&mut body, &mut inside, dtype);
            body.push(Stmt::Accumulate { acc, value });
        }
        // What it stores, each parameter once, some of it in place.
        let mut stored = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let dtype = self.dtype();
            let param = self.param(dtype, Access::ReadWrite);
            if stored.contains(&param) {
                continue;
            }
            stored.push(param);
            let c = self.random.of(&[1, 1, 1, 1, 2, -1, 3]);
            let index = self.index(&inside, Some((var, c)), 0);
            if self.random.chance(30) {
                let load = Expr::Load { param, index: index.clone(), guard: None };
                let old = self.define(&mut body, dtype, load);
                inside.values.push((old, dtype, false));
            }
            let value = self.some_value(&mut body, &mut inside, dtype);
            body.push(Stmt::Store { param, index, value });
        }
        Stmt::Strip { var, extent, body }
    }

    fn tile(&mut self, scope: &Scope) -> Stmt {
        let (m, n) = (1 + self.random.below(8), 1 + self.random.below(20));
        let reduce: Vec<TileLoop> = (0..self.random.below(3))
            .map(|_| TileLoop {
                extent: 1 + self.random.below(5),
                a: self.random.below(4) as i64,
                b: self.random.below(25) as i64,
            })
            .collect();
        let operand = |g: &mut Generator, dtype, access, row| {
            let scope = Scope { values: Vec::new(), ..scope.clone() };
            Panel { param: g.param(dtype, access), index: g.index(&scope, None, 400), row }
        };
        let row = self.random.below(30) as i64;
        let a = operand(self, DType::F32, Access::Read, row);
        let stored = self.random.of(&[DType::F32, DType::F32, DType::Bf16]);
        let b = operand(self, stored, Access::Read, 0);
        let row = n as i64 + self.random.below(4) as i64;
        let c = operand(self, DType::F32, Access::ReadWrite, row);
        Stmt::Tile(Tile { dtype: DType::F32, m, n, reduce, a, b, c, zero: self.random.chance(60) })
    }

    fn store(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope) {
        let dtype = self.dtype();
        let value = self.some_value(out, scope, dtype);
        let param = self.param(dtype, Access::ReadWrite);
        let index = self.index(scope, None, 0);
        out.push(Stmt::Store { param, index, value });
    }

    /// A loop around a block.
    fn nested(&mut self, scope: &Scope, depth: usize) -> Stmt {
        let var = self.next_var;
        self.next_var += 1;
        let extent = self.random.of(&[0, 1, 2, 2, 3, 3, 5]);
        let mut inside = scope.clone();
        inside.vars.push((var, extent));
        Stmt::For { var, extent, body: self.block(&inside, depth + 1) }
    }

    /// A reduction over one strip or several, and what follows from it.
    fn reductions(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope) {
        let accs: Vec<_> = (0..1 + self.random.below(2)).map(|_| self.declare(out, 32)).collect();
        for _ in 0..1 + self.random.below(2) {
            let strip = self.strip(scope, &accs);
            if self.random.chance(30) {
                let var = self.next_var;
                self.next_var += 1;
                out.push(Stmt::For { var, extent: 2, body: vec![strip] });
            } else {
                out.push(strip);
            }
        }
        for (acc, dtype) in accs {
            self.finish(out, scope, acc, dtype);
        }
    }

    /// A sum over a loop, one lane.
    fn sum_over_loop(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope) {
        let (acc, dtype) = self.declare(out, 1);
        let var = self.next_var;
        self.next_var += 1;
        let extent = self.random.below(4);
        let mut inside = scope.clone();
        inside.vars.push((var, extent));
        let mut body = Vec::new();
        self.value(&mut body, &mut inside, Access::Read);
        let value = self.some_value(&mut body, &mut inside, dtype);
        body.push(Stmt::Accumulate { acc, value });
        if self.random.chance(50) {
            let strip = self.strip(&inside, &[]);
            body.push(strip);
        }
        out.push(Stmt::For { var, extent, body });
        self.finish(out, scope, acc, dtype);
    }

    fn condition(&mut self, out: &mut Vec<Stmt>, scope: &mut Scope, depth: usize) {
        let mut condition = self.define(out, DType::Bool, Expr::Constant(Scalar::Bool(true)));
        if self.random.chance(50) {
            condition = self.some_value(out, scope, DType::Bool);
        }
        let then = self.block(scope, depth + 1);
        let otherwise = self.block(scope, depth + 1);
        out.push(Stmt::If { condition, then, otherwise });
    }

    fn block(&mut self, scope: &Scope, depth: usize) -> Vec<Stmt> {
        let mut scope = scope.clone();
        let mut out = Vec::new();
        let count = 1 + self.random.below(4);
        for _ in 0..count {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            match self.random.below(12) {
                0..2 => {
                    let access = self.random.of(&[Access::Read, Access::ReadWrite]);
                    self.value(&mut out, &mut scope, access);
                }
                2 => self.store(&mut out, &mut scope),
                3..6 if depth < 4 => out.push(self.nested(&scope, depth)),
                6 => {
                    let tile = self.tile(&scope);
                    out.push(tile);
                }
                7 => self.reductions(&mut out, &mut scope),
                8 => self.sum_over_loop(&mut out, &mut scope),
                9 if self.random.chance(if self.odd { 60 } else { 10 }) => {
                    self.condition(&mut out, &mut scope, depth);
                }
                _ => {
                    let strip = self.strip(&scope, &[]);
                    out.push(strip);
                }
            }
        }
        out
    }

    /// The kernel of the seed.
    pub fn kernel(mut self) -> Kernel {
        let grid = if self.grid > 0 { vec![self.grid] } else { vec![] };
        let mut body = self.block(&Scope::default(), 0);
        let strip = self.strip(&Scope::default(), &[]);
        body.push(strip);
        if self.random.chance(30) {
            body = self.with_local(body);
        }
        kernel(self.params, grid, body)
    }

    /// The same with a parameter that is read and written in local memory meanwhile: the grid point's part of it is
    /// copied there and back.
    fn with_local(&mut self, mut body: Vec<Stmt>) -> Vec<Stmt> {
        let Some(at) = self.params.iter().position(|p| p.access == Access::ReadWrite) else { return body };
        let (dtype, len) = (self.params[at].dtype, self.params[at].len);
        self.params.push(param(dtype, len, Access::Local));
        let local = self.params.len() - 1;
        move_accesses(&mut body, at, local);
        let own = if self.grid > 0 { Index::var(0).scale(LEN) } else { Index::default() };
        let mut copy = |from: usize, to: usize| {
            let index = own.add(&Index::var(self.next_var));
            let mut stmts = Vec::new();
            let load = Expr::Load { param: from, index: index.clone(), guard: None };
            let value = self.define(&mut stmts, dtype, load);
            stmts.push(Stmt::Store { param: to, index, value });
            self.next_var += 1;
            Stmt::Strip { var: self.next_var - 1, extent: LEN as usize, body: stmts }
        };
        body.insert(0, copy(at, local));
        body.push(copy(local, at));
        body
    }
}

/// Has a block access another parameter instead.
fn move_accesses(block: &mut [Stmt], from: usize, to: usize) {
    walk_mut(block, &mut |stmt| {
        stmt.params_mut().filter(|param| **param == from).for_each(|param| *param = to);
    });
}
