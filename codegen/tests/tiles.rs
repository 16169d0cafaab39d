//! Matrix tiles of many shapes against the interpreter.

mod common;

use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::{Access, Kernel, Panel, Stmt, Tile, TileLoop};
use common::{Body, Random, check, kernel, param};

/// A kernel of one tile, its parameters just large enough.
fn tile_kernel(tile: Tile, offset: i64) -> Kernel {
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
        param(tile.dtype, reach(&b), Access::Read),
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
    let mut random = Random(11);
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
                let kernel = tile_kernel(tile, 0);
                let tensors = random.tensors(&kernel);
                check(&kernel, &tensors);
            }
        }
    }
}

#[test]
fn random_loops_and_strides() {
    for case in 0..250 {
        let mut random = Random(1000 + case);
        let depth = random.below(6);
        let reduce: Vec<TileLoop> = (0..depth)
            .map(|_| TileLoop {
                extent: random.pick(&[1, 1, 2, 3, 5, 9]),
                a: random.below(7) as i64,
                b: random.below(30) as i64,
            })
            .collect();
        let (m, n) = (1 + random.below(20), 1 + random.below(50));
        let offset = random.below(5) as i64;
        let tile = Tile {
            dtype: if random.chance(75) { DType::F32 } else { DType::F64 },
            m,
            n,
            reduce,
            a: panel(0, offset, random.below(9) as i64),
            b: panel(1, offset, 0),
            c: panel(2, offset, (n + random.below(4)) as i64),
            zero: random.chance(50),
        };
        let kernel = tile_kernel(tile, offset);
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
    let tensors = Random(5).tensors(&kernel);
    check(&kernel, &tensors);
}
