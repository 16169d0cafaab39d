//! Random kernels: they are valid, read back from their text, and do not depend on the order of grid points; damaged ones are
//! refused or run, but never panic.

use brolga_ir::Tensor;
use brolga_ir::generate::kernels::{Values, nests, program, strips};
use brolga_ir::literal::Elements;
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::program::verify::verify;
use brolga_ir::program::{Place, Program, Stmt};
use brolga_ir::random::Rng;

/// The programs of some seeds.
fn programs() -> impl Iterator<Item = (u64, Program)> {
    (0..300).map(|seed| (seed, program(&if seed % 2 == 0 { strips(seed) } else { nests(seed) })))
}

/// What the state is behind a program.
fn run(program: &Program, seed: u64, order: GridOrder) -> Result<String, String> {
    let mut random = Rng(!seed);
    let slots = program.buffers.iter().filter(|buffer| matches!(buffer.place, Place::State { .. }));
    let mut state: Vec<Tensor> = slots.map(|slot| random.tensor(slot.ty.dtype, slot.ty.elements())).collect();
    let interpreter = Interpreter::new(program).map_err(|e| e.to_string())?.with_order(order);
    interpreter.run(&[], &mut state).map_err(|e| e.to_string())?;
    Ok(state.iter().map(|tensor| Elements(tensor).to_string()).collect())
}

/// Iterations of the deepest loop nest.
fn work(statements: &[Stmt]) -> usize {
    let one = |s: &Stmt| match s {
        Stmt::For { extent, body, .. } | Stmt::Strip { extent, body, .. } => {
            extent.saturating_mul(work(body))
        }
        Stmt::If { then, otherwise, .. } => work(then).saturating_add(work(otherwise)),
        Stmt::Tile(t) => t.reduce.iter().fold(t.m.saturating_mul(t.n), |n, l| n.saturating_mul(l.extent)),
        _ => 1,
    };
    statements.iter().map(one).fold(1, usize::saturating_add)
}

#[test]
fn valid_programs_are_accepted_and_read_back() {
    for (seed, program) in programs() {
        verify(&program).unwrap_or_else(|e| panic!("seed {seed}: {e} in:\n{program}"));
        let text = program.to_string();
        let again = Program::parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {e} in:\n{text}"));
        assert_eq!(again.to_string(), text, "seed {seed}");
        assert_eq!(format!("{again:?}"), format!("{program:?}"), "seed {seed}");
        let forward = run(&program, seed, GridOrder::Forward);
        assert!(forward.is_ok(), "seed {seed}: {forward:?} in:\n{program}");
        assert_eq!(forward, run(&again, seed, GridOrder::Reverse), "seed {seed}: {program}");
    }
}

/// The text with a few lines left out, repeated, exchanged, or with another digit.
fn damaged(text: &str, random: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + random.below(3) {
        let line = random.below(lines.len());
        match random.below(4) {
            0 => drop(lines.remove(line)),
            1 => lines.insert(line, lines[line].clone()),
            2 => {
                let next = (line + 1) % lines.len();
                lines.swap(line, next);
            }
            _ => {
                let digits: Vec<usize> =
                    lines[line].match_indices(|c: char| c.is_ascii_digit()).map(|(i, _)| i).collect();
                if !digits.is_empty() {
                    let i = random.of(&digits);
                    lines[line].replace_range(i..=i, &random.below(10).to_string());
                }
            }
        }
    }
    lines.join("\n")
}

#[test]
fn damaged_programs_never_panic() {
    let mut ran = 0;
    for (seed, program) in programs() {
        let Ok(program) = Program::parse(&damaged(&program.to_string(), &mut Rng(seed))) else { continue };
        let work = program.kernels.iter().map(|k| k.parts().saturating_mul(work(&k.body)));
        if work.fold(0, usize::saturating_add) >= 200_000 {
            continue;
        }
        // Nothing that the verifier accepts is malformed to the interpreter; accesses may still fail.
        let (verified, done) = (verify(&program), run(&program, seed, GridOrder::Forward));
        ran += usize::from(done.is_ok());
        if let (Ok(()), Err(message)) = (verified, done) {
            let expected = ["load of", "store to", "tile:", "no tensor", "too many", "is given", "must lie"];
            assert!(expected.iter().any(|e| message.contains(e)), "seed {seed}: {message}");
        }
    }
    assert!(ran > 20, "{ran} damaged programs run");
}
