//! Matrix tiles of many shapes against the interpreter.

use crate::common::{Body, Rng, Values, check, kernel, param};
use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Expr, Kernel, Panel, Stmt, Tile, TileLoop, ValueId};
use brolga_ir::scalar::{Scalar, ScalarOp};

/// A kernel of one tile, its parameters just large enough; B holds elements of type `stored`.
fn tile_kernel(tile: Tile, stored: DType, offset: i64) -> Kernel {
    let reach = |strides: &[(usize, i64)]| -> usize {
        if strides.iter().any(|s| s.0 == 0) {
            return 1;
        }
        strides.iter().map(|&(n, stride)| (n as i64 - 1) * stride).sum::<i64>() as usize + 1 + offset as usize
    };
    let loops = |pick: fn(&TileLoop) -> i64| tile.reduce.iter().map(move |l| (l.extent, pick(l)));
    let a: Vec<_> = loops(|l| l.a).chain([(tile.m, tile.a.row)]).collect();
    let b: Vec<_> = loops(|l| l.b).chain([(tile.n, 1)]).collect();
    let c = [(tile.m, tile.c.row), (tile.n, 1)];
    let access = if tile.zero { Access::Write } else { Access::ReadWrite };
    let params = vec![
        param(tile.dtype, reach(&a), Access::Read),
        param(stored, reach(&b), Access::Read),
        param(tile.dtype, reach(&c), access),
    ];
    let body =
        if tile.reduce.iter().any(|l| l.extent == 0) && !tile.zero { vec![] } else { vec![Stmt::Tile(tile)] };
    kernel(params, vec![], body)
}

fn panel(param: usize, offset: i64, row: i64) -> Panel {
    Panel { param, index: Index::constant(offset), row }
}

#[test]
fn all_small_shapes() {
    let mut random = Rng(11);
    for m in [1, 2, 5, 6, 7, 13] {
        for n in [1, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 40] {
            for k in [0, 1, 3, 4, 7, 8, 13] {
                let zero = (m + n + k) % 3 != 0;
                let tile = Tile {
                    dtype: DType::F32,
                    m,
                    n,
                    reduce: vec![TileLoop { extent: k, a: 1, b: n as i64 }],
                    a: panel(0, 0, k.max(1) as i64),
                    b: panel(1, 0, 0),
                    c: panel(2, 0, n as i64),
                    zero,
                };
                for stored in [DType::F32, DType::Bf16] {
                    let kernel = tile_kernel(tile.clone(), stored, 0);
                    let tensors = random.tensors(&kernel);
                    check(&kernel, &tensors);
                }
            }
        }
    }
}

/// Blocks as large as the registers of any target allow, and what is left beside them.
#[test]
fn tall_and_wide_shapes() {
    let mut random = Rng(23);
    for (m, n) in [(31, 8), (33, 16), (62, 5), (45, 24), (28, 32), (29, 41), (1, 200), (2, 131), (64, 48)] {
        for zero in [true, false] {
            let (k, row) = (9, n as i64 + 3);
            let reduce = vec![TileLoop { extent: 2, a: k, b: k * row }, TileLoop { extent: 9, a: 1, b: row }];
            let (a, b, c) = (panel(0, 1, 2 * k), panel(1, 2, 0), panel(2, 3, row));
            let kernel = tile_kernel(Tile { dtype: DType::F32, m, n, reduce, a, b, c, zero }, DType::F32, 3);
            let tensors = random.tensors(&kernel);
            check(&kernel, &tensors);
        }
    }
}

#[test]
fn random_loops_and_strides() {
    for case in 0..250 {
        let mut random = Rng(1000 + case);
        let depth = random.below(6);
        let reduce: Vec<TileLoop> = (0..depth)
            .map(|_| TileLoop {
                extent: random.of(&[1, 1, 2, 3, 5, 9]),
                a: random.below(7) as i64,
                b: random.below(30) as i64,
            })
            .collect();
        let (m, n) = (1 + random.below(20), 1 + random.below(50));
        let offset = random.below(5) as i64;
        let stored = random.of(&[DType::F32, DType::F32, DType::Bf16, DType::F64]);
        let tile = Tile {
            dtype: if stored == DType::F64 { DType::F64 } else { DType::F32 },
            m,
            n,
            reduce,
            a: panel(0, offset, random.below(9) as i64),
            b: panel(1, offset, 0),
            c: panel(2, offset, (n + random.below(4)) as i64),
            zero: random.chance(50),
        };
        let kernel = tile_kernel(tile, stored, offset);
        let tensors = random.tensors(&kernel);
        check(&kernel, &tensors);
    }
}

/// Tiles that read what the kernel has stored just before, as A and as B, several times.
#[test]
fn operands_that_the_kernel_writes() {
    let (row, column) = (Index::var(0), Index::var(1));
    let mut copy = Body::default();
    let value = copy.load(DType::F32, 0, row.scale(40).add(&column));
    copy.store(1, column.clone(), value);
    let tile = |a: usize, b: usize, c: usize, [m, n, k]: [usize; 3]| {
        Stmt::Tile(Tile {
            dtype: DType::F32,
            m,
            n,
            reduce: vec![TileLoop { extent: k, a: 1, b: n as i64 }],
            a: panel(a, 0, k as i64),
            b: panel(b, 0, 0),
            c: Panel { index: row.scale((m * n) as i64), ..panel(c, 0, n as i64) },
            zero: true,
        })
    };
    let body = vec![
        Stmt::Strip { var: 1, extent: 40, body: copy.stmts },
        tile(1, 2, 3, [5, 6, 8]),
        tile(2, 1, 4, [6, 8, 5]),
    ];
    let params = vec![
        param(DType::F32, 120, Access::Read),
        param(DType::F32, 40, Access::ReadWrite),
        param(DType::F32, 48, Access::Read),
        param(DType::F32, 90, Access::Write),
        param(DType::F32, 144, Access::Write),
    ];
    let kernel = kernel(params, vec![], vec![Stmt::For { var: 0, extent: 3, body }]);
    let tensors = Rng(5).tensors(&kernel);
    check(&kernel, &tensors);
}

