//! Loops of unknown length and conditions, compiled: equal to the program's interpreter in every bit, with either
//! emitter and any number of threads, and to the graph's interpreter up to the rounding that lowering decides.

use crate::common::compiled;
use std::collections::HashMap;

use brolga_codegen::TargetCpu;
use brolga_ir::interpret::interpret;
use brolga_ir::program::Program;
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::scalar::Scalar;
use brolga_ir::tensor::Data;
use brolga_ir::{Graph, Tensor};
use brolga_passes::lower::lower;
use brolga_passes::{Manager, Options, pipelines};

/// Lowered twice: as it stands, and after all graph passes.
fn programs(graph: &Graph) -> Vec<Program> {
    let mut optimised = graph.clone();
    let mut manager = Manager::new(Options::default());
    manager.run(pipelines::TRAIN, &mut optimised).expect("graph passes");
    manager.run(pipelines::REGIONS, &mut optimised).expect("fusion");
    [graph, &optimised]
        .into_iter()
        .map(|graph| {
            let mut program = lower(graph, &HashMap::new()).unwrap_or_else(|e| panic!("{e}\n{graph}"));
            brolga_ir::program::verify::verify(&program).unwrap_or_else(|e| panic!("{e}\n{program}"));
            // So small a part that small programs are parallel too.
            let mut manager = Manager::new(Options { least_part: 4, ..Options::default() });
            manager.run(pipelines::PROGRAM, &mut program).unwrap_or_else(|e| panic!("{e}\n{program}"));
            let again = Program::parse(&program.to_string()).unwrap_or_else(|e| panic!("{e}\n{program}"));
            assert!(again == program, "read back differently:\n{program}");
            program
        })
        .collect()
}

fn check(text: &str, inputs: &[Tensor]) -> Vec<Tensor> {
    let graph = Graph::parse(text).unwrap_or_else(|e| panic!("{e}"));
    graph.verify().unwrap_or_else(|e| panic!("{e}"));
    let expected = interpret(&graph, &inputs.iter().collect::<Vec<_>>()).expect("the reference runs");
    for program in programs(&graph) {
        let run = |order| {
            let interpreter = Interpreter::new(&program).expect("a valid program").with_order(order);
            interpreter.run(inputs, &mut []).unwrap_or_else(|e| panic!("{e}\n{program}"))
        };
        let exact = run(GridOrder::Forward);
        assert_same(&run(GridOrder::Reverse), &exact, "in reverse order");
        for (found, expected) in exact.iter().zip(&expected) {
            assert_eq!(found.ty(), expected.ty());
            for i in 0..expected.elements() {
                let (f, e) = (found.get(i).to_f64(), expected.get(i).to_f64());
                assert!((f - e).abs() <= 1e-5 * e.abs().max(1.0), "{f} at {i}, not {e}\n{program}");
            }
        }
        for cpu in [TargetCpu::Portable, TargetCpu::Native] {
            for threads in [1, 3] {
                let (found, _) = compiled::run(&program, cpu, threads, inputs, &[]);
                assert_same(&found, &exact, &format!("on {cpu} with {threads} threads"));
            }
        }
    }
    expected
}

fn assert_same(found: &[Tensor], expected: &[Tensor], how: &str) {
    assert_eq!(found.len(), expected.len());
    for (which, (found, expected)) in found.iter().zip(expected).enumerate() {
        let differs = (0..expected.elements()).find(|&i| !found.get(i).same(expected.get(i)));
        assert_eq!(differs, None, "{how}, result {which}: {found:?}, not {expected:?}");
    }
}

fn row(count: usize, scale: f32) -> Vec<f32> {
    (0..count).map(|i| ((i * 7 + 3) % 11) as f32 * scale - 5.0 * scale).collect()
}

/// Kernels that differ in the sign of a zero alone are two, compiled too.
#[test]
fn zeros_of_either_sign_are_two_constants() {
    let text = "graph @signs(%x: f32[4], %c: bool[4]) {
      %zero = constant {value: f32[] [0.0]}
      %zeros = broadcast %zero {axes: [], dims: [4]}
      %less = constant {value: f32[] [-0.0]}
      %lesses = broadcast %less {axes: [], dims: [4]}
      %a = select %c, %x, %zeros
      %sorted = sort %x {axis: 0}
      %b = select %c, %sorted, %lesses
      return %a as \"a\", %b as \"b\"
    }";
    let inputs = [Tensor::f32([4], vec![1.0; 4]), Tensor::full([4], Scalar::Bool(false))];
    let expected = check(text, &inputs);
    assert_eq!([0, 1].map(|which| expected[which].get(0)), [Scalar::F32(0.0), Scalar::F32(-0.0)]);
    for program in programs(&Graph::parse(text).unwrap()) {
        let (found, _) = compiled::run(&program, TargetCpu::Native, 1, &inputs, &[]);
        assert_same(&found, &expected, "compiled");
    }
}

