//! Random values for the parameters of graphs and programs, their results by name, and comparing them.

use std::collections::HashMap;

use brolga_ir::interpret::interpret;
use brolga_ir::ops::Role;
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::program::{Place, Program};
use brolga_ir::random::Rng;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Graph, Tensor};

pub use brolga_ir::random::tensor;

/// Tensors by name.
pub type Values = HashMap<String, Tensor>;

/// Values for a graph's parameters, by name.
pub fn parameters(graph: &Graph, seed: u64, special: bool) -> Values {
    let mut random = Rng(seed);
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    parameters.map(|p| (p.name.clone(), tensor(&mut random, &p.ty, special))).collect()
}

/// Results by name; new state behind `state`.
pub fn evaluate(graph: &Graph, values: &Values) -> Result<Values, String> {
    let names = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let inputs = names.map(|parameter| find(values, &parameter.name)).collect::<Result<Vec<_>, _>>()?;
    let results = interpret(graph, &inputs).map_err(|error| error.to_string())?;
    let name = |output: &brolga_ir::Output| match output.role {
        Role::Data => output.name.clone(),
        Role::State => format!("state {}", output.name),
    };
    Ok(graph.outputs().iter().map(name).zip(results).collect())
}

fn find<'v>(values: &'v Values, name: &str) -> Result<&'v Tensor, String> {
    values.get(name).ok_or_else(|| format!("there is no value for `{name}`"))
}

/// Values for the inputs and the state of a program, by name; inputs within their bounds.
pub fn program_parameters(program: &Program, seed: u64, special: bool) -> Values {
    let mut random = Rng(seed);
    let mut values = HashMap::new();
    for buffer in &program.buffers {
        let mut tensor = match buffer.place {
            Place::Input { .. } | Place::State { .. } => tensor(&mut random, &buffer.ty, special),
            _ => continue,
        };
        if let Place::Input { range: Some((low, high)) } = buffer.place {
            for i in 0..tensor.elements() {
                tensor.set(i, Scalar::from_i64(buffer.ty.dtype, tensor.get(i).to_i64().clamp(low, high)));
            }
        }
        values.insert(buffer.name.clone(), tensor);
    }
    values
}

/// Results of a program by name; new state behind `state`.
pub fn evaluate_program(program: &Program, values: &Values, order: GridOrder) -> Result<Values, String> {
    let named = |wanted: fn(&Place) -> bool| {
        program.buffers.iter().filter(move |buffer| wanted(&buffer.place)).map(|buffer| buffer.name.clone())
    };
    let state_names: Vec<String> = named(|place| matches!(place, Place::State { .. })).collect();
    let of = |name: &String| find(values, name).cloned();
    let inputs = named(|place| matches!(place, Place::Input { .. })).map(|name| of(&name));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let mut state = state_names.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    let interpreter = Interpreter::new(program).map_err(|error| error.to_string())?.with_order(order);
    let outputs = interpreter.run(&inputs, &mut state).map_err(|error| error.to_string())?;
    let outputs = named(|place| matches!(place, Place::Output)).zip(outputs);
    Ok(outputs.chain(state_names.iter().map(|name| format!("state {name}")).zip(state)).collect())
}

/// An error unless every result before is there after, element by element.
pub fn compare(
    before: &Values,
    after: &Values,
    equal: &dyn Fn(Scalar, Scalar) -> bool,
) -> Result<(), String> {
    for (name, wanted) in before {
        let found = after.get(name).ok_or_else(|| format!("the output {name} is gone"))?;
        if wanted.ty() != found.ty() {
            return Err(format!("the output {name} was {:?}, is {:?}", wanted.ty(), found.ty()));
        }
        for i in 0..wanted.elements() {
            let (wanted, found) = (wanted.get(i), found.get(i));
            if !equal(wanted, found) {
                return Err(format!("element {i} of {name} was {wanted:?}, is {found:?}"));
            }
        }
    }
    Ok(())
}
