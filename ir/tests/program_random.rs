//! Random kernels: valid ones are accepted, read back from their text, and do not depend on the order of grid points;
//! damaged ones are refused or run, but never panic.

use brolga_ir::index::Index;
use brolga_ir::literal::Elements;
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::program::verify::verify;
use brolga_ir::program::*;
use brolga_ir::scalar::{Comparison, Function, Scalar, ScalarOp};
use brolga_ir::{DType, Tensor, Type};
use proptest::prelude::*;

/// Decisions that proptest makes and shrinks; 0 once they are used up.
struct Choices<'c>(std::slice::Iter<'c, u32>);

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |&c| c as usize % n)
    }

    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

/// Elements of every buffer: the inputs f32 and i32, and the output.
const LEN: usize = 48;
const OPS: [ScalarOp; 24] = [
    ScalarOp::Add,
    ScalarOp::Sub,
    ScalarOp::Mul,
    ScalarOp::Div,
    ScalarOp::Rem,
    ScalarOp::Max,
    ScalarOp::Min,
    ScalarOp::And,
    ScalarOp::Xor,
    ScalarOp::Shl,
    ScalarOp::ShrLogical,
    ScalarOp::MulHigh,
    ScalarOp::Fma,
    ScalarOp::Select,
    ScalarOp::Neg,
    ScalarOp::Not,
    ScalarOp::Sqrt,
    ScalarOp::Function(Function::Exp),
    ScalarOp::Compare(Comparison::Lt),
    ScalarOp::Compare(Comparison::Ne),
    ScalarOp::Convert(DType::I32),
    ScalarOp::Convert(DType::F64),
    ScalarOp::Convert(DType::U8),
    ScalarOp::Bitcast(DType::F32),
];

/// A kernel in the making.
struct Maker<'c> {
    choices: Choices<'c>,
    next_value: u32,
    next_acc: u32,
    next_var: u32,
    /// Values and accumulators in sight.
    values: Vec<(ValueId, DType)>,
    accs: Vec<(AccId, DType, bool)>,
    /// Variables in sight, with extents.
    vars: Vec<(u32, usize)>,
    /// The element that this iteration of grid and strip may store, and how many from there on.
    own: (Index, usize),
    strip: bool,
    depth: usize,
}

