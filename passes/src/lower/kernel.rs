//! Builds one kernel: nested loops, values placed in the outermost loop that knows their operands.
//!
//! A value is emitted once for each set of open loops: constants, indices and loads are looked up before they are
//! emitted, and everything goes to the outermost open scope in which its operands are defined, so invariant code
//! ends up outside of loops without a pass of its own.

use brolga_ir::DType;
use brolga_ir::index::{Atom, Index, Range, Var};
use brolga_ir::program::{AccId, Access, Combine, Expr, Kernel, Param, Stmt, Tile, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use rustc_hash::{FxHashMap, FxHashSet};

use super::flatten;
use crate::rewrite::kernels::prune;

/// Which loop a scope is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The body of the kernel.
    Body,
    For,
    Strip,
    /// A dimension of the kernel's grid: outermost, and independent by construction.
    Grid,
    /// What runs where a value holds.
    If(ValueId),
}

/// An open loop.
#[derive(Clone)]
struct Scope {
    /// Never given twice.
    serial: usize,
    kind: Kind,
    var: Var,
    extent: usize,
    statements: Vec<Stmt>,
    known: FxHashMap<Key, ValueId>,
}

/// What makes two values the same, as long as nothing is stored in between to what they load.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Constant(DType, u64),
    Index(DType, Index),
    Load(usize, Index, Option<ValueId>),
    Op(ScalarOp, Vec<ValueId>),
}

/// A kernel in the making.
#[derive(Clone)]
pub(super) struct KernelBuilder {
    name: String,
    params: Vec<Param>,
    scopes: Vec<Scope>,
    /// Extent of each variable.
    extents: Vec<usize>,
    /// Type of each value, and depth and serial number of its scope.
    values: Vec<(DType, usize, usize)>,
    /// Values that are constants, and those that are comparisons.
    constants: FxHashMap<ValueId, Scalar>,
    compared: FxHashMap<ValueId, (Comparison, [ValueId; 2])>,
    scopes_opened: usize,
    /// Type of each accumulator.
    accs: Vec<DType>,
    /// Extents of the grid's dimensions that are closed.
    grid: Vec<usize>,
    /// Bounds that could not be proved, and were tested: for each guard, what must hold together.
    tests: Vec<Vec<(Index, usize)>>,
    /// Variables whose range is smaller inside of a condition, and its serial number.
    narrowed: Vec<(Var, Range, usize)>,
    parts_opened: usize,
}

impl KernelBuilder {
    pub fn new(name: &str) -> KernelBuilder {
        let body = Scope {
            serial: 0,
            kind: Kind::Body,
            var: 0,
            extent: 1,
            statements: Vec::new(),
            known: FxHashMap::default(),
        };
        KernelBuilder {
            name: name.to_owned(),
            params: Vec::new(),
            scopes: vec![body],
            extents: Vec::new(),
            values: Vec::new(),
            constants: FxHashMap::default(),
            compared: FxHashMap::default(),
            scopes_opened: 1,
            accs: Vec::new(),
            grid: Vec::new(),
            tests: Vec::new(),
            narrowed: Vec::new(),
            parts_opened: 0,
        }
    }

    /// Adds a parameter; its position.
    pub fn param(&mut self, dtype: DType, len: usize, access: Access) -> usize {
        self.params.push(Param { dtype, len, access });
        self.params.len() - 1
    }

    /// Adds a local parameter, behind all others; its position.
    pub fn local(&mut self, dtype: DType, len: usize) -> usize {
        self.param(dtype, len, Access::Local)
    }

    /// The bounds of a variable.
    pub fn range(&self, atom: &Atom) -> Option<Range> {
        match atom {
            Atom::Var(var) => {
                let narrowed = self.narrowed.iter().rev().find(|(narrow, ..)| narrow == var);
                Some(
                    narrowed
                        .map_or((0, self.extents[*var as usize].max(1) as i64 - 1), |&(_, range, _)| range),
                )
            }
            _ => None,
        }
    }

    /// The extents of all variables so far.
    pub fn extents(&self) -> &[usize] {
        &self.extents
    }

    /// The bounds that had to be tested, for each guard.
    pub fn take_tests(&mut self) -> Vec<Vec<(Index, usize)>> {
        std::mem::take(&mut self.tests)
    }

    /// The statements of the innermost loop so far.
    pub fn statements(&self) -> &[Stmt] {
        &self.scopes.last().expect("the body is open").statements
    }

    /// Opens a dimension of the grid, whose points write different elements; its variable. Before all loops.
    pub fn open_grid(&mut self, extent: usize) -> Var {
        self.open(Kind::Grid, extent)
    }

    /// Opens a serial loop; its variable.
    pub fn open_for(&mut self, extent: usize) -> Var {
        self.open(Kind::For, extent)
    }

