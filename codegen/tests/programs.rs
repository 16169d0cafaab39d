//! Whole programs: schedules with loops, all kinds of memory, threads, many kernels.

use crate::common;

use crate::common::{Body, Rng, Values, check_program, compile, kernel, param, run_compiled, same, targets};
use brolga_codegen::{
    ObjectRequest, Options, StateTensor, TargetCpu, TargetTriple, compile_all, emit_object, listing,
};
use brolga_ir::index::Index;
use brolga_ir::program::{
    Access, Arg, Buffer, BufferId, Call, Expr, Kernel, KernelId, Panel, Place, Program, Step, Stmt, Tile,
    TileLoop,
};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{DType, Tensor, Type};
use brolga_runtime::SlotKind;

fn buffer(name: &str, dims: &[usize], place: Place) -> Buffer {
    Buffer::new(name, Type::new(DType::F32, dims), place)
}

fn arg(buffer: u32) -> Arg {
    Arg { buffer: BufferId(buffer), offset: 0, strides: Vec::new() }
}

fn call(kernel: u32, args: Vec<Arg>) -> Step {
    Step::Call(Call { kernel: KernelId(kernel), args, parallel: false, origin: String::new() })
}

/// `out[i] = op(a[i], b[i])` over `rows` parts of `n` elements.
fn binary(op: ScalarOp, rows: usize, n: usize) -> Kernel {
    let len = rows * n;
    let index = Index::var(0).scale(n as i64).add(&Index::var(1));
    let mut body = Body::default();
    let a = body.load(DType::F32, 0, index.clone());
    let b = body.load(DType::F32, 1, index.clone());
    let sum = body.op(DType::F32, op, &[a, b]);
    body.store(2, index, sum);
    let params = vec![
        param(DType::F32, len, Access::Read),
        param(DType::F32, len, Access::Read),
        param(DType::F32, len, Access::Write),
    ];
    kernel(params, vec![rows], vec![Stmt::Strip { var: 1, extent: n, body: body.stmts }])
}

/// `c = a b` for matrices of 20 x 30 and 30 x 25.
fn product() -> Kernel {
    let panel = |param, row| Panel { param, index: Index::constant(0), row };
    let tile = Tile {
        dtype: DType::F32,
        m: 20,
        n: 25,
        reduce: vec![TileLoop { extent: 30, a: 1, b: 25 }],
        a: panel(0, 30),
        b: panel(1, 0),
        c: panel(2, 25),
        zero: true,
    };
    let params = vec![
        param(DType::F32, 600, Access::Read),
        param(DType::F32, 750, Access::Read),
        param(DType::F32, 500, Access::Write),
    ];
    kernel(params, vec![], vec![Stmt::Tile(tile)])
}

/// Running sums backwards, of 3 rows of 100 elements, by way of local memory.
fn backwards() -> Kernel {
    Kernel::parse(
        "kernel @backwards(p0: read f32[300], p1: readwrite f32[300], p2: local f32[100], p3: local i32[3], \
         p4: local f32[101]) grid [3] {
           strip i1 in 0..100 {
             v0 = load p0[100*i0 + i1] : f32
             store p2[i1] = v0
           }
           v1 = constant 0.0 : f32
           v2 = constant 99 : i32
           store p3[2] = v2
           store p4[100] = v1
           for i2 in 0..100 {
             v3 = load p3[2] : i32
             v4 = load p2[v3] : f32
             v5 = load p4[v3 + 1] : f32
             v6 = add v4, v5 : f32
             store p4[v3] = v6
             v7 = constant 1 : i32
             v8 = sub v3, v7 : i32
             store p3[2] = v8
           }
           strip i3 in 0..100 {
             v9 = load p4[i3] : f32
             v10 = load p1[100*i0 + i3] : f32
             v11 = add v9, v10 : f32
             store p1[100*i0 + i3] = v11
           }
         }",
    )
    .unwrap()
}

