//! NaNs have one form in the outputs of entries, whatever made them: outputs are equal in bits on every target and for every
//! number of threads, with NaNs of either sign, with and without payload, in inputs and state, and with those that arise
//! inside (`inf - inf`, `0 * inf`).

use brolga::{CompileOptions, Compiler, TargetCpu};
use brolga_ir::ops::Role;
use brolga_ir::program::Place;
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::scalar::{NAN_F32, NAN_F64, Scalar, ScalarOp};
use brolga_ir::{Builder, DType, Graph, Origin, Tensor, Type};

use crate::common::compiled;

/// Bits of `f32`: NaNs quiet and signalling, with payloads, of either sign; infinities, zeros and numbers.
const BITS: [u32; 13] = [
    0x7fc0_0001,
    0xffc0_0000,
    0x7f80_0001,
    0xff81_2345,
    0xffff_ffff,
    NAN_F32,
    0x7f80_0000,
    0xff80_0000,
    0x0000_0000,
    0x8000_0000,
    0x3f80_0000,
    0xc020_0000,
    0x0000_0001,
];

/// Elements of most tensors: each value meets each, and there is a tail.
const N: usize = BITS.len() * BITS.len();

/// The special values, element `i` of them the one with number `i / stride`.
fn special(ty: &Type, stride: usize) -> Tensor {
    Tensor::generate(ty, |i| {
        let bits = BITS[i / stride % BITS.len()];
        match ty.dtype {
            DType::F32 => Scalar::F32(f32::from_bits(bits)),
            // The sign, the exponent where it is all ones, and the payload.
            DType::F64 if bits & 0x7f80_0000 == 0x7f80_0000 => {
                let (high, low) = (u64::from(bits & 0x807f_ffff) << 32, 0x7ff0_0000_0000_0000);
                Scalar::F64(f64::from_bits(high & 0x800f_ffff_ffff_ffff | low | u64::from(bits & 0xff)))
            }
            DType::F64 => Scalar::F64(f32::from_bits(bits).into()),
            DType::I32 => Scalar::I32(bits as i32),
            dtype => Scalar::from_i64(dtype, i64::from(bits % 2)),
        }
    })
}

/// How many elements are NaN; an error if one has another form.
fn nans(tensor: &Tensor) -> usize {
    let of = |i: usize| match tensor.get(i) {
        Scalar::F32(v) if v.is_nan() => {
            assert_eq!(v.to_bits(), NAN_F32, "element {i}");
            1
        }
        Scalar::F64(v) if v.is_nan() => {
            assert_eq!(v.to_bits(), NAN_F64, "element {i}");
            1
        }
        _ => 0,
    };
    (0..tensor.elements()).map(of).sum()
}

fn bits(value: Scalar) -> u64 {
    match value {
        Scalar::F32(v) => v.to_bits().into(),
        Scalar::F64(v) => v.to_bits(),
        other => other.to_i64() as u64,
    }
}

