//! Random strips, in rows: with contiguous, strided, reversed, divided, gathered and guarded accesses, serial loops inside and
//! outside, updates in place, accumulators of both kinds.

use super::by_hand::{Body, Values, kernel, param};
use crate::index::{Index, Var};
use crate::program::{AccId, Access, Combine, Expr, Kernel, Param, Stmt, ValueId};
use crate::random::Rng;
use crate::scalar::{Comparison, Scalar, ScalarOp};
use crate::types::DType;

const ROW: Var = 0;
const LANE: Var = 1;
const INNER: Var = 2;
/// Elements of every parameter that is read: more than any index reaches.
const LEN: usize = 700;

/// A kernel in the making.
pub(super) struct Generator {
    random: Rng,
    params: Vec<Param>,
    types: Vec<DType>,
    rows: usize,
    extent: usize,
    inner: usize,
    accs: u32,
    /// Only what the wide emitter has code for.
    plain: bool,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let mut random = Rng(seed);
        let plain = random.chance(50);
        let pool: &[DType] = match random.below(if plain { 3 } else { 4 }) {
            0 if plain => &[DType::F32, DType::F32, DType::F32, DType::Bool, DType::I32],
            1 if plain => &[DType::F32, DType::I32, DType::U8, DType::Bf16],
            2 if plain => &[DType::F32, DType::F32, DType::I32, DType::Bf16],
            0 => &[DType::F32],
            1 => &[DType::F32, DType::I32, DType::Bool, DType::U8],
            2 => &[DType::F32, DType::F32, DType::I32, DType::Bool],
            _ => &DType::ALL,
        };
        let rows = 1 + random.below(3);
        let mut extent = random.of(&[0, 1, 3, 4, 5, 8, 9, 16, 31, 33, 40, 67]);
        if plain && extent < 8 {
            extent += 8;
        }
        let inner = random.below(4);
        Generator { random, params: Vec::new(), types: pool.to_vec(), rows, extent, inner, accs: 0, plain }
    }

    /// Bytes are wide only where they are contiguous.
    fn contiguous(&self) -> bool {
        self.plain && self.types.iter().any(|dtype| dtype.size() < 4)
    }

    fn input(&mut self, dtype: DType) -> usize {
        let found: Vec<usize> = (0..self.params.len())
            .filter(|&p| self.params[p].dtype == dtype && self.params[p].access == Access::Read)
            .collect();
        if !found.is_empty() && self.random.chance(60) {
            return self.random.of(&found);
        }
        self.params.push(param(dtype, LEN, Access::Read));
        self.params.len() - 1
    }

    /// An index below `LEN`, over the loops in scope.
    fn index(&mut self, nested: bool) -> Index {
        let e = self.extent as i64;
        let row = Index::var(ROW).scale(e);
        let lane = Index::var(LANE);
        let base = match self.random.below(if self.contiguous() { 6 } else { 9 }) {
            0..3 => lane.add(&row),
            3 => lane.scale(1 + self.random.below(3) as i64).add(&Index::var(ROW)),
            4 => lane.scale(-1).plus((e - 1).max(0)),
            5 => row,
            6 => lane.div(3, &|_| None).add(&row),
            7 => lane.plus(5).rem(4, &|_| None).scale(2),
            _ => lane.scale(2).plus(1).div(1 + self.random.below(5) as i64, &|_| None),
        };
        let base = base.plus(self.random.below(20) as i64);
        if nested && self.random.chance(70) { base.add(&Index::var(INNER).scale(7)) } else { base }
    }

    fn load(&mut self, body: &mut Body, nested: bool) -> (ValueId, DType) {
        let types = self.types.clone();
        let dtype = self.random.of(&types);
        let param = self.input(dtype);
        let mut index = self.index(nested);
        let mut guard = None;
        if self.random.chance(25) {
            // Inside 0..LEN after a shift, as a padded convolution asks.
            let shifted = index.plus(self.random.below(40) as i64 - 30);
            let at = body.let_(DType::I32, Expr::Index(shifted.clone()));
            let bound = self.random.of(&[0, 20]);
            let zero = body.let_(DType::I32, Expr::Constant(Scalar::I32(bound)));
            guard = Some(body.op(DType::Bool, ScalarOp::Compare(Comparison::Ge), &[at, zero]));
            index = shifted;
        } else if !self.contiguous() && self.random.chance(12) {
            let source = self.input(DType::I32);
            let raw = body.load(DType::I32, source, index.clone());
            let mask = body.let_(DType::I32, Expr::Constant(Scalar::I32(63)));
            let gathered = body.op(DType::I32, ScalarOp::And, &[raw, mask]);
            index = index.add(&Index::value(gathered.0).scale(2));
        }
        (body.let_(dtype, Expr::Load { param, index, guard }), dtype)
    }

    fn operation(&mut self, body: &mut Body, pool: &[(ValueId, DType)]) -> Option<(ValueId, DType)> {
        use ScalarOp::*;
        let ops = [
            Neg, Abs, Sqrt, Floor, Ceil, Trunc, Round, Not, Add, Add, Sub, Mul, Mul, Div, Rem, Max, Min, And,
            Or, Xor, Shl, Shr, ShrLogical, MulHigh, Fma, Fma, Select, Select,
        ];
        let op = match self.random.below(11) {
            3 => Function(self.random.of(&crate::scalar::Function::ALL)),
            0 => Compare(self.random.of(&Comparison::ALL)),
            1 => Convert(self.random.of(&self.types.clone())),

            2 => Bitcast(self.random.of(&self.types.clone())),
            _ => self.random.of(&ops),
        };
        for _ in 0..4 {
            let args: Vec<(ValueId, DType)> = (0..op.arity()).map(|_| self.random.of(pool)).collect();
            let types: Vec<DType> = args.iter().map(|a| a.1).collect();
            let narrow =
                self.plain && (types[0] == DType::U8 || matches!(op, Div | Rem) && types[0] != DType::F32);
            if narrow || self.plain && op == Rem {
                return None;
            }
            if let Ok(result) = op.result(&types) {
                let ids: Vec<ValueId> = args.iter().map(|a| a.0).collect();
                return Some((body.op(result, op, &ids), result));
            }
        }
        None
    }

    /// A value to combine: `bf16` only stores.
    fn number(&mut self, pool: &[(ValueId, DType)]) -> Option<(ValueId, DType)> {
        let numbers: Vec<_> = pool.iter().filter(|value| !value.1.is_storage()).copied().collect();
        (!numbers.is_empty()).then(|| self.random.of(&numbers))
    }

    fn combine(&mut self, dtype: DType) -> Combine {
        loop {
            let combine = self.random.of(&Combine::ALL);
            let fits = match combine {
                Combine::And | Combine::Or => !dtype.is_float(),
                Combine::Add | Combine::Mul => dtype != DType::Bool,
                _ => true,
            };
            if fits {
                return combine;
            }
        }
    }

    /// Straight-line lane code; gives the values it computes.
    fn lane_code(
        &mut self,
        body: &mut Body,
        outer: &[(ValueId, DType)],
        nested: bool,
    ) -> Vec<(ValueId, DType)> {
        let mut pool = outer.to_vec();
        // Sometimes more values than registers.
        let many = self.random.chance(15);
        let (loads, ops) = if many { (14, 30) } else { (4, 9) };
        for _ in 0..1 + self.random.below(loads) {
            pool.push(self.load(body, nested));
        }
        if self.random.chance(30) {
            let dtype = self.random.of(&[DType::I32, if self.plain { DType::I32 } else { DType::I64 }]);
            let index = self.index(nested);
            pool.push((body.let_(dtype, Expr::Index(index)), dtype));
        }
        if self.random.chance(50) {
            let types = self.types.clone();
            let dtype = self.random.of(&types);
            let scalar = self.random.scalar(dtype);
            pool.push((body.let_(dtype, Expr::Constant(scalar)), dtype));
        }
        for _ in 0..self.random.below(ops) {
            pool.extend(self.operation(body, &pool));
        }
        pool
    }

    /// Sometimes a reduction within each iteration.
    fn inner_reduction(&mut self, strip: &mut Body, pool: &mut Vec<(ValueId, DType)>) {
        let Some((_, dtype)) = self.number(pool).filter(|_| self.random.chance(40)) else { return };
        let combine = self.combine(dtype);
        let acc = AccId(self.accs);
        self.accs += 1;
        let lanes = 1;
        strip.stmts.push(Stmt::Declare { acc, dtype, combine, lanes });
        let mut inner = Body::starting(strip.next);
        let inside = self.lane_code(&mut inner, pool, true);
        let fitting: Vec<ValueId> = inside.iter().filter(|v| v.1 == dtype).map(|v| v.0).collect();
        inner.stmts.push(Stmt::Accumulate { acc, value: self.random.of(&fitting) });
        strip.next = inner.next;
        strip.stmts.push(Stmt::For { var: INNER, extent: self.inner, body: inner.stmts });
        let id = ValueId(strip.next);
        strip.next += 1;
        strip.stmts.push(Stmt::Finish { id, acc });
        pool.push((id, dtype));
    }

    /// Reductions over the strip, declared before it.
    fn reductions(
        &mut self,
        outer: &mut Body,
        strip: &mut Body,
        pool: &[(ValueId, DType)],
    ) -> Vec<(AccId, DType)> {
        let mut declared = Vec::new();
        for _ in 0..self.random.below(3) {
            let Some((value, dtype)) = self.number(pool) else { break };
            let combine = self.combine(dtype);
            let acc = AccId(self.accs);
            self.accs += 1;
            let lanes = self.random.of(&[32, 32, 32, if self.plain { 32 } else { 1 }]);
            outer.stmts.push(Stmt::Declare { acc, dtype, combine, lanes });
            strip.stmts.push(Stmt::Accumulate { acc, value });
            declared.push((acc, dtype));
        }
        declared
    }

    /// What the strip stores, each parameter once: contiguous, strided, reversed, in place.
    fn stores(&mut self, strip: &mut Body, pool: &[(ValueId, DType)]) {
        let own = Index::var(ROW).scale(self.extent as i64).add(&Index::var(LANE));
        for _ in 0..1 + self.random.below(2) {
            let (value, dtype) = self.random.of(pool);
            let (index, len) = match if self.contiguous() { 3 } else { self.random.below(4) } {
                0 => (own.scale(2).plus(1), 2 * self.rows * self.extent + 2),
                1 => (own.scale(-1).plus((self.rows * self.extent) as i64), self.rows * self.extent + 1),
                _ => (own.clone(), self.rows * self.extent),
            };
            let in_place = self.random.chance(30) && !dtype.is_storage();
            self.params.push(param(dtype, len, if in_place { Access::ReadWrite } else { Access::Write }));
            let p = self.params.len() - 1;
            let mut value = value;
            if in_place {
                let old = strip.load(dtype, p, index.clone());
                let op = if dtype == DType::Bool { ScalarOp::Xor } else { ScalarOp::Sub };
                value = strip.op(dtype, op, &[value, old]);
            }
            strip.store(p, index, value);
        }
    }

    /// The kernel of the seed.
    pub fn kernel(mut self) -> Kernel {
        let mut outer = Body::default();
        // Values and accumulators before the strip.
        let mut uniform = Vec::new();
        if self.random.chance(40) {
            let types = self.types.clone();
            let dtype = self.random.of(&types);
            let param = self.input(dtype);
            uniform.push((outer.load(dtype, param, Index::var(ROW).plus(2)), dtype));
        }
        let mut strip = Body::starting(outer.next);
        let mut pool = self.lane_code(&mut strip, &uniform, false);
        self.inner_reduction(&mut strip, &mut pool);
        let reductions = self.reductions(&mut outer, &mut strip, &pool);
        self.stores(&mut strip, &pool);
        outer.next = strip.next;
        outer.stmts.push(Stmt::Strip { var: LANE, extent: self.extent, body: strip.stmts });
        for (acc, dtype) in reductions {
            let id = ValueId(outer.next);
            outer.next += 1;
            outer.stmts.push(Stmt::Finish { id, acc });
            self.params.push(param(dtype, self.rows, Access::Write));
            outer.store(self.params.len() - 1, Index::var(ROW), id);
        }
        // Rows by the grid, or by a loop.
        let (grid, body) = if self.random.chance(60) {
            (vec![self.rows], outer.stmts)
        } else {
            (vec![], vec![Stmt::For { var: ROW, extent: self.rows, body: outer.stmts }])
        };
        kernel(self.params, grid, body)
    }
}
