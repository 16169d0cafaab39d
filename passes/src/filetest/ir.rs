//! A graph or a kernel program: what a file of a test holds.

use std::fmt;

use brolga_ir::Graph;
use brolga_ir::program::Program;
use brolga_ir::program::interpret::GridOrder;

use super::values::{Values, compare, evaluate, evaluate_program, parameters, program_parameters};
use crate::facts::index_ranges::index_ranges;
use crate::lower::lower;
use crate::{GraphPass, Manager, Options, ProgramPass};

/// The pass that makes programs of graphs. It decides the order of sums.
pub const LOWER: &str = "lower";

/// The passes that files can name.
#[derive(Clone, Debug)]
pub(super) struct Passes {
    pub graph: Vec<GraphPass>,
    pub program: Vec<ProgramPass>,
}

#[derive(Clone, PartialEq)]
pub(super) enum Ir {
    Graph(Graph),
    Program(Program),
}

impl Ir {
    pub fn parse(text: &str) -> Result<Ir, String> {
        let code = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("//"));
        if code.is_some_and(|line| line.starts_with("program")) {
            return Program::parse(text).map(Ir::Program).map_err(|error| error.to_string());
        }
        Graph::parse(text).map(Ir::Graph).map_err(|errors| errors.to_string())
    }

    pub fn verify(&self) -> Result<(), String> {
        let verified = match self {
            Ir::Graph(graph) => crate::manager::Ir::verify(graph),
            Ir::Program(program) => crate::manager::Ir::verify(program),
        };
        verified.map_err(|error| error.to_string())
    }

    /// Values for its inputs and state, by name.
    pub fn parameters(&self, seed: u64, special: bool) -> Values {
        match self {
            Ir::Graph(graph) => parameters(graph, seed, special),
            Ir::Program(program) => program_parameters(program, seed, special),
        }
    }

    pub fn evaluate(&self, values: &Values) -> Result<Values, String> {
        match self {
            Ir::Graph(graph) => evaluate(graph, values),
            Ir::Program(program) => {
                let results = evaluate_program(program, values, GridOrder::Forward)?;
                let reverse = evaluate_program(program, values, GridOrder::Reverse)?;
                compare(&results, &reverse, &|a, b| a.same(b))?;
                Ok(results)
            }
        }
    }

    /// Runs passes in this order; the error of one that refuses, as a comment.
    pub fn run_all(
        &mut self,
        passes: &Passes,
        names: &[&str],
        options: &Options,
    ) -> Result<Result<bool, String>, String> {
        let mut changed = false;
        for name in names {
            match self.run(passes, name, options)? {
                Ok(did) => changed |= did,
                refused => return Ok(refused),
            }
        }
        Ok(Ok(changed))
    }

    /// Runs a pass; its error, if it refuses, as a comment.
    pub fn run(
        &mut self,
        passes: &Passes,
        name: &str,
        options: &Options,
    ) -> Result<Result<bool, String>, String> {
        let mut manager = Manager::new(options.clone());
        let unknown = |what: &str| format!("there is no pass `{name}` over a {what}");
        let ran = match self {
            Ir::Graph(graph) if name == LOWER => {
                let ranges = index_ranges(graph).into_iter().collect();
                match manager.make(LOWER, |_| lower(graph, &ranges)) {
                    Ok(Some(program)) => {
                        *self = Ir::Program(program);
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Ir::Graph(graph) => {
                let pass = passes.graph.iter().find(|pass| pass.name == name);
                manager.run(&[*pass.ok_or_else(|| unknown("graph"))?], graph)
            }
            Ir::Program(program) => {
                let pass = passes.program.iter().find(|pass| pass.name == name);
                manager.run(&[*pass.ok_or_else(|| unknown("kernel program"))?], program)
            }
        };
        match ran {
            Ok(changed) => Ok(Ok(changed)),
            Err(error) if error.broken => Err(error.to_string()),
            Err(error) => Ok(Err(format!("// error: {error}\n"))),
        }
    }
}

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ir::Graph(graph) => graph.fmt(f),
            Ir::Program(program) => program.fmt(f),
        }
    }
}
