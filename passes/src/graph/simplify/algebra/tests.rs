use brolga_ir::Tensor;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::Role;

use super::*;
use crate::options::Options;

/// Values where identities break: zeros of either sign, extremes, NaN, and some ordinary ones.
fn specials(dtype: DType) -> Vec<Scalar> {
    match dtype {
        DType::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        DType::U8 => [0, 1, 2, 7, 128, 255].map(Scalar::U8).to_vec(),
        DType::I32 => [0, 1, -1, 2, 31, -7, i32::MIN, i32::MAX].map(Scalar::I32).to_vec(),
        DType::I64 => [0, 1, -1, 2, 63, -7, i64::MIN, i64::MAX].map(Scalar::I64).to_vec(),
        // Nothing computes with it.
        DType::Bf16 => Vec::new(),
        DType::F32 | DType::F64 => {
            let tiny = if dtype == DType::F32 { 1e-45 } else { 5e-324 };
            let large = if dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
            let (inf, nan) = (f64::INFINITY, f64::NAN);
            let values = [0.0, -0.0, 1.0, -1.0, 2.5, -0.3, 7.5, tiny, -tiny, large, -large, inf, -inf, nan];
            values.map(|value| Scalar::from_f64(dtype, value)).to_vec()
        }
    }
}

/// A graph that computes a term from parameters of its letters: every combination of special values at once.
fn graph_of(
    term: &Term,
    dtype: DType,
    letters: &[(u8, DType)],
    n: usize,
    like: Option<&Type>,
) -> Option<Graph> {
    let mut graph = Graph::new("rule");
    let mut bindings: Bindings = [None; 26];
    for &(letter, dtype) in letters {
        let name = char::from(b'a' + letter).to_string();
        bindings[usize::from(letter)] = Some(graph.add_parameter(&name, Role::Data, Type::new(dtype, [n])));
    }
    let mut b = Builder::new(&mut graph, Default::default());
    let ty = like.cloned().unwrap_or(Type::new(dtype, [n]));
    // Numbers inside a term have the type of `x`, truth values are `bool`.
    let value = build(&mut b, term, &bindings, &ty).ok()?;
    graph.add_output("y", Role::Data, value);
    Some(graph)
}

fn letters(term: &Term, found: &mut Vec<u8>) {
    match term {
        Term::Variable(letter) if !found.contains(letter) => found.push(*letter),
        Term::Op(_, args) => args.iter().for_each(|arg| letters(arg, found)),
        _ => {}
    }
}

#[test]
fn every_identity_is_exact_and_fires() {
    for rule in PARSED.iter() {
        let mut tried = 0;
        for dtype in DType::ALL.into_iter().filter(|&dtype| rule.on.holds(dtype)) {
            let mut names = Vec::new();
            letters(&rule.from, &mut names);
            let condition = b'c' - b'a';
            let typed: Vec<(u8, DType)> = names
                .iter()
                .map(|&letter| (letter, if letter == condition { DType::Bool } else { dtype }))
                .collect();
            let values: Vec<Vec<Scalar>> = typed.iter().map(|&(_, dtype)| specials(dtype)).collect();
            let n: usize = values.iter().map(Vec::len).product();
            // An operation that has no meaning for this type is no case of the rule.
            let Some(before) = graph_of(&rule.from, dtype, &typed, n, None) else { continue };
            let result = before.ty(before.outputs()[0].value).clone();
            let after = graph_of(&rule.to, dtype, &typed, n, Some(&result)).expect(rule.name);
            let mut stride = 1;
            let inputs: Vec<Tensor> = values
                .iter()
                .zip(&typed)
                .map(|(list, &(_, dtype))| {
                    let step = stride;
                    stride *= list.len();
                    Tensor::generate(&Type::new(dtype, [n]), |i| list[i / step % list.len()])
                })
                .collect();
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            let expected = &interpret(&before, &inputs).unwrap()[0];
            let check = |graph: &Graph, what: &str| {
                let found = &interpret(graph, &inputs).unwrap()[0];
                for i in 0..n {
                    let at: Vec<Scalar> = inputs.iter().map(|input| input.get(i)).collect();
                    let (wanted, found) = (expected.get(i), found.get(i));
                    assert!(
                        wanted.same(found),
                        "{} {what} at {at:?}: {wanted:?} became {found:?}",
                        rule.name
                    );
                }
            };
            check(&after, "as written");
            let mut rewritten = before.clone();
            let mut fired = Vec::new();
            crate::graph::simplify::simplify_traced(&mut rewritten, &mut |name| fired.push(name)).unwrap();
            check(&rewritten, "as applied");
            assert!(fired.contains(&rule.name), "{} on {dtype}: applied {fired:?}", rule.name);
            tried += 1;
        }
        assert!(tried > 0, "{} was never tried", rule.name);
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = crate::graph::simplify::rules().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn what_is_not_exact_stays() {
    for text in ["add(x, 0)", "mul(x, 0)", "sub(x, x)", "sub(0, x)", "eq(x, x)", "max(max(x, y), x)"] {
        let mut rest = text;
        let term = term(&mut rest).unwrap();
        let letters = [(b'x' - b'a', DType::F32), (b'y' - b'a', DType::F32)];
        let mut graph = graph_of(&term, DType::F32, &letters, 3, None).unwrap();
        let before = graph.clone();
        crate::graph::simplify::simplify(&mut graph, &Options::default()).unwrap();
        assert!(graph == before, "{text}");
    }
}
