//! What the pass `views` costs.

use std::collections::HashMap;

use brolga_ir::ops::Role;
use brolga_ir::program::Program;
use brolga_ir::{Builder, DType, Graph, Origin, Type};
use brolga_passes::program::views::statements_looked_at;
use brolga_passes::{Options, fuse, graph, lower};

/// A product of all that was made before is joined to it, `n` times. The input has to be copied to every result, and what was
/// joined once, too: it lies in one result.
fn dense(n: usize) -> Program {
    let of = |dims: [usize; 2]| Type::new(DType::F32, dims);
    let mut graph = Graph::new("dense");
    let mut all = graph.add_parameter("x", Role::Data, of([2, 16]));
    for layer in 0..n {
        let weights = graph.add_parameter(&format!("w{layer}"), Role::State, of([16 * (layer + 1), 16]));
        let b = &mut Builder::new(&mut graph, Origin::default());
        let part = b.matmul(all, weights).unwrap();
        all = b.concat(&[all, part], 1).unwrap();
    }
    graph.add_output("y", Role::Data, all);
    graph::simplify::simplify(&mut graph, &Options::default()).unwrap();
    fuse::fuse(&mut graph).unwrap();
    lower::lower(&graph, &HashMap::new()).unwrap()
}

#[test]
fn statements_are_looked_at_a_few_times_each() {
    for n in [8, 64, 160] {
        let mut program = dense(n);
        let statements: usize = program.kernels.iter().map(|kernel| kernel.body.len()).sum();
        let looked = statements_looked_at(&mut program);
        println!("{n} layers: {statements} statements, {looked} looked at");
        assert!(looked <= 16 * statements, "{n} layers: {statements} statements, {looked} looked at");
    }
}
