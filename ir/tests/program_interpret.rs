//! The kernel program's interpreter against results worked out by hand.

use brolga_ir::index::Index;
use brolga_ir::program::interpret::{Interpreter, run, run_kernel};
use brolga_ir::program::*;
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::tensor::Data;
use brolga_ir::{DType, Tensor, Type};

fn param(dtype: DType, len: usize, access: Access) -> Param {
    Param { dtype, len, access }
}

fn load(id: u32, dtype: DType, param: usize, index: Index) -> Stmt {
    Stmt::Let { id: ValueId(id), dtype, expr: Expr::Load { param, index, guard: None } }
}

fn op(id: u32, dtype: DType, op: ScalarOp, operands: &[u32]) -> Stmt {
    let operands = operands.iter().map(|&v| ValueId(v)).collect();
    Stmt::Let { id: ValueId(id), dtype, expr: Expr::Op(op, operands) }
}

fn store(param: usize, index: Index, value: u32) -> Stmt {
    Stmt::Store { param, index, value: ValueId(value) }
}

fn kernel(name: &str, params: Vec<Param>, grid: &[usize], body: Vec<Stmt>) -> Kernel {
    Kernel { name: name.into(), params, grid: grid.into(), body }
}

/// `y[i] = x[i] + x[i]`, in place or not.
fn double(len: usize) -> Kernel {
    let i = Index::var(0);
    kernel(
        "double",
        vec![param(DType::F32, len, Access::Read), param(DType::F32, len, Access::Write)],
        &[],
        vec![Stmt::Strip {
            var: 0,
            extent: len,
            body: vec![
                load(0, DType::F32, 0, i.clone()),
                op(1, DType::F32, ScalarOp::Add, &[0, 0]),
                store(1, i, 1),
            ],
        }],
    )
}

/// A sum over 70 elements with that many lanes.
fn sum(lanes: u32) -> Kernel {
    let body =
        vec![load(0, DType::F32, 0, Index::var(0)), Stmt::Accumulate { acc: AccId(0), value: ValueId(0) }];
    kernel(
        "sum",
        vec![param(DType::F32, 70, Access::Read), param(DType::F32, 1, Access::Write)],
        &[],
        vec![
            Stmt::Declare { acc: AccId(0), dtype: DType::F32, combine: Combine::Add, lanes },
            Stmt::Strip { var: 0, extent: 70, body },
            Stmt::Finish { id: ValueId(1), acc: AccId(0) },
            store(1, Index::constant(0), 1),
        ],
    )
}

#[test]
fn lanes_and_their_tree_decide_the_bits_of_a_sum() {
    let x: Vec<f32> = (0..70).map(|i| 1.0 / (i as f32 + 0.7)).collect();
    let mut tensors = [Tensor::f32([70], x.clone()), Tensor::f32([1], [0.0])];
    run_kernel(&sum(1), &mut tensors).unwrap();
    let chain = x.iter().fold(0.0, |sum, x| sum + x);
    assert_eq!(tensors[1], Tensor::f32([1], [chain]));

    let mut lanes = [0f32; 32];
    for (i, x) in x.iter().enumerate() {
        lanes[i % 32] += x;
    }
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    run_kernel(&sum(32), &mut tensors).unwrap();
    assert_eq!(tensors[1], Tensor::f32([1], [lanes[0]]));
    assert_ne!(chain, lanes[0], "the two orders should differ on this input");
}

fn tile(m: usize, n: usize, reduce: Vec<TileLoop>, rows: [i64; 2], zero: bool) -> Stmt {
    let panel = |param, row| Panel { param, index: Index::constant(0), row };
    let (a, b, c) = (panel(0, rows[0]), panel(1, 0), panel(2, rows[1]));
    Stmt::Tile(Tile { dtype: DType::F32, m, n, reduce, a, b, c, zero })
}