/// Every kind of memory, a prepared value, a schedule loop with moving places, and a product.
pub fn everything() -> Program {
    let mut random = Rng(77);
    let constant = Tensor::f32([500], (0..500).map(|i| i as f32 * 0.25 - 50.0).collect::<Vec<_>>());
    let moving = |buffer, stride| Arg { buffer: BufferId(buffer), offset: 0, strides: vec![stride] };
    let _ = random.bits();
    Program {
        name: "everything".into(),
        buffers: vec![
            buffer("x", &[20, 30], Place::Input { range: None }),
            buffer("w", &[30, 25], Place::State { updated: false }),
            buffer("total", &[100], Place::State { updated: true }),
            buffer("y", &[500], Place::Output),
            buffer("c", &[500], Place::Constant(constant)),
            buffer("prepared", &[500], Place::Prepared(Some(0))),
            buffer("product", &[500], Place::Arena(Some(0))),
        ],
        kernels: vec![
            product(),
            binary(ScalarOp::Add, 5, 100),
            binary(ScalarOp::Max, 5, 100),
            Kernel {
                // In place: the third parameter is the first.
                params: vec![param(DType::F32, 100, Access::ReadWrite), param(DType::F32, 100, Access::Read)],
                body: {
                    let mut body = Body::default();
                    let a = body.load(DType::F32, 0, Index::var(0));
                    let b = body.load(DType::F32, 1, Index::var(0));
                    let sum = body.op(DType::F32, ScalarOp::Add, &[a, b]);
                    body.store(0, Index::var(0), sum);
                    vec![Stmt::Strip { var: 0, extent: 100, body: body.stmts }]
                },
                ..kernel(vec![], vec![], vec![])
            },
            backwards(),
        ],
        prepare: vec![call(1, vec![arg(4), arg(4), arg(5)])],
        schedule: vec![
            call(0, vec![arg(0), arg(1), arg(6)]),
            call(2, vec![arg(6), arg(5), arg(3)]),
            Step::Loop { extent: 5, body: vec![call(3, vec![arg(2), moving(6, 100)])] },
            call(4, vec![arg(5), arg(3)]),
            Step::Loop { extent: 3, body: vec![call(4, vec![moving(6, 100), arg(3)])] },
        ],
        arena_bytes: 2048,
        prepared_bytes: 2048,
    }
}

#[test]
fn every_kind_of_memory_and_loops_in_the_schedule() {
    let program = everything();
    let mut random = Rng(5);
    let inputs = [random.tensor(DType::F32, 600).reshaped([20, 30])];
    let state = [random.tensor(DType::F32, 750).reshaped([30, 25]), random.tensor(DType::F32, 100)];
    check_program(&program, &inputs, &state);
}

/// Several programs in one image give the bits that each gives alone, and what is equal in them is there once, though one has
/// more local memory than the other.
#[test]
fn several_programs_in_one_image() {
    let first = everything();
    let mut second = Program { name: "other".into(), ..everything() };
    let twice = "kernel @twice(p0: readwrite f32[100], p1: local f32[5000]) grid [] {
        strip i0 in 0..100 {
          v0 = load p0[i0] : f32
          store p1[i0 + 4900] = v0
        }
        strip i1 in 0..100 {
          v1 = load p1[i1 + 4900] : f32
          v2 = add v1, v1 : f32
          store p0[i1] = v2
        }
      }";
    second.kernels.push(Kernel::parse(twice).unwrap());
    second.schedule.insert(0, call(5, vec![arg(2)]));
    let mut random = Rng(6);
    let inputs = [random.tensor(DType::F32, 600).reshaped([20, 30])];
    let state = [random.tensor(DType::F32, 750).reshaped([30, 25]), random.tensor(DType::F32, 100)];
    for target_cpu in targets() {
        let options = Options::from(target_cpu);
        // SAFETY: programs of these tests are valid, and stay inside their buffers.
        let image = unsafe { compile_all(&[&first, &second], &options).unwrap() };
        let alone = [&first, &second].map(|program| compile(program, &options).unwrap());
        // Five kernels and what walks the tables are shared, and the leaves of these.
        let most = alone.iter().map(|compiled| compiled.functions).sum::<usize>() - 6;
        assert!(image.iter().all(|compiled| compiled.functions <= most), "{target_cpu}");
        if target_cpu == TargetCpu::Portable {
            assert!(image.iter().all(|compiled| compiled.functions == most));
        }
        let [one, other] = [0, 1].map(|i: usize| image[i].executable.manifest());
        assert_eq!(one.constants_bytes, alone[0].executable.manifest().constants_bytes);
        assert_eq!((one.constants_bytes, one.local_bytes), (other.constants_bytes, other.local_bytes));
        for (in_image, alone) in image.into_iter().zip(alone) {
            let program = if alone.executable.manifest().entry == "other" { &second } else { &first };
            let (outputs, after) = run_compiled(in_image, 2, &inputs, &state);
            let (expected, kept) = run_compiled(alone, 2, &inputs, &state);
            for (got, want) in outputs.iter().zip(&expected).chain(after.iter().zip(&kept)) {
                same(got, want, target_cpu.name(), program);
            }
        }
    }
    check_program(&second, &inputs, &state);
}