    /// Opens a strip; its variable.
    pub fn open_strip(&mut self, extent: usize) -> Var {
        self.open(Kind::Strip, extent)
    }

    fn open(&mut self, kind: Kind, extent: usize) -> Var {
        let var = self.extents.len() as Var;
        self.extents.push(extent);
        self.push_scope(kind, var, extent);
        var
    }

    fn push_scope(&mut self, kind: Kind, var: Var, extent: usize) {
        let serial = self.scopes_opened;
        self.scopes_opened += 1;
        self.scopes.push(Scope {
            serial,
            kind,
            var,
            extent,
            statements: Vec::new(),
            known: FxHashMap::default(),
        });
    }

    /// A new value in the scope at that depth.
    fn value(&mut self, dtype: DType, depth: usize) -> ValueId {
        self.values.push((dtype, depth, self.scopes[depth].serial));
        ValueId(self.values.len() as u32 - 1)
    }

    /// Whether the scope of a value is still open.
    pub fn is_visible(&self, value: ValueId) -> bool {
        let (_, depth, serial) = self.values[value.0 as usize];
        self.scopes.get(depth).is_some_and(|scope| scope.serial == serial)
    }

    /// Closes the innermost loop. A loop around nothing but another loop becomes one with it, if every index is
    /// linear in the position among both: contiguous axes count as one axis.
    pub fn close(&mut self) {
        let scope = self.scopes.pop().expect("an open loop");
        let (var, extent, mut body) = (scope.var, scope.extent, scope.statements);
        if extent == 0 || body.is_empty() {
            return;
        }
        if scope.kind == Kind::Grid {
            self.grid.insert(0, extent);
            return self.scopes.last_mut().expect("the body is open").statements.append(&mut body);
        }
        if extent == 1 && scope.kind == Kind::For {
            flatten::drop_variable(&mut body, var);
            return self.scopes.last_mut().expect("the body is open").statements.append(&mut body);
        }
        let inner = match body.as_slice() {
            [Stmt::For { var, extent, body } | Stmt::Strip { var, extent, body }] => {
                Some((*var, *extent, body))
            }
            _ => None,
        };
        if let Some((inner, inner_extent, inner_body)) = inner
            && scope.kind == Kind::For
            && flatten::is_linear(inner_body, var, inner, inner_extent as i64)
        {
            self.extents[inner as usize] = extent * inner_extent;
            let mut merged = body.pop().expect("one statement");
            if let Stmt::For { extent: e, body, .. } | Stmt::Strip { extent: e, body, .. } = &mut merged {
                *e *= extent;
                flatten::drop_variable(body, var);
            }
            return self.push(merged);
        }
        let statement = match scope.kind {
            Kind::Strip => Stmt::Strip { var, extent, body },
            _ => Stmt::For { var, extent, body },
        };
        self.push(statement);
    }

    /// Closes the innermost loop as it is.
    pub fn close_whole(&mut self) {
        let scope = self.scopes.pop().expect("an open loop");
        self.push(Stmt::For { var: scope.var, extent: scope.extent, body: scope.statements });
    }

    /// Appends a statement to the innermost loop.
    fn push(&mut self, statement: Stmt) {
        self.scopes.last_mut().expect("the body is open").statements.push(statement);
    }

    /// The type of a value.
    pub fn dtype(&self, value: ValueId) -> DType {
        self.values[value.0 as usize].0
    }

    /// The depth of the innermost open loop that an index needs.
    fn depth_of(&self, index: &Index) -> usize {
        let mut depth = 0;
        index.visit(&mut |atom| match atom {
            Atom::Var(var) => {
                let scope = self.scopes.iter().position(|scope| {
                    matches!(scope.kind, Kind::For | Kind::Strip | Kind::Grid) && scope.var == *var
                });
                depth = depth.max(scope.unwrap_or(0));
            }
            Atom::Value(value) => depth = depth.max(self.values[*value as usize].1),
            _ => {}
        });
        depth
    }

    fn emit(&mut self, key: Key, depth: usize, dtype: DType, expr: Expr) -> ValueId {
        if let Some(&known) = self.scopes[..=depth].iter().find_map(|scope| scope.known.get(&key)) {
            return known;
        }
        let id = self.value(dtype, depth);
        let scope = &mut self.scopes[depth];
        scope.statements.push(Stmt::Let { id, dtype, expr });
        scope.known.insert(key, id);
        id
    }

    /// A constant.
    pub fn constant(&mut self, value: Scalar) -> ValueId {
        let bits = match value {
            Scalar::F32(v) => u64::from(v.to_bits()),
            Scalar::F64(v) => v.to_bits(),
            other => other.to_i64() as u64,
        };
        let id = self.emit(Key::Constant(value.dtype(), bits), 0, value.dtype(), Expr::Constant(value));
        self.constants.insert(id, value);
        id
    }