#[test]
fn a_tile_is_a_chain_of_fused_multiply_adds() {
    let (m, n, k) = (3, 5, 7);
    let value = |i: usize| ((i * 37 % 23) as f32 - 11.0) / 7.0;
    let a: Vec<f32> = (0..m * k).map(value).collect();
    let b: Vec<f32> = (0..k * n).map(|i| value(i + 5)).collect();
    for (zero, reduce) in [
        (true, vec![TileLoop { extent: k, a: 1, b: n as i64 }]),
        // 7 = 1 * 7 in two loops, and an accumulating C.
        (false, vec![TileLoop { extent: 1, a: 99, b: 99 }, TileLoop { extent: k, a: 1, b: n as i64 }]),
    ] {
        let params = vec![
            param(DType::F32, m * k, Access::Read),
            param(DType::F32, k * n, Access::Read),
            param(DType::F32, m * n, Access::ReadWrite),
        ];
        let kernel = kernel("matmul", params, &[], vec![tile(m, n, reduce, [k as i64, n as i64], zero)]);
        let old: Vec<f32> = (0..m * n).map(|i| value(i + 3)).collect();
        let mut tensors = [
            Tensor::f32([m, k], a.clone()),
            Tensor::f32([k, n], b.clone()),
            Tensor::f32([m, n], old.clone()),
        ];
        run_kernel(&kernel, &mut tensors).unwrap();
        let expected = Tensor::generate(&Type::new(DType::F32, [m, n]), |e| {
            let start = if zero { 0.0 } else { old[e] };
            Scalar::F32((0..k).fold(start, |sum, l| a[e / n * k + l].mul_add(b[l * n + e % n], sum)))
        });
        assert_eq!(tensors[2], expected);
    }
}

#[test]
fn a_tile_without_points_stores_zero_or_leaves_c_alone() {
    for (zero, expected) in [(true, 0.0), (false, 4.0)] {
        let params = vec![
            param(DType::F32, 0, Access::Read),
            param(DType::F32, 0, Access::Read),
            param(DType::F32, 2, Access::ReadWrite),
        ];
        let body = vec![tile(1, 2, vec![TileLoop { extent: 0, a: 1, b: 2 }], [0, 2], zero)];
        let mut tensors = [Tensor::f32([0], []), Tensor::f32([0], []), Tensor::f32([2], [4.0, 4.0])];
        run_kernel(&kernel("empty", params, &[], body), &mut tensors).unwrap();
        assert_eq!(tensors[2], Tensor::f32([2], [expected, expected]));
    }
}

fn buffer(name: &str, ty: Type, place: Place) -> Buffer {
    Buffer::new(name, ty, place)
}

fn call(kernel: u32, args: &[(u32, usize, &[i64])]) -> Step {
    let args = args
        .iter()
        .map(|&(b, offset, strides)| Arg { buffer: BufferId(b), offset, strides: strides.into() })
        .collect();
    Step::Call(Call { kernel: KernelId(kernel), args, parallel: false, origin: "layer".into() })
}