impl Maker<'_> {
    fn define(&mut self, dtype: DType) -> ValueId {
        let id = ValueId(self.next_value);
        self.next_value += 1;
        self.values.push((id, dtype));
        id
    }

    fn assign(&mut self, dtype: DType, expr: Expr, body: &mut Vec<Stmt>) -> ValueId {
        let id = self.define(dtype);
        body.push(Stmt::Let { id, dtype, expr });
        id
    }

    fn some_value(&mut self, dtype: DType, body: &mut Vec<Stmt>) -> ValueId {
        let fitting: Vec<ValueId> = self.values.iter().filter(|v| v.1 == dtype).map(|v| v.0).collect();
        if !fitting.is_empty() && self.choices.below(4) > 0 {
            return self.choices.of(&fitting);
        }
        let constants = [0.0, 1.0, -1.5, f64::NAN, f64::INFINITY, 1e-40, 3e38, 7.25];
        let value = Scalar::from_f64(dtype, self.choices.of(&constants));
        self.assign(dtype, Expr::Constant(value), body)
    }

    /// An index that stays in `0..LEN`.
    fn index(&mut self, body: &mut Vec<Stmt>) -> Index {
        let range = |vars: &[(u32, usize)]| {
            let vars = vars.to_vec();
            move |atom: &brolga_ir::index::Atom| match atom {
                brolga_ir::index::Atom::Var(var) => {
                    vars.iter().find(|v| v.0 == *var).map(|v| (0, v.1.max(1) as i64 - 1))
                }
                _ => None,
            }
        };
        let mut index = Index::constant(self.choices.below(LEN) as i64);
        for (var, _) in self.vars.clone() {
            index = index.add(&Index::var(var).scale(self.choices.below(9) as i64 - 4));
        }
        match self.choices.below(4) {
            0 => {
                let value = self.some_value(DType::I32, body);
                index = index.add(&Index::value(value.0));
            }
            1 => index = index.div(1 + self.choices.below(5) as i64, &range(&self.vars)),
            _ => {}
        }
        index.rem(LEN as i64, &range(&self.vars))
    }

    fn block(&mut self, statements: usize) -> Vec<Stmt> {
        let (values, accs, vars) = (self.values.len(), self.accs.len(), self.vars.len());
        let mut body = Vec::new();
        self.depth += 1;
        for _ in 0..statements {
            if self.choices.0.len() == 0 {
                break;
            }
            self.statement(&mut body);
        }
        self.depth -= 1;
        self.values.truncate(values);
        self.accs.truncate(accs);
        self.vars.truncate(vars);
        body
    }

    fn statement(&mut self, body: &mut Vec<Stmt>) {
        let nest = self.depth < 4;
        match self.choices.below(11) {
            0 if nest => {
                let (var, extent) = self.bind(5);
                let inside = 1 + self.choices.below(4);
                self.vars.push((var, extent));
                let inner = self.block(inside);
                self.vars.pop();
                body.push(Stmt::For { var, extent, body: inner });
            }
            1 if nest && !self.strip && self.own.1 > 1 => {
                let (var, extent) = self.bind(self.own.1 + 1);
                let own = (self.own.0.add(&Index::var(var)), 1);
                let outside = std::mem::replace(&mut self.own, own);
                self.strip = true;
                self.vars.push((var, extent));
                let inside = 1 + self.choices.below(6);
                let inner = self.block(inside);
                self.vars.pop();
                self.strip = false;
                self.own = outside;
                body.push(Stmt::Strip { var, extent, body: inner });
            }
            2 if nest && !self.strip => {
                let condition = self.some_value(DType::Bool, body);
                let counts = [1 + self.choices.below(3), self.choices.below(3)];
                let [then, otherwise] = counts.map(|n| self.block(n));
                body.push(Stmt::If { condition, then, otherwise });
            }
            3 => {
                let dtype = self.choices.of(&[DType::F32, DType::I32, DType::F64]);
                let combine = self.choices.of(&[Combine::Add, Combine::Mul, Combine::Max, Combine::Min]);
                let lanes = if self.strip { 1 } else { self.choices.of(&[1, 32]) };
                let acc = AccId(self.next_acc);
                self.next_acc += 1;
                self.accs.push((acc, dtype, self.strip));
                body.push(Stmt::Declare { acc, dtype, combine, lanes });
            }
            4 | 5 if !self.accs.is_empty() => {
                let accs = self.accs.clone();
                let (acc, dtype, own) = self.choices.of(&accs);
                if self.choices.below(2) == 0 && (own || !self.strip) {
                    let id = self.define(dtype);
                    body.push(Stmt::Finish { id, acc });
                } else {
                    let value = self.some_value(dtype, body);
                    body.push(Stmt::Accumulate { acc, value });
                }
            }
            6 => {
                let (param, dtype) = self.choices.of(&[(0, DType::F32), (1, DType::I32)]);
                let index = self.index(body);
                let guard = (self.choices.below(3) == 0).then(|| self.some_value(DType::Bool, body));
                self.assign(dtype, Expr::Load { param, index, guard }, body);
            }
            7 => {
                let value = self.some_value(DType::F32, body);
                body.push(Stmt::Store { param: 2, index: self.own.0.clone(), value });
            }
            8 => {
                let index = self.index(body);
                let dtype = self.choices.of(&[DType::I32, DType::I64, DType::U8]);
                self.assign(dtype, Expr::Index(index), body);
            }
            _ => {
                let op = self.choices.of(&OPS);
                let first = self.choices.of(&DType::ALL);
                let mut types = vec![first; op.arity()];
                if op == ScalarOp::Select {
                    types[0] = DType::Bool;
                }
                if let Ok(result) = op.result(&types) {
                    let operands = types.into_iter().map(|t| self.some_value(t, body)).collect();
                    self.assign(result, Expr::Op(op, operands), body);
                }
            }
        }
    }

    fn bind(&mut self, below: usize) -> (u32, usize) {
        let var = self.next_var;
        self.next_var += 1;
        (var, self.choices.below(below))
    }
}

/// One kernel over a grid of four points, each of which owns twelve elements of the output, called once; then a tile
/// over what it stored.
fn program(choices: &[u32]) -> Program {
    let mut maker = Maker {
        choices: Choices(choices.iter()),
        next_value: 0,
        next_acc: 0,
        next_var: 1,
        values: Vec::new(),
        accs: Vec::new(),
        vars: vec![(0, 4)],
        own: (Index::var(0).scale(12), 12),
        strip: false,
        depth: 0,
    };
    let parallel = maker.choices.below(2) == 1;
    let body = maker.block(30);
    let param = |dtype, access| Param { dtype, len: LEN, access };
    let kernel = Kernel {
        name: "random".into(),
        params: vec![
            param(DType::F32, Access::Read),
            param(DType::I32, Access::Read),
            param(DType::F32, Access::Write),
        ],
        grid: vec![4],
        body,
    };
    let panel = |param, row| Panel { param, index: Index::constant(0), row };
    let tile = Stmt::Tile(Tile {
        dtype: DType::F32,
        m: 4,
        n: 6,
        reduce: vec![TileLoop { extent: 2, a: 4, b: 24 }, TileLoop { extent: 4, a: 1, b: 6 }],
        a: panel(0, 8),
        b: panel(1, 0),
        c: panel(2, 6),
        zero: true,
    });
    let matmul = Kernel {
        name: "matmul".into(),
        params: vec![
            param(DType::F32, Access::Read),
            param(DType::F32, Access::Read),
            param(DType::F32, Access::Write),
        ],
        grid: vec![],
        body: vec![tile],
    };
    let buffer = |name: &str, dtype, place| Buffer::new(name, Type::new(dtype, [LEN]), place);
    let call = |kernel, parallel, args: [u32; 3]| {
        let args = args.map(|b| Arg { buffer: BufferId(b), offset: 0, strides: vec![] }).to_vec();
        Step::Call(Call { kernel: KernelId(kernel), args, parallel, origin: "random".into() })
    };
    Program {
        name: "random".into(),
        buffers: vec![
            buffer("x", DType::F32, Place::Input { range: None }),
            buffer("ids", DType::I32, Place::Input { range: Some((0, 9)) }),
            buffer("h", DType::F32, Place::Arena(None)),
            buffer("y", DType::F32, Place::Output),
        ],
        kernels: vec![kernel, matmul],
        schedule: vec![call(0, parallel, [0, 1, 2]), call(1, false, [0, 2, 3])],
        ..Program::default()
    }
}

