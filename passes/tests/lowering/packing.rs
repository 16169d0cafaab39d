//! Weights in panels: what is stored, where each of them lies, and how often they are packed.

use std::collections::HashMap;

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::graph::Origin;
use brolga_ir::ops::{Conv, Dot, Role};
use brolga_ir::program::interpret::run_kernel;
use brolga_ir::program::{Program, Step};
use brolga_ir::scalar::{Function, Scalar};
use brolga_ir::{DType, Graph, Tensor, Type};
use brolga_passes::lower;

use super::{check, graph};

/// Weights that are stored as another type, although each call gives others: as they are, behind an index map, and with channels
/// where products would read them without packing. A conversion is a node like any other.
#[test]
fn products_of_narrow_weights() {
    let narrow = Choice { weights: Some(DType::Bf16), ..Choice::default() };
    for (m, k, n) in [(3, 5, 7), (1, 9, 4), (20, 6, 1), (40, 70, 33)] {
        let g = graph(&[&[m, k], &[k, n], &[n, k], &[k]], |b, x| {
            let turned = b.transpose(x[2], &[1, 0])?;
            let stored = b.convert(x[1], DType::Bf16)?;
            let wide = b.convert(stored, DType::F32)?;
            let dot = |right: usize| Dot::new([vec![], vec![]], [vec![1], vec![right]]);
            Ok(vec![
                b.add_chosen(dot(0), narrow, &[x[0], x[1]])?,
                b.add_chosen(dot(1), narrow, &[x[0], x[2]])?,
                b.add_chosen(dot(0), narrow, &[x[0], turned])?,
                b.add_chosen(dot(0), narrow, &[x[0], x[3]])?,
                b.function(Function::Tanh, wide)?,
            ])
        });
        check(&g, 1e-5);
    }
    let g = graph(&[&[2, 3, 6, 5], &[4, 3, 3, 3], &[4, 3, 3, 1]], |b, x| {
        let swapped = b.reverse(x[1], &[2])?;
        let mut of = |w| b.add_chosen(Conv::new(2), narrow, &[x[0], w]);
        Ok(vec![of(x[1])?, of(swapped)?, of(x[2])?])
    });
    check(&g, 1e-5);
}

/// The kernels in a list of steps that pack weights, those in loops left out.
fn packing(program: &Program, steps: &[Step]) -> usize {
    let packs = |step: &&Step| match step {
        Step::Call(call) => program.kernels[call.kernel.0 as usize].name == "pack_weights",
        _ => false,
    };
    steps.iter().filter(packs).count()
}

fn body(steps: &[Step]) -> &[Step] {
    let found =
        steps.iter().find_map(|step| if let Step::Loop { body, .. } = step { Some(body) } else { None });
    found.expect("a loop")
}

/// Every weight lies where the declaration of the panels says.
#[test]
fn packed_weights_lie_as_they_are_declared() {
    for (dims, groups) in [
        ([20, 5, 3, 3], 1),
        ([40, 17, 1, 1], 1),
        ([6, 2, 2, 3], 3),
        ([5, 300, 1, 1], 1),
        ([37, 33, 1, 2], 1),
        ([33, 64, 1, 1], 1),
    ] {
        let mut g = Graph::new("panels");
        let image = Type::new(DType::F32, [2, 6, 6, dims[1] * groups]);
        let image = g.add_parameter("x", Role::Data, image);
        let weights = g.add_parameter("w", Role::State, Type::new(DType::F32, dims));
        let conv = Conv { groups, ..Conv::new(2) };
        let y =
            g.add_chosen(conv, Layout::ChannelsLast, &[image, weights], &Origin::default()).expect("conv");
        let y = g.result(y);
        g.add_output("y", Role::Data, y);
        let program = lower::lower(&g, &HashMap::new()).expect("lower");
        let buffer = program.buffers.iter().find(|buffer| buffer.panels.is_some()).expect("packed weights");
        let panels = buffer.panels.expect("panels");
        assert_eq!(panels.dims, [groups, dims[2] * dims[3], dims[1], dims[0] / groups], "{program}");
        let Some(Step::Call(call)) = program.prepare.first() else { panic!("nothing is packed: {program}") };
        let all = Type::new(DType::F32, [dims.iter().product::<usize>()]);
        let mut tensors = [
            Tensor::generate(&all, |i| Scalar::F32(i as f32)),
            Tensor::generate(&buffer.ty, |_| Scalar::F32(-1.0)),
        ];
        run_kernel(&program.kernels[call.kernel.0 as usize], &mut tensors).expect("a kernel");
        let [_, area, channels, outputs] = panels.dims;
        for i in 0..all.elements() {
            let (output, channel, tap) = (i / area / channels, i / area % channels, i % area);
            let at = panels.position([output / outputs, tap, channel, output % outputs]);
            assert_eq!(tensors[1].get(at), Scalar::F32(i as f32), "{dims:?}, weight {i}: {panels}");
        }
    }
}