/// Compiles a graph in every way; gives the number of NaNs in its outputs.
fn check(graph: &Graph) -> usize {
    let mut options = CompileOptions::default();
    // So small a part that small graphs are parallel too.
    options.passes.least_part = 4;
    let mut compiler = Compiler::new(&options);
    let optimised = compiler.optimise(graph).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let program = compiler.lower(&optimised).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let (mut inputs, mut state) = (Vec::new(), Vec::new());
    for (number, buffer) in program.buffers.iter().enumerate() {
        let value = special(&buffer.ty, [1, BITS.len(), 3][number % 3]);
        match buffer.place {
            Place::Input { range: Some((low, high)) } => inputs.push(Tensor::generate(&buffer.ty, |i| {
                Scalar::from_i64(buffer.ty.dtype, low + i as i64 % (high - low + 1))
            })),
            Place::Input { range: None } => inputs.push(value),
            Place::State { .. } => state.push((buffer.name.clone(), value)),
            Place::Output | Place::Constant(_) | Place::Prepared(_) | Place::Arena(_) => {}
        }
    }
    let mut after: Vec<Tensor> = state.iter().map(|(_, tensor)| tensor.clone()).collect();
    let expected = Interpreter::new(&program).and_then(|i| i.run(&inputs, &mut after));
    let expected = expected.unwrap_or_else(|e| panic!("{e}\n{program}"));
    let compare = |what: &str, found: &[Tensor]| {
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let differs = (0..expected.elements()).find(|&i| bits(found.get(i)) != bits(expected.get(i)));
            if let Some(i) = differs {
                let (f, e) = (bits(found.get(i)), bits(expected.get(i)));
                panic!("{what}: output {number}[{i}] is {f:#x}, not {e:#x}, in\n{graph}\n{program}");
            }
        }
    };
    let mut ways = vec![(TargetCpu::Portable, 1), (TargetCpu::Portable, 2), (TargetCpu::Native, 1)];
    ways.extend([(TargetCpu::Native, 2), (TargetCpu::Native, 5)]);
    if cfg!(target_arch = "x86_64") {
        ways.push((TargetCpu::X86_64V3, 1));
    }
    for (cpu, threads) in ways {
        let (found, _) = compiled::run(&program, cpu, threads, &inputs, &state);
        compare(&format!("{cpu}, {threads} threads"), &found);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let options = brolga_codegen::Options::from(TargetCpu::X86_64V4);
        // SAFETY: lowering has made the program.
        let emulated = unsafe { brolga_codegen::emulate::compile_emulated(&program, &options) };
        let (found, _) = compiled::run_compiled(emulated.expect("code"), 1, &inputs, &state);
        compare("emulated AVX-512", &found);
    }
    expected.iter().map(nans).sum()
}

/// Every elementwise operation that gives floats, of the code's own list, conversions and bits besides.
#[test]
fn every_elementwise_operation() {
    for float in [DType::F32, DType::F64] {
        let mut graph = Graph::new("operations");
        let ty = Type::new(float, [N]);
        let operands: Vec<_> =
            ["x", "y", "z"].iter().map(|name| graph.add_parameter(name, Role::Data, ty.clone())).collect();
        let mask = graph.add_parameter("mask", Role::Data, ty.with_dtype(DType::Bool));
        let integers = graph.add_parameter("integers", Role::Data, ty.with_dtype(DType::I32));
        let other = if float == DType::F32 { DType::F64 } else { DType::F32 };
        let numbers = graph.add_parameter("numbers", Role::Data, ty.with_dtype(other));
        let mut named = Vec::new();
        let mut b = Builder::new(&mut graph, Origin::default());
        for op in ScalarOp::all() {
            let given = match op {
                ScalarOp::Select => vec![mask, operands[0], operands[1]],
                _ => operands[..op.arity()].to_vec(),
            };
            let types: Vec<DType> = given.iter().map(|&value| b.ty(value).dtype).collect();
            if op.result(&types).is_ok_and(|dtype| dtype == float) {
                named.push((op.name().to_owned(), b.elementwise(op, &given).expect("an operation")));
            }
        }
        assert!(
            named.len() >= 10 + brolga_ir::scalar::Function::ALL.len(),
            "only {} operations",
            named.len()
        );
        named.push(("converted".into(), b.convert(numbers, float).expect("a conversion")));
        let narrow = b.convert(operands[0], DType::Bf16).expect("a conversion");
        named.push(("widened".into(), b.convert(narrow, float).expect("a conversion")));
        if float == DType::F32 {
            let bits = b.elementwise(ScalarOp::Bitcast(float), &[integers]).expect("the same bits");
            named.push(("bits".into(), bits));
        }
        for (name, value) in named {
            graph.add_output(&name, Role::Data, value);
        }
        assert!(check(&graph) > N, "there are NaNs in many outputs");
    }
}