#[test]
fn schedule_loops_move_arguments() {
    // y[t] = 2 x[t] row by row, rows of y in reverse order.
    let ty = Type::new(DType::F32, [3, 2]);
    let program = Program {
        name: "rows".into(),
        buffers: vec![buffer("x", ty.clone(), Place::Input { range: None }), buffer("y", ty, Place::Output)],
        kernels: vec![double(2)],
        schedule: vec![Step::Loop { extent: 3, body: vec![call(0, &[(0, 0, &[2]), (1, 4, &[-2])])] }],
        ..Program::default()
    };
    let x = Tensor::f32([3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = run(&program, &[x], &mut []).unwrap();
    assert_eq!(y, [Tensor::f32([3, 2], [10.0, 12.0, 6.0, 8.0, 2.0, 4.0])]);
}

fn bools(values: &[bool]) -> Tensor {
    Tensor::new([values.len()], Data::Bool(values.to_vec()))
}

#[test]
fn loops_end_and_branches_are_chosen_by_flags() {
    // y[t] = 2 x[t] or 4 x[t] for each row, until a flag ends the loop.
    let text = r#"program @rows
      %0 input "x" f32[4, 2]
      %1 input "go" bool[4]
      %2 input "twice" bool[4]
      %3 state "y" f32[4, 2] updated
      kernel @double#0(p0: read f32[2], p1: write f32[2]) grid [] {
        for i0 in 0..2 { v0 = load p0[i0] : f32  v1 = add v0, v0 : f32  store p1[i0] = v1 }
      }
      schedule {
        loop 4 {
          break unless %1 by [1]
          call @double#0(%0 by [2], %3 by [2])
          if %2 + 3 by [-1] { call @double#0(%3 by [2], %3 by [2]) }
        }
      }"#;
    let program = Program::parse(text).unwrap();
    brolga_ir::program::verify::verify(&program).unwrap();
    let x = Tensor::f32([4, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let inputs = [x, bools(&[true, true, false, true]), bools(&[true, true, true, false])];
    let mut state = [Tensor::f32([4, 2], [0.0; 8])];
    run(&program, &inputs, &mut state).unwrap();
    assert_eq!(state, [Tensor::f32([4, 2], [2.0, 4.0, 12.0, 16.0, 0.0, 0.0, 0.0, 0.0])]);
}

/// x -> a -> b -> y through two arena buffers.
fn through_the_arena(a: Option<usize>, b: Option<usize>, arena_bytes: usize) -> Program {
    let ty = Type::new(DType::F32, [4]);
    Program {
        name: "chain".into(),
        buffers: vec![
            buffer("x", ty.clone(), Place::Input { range: None }),
            buffer("a", ty.clone(), Place::Arena(a)),
            buffer("b", ty.clone(), Place::Arena(b)),
            buffer("y", ty, Place::Output),
        ],
        kernels: vec![double(4)],
        schedule: vec![
            call(0, &[(0, 0, &[]), (1, 0, &[])]),
            call(0, &[(0, 0, &[]), (2, 0, &[])]),
            call(0, &[(1, 0, &[]), (3, 0, &[])]),
        ],
        arena_bytes,
        ..Program::default()
    }
}

#[test]
fn planned_buffers_share_the_arena() {
    let x = [Tensor::f32([4], [1.0, 2.0, 3.0, 4.0])];
    let good = [Tensor::f32([4], [4.0, 8.0, 12.0, 16.0])];
    assert_eq!(run(&through_the_arena(None, None, 0), &x, &mut []).unwrap(), good);
    assert_eq!(run(&through_the_arena(Some(0), Some(64), 128), &x, &mut []).unwrap(), good);
    // A plan that lets b overwrite the second half of a shows in the result.
    let bad = run(&through_the_arena(Some(0), Some(8), 128), &x, &mut []).unwrap();
    assert_eq!(bad, [Tensor::f32([4], [4.0, 8.0, 4.0, 8.0])]);
}

/// What one grid point leaves in local memory is not there for the next, whichever that is.
#[test]
fn local_memory_is_undefined_for_every_grid_point() {
    let program = Program::parse(
        r#"
program @p
  %0 input "x" f32[3]
  %1 output "y" f32[3, 2]
kernel @k(p0: read f32[3], p1: write f32[6], p2: local f32[2], p3: local f32[3]) grid [3] {
  v0 = load p0[i0] : f32
  store p2[0] = v0
  store p3[i0] = v0
  for i1 in 0..2 {
    v1 = load p2[i1] : f32
    store p1[2*i0 + i1] = v1
  }
  store p2[1] = v0
}
schedule {
  call @k#0(%0, %1)
}
"#,
    )
    .unwrap();
    verify::verify(&program).unwrap();
    assert_eq!((program.kernels[0].local_offsets(), program.local_bytes()), (vec![0, 64], 128));
    assert_eq!(Program::parse(&program.to_string()).unwrap(), program);
    let x = [Tensor::f32([3], [1.0, 2.0, 3.0])];
    for order in [interpret::GridOrder::Forward, interpret::GridOrder::Reverse] {
        let y = Interpreter::new(&program).unwrap().with_order(order).run(&x, &mut []).unwrap();
        for i in 0..3 {
            assert_eq!(y[0].get(2 * i).to_f64(), i as f64 + 1.0);
            assert!(y[0].get(2 * i + 1).to_f64().is_nan());
        }
    }
    let huge = Kernel::parse("kernel @k(p0: local f32[9999999999]) grid [] { }").unwrap();
    assert!(run_kernel(&huge, &mut []).unwrap_err().message.contains("2^33 bytes"));
    let mut program = program;
    program.kernels[0].params[3].len = 9999999999;
    assert!(Interpreter::new(&program).err().unwrap().message.contains("2^33 bytes"));
}

#[test]
fn memory_that_was_never_written_is_nan() {
    let mut program = through_the_arena(None, None, 0);
    program.schedule.remove(0);
    let y = run(&program, &[Tensor::f32([4], [1.0; 4])], &mut []).unwrap();
    assert!((0..4).all(|i| y[0].get(i).to_f64().is_nan()));
}

#[test]
fn state_is_updated_and_prepared_values_are_made_first() {
    let ty = Type::new(DType::F32, [2]);
    let program = Program {
        name: "step".into(),
        buffers: vec![
            buffer("w", ty.clone(), Place::State { updated: true }),
            buffer("packed", ty.clone(), Place::Prepared(None)),
            buffer("c", ty.clone(), Place::Constant(Tensor::f32([2], [7.0, 8.0]))),
            buffer("y", ty.clone(), Place::Output),
            buffer("z", ty, Place::Output),
        ],
        kernels: vec![double(2)],
        prepare: vec![call(0, &[(0, 0, &[]), (1, 0, &[])])],
        schedule: vec![
            call(0, &[(1, 0, &[]), (0, 0, &[])]),
            call(0, &[(0, 0, &[]), (3, 0, &[])]),
            call(0, &[(2, 0, &[]), (4, 0, &[])]),
        ],
        ..Program::default()
    };
    let interpreter = Interpreter::new(&program).unwrap();
    let mut state = [Tensor::f32([2], [1.0, 3.0])];
    let y = interpreter.run(&[], &mut state).unwrap();
    assert_eq!(state, [Tensor::f32([2], [4.0, 12.0])]);
    assert_eq!(y, [Tensor::f32([2], [8.0, 24.0]), Tensor::f32([2], [14.0, 16.0])]);
    interpreter.run(&[], &mut state).unwrap();
    assert_eq!(state, [Tensor::f32([2], [16.0, 48.0])]);
}

#[test]
fn accesses_outside_a_parameter_are_errors_with_their_place() {
    // Gathers x[v] for an index v that only the run knows; a guard protects the second element.
    let body = vec![
        load(0, DType::I32, 0, Index::var(0)),
        load(1, DType::F32, 1, Index::value(0)),
        store(2, Index::var(0), 1),
    ];
    let params = vec![
        param(DType::I32, 2, Access::Read),
        param(DType::F32, 3, Access::Read),
        param(DType::F32, 2, Access::Write),
    ];
    let gather = kernel("gather", params, &[2], body);
    let mut tensors =
        [Tensor::i32([2], [2, 5]), Tensor::f32([3], [1.0, 2.0, 3.0]), Tensor::f32([2], [0.0, 0.0])];
    let error = run_kernel(&gather, &mut tensors).unwrap_err();
    assert_eq!(error.message, "kernel @gather: load of p1[5], which has 3 elements, at i0 = 1");

    let mut guarded = gather.clone();
    let bound = Stmt::Let { id: ValueId(2), dtype: DType::I32, expr: Expr::Constant(Scalar::I32(3)) };
    let inside = op(3, DType::Bool, ScalarOp::Compare(brolga_ir::scalar::Comparison::Lt), &[0, 2]);
    guarded.body.splice(1..1, [bound, inside]);
    guarded.body[3] = Stmt::Let {
        id: ValueId(1),
        dtype: DType::F32,
        expr: Expr::Load { param: 1, index: Index::value(0), guard: Some(ValueId(3)) },
    };
    run_kernel(&guarded, &mut tensors).unwrap();
    assert_eq!(tensors[2], Tensor::f32([2], [3.0, 0.0]));
}

#[test]
fn more_memory_than_there_is_is_an_error() {
    let mut program = through_the_arena(Some(0), Some(64), 1 << 46);
    let too_much = "the program needs more than the 2^33 bytes that the interpreter allows";
    assert_eq!(run(&program, &[], &mut []).unwrap_err().message, too_much);
    program.arena_bytes = usize::MAX;
    assert_eq!(run(&program, &[], &mut []).unwrap_err().message, too_much);
}

#[test]
fn wrong_tensors_are_errors() {
    let program = through_the_arena(None, None, 0);
    let message = |inputs: &[Tensor]| run(&program, inputs, &mut []).unwrap_err().message;
    assert_eq!(message(&[]), "no tensor is given for buffer \"x\"");
    assert_eq!(
        message(&[Tensor::i32([4], [1; 4])]),
        "buffer \"x\" is f32[4], but a tensor of type i32[4] is given"
    );
    let x = Tensor::f32([4], [1.0; 4]);
    assert_eq!(message(&[x.clone(), x]), "1 inputs and 0 state tensors too many are given");
}

#[test]
fn a_tile_widens_the_bf16_elements_of_b() {
    let (m, n, k) = (2, 3, 5);
    let value = |i: usize| ((i * 37 % 23) as f32 - 11.0) / 7.0;
    let b: Vec<half::bf16> = (0..k * n).map(|i| half::bf16::from_f32(value(i + 5))).collect();
    let reduce = vec![TileLoop { extent: k, a: 1, b: n as i64 }];
    let body = vec![tile(m, n, reduce, [k as i64, n as i64], true)];
    let a = Tensor::f32([m, k], (0..m * k).map(value).collect::<Vec<_>>());
    let run = |b: Tensor| {
        let params = vec![
            param(DType::F32, m * k, Access::Read),
            param(b.dtype(), k * n, Access::Read),
            param(DType::F32, m * n, Access::Write),
        ];
        let mut tensors = [a.clone(), b, Tensor::f32([m, n], vec![0.0; m * n])];
        run_kernel(&kernel("matmul", params, &[], body.clone()), &mut tensors).unwrap();
        tensors[2].clone()
    };
    let widened = Tensor::f32([k, n], b.iter().map(|v| v.to_f32()).collect::<Vec<_>>());
    assert_eq!(run(Tensor::new([k, n], brolga_ir::tensor::Data::Bf16(b))), run(widened));
}