    /// Zero of a parameter's type.
    pub fn zero_of(&mut self, param: usize) -> ValueId {
        self.constant(Scalar::zero(self.params[param].dtype))
    }

    /// An index as an integer, or converted to a float.
    pub fn index(&mut self, index: &Index, dtype: DType) -> ValueId {
        if let Some(constant) = index.as_constant() {
            return self.constant(Scalar::from_i64(dtype, constant));
        }
        if !matches!(dtype, DType::I32 | DType::I64) {
            let integer = self.index(index, DType::I64);
            return self.op(ScalarOp::Convert(dtype), &[integer]);
        }
        let depth = self.depth_of(index);
        self.emit(Key::Index(dtype, index.clone()), depth, dtype, Expr::Index(index.clone()))
    }

    /// An operation; its operands must have types that it accepts.
    pub fn op(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        if let Some(known) = self.simplified(op, operands) {
            return known;
        }
        let dtypes: Vec<DType> = operands.iter().map(|&v| self.dtype(v)).collect();
        let dtype = op.result(&dtypes).expect("operations of a verified graph are typed");
        let depth = operands.iter().map(|v| self.values[v.0 as usize].1).max().unwrap_or(0);
        let id = self.emit(Key::Op(op, operands.to_vec()), depth, dtype, Expr::Op(op, operands.to_vec()));
        if let (ScalarOp::Compare(comparison), &[a, b]) = (op, operands) {
            self.compared.insert(id, (comparison, [a, b]));
        }
        id
    }