fn inputs() -> [Tensor; 2] {
    let x =
        Tensor::generate(&Type::new(DType::F32, [LEN]), |i| Scalar::F32((i * 29 % 17) as f32 / 4.0 - 2.0));
    let ids = Tensor::generate(&Type::new(DType::I32, [LEN]), |i| Scalar::I32((i * 7 % 10) as i32));
    [x, ids]
}

fn run(program: &Program, order: GridOrder) -> Result<String, String> {
    let interpreter = Interpreter::new(program).map_err(|e| e.to_string())?.with_order(order);
    let outputs = interpreter.run(&inputs(), &mut []).map_err(|e| e.to_string())?;
    Ok(outputs.iter().map(|t| Elements(t).to_string()).collect())
}

/// Iterations of the deepest loop nest.
fn work(statements: &[Stmt]) -> usize {
    let one = |s: &Stmt| match s {
        Stmt::For { extent, body, .. } | Stmt::Strip { extent, body, .. } => {
            extent.saturating_mul(work(body))
        }
        Stmt::If { then, otherwise, .. } => work(then).saturating_add(work(otherwise)),
        Stmt::Tile(t) => t.reduce.iter().fold(t.m.saturating_mul(t.n), |n, l| n.saturating_mul(l.extent)),
        _ => 1,
    };
    statements.iter().map(one).fold(1, usize::saturating_add)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_programs_are_accepted_and_read_back(choices in prop::collection::vec(any::<u32>(), 0..1200)) {
        let program = program(&choices);
        prop_assert_eq!(verify(&program).map_err(|e| format!("{e} in:\n{program}")), Ok(()));
        let text = program.to_string();
        let again = Program::parse(&text).map_err(|e| TestCaseError::fail(format!("{e} in:\n{text}")))?;
        prop_assert_eq!(again.to_string(), text);
        prop_assert_eq!(format!("{again:?}"), format!("{program:?}"));
        prop_assert_eq!(run(&program, GridOrder::Forward), run(&again, GridOrder::Reverse), "{}", program);
    }

    #[test]
    fn damaged_programs_never_panic(
        choices in prop::collection::vec(any::<u32>(), 0..1200),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, 0..10u32), 1..4),
    ) {
        let mut lines: Vec<String> = program(&choices).to_string().lines().map(str::to_string).collect();
        for (at, how, digit) in damage {
            let line = at.index(lines.len());
            match how {
                0 => drop(lines.remove(line)),
                1 => lines.insert(line, lines[line].clone()),
                2 => {
 let next = (line + 1) % lines.len();
 lines.swap(line, next);
 }
                _ => {
                    let digits: Vec<usize> =
                        lines[line].match_indices(|c: char| c.is_ascii_digit()).map(|(i, _)| i).collect();
                    if !digits.is_empty() {
                        let i = digits[at.index(digits.len())];
                        lines[line].replace_range(i..=i, &digit.to_string());
                    }
                }
            }
        }
        if let Ok(program) = Program::parse(&lines.join("\n")) {
            let work = program.kernels.iter().map(|k| k.parts().saturating_mul(work(&k.body)));
            if work.fold(0, usize::saturating_add) < 100_000 {
                let verified = verify(&program);
                let ran = run(&program, GridOrder::Forward);
                // Nothing that the verifier accepts is malformed to the interpreter; accesses may still fail.
                if let (Ok(()), Err(message)) = (verified, ran) {
                    let expected = ["load of", "store to", "tile:", "no tensor", "too many", "is given", "must lie"];
                    prop_assert!(expected.iter().any(|e| message.contains(e)), "{}", message);
                }
            }
        }
    }
}