/// What only moves elements, reductions, products with and without epilogue, regions, and outputs that are state as well.
#[test]
fn everything_else() {
    let graphs = [
        "graph @moves(%x: f32[13, 13], %y: f32[13, 13], %i: i32[4], state %w: f32[13, 13]) {
           %a = transpose %x {axes: [1, 0]}
           %b = reverse %x {axes: [1]}
           %c = slice %x {start: [1, 2], limit: [12, 13], stride: [2, 1]}
           %d = concat %x, %y {axis: 1}
           %zero = constant {value: f32[] [0.0]}
           %e = pad %x, %zero {low: [1, 0], high: [0, 2], interior: [0, 1]}
           %f = gather %x, %i {axis: 0}
           %g = reshape %x {dims: [169]}
           return %x as \"x\", %a as \"a\", %b as \"b\", %c as \"c\", %d as \"d\", %e as \"e\", %f as \"f\", %g as \"g\", %w as \"w\"
         }",
        "graph @sums(%x: f32[13, 40], %y: f32[13, 13, 4, 4]) {
           %a = reduce_add %x {axes: [1]}
           %b = reduce_max %x {axes: [1]}
           %c = reduce_min %x {axes: [0]}
           %d = reduce_mul %x {axes: [0]}
           %e = reduce_add %x {axes: [0, 1]}
           %f = reduce_window_max %y {window: [1, 1, 2, 2], stride: [1, 1, 2, 2]}
           %g = reduce_window_add %y {window: [1, 1, 3, 3], stride: [1, 1, 1, 1]}
           return %a as \"a\", %b as \"b\", %c as \"c\", %d as \"d\", %e as \"e\", %f as \"f\", %g as \"g\"
         }",
        "graph @products(%x: f32[14, 37], %y: f32[37, 43], %bias: f32[43], state %w: f32[43, 16], state %g: f32[37, 43]) {
           %a = dot %x, %y {contract: [[1], [0]]}
           %r = broadcast %bias {dims: [14, 43], axes: [1]}
           %b = add %a, %r
           %zero = constant {value: f32[] [0.0]}
           %z = broadcast %zero {dims: [14, 43], axes: []}
           %c = max %b, %z
           %d = dot %c, %w {contract: [[1], [0]]}
           %h = dot %x, %g {contract: [[1], [0]]}
           %e = tanh %h
           return %a as \"a\", %c as \"c\", %d as \"d\", %e as \"e\"
         }",
        "graph @convolutions(%x: f32[2, 5, 9, 9], state %w: f32[7, 5, 3, 3], state %b: f32[7], state %v: f32[7, 5, 1, 1]) {
           %a = conv %x, %w {stride: [1, 1], padding: [[1, 1], [1, 1]]}
           %r = broadcast %b {dims: [2, 7, 9, 9], axes: [1]}
           %c = add %a, %r
           %d = conv %x, %v {stride: [1, 1], padding: [[0, 0], [0, 0]]}
           return %c as \"c\", %d as \"d\"
         }",
        "graph @regions(%c: bool[], %h: f32[13], %x: f32[5, 13]) {
           %last, %all = scan %h, %x {length: 5, carries: 1, slices: 1, body: graph @body(%h: f32[13], %x: f32[13]) {
             %n = sub %h, %x
             return %n as \"h\", %n as \"y\"
           }}
           %chosen = cond %c, %h {then: graph @then(%h: f32[13]) {
             return %h as \"y\"
           }, otherwise: graph @otherwise(%h: f32[13]) {
             %n = neg %h
             return %n as \"y\"
           }}
           return %last as \"last\", %all as \"all\", %chosen as \"chosen\"
         }",
        "graph @update(%x: f32[169], state %w: f32[169]) {
           %a = sub %w, %x
           return %a as \"y\", state %w = %a
         }",
    ];
    for text in graphs {
        let graph = Graph::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert!(check(&graph) > 0, "there is no NaN in the outputs of\n{graph}");
    }
    let text = graphs[2].replace("f32", "f64");
    let graph = Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(check(&graph) > 0);
}
