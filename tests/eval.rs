//! `brolga eval`: graphs and programs on data from files, interpreted and compiled, and what is said of wrong ones.

#![cfg(feature = "cli")]

use std::path::Path;

use brolga::Tensor;
use brolga::runtime::{TensorRef, read_tensors, write_tensors};

use crate::cli::{bad, folder, good};

const GRAPH: &str = "graph @f(%x: f32[3], %y: f32[3], state %w: f32[3]) {
  %a = mul %x, %w
  %b = add %a, %y
  %c = reduce_add %b {axes: [0]}
  return %b as \"b\", %c as \"sum\", state %w = %a
}
";

/// `load p1[v0]`, where nobody says what `v0` may be.
const PROGRAM: &str = "program @pick
  %0 input \"i\" i32[4]
  %1 input \"x\" f32[3]
  %2 state \"count\" i64[1] updated
  %3 output \"y\" f32[4]
kernel @pick(p0: read i32[4], p1: read f32[3], p2: write f32[4]) grid [] {
  strip i0 in 0..4 {
    v0 = load p0[i0] : i32
    v1 = load p1[v0] : f32
    store p2[i0] = v1
  }
}
kernel @count(p0: readwrite i64[1]) grid [] {
  v0 = load p0[0] : i64
  v1 = constant 1 : i64
  v2 = add v0, v1 : i64
  store p0[0] = v2
}
schedule {
  call @pick#0(%0, %1, %3)
  call @count#1(%2)
}
";

fn write(path: &Path, tensors: &[(&str, Tensor)]) {
    let views: Vec<(&str, TensorRef<'_>)> = tensors.iter().map(|(name, t)| (*name, t.view())).collect();
    write_tensors(path, &views).unwrap();
}

fn f32s(values: &[f32]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).unwrap()
}

fn i64s(values: &[i64]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).unwrap()
}

fn read(path: &Path, name: &str) -> Tensor {
    let found = read_tensors(path).unwrap();
    found.into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no `{name}`")).1
}

#[test]
fn graphs_and_programs_run_interpreted_and_compiled() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("f.ir"), GRAPH).unwrap();
    let inputs =
        [("x", f32s(&[1.0, 2.0, 3.0])), ("y", f32s(&[0.5, 0.5, 0.5])), ("w", f32s(&[2.0, 2.0, f32::NAN]))];
    write(&at.join("in.npz"), &inputs);
    write(&at.join("in.safetensors"), &inputs);
    for (number, options) in
        ["", " --interpret", " --threads 1", " --target-cpu portable --threads 2"].iter().enumerate()
    {
        let (from, to) =
            if number % 2 == 0 { ("in.npz", "out.safetensors") } else { ("in.safetensors", "out.npz") };
        let text = good(at, &format!("eval f.ir --inputs {from} --outputs {to}{options}"));
        assert!(text.contains("b: f32[3]") && text.contains("sum: f32[] ="), "{text}");
        let b = read(&at.join(to), "b");
        let bits: Vec<u32> = b.as_slice::<f32>().unwrap().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [2.5f32.to_bits(), 4.5f32.to_bits(), 0x7fc0_0000], "{options}");
        let w = read(&at.join(to), "w");
        assert_eq!(w.as_slice::<f32>().unwrap()[..2], [2.0, 4.0], "the new state{options}");
    }

    std::fs::write(at.join("pick.ir"), PROGRAM).unwrap();
    // Integers of another type, where their values fit.
    write(
        &at.join("pick.npz"),
        &[("i", i64s(&[2, 0, 1, 1])), ("x", f32s(&[5.0, 6.0, 7.0])), ("count", i64s(&[41]))],
    );
    for options in ["", " --interpret", " --target-cpu portable"] {
        good(at, &format!("eval pick.ir --inputs pick.npz --outputs out.npz{options}"));
        assert!(read(&at.join("out.npz"), "y") == f32s(&[7.0, 5.0, 6.0, 6.0]), "{options}");
        assert!(read(&at.join("out.npz"), "count") == i64s(&[42]), "{options}");
    }
    // What lowering prints can be read, planned or not.
    for passes in ["fuse,lower", "fuse,lower,forward,vectorise,plan"] {
        std::fs::write(at.join("p.ir"), good(at, &format!("opt f.ir --passes {passes}"))).unwrap();
        good(at, "eval p.ir --inputs in.npz --outputs out.npz");
        assert_eq!(read(&at.join("out.npz"), "b").as_slice::<f32>().unwrap()[..2], [2.5, 4.5]);
    }
}

#[test]
fn wrong_files_and_data_are_told() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("f.ir"), GRAPH).unwrap();
    std::fs::write(at.join("pick.ir"), PROGRAM).unwrap();
    write(&at.join("in.npz"), &[("x", f32s(&[1.0, 2.0, 3.0])), ("y", f32s(&[0.5, 0.5, 0.5]))]);
    write(
        &at.join("pick.npz"),
        &[("i", i64s(&[2, 3, -1, 1])), ("x", f32s(&[5.0, 6.0, 7.0])), ("count", i64s(&[41]))],
    );
    for options in ["", " --interpret"] {
        // An index outside: the whole run is an error, however it is run.
        let errors = bad(at, &format!("eval pick.ir --inputs pick.npz --outputs out.npz{options}"));
        assert!(errors.contains("p1") && errors.contains("pick"), "{errors}");
        assert!(!at.join("out.npz").exists());
        let errors = bad(at, &format!("eval f.ir --inputs in.npz --outputs out.npz{options}"));
        assert!(errors.contains("no tensor `w`, which must be f32[3]; it has `x`, `y`"), "{errors}");
        write(&at.join("short.npz"), &[("x", f32s(&[1.0])), ("y", f32s(&[0.5; 3])), ("w", f32s(&[1.0; 3]))]);
        let errors = bad(at, &format!("eval f.ir --inputs short.npz --outputs out.npz{options}"));
        assert!(errors.contains("`x` must be f32[3]") && errors.contains("f32[1]"), "{errors}");
        let errors = bad(at, &format!("eval none.ir --inputs in.npz --outputs out.npz{options}"));
        assert!(errors.contains("none.ir"), "{errors}");
        std::fs::write(at.join("broken.ir"), GRAPH.replace("mul %x", "mull %x")).unwrap();
        let errors = bad(at, &format!("eval broken.ir --inputs in.npz --outputs out.npz{options}"));
        assert!(errors.contains("broken.ir") && errors.contains("mull"), "{errors}");
        // A program that breaks a rule of the verifier.
        let text = PROGRAM.replace("load p1[v0]", "load p1[i0]");
        std::fs::write(at.join("outside.ir"), text).unwrap();
        let errors = bad(at, &format!("eval outside.ir --inputs pick.npz --outputs out.npz{options}"));
        assert!(errors.contains("reaches p1[0..=3], but p1 has 3 elements"), "{errors}");
    }
    assert!(bad(at, "eval f.ir --inputs in.npz").contains("--outputs"));
}