/// Loops in each other: weights of state are packed for every state, others before the outermost loop in which they are the
/// same; and what was packed so is found again behind the loops.
#[test]
fn loops_pack_what_they_capture_once() {
    let text = r#"graph @f(%h: f32[9, 3], %u: f32[3, 3], %x: f32[4, 3, 3], state %w: f32[3, 3]) {
      %h1 = scan %h, %x, %w, %u {length: 4, carries: 1, slices: 1, body: graph @outer(%h: f32[9, 3], %v: f32[3, 3], %w: f32[3, 3], %u: f32[3, 3]) {
        %h2 = scan %h, %w, %u, %v {length: 3, carries: 1, slices: 0, body: graph @inner(%h: f32[9, 3], %w: f32[3, 3], %u: f32[3, 3], %v: f32[3, 3]) {
          %a = dot %h, %w {contract: [[1], [1]]}
          %b = dot %a, %u {contract: [[1], [1]]}
          %c = dot %b, %v {contract: [[1], [1]]}
          return %c as "h"
        }}
        return %h2 as "h"
      }}
      %d = dot %h1, %u {contract: [[1], [1]]}
      %e = dot %d, %w {contract: [[1], [1]]}
      return %e as "y"
    }"#;
    for stored in ["]]}", "]], weights: bf16}"] {
        let graph = Graph::parse(&text.replace("]]}", stored)).expect("a graph");
        check(&graph, 1e-4);
        let program = lower::lower(&graph, &HashMap::new()).expect("lower");
        let outer = body(&program.schedule);
        let found = [&program.prepare[..], &program.schedule[..], outer, body(outer)];
        assert_eq!(found.map(|steps| packing(&program, steps)), [1, 1, 1, 0], "{program}");
    }
}

/// A constant of a body is packed once for all calls, as state is.
#[test]
fn constants_in_loops_are_packed_once() {
    let text = r#"graph @f(%h: f32[9, 3]) {
      %last = scan %h {length: 4, carries: 1, slices: 0, body: graph @body(%h: f32[9, 3]) {
        %w = constant {value: f32[3, 3] [1, -1, 0.5, 2, 0, 1, 0.25, 1, -2]}
        %next = dot %h, %w {contract: [[1], [1]]}
        return %next as "h"
      }}
      return %last as "y"
    }"#;
    let graph = Graph::parse(text).expect("a graph");
    check(&graph, 1e-4);
    let program = lower::lower(&graph, &HashMap::new()).expect("lower");
    let found = [&program.prepare[..], &program.schedule[..], body(&program.schedule)];
    assert_eq!(found.map(|steps| packing(&program, steps)), [1, 0, 0], "{program}");
}

/// What only one branch packs is not there for the other, nor behind both.
#[test]
fn branches_pack_for_themselves() {
    let text = r#"graph @f(%c: bool[], %h: f32[9, 3], %u: f32[3, 3]) {
      %y = cond %c, %h, %u {then: graph @then(%h: f32[9, 3], %u: f32[3, 3]) {
        %0 = dot %h, %u {contract: [[1], [1]]}
        return %0 as "y"
      }, otherwise: graph @otherwise(%h: f32[9, 3], %u: f32[3, 3]) {
        %0 = dot %h, %u {contract: [[1], [1]]}
        %1 = dot %0, %u {contract: [[1], [1]]}
        return %1 as "y"
      }}
      %d = dot %y, %u {contract: [[1], [1]]}
      return %d as "y"
    }"#;
    let graph = Graph::parse(text).expect("a graph");
    check(&graph, 1e-4);
    let program = lower::lower(&graph, &HashMap::new()).expect("lower");
    let inside: Vec<usize> =
        program.schedule.iter().flat_map(Step::bodies).map(|steps| packing(&program, steps)).collect();
    assert_eq!((inside, packing(&program, &program.schedule)), (vec![1, 1], 1), "{program}");
}