/// What a case of [`epilogues`] does behind its tile.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// An operation with an element of a parameter: one for each column, each element, each row, or one for all.
    With(ScalarOp, Other, bool),
    /// An operation with a constant.
    Constant(ScalarOp, f32, bool),
    /// Stores what there is, to the tile's place or to another.
    Store(bool),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Other {
    Column,
    Element,
    Row,
    Single,
}

/// A tile and a loop over its elements behind it, in a loop around both.
fn epilogue_kernel(m: usize, n: usize, k: usize, zero: bool, steps: &[Then]) -> Kernel {
    let (rounds, row) = (3, n as i64 + 5);
    let tensor = rounds * m * row as usize;
    let mut params = vec![
        param(DType::F32, rounds * m * k, Access::Read),
        param(DType::F32, k * n, Access::Read),
        param(DType::F32, tensor, Access::ReadWrite),
    ];
    let (round, i, j) = (Index::var(0), Index::var(1), Index::var(2));
    let element = round.scale(m as i64 * row).add(&i.scale(row)).add(&j);
    let tile = Tile {
        dtype: DType::F32,
        m,
        n,
        reduce: vec![TileLoop { extent: k, a: 1, b: n as i64 }],
        a: Panel { param: 0, index: round.scale((m * k) as i64), row: k as i64 },
        b: panel(1, 0, 0),
        c: Panel { param: 2, index: round.scale(m as i64 * row), row },
        zero,
    };
    let mut head = Vec::new();
    let mut body = Vec::new();
    let mut count = 0;
    let mut value = |block: &mut Vec<Stmt>, expr: Expr| {
        count += 1;
        block.push(Stmt::Let { id: ValueId(count), dtype: DType::F32, expr });
        ValueId(count)
    };
    let load = |param: usize, index: Index| Expr::Load { param, index, guard: None };
    let mut sum = value(&mut body, load(2, element.clone()));
    for step in steps {
        let (op, other, turned) = match *step {
            Then::With(op, other, turned) => {
                let (len, index) = match other {
                    Other::Column => (n, j.clone()),
                    Other::Element => (tensor, element.clone()),
                    Other::Row => (m, i.clone()),
                    Other::Single => (rounds, round.clone()),
                };
                params.push(param(DType::F32, len, Access::Read));
                (op, value(&mut body, load(params.len() - 1, index)), turned)
            }
            Then::Constant(op, constant, turned) => {
                (op, value(&mut head, Expr::Constant(Scalar::F32(constant))), turned)
            }
            Then::Store(own) => {
                let to = if own { 2 } else { params.len() };
                if !own {
                    params.push(param(DType::F32, tensor, Access::Write));
                }
                body.push(Stmt::Store { param: to, index: element.clone(), value: sum });
                continue;
            }
        };
        let args = if turned { vec![other, sum] } else { vec![sum, other] };
        sum = value(&mut body, Expr::Op(op, args));
    }
    let strip = Stmt::Strip { var: 2, extent: n, body };
    let rows = Stmt::For { var: 1, extent: m, body: vec![strip] };
    head.push(Stmt::For { var: 0, extent: rounds, body: vec![Stmt::Tile(tile), rows] });
    kernel(params, vec![], head)
}

/// Chains that stay in registers and some that do not, over whole and ragged blocks.
#[test]
fn epilogues() {
    use Other::{Column, Element, Row, Single};
    use ScalarOp::{Add, Div, Max, Min, Mul, Sub};
    use Then::{Constant, Store, With};
    let cases: [&[Then]; 9] = [
        &[With(Add, Column, false), With(Add, Element, false), Constant(Max, 0.0, true), Store(true)],
        &[With(Mul, Column, false), With(Sub, Element, true), Constant(Min, 0.5, false), Store(true)],
        &[With(Sub, Row, false), With(Mul, Single, true), Store(true)],
        &[Store(false), Constant(Sub, 1.0, true), Store(true)],
        &[With(Add, Element, false), Store(false)],
        &[Store(true), With(Max, Column, true), Store(false), Constant(Mul, -2.0, false), Store(false)],
        &[With(Div, Column, false), Store(true)],
        &[With(Add, Element, false), With(Add, Element, false), With(Add, Element, false), Store(true)],
        &[Store(true)],
    ];
    let mut random = Rng(17);
    for (number, steps) in cases.into_iter().enumerate() {
        for (m, n, k) in
            [(1, 16, 5), (7, 8, 40), (6, 17, 3), (13, 16, 64), (3, 5, 1), (29, 24, 9), (2, 43, 30)]
        {
            let kernel = epilogue_kernel(m, n, k, (number + m) % 3 != 0, steps);
            let tensors = random.tensors(&kernel);
            check(&kernel, &tensors);
        }
    }
}