/// A scan whose iterations each run a loop of their own length (none at all for some), which holds a condition;
/// carries of four types, captures in every region, products of a matrix large enough for several threads.
#[test]
fn a_while_in_a_scan() {
    let text = include_str!("graphs/nested.ir");
    let seeds = Tensor::i32([6], [2, 0, 9, -3, 1, 4]);
    let results =
        check(text, &[seeds, Tensor::f32([6, 70], row(420, 0.1)), Tensor::f32([70, 70], row(4900, 0.05))]);
    // The limit of 5 ends the loop that begins with 9.
    assert_eq!(results[0].get(0).to_i64(), 2 + 5 + 1 + 4);
}

/// The condition is a carry; carries change places; one is an output twice.
#[test]
fn fibonacci() {
    let text = r#"graph @fibonacci(%go: bool[], %end: i64[], %big: f32[3000]) {
      %a = constant {value: i64[] [0]}
      %b = constant {value: i64[] [1]}
      %g, %x, %y, %scaled = while %go, %a, %b, %big, %end {carries: 4, limit: 1000,
        condition: graph @c(%g: bool[], %x: i64[], %y: i64[], %v: f32[3000], %end: i64[]) {
          return %g as "g"
        },
        body: graph @b(%g: bool[], %x: i64[], %y: i64[], %v: f32[3000], %end: i64[]) {
          %sum = add %x, %y
          %more = lt %sum, %end
          %turned = reverse %v {axes: [0]}
          %f = convert %sum {to: f32}
          %fs = broadcast %f {dims: [3000], axes: []}
          %w = div %turned, %fs
          return %more as "g", %y as "x", %sum as "y", %w as "v"
        }}
      return %x as "x", %y as "y", %scaled as "scaled", %y as "again"
    }"#;
    let inputs = |go: bool| {
        [
            Tensor::new([], Data::Bool(vec![go])),
            Tensor::new([], Data::I64(vec![100])),
            Tensor::f32([3000], row(3000, 0.5)),
        ]
    };
    let results = check(text, &inputs(true));
    assert_eq!((results[0].get(0).to_i64(), results[1].get(0).to_i64()), (89, 144));
    let none = check(text, &inputs(false));
    assert_eq!((none[0].get(0).to_i64(), none[1].get(0).to_i64()), (0, 1));
    let never = check(&text.replace("limit: 1000", "limit: 0"), &inputs(true));
    assert_eq!(never[2], Tensor::f32([3000], row(3000, 0.5)));
}

/// One branch holds a loop that would never end without its limit, the other nothing; the results are captures,
/// constants and computed values, one of them given out twice.
#[test]
fn only_the_taken_branch_runs() {
    let text = r#"graph @choice(%go: bool[2], %x: f32[4, 33]) {
      %xs, %ns = scan %go, %x {length: 2, carries: 0, slices: 1,
        body: graph @each(%go: bool[], %x: f32[4, 33]) {
          %a, %b, %c, %n = cond %go, %x {
            then: graph @then(%x: f32[4, 33]) {
              %start = constant {value: i32[] [0]}
              %n, %y = while %start, %x {carries: 2, limit: 100000,
                condition: graph @c(%n: i32[], %y: f32[4, 33]) {
                  %yes = constant {value: bool[] [true]}
                  return %yes as "yes"
                },
                body: graph @b(%n: i32[], %y: f32[4, 33]) {
                  %one = constant {value: i32[] [1]}
                  %next = add %n, %one
                  return %next as "n", %y as "y"
                }}
              %e = exp %y
              return %e as "a", %e as "b", %x as "c", %n as "n"
            },
            otherwise: graph @otherwise(%x: f32[4, 33]) {
              %half = constant {value: f32[] [0.5]}
              %halves = broadcast %half {dims: [4, 33], axes: []}
              %y = mul %x, %halves
              %minus = constant {value: i32[] [-1]}
              return %halves as "a", %x as "b", %y as "c", %minus as "n"
            }}
          %all = concat %a, %b, %c {axis: 0}
          return %all as "all", %n as "n"
        }}
      return %xs as "xs", %ns as "ns"
    }"#;
    let results =
        check(text, &[Tensor::new([2], Data::Bool(vec![true, false])), Tensor::f32([4, 33], row(132, 0.1))]);
    assert_eq!(results[1], Tensor::i32([2], [100_000, -1]));
    for program in programs(&Graph::parse(text).expect("a graph")) {
        let text = program.to_string();
        assert!(text.contains("    if %0 by [1] {\n") && text.contains("break unless"), "{text}");
    }
}
