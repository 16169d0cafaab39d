//! Inference from the graph to the program: folded weights are computed by `prepare`, and results stay close.

use crate::common;
use std::collections::HashMap;

use brolga_ir::interpret::interpret;
use brolga_ir::ops::Role;
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Place, Program};
use brolga_ir::{Graph, Tensor};
use brolga_passes::lower::lower_prepared;
use brolga_passes::{Manager, Options, pipelines};

/// Two branches over one image, one of them normalised; a product with a scale behind.
const INFER: &str = "
graph @infer(
  %x: f32[2, 3, 6, 6],
  state %a.weight: f32[8, 3, 3, 3],
  state %b.weight: f32[4, 3, 3, 3],
  state %mean: f32[8],
  state %var: f32[8],
  state %gamma: f32[8],
  state %beta: f32[8],
  state %fc.weight: f32[5, 12],
  state %fc.bias: f32[5]
) {
  %y = conv %x, %a.weight {stride: [1, 1], padding: [[1, 1], [1, 1]]}  // a
  %means = broadcast %mean {dims: [2, 8, 6, 6], axes: [1]}             // bn
  %centred = sub %y, %means                                            // bn
  %square = mul %var, %var                                             // bn
  %eps = constant {value: f32[8] splat 0.01}                           // bn
  %safe = add %square, %eps                                            // bn
  %scale = rsqrt %safe                                                 // bn
  %scales = broadcast %scale {dims: [2, 8, 6, 6], axes: [1]}           // bn
  %normal = mul %centred, %scales                                      // bn
  %gammas = broadcast %gamma {dims: [2, 8, 6, 6], axes: [1]}           // bn
  %scaled = mul %normal, %gammas                                       // bn
  %betas = broadcast %beta {dims: [2, 8, 6, 6], axes: [1]}             // bn
  %shifted = add %scaled, %betas                                       // bn
  %z = conv %x, %b.weight {stride: [1, 1], padding: [[1, 1], [1, 1]]}  // b
  %both = concat %shifted, %z {axis: 1}                                // join
  %pooled = reduce_add %both {axes: [2, 3]}                            // pool
  %out = dot %pooled, %fc.weight {contract: [[1], [1]]}                // fc
  %biases = broadcast %fc.bias {dims: [2, 5], axes: [1]}               // fc
  %logits = add %out, %biases                                          // fc
  return %logits as \"logits\"
}";

fn lowered(graph: &Graph) -> Program {
    let mut manager = Manager::new(Options::default());
    let mut program =
        manager.make("lower", |options| lower_prepared(graph, &HashMap::new(), options)).unwrap().unwrap();
    manager.run(pipelines::PROGRAM, &mut program).unwrap();
    program
}

#[test]
fn folded_weights_are_prepared() {
    let graph = Graph::parse(INFER).unwrap();
    let mut optimised = graph.clone();
    let mut manager = Manager::new(Options::default());
    manager.run(pipelines::INFER, &mut optimised).unwrap();
    manager.run(pipelines::REGIONS, &mut optimised).unwrap();
    let program = lowered(&optimised);
    let prepared = program.buffers.iter().filter(|buffer| matches!(buffer.place, Place::Prepared(_))).count();
    assert!(prepared >= 2, "the weights and the shift: {prepared} prepared values");
    assert!(!program.prepare.is_empty() && program.prepared_bytes > 12 * 27 * 4);

    let values = common::parameters(&graph, 5, false);
    let named = |role: Role| {
        let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
        parameters.filter(move |p| p.role == role).map(|p| (p.name.clone(), values[&p.name].clone()))
    };
    let all: HashMap<String, Tensor> = named(Role::Data).chain(named(Role::State)).collect();
    let inputs: Vec<&Tensor> =
        graph.parameters().iter().filter_map(|&id| graph.parameter(id)).map(|p| &all[&p.name]).collect();
    let expected = &interpret(&graph, &inputs).unwrap()[0];
    let of = |program: &Program, wanted: fn(&Place) -> bool| -> Vec<Tensor> {
        program.buffers.iter().filter(|b| wanted(&b.place)).map(|b| all[&b.name].clone()).collect()
    };
    let mut state = of(&program, |place| matches!(place, Place::State { .. }));
    assert_eq!(state.len(), 8, "the entry keeps all its state");
    let inputs = of(&program, |place| matches!(place, Place::Input { .. }));
    let found = &Interpreter::new(&program).unwrap().run(&inputs, &mut state).unwrap()[0];
    let size = (0..10).map(|i| expected.get(i).to_f64().abs()).fold(0.0, f64::max);
    for i in 0..10 {
        let (wanted, found) = (expected.get(i).to_f64(), found.get(i).to_f64());
        assert!((wanted - found).abs() <= 1e-5 * size, "element {i}: {wanted}, {found}");
    }
}

#[test]
fn training_has_nothing_to_prepare() {
    let text = "graph @train(%x: f32[4], state %w: f32[4]) {
        %y = add %x, %w
        %z = mul %w, %w
        %s = add %y, %z
        return state %w = %s
    }";
    let program = lowered(&Graph::parse(text).unwrap());
    assert!(program.prepare.is_empty() && program.prepared_bytes == 0);
}

#[test]
fn prepared_values_have_names_that_no_state_has() {
    let text = "graph @infer(%x: f32[2, 2], state %prepared.0: f32[2, 2], state %w: f32[2, 2]) {
        %a = dot %prepared.0, %w {contract: [[1], [0]]}
        %y = dot %x, %a {contract: [[1], [0]]}
        %z = add %y, %prepared.0
        return %z as \"z\"
    }";
    let graph = Graph::parse(text).unwrap();
    let values = common::parameters(&graph, 3, false);
    let program = lowered(&graph);
    let given: Vec<&Tensor> = ["x", "prepared.0", "w"].iter().map(|&name| &values[name]).collect();
    let expected = &interpret(&graph, &given).unwrap()[0];
    let mut state = vec![values["prepared.0"].clone(), values["w"].clone()];
    let found = &Interpreter::new(&program).unwrap().run(&[values["x"].clone()], &mut state).unwrap()[0];
    for i in 0..4 {
        assert!((expected.get(i).to_f64() - found.get(i).to_f64()).abs() < 1e-5);
    }
}