#[test]
fn parts_in_parallel() {
    let kernel = binary(ScalarOp::Mul, 64, 4099);
    let program = common::program(&kernel);
    let compiled = compile(&program, &Options::default()).unwrap();
    assert!(compiled.executable.manifest().parallel);
    // However much there is to do, it is the program that says so.
    let text = program.to_string().replace(" parallel ", "");
    let serial = Program::parse(&text).unwrap();
    assert!(
        serial != program && !compile(&serial, &Options::default()).unwrap().executable.manifest().parallel
    );
    let tensors = Rng(6).tensors(&kernel);
    check_program(&program, &[], &tensors);
}

/// More grid points than threads, which share local memory: products that are turned, with whatever number of threads.
#[test]
fn local_memory_belongs_to_threads() {
    let kernel = Kernel::parse(
        "kernel @turned(p0: read f32[29696], p1: read f32[1024], p2: write f32[29696], p3: local f32[1024], \
         p4: local f32[1024]) grid [29] {
           tile [32, 32] p3[0; 32] = p0[1024*i0; 32] * p1[0] over (32; 1, 32) : f32
           for i1 in 0..32 {
             strip i2 in 0..32 {
               v0 = load p3[32*i1 + i2] : f32
               v1 = exp v0 : f32
               store p4[i1 + 32*i2] = v1
             }
           }
           strip i3 in 0..1024 {
             v2 = load p4[i3] : f32
             store p2[1024*i0 + i3] = v2
           }
         }",
    )
    .unwrap();
    assert_eq!(kernel.local_bytes(), 8192);
    let program = common::program(&kernel);
    let state = Rng(8).tensors(&kernel);
    check_program(&program, &[], &state);
    let mut expected = state.clone();
    brolga_ir::program::interpret::run(&program, &[], &mut expected).unwrap();
    for threads in [1, 2, 5, 20] {
        for target_cpu in targets() {
            let compiled = compile(&program, &Options::from(target_cpu)).unwrap();
            assert!(compiled.executable.manifest().parallel);
            let (_, after) = common::run_compiled(compiled, threads, &[], &state);
            for (got, want) in after.iter().zip(&expected) {
                common::same(got, want, &format!("{target_cpu}, {threads} threads"), &program);
            }
        }
    }
}

#[test]
fn an_unplanned_program_is_an_error() {
    let mut program = everything();
    program.buffers[6].place = Place::Arena(None);
    let error = compile(&program, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "buffer `product` of `everything` has no address: plan memory first");
}

#[test]
fn an_unknown_processor_is_an_error() {
    let error = "pentium".parse::<TargetCpu>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown target processor `pentium`; known are native, x86-64-v4, x86-64-v3, portable"
    );
}

#[test]
fn listings_have_every_function() {
    // Code for AVX-512 can be written everywhere.
    let all = if cfg!(target_arch = "x86_64") { TargetCpu::ALL.to_vec() } else { targets() };
    for target_cpu in all {
        let list = listing(&everything(), &Options::from(target_cpu)).unwrap();
        let kernels = list.iter().filter(|l| l.name.contains("_kernel")).count();
        assert_eq!(kernels, 5);
        assert!(list.iter().all(|l| !l.assembly.is_empty() && !l.assembly.contains("(bad)")));
        assert!(list.iter().all(|l| l.clif.is_some() || l.name.contains("_leaf")));
        let leaves = list.iter().any(|l| l.name.contains("_leaf"));
        assert_eq!(leaves, target_cpu != TargetCpu::Portable);
    }
}