    /// What an operation is where constants decide it, or where another one says the same: the maximum that
    /// propagates NaN is a plain one if its first operand is a number.
    fn simplified(&mut self, op: ScalarOp, operands: &[ValueId]) -> Option<ValueId> {
        let constants: Option<Vec<Scalar>> =
            operands.iter().map(|id| self.constants.get(id).copied()).collect();
        if let Some(constants) = constants {
            return Some(self.constant(op.apply(&constants)));
        }
        let is = |id: ValueId, value: bool| {
            self.constants.get(&id).is_some_and(|c| matches!(c, Scalar::Bool(b) if *b == value))
        };
        match (op, operands) {
            (ScalarOp::Or, &[a, b]) if is(b, false) => Some(a),
            (ScalarOp::Or, &[a, b]) if is(a, false) => Some(b),
            (ScalarOp::And, &[a, b]) if is(b, true) => Some(a),
            (ScalarOp::And, &[a, b]) if is(a, true) => Some(b),
            (ScalarOp::Select, &[condition, a, b]) if self.dtype(a).is_float() => {
                match self.compared.get(&condition)? {
                    (Comparison::Gt, operands) if *operands == [a, b] => {
                        Some(self.op(ScalarOp::Max, &[a, b]))
                    }
                    (Comparison::Lt, operands) if *operands == [a, b] => {
                        Some(self.op(ScalarOp::Min, &[a, b]))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// An element of a parameter; zero where the guard is false.
    pub fn load(&mut self, param: usize, index: &Index, guard: Option<ValueId>) -> ValueId {
        let dtype = self.params[param].dtype;
        let mut depth = self.depth_of(index);
        if let Some(guard) = guard {
            depth = depth.max(self.values[guard.0 as usize].1);
        }
        // What is read under a condition may lie outside of memory where it does not hold.
        let condition = self.scopes.iter().rposition(|scope| matches!(scope.kind, Kind::If(_)));
        depth = depth.max(condition.unwrap_or(0));
        let expr = Expr::Load { param, index: index.clone(), guard };
        self.emit(Key::Load(param, index.clone(), guard), depth, dtype, expr)
    }

    /// A load that sees the stores before it: never shared, never moved.
    pub fn load_now(&mut self, param: usize, index: &Index) -> ValueId {
        let dtype = self.params[param].dtype;
        let id = self.value(dtype, self.scopes.len() - 1);
        self.push(Stmt::Let { id, dtype, expr: Expr::Load { param, index: index.clone(), guard: None } });
        id
    }

    /// An operation in the innermost scope, on what [`KernelBuilder::load_now`] gave.
    pub fn op_now(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        let dtypes: Vec<DType> = operands.iter().map(|&v| self.dtype(v)).collect();
        let dtype = op.result(&dtypes).expect("operations of a verified graph are typed");
        let id = self.value(dtype, self.scopes.len() - 1);
        self.push(Stmt::Let { id, dtype, expr: Expr::Op(op, operands.to_vec()) });
        id
    }

    /// Stores an element.
    pub fn store(&mut self, param: usize, index: Index, value: ValueId) {
        self.push(Stmt::Store { param, index, value });
    }

    /// What is tested from now on belongs to another guard.
    pub fn begin_guard(&mut self) {
        self.tests.push(Vec::new());
    }

    /// Whether an index lies in `0..extent`; `None` if it provably always does.
    pub fn in_bounds(&mut self, index: &Index, extent: usize) -> Option<ValueId> {
        let range = index.range(&|atom| self.range(atom));
        let above = range.is_some_and(|(low, _)| low >= 0);
        let below = range.is_some_and(|(_, high)| high < extent as i64);
        let fits = |v: i64| i32::try_from(v).is_ok();
        let narrow = range.is_some_and(|(low, high)| fits(low) && fits(high)) && fits(extent as i64);
        let dtype = if narrow { DType::I32 } else { DType::I64 };
        if !(above && below) {
            let guard = self.tests.last_mut();
            guard.into_iter().for_each(|guard| guard.push((index.clone(), extent)));
        }
        let mut test = |comparison, limit: i64| {
            let (value, limit) = (self.index(index, dtype), self.constant(Scalar::from_i64(dtype, limit)));
            self.op(ScalarOp::Compare(comparison), &[value, limit])
        };
        match (above, below) {
            (true, true) => None,
            (true, false) => Some(test(Comparison::Lt, extent as i64)),
            (false, true) => Some(test(Comparison::Ge, 0)),
            (false, false) => {
                let (low, high) = (test(Comparison::Ge, 0), test(Comparison::Lt, extent as i64));
                Some(self.op(ScalarOp::And, &[low, high]))
            }
        }
    }

    /// Whether an index provably never lies in `0..extent`.
    pub fn never_in_bounds(&self, index: &Index, extent: usize) -> bool {
        let range = index.range(&|atom| self.range(atom));
        range.is_some_and(|(low, high)| high < 0 || low >= extent as i64)
    }

    /// A condition around what follows up to [`KernelBuilder::close_part`]: `var` lies in `first .. first + count`.
    pub fn open_part(&mut self, var: Var, first: usize, count: usize) {
        self.parts_opened += 1;
        let (first, count) = (first as i64, count as i64);
        let inside = self.in_bounds(&Index::var(var).plus(-first), count as usize);
        let always = self.constant(Scalar::Bool(true));
        self.open_if(inside.unwrap_or(always));
        self.narrowed.push((var, (first, first + count - 1), self.parts_opened));
    }

    /// The innermost part, if there is one: what was found inside of it may be wrong elsewhere.
    pub fn part(&self) -> Option<usize> {
        self.narrowed.last().map(|&(.., serial)| serial)
    }

    /// Ends the condition.
    pub fn close_part(&mut self) {
        self.narrowed.pop();
        self.close_if();
    }

    /// The conjunction of conditions, `None` being true.
    pub fn and(&mut self, a: Option<ValueId>, b: Option<ValueId>) -> Option<ValueId> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.op(ScalarOp::And, &[a, b])),
            (a, b) => a.or(b),
        }
    }

    /// Declares an accumulator in the innermost loop.
    pub fn declare(&mut self, dtype: DType, combine: Combine, lanes: u32) -> AccId {
        let acc = AccId(self.accs.len() as u32);
        self.accs.push(dtype);
        self.push(Stmt::Declare { acc, dtype, combine, lanes });
        acc
    }

    /// Combines a value into an accumulator.
    pub fn accumulate(&mut self, acc: AccId, value: ValueId) {
        self.push(Stmt::Accumulate { acc, value });
    }

    /// Reads an accumulator out in the innermost loop.
    pub fn finish(&mut self, acc: AccId) -> ValueId {
        let id = self.value(self.accs[acc.0 as usize], self.scopes.len() - 1);
        self.push(Stmt::Finish { id, acc });
        id
    }

    /// Opens what runs only where a condition holds: a scope of its own, so that nothing computed inside is taken for
    /// known outside.
    pub fn open_if(&mut self, condition: ValueId) {
        self.push_scope(Kind::If(condition), 0, 1);
    }

    /// Closes it.
    pub fn close_if(&mut self) {
        let scope = self.scopes.pop().expect("an open condition");
        let Kind::If(condition) = scope.kind else { unreachable!("loops are closed by `close`") };
        if !scope.statements.is_empty() {
            self.push(Stmt::If { condition, then: scope.statements, otherwise: Vec::new() });
        }
    }

    /// A block of a matrix product.
    pub fn tile(&mut self, tile: Tile) {
        if tile.m > 0 && tile.n > 0 {
            self.push(Stmt::Tile(tile));
        }
    }

    /// The kernel; every loop must be closed.
    pub fn finish_kernel(mut self) -> Kernel {
        assert_eq!(self.scopes.len(), 1, "every loop is closed");
        let mut body = self.scopes.pop().expect("the body").statements;
        prune(&mut body, &mut FxHashSet::default());
        let grid = if body.is_empty() { Vec::new() } else { self.grid };
        Kernel { name: self.name, params: self.params, grid, body }
    }
}