/// Code for another architecture is written, but not run.
#[test]
fn code_for_another_machine_is_listed() {
    let foreign = TargetTriple::ALL.into_iter().filter(|triple| !triple.is_host());
    for triple in foreign {
        let options = Options { target_cpu: TargetCpu::Native, triple };
        let list = listing(&everything(), &options).unwrap();
        assert!(list.iter().all(|l| l.assembly.lines().count() > 1), "{triple}");
        let error = compile(&everything(), &options).unwrap_err().to_string();
        assert!(error.starts_with(&format!("code for {triple} cannot run here")), "{error}");
    }
}

/// Code for a processor that lacks AVX-512 is written, but not run.
#[test]
#[cfg(target_arch = "x86_64")]
fn code_for_another_processor_is_an_error_only_where_it_runs() {
    let options = Options::from(TargetCpu::X86_64V4);
    let program = everything();
    let kinds = ["w", "total"].map(|name| StateTensor { name, kind: SlotKind::Buffer, fresh: 0.0 });
    let request = ObjectRequest {
        entries: &[(&program, "infer")],
        state: &kinds,
        weights: None,
        symbol: "net",
        targets: &[options],
    };
    assert!(emit_object(&request).is_ok());
    match compile(&everything(), &options) {
        Ok(_) => assert!(targets().contains(&TargetCpu::X86_64V4)),
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("code for target processor x86-64-v4 cannot run here"), "{error}");
            assert!(error.contains("avx512"), "{error}");
        }
    }
}

#[test]
fn code_is_freed_and_made_again() {
    let program = everything();
    for _ in 0..200 {
        compile(&program, &Options::default()).unwrap();
    }
}

/// The forms that the second disassembler lacks: two more have read them.
#[test]
#[cfg(target_arch = "x86_64")]
fn encodings_that_are_checked_by_hand() {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    for (bytes, text) in common::encodings::READ_BY_OTHERS {
        let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        let mut found = String::new();
        IntelFormatter::new().format(&instruction, &mut found);
        assert_eq!((found.as_str(), instruction.len()), (text, bytes.len()));
    }
}

/// Many kernels at once, and one with a long body.
#[test]
fn many_kernels_and_long_ones() {
    let mut random = Rng(12);
    let mut kernels = Vec::new();
    let mut schedule = Vec::new();
    for i in 0..120 {
        let mut body = Body::default();
        let mut value = body.load(DType::F32, 0, Index::var(0));
        for _ in 0..if i == 0 { 2000 } else { 10 } {
            let constant = body.let_(DType::F32, Expr::Constant(random.scalar(DType::F32)));
            let op = random.of(&[ScalarOp::Add, ScalarOp::Max, ScalarOp::Mul]);
            value = body.op(DType::F32, op, &[value, constant]);
        }
        let scale = body.let_(DType::F32, Expr::Constant(Scalar::F32(i as f32)));
        value = body.op(DType::F32, ScalarOp::Sub, &[value, scale]);
        body.store(1, Index::var(0), value);
        let params = vec![param(DType::F32, 50, Access::Read), param(DType::F32, 50, Access::Write)];
        kernels.push(kernel(params, vec![], vec![Stmt::Strip { var: 0, extent: 50, body: body.stmts }]));
        schedule.push(call(i, vec![arg(i), arg(i + 1)]));
    }
    let buffers: Vec<Buffer> =
        (0..121).map(|i| buffer(&format!("b{i}"), &[50], Place::State { updated: i > 0 })).collect();
    let program = Program { name: "many".into(), buffers, kernels, schedule, ..Program::default() };
    let state: Vec<Tensor> = (0..121).map(|_| random.tensor(DType::F32, 50)).collect();
    check_program(&program, &[], &state);
}
