//! Random strips against the interpreter.

use brolga_ir::generate::kernels::strips;

use crate::common::{self, check_seeds, many};

#[test]
fn random_kernels() {
    check_seeds(0..600, strips);
}

/// The cases above are only worth something if the wide emitter takes a good part of them.
#[test]
#[cfg(target_arch = "x86_64")]
fn many_strips_are_wide() {
    let options = brolga_codegen::Options::default();
    let wide = (0..100).filter(|&seed| {
        let program = common::program(&strips(seed));
        let list = brolga_codegen::listing(&program, &options).unwrap();
        list.iter().any(|function| function.name.contains("_leaf"))
    });
    let wide = wide.count();
    assert!(wide > 30, "{wide} of 100");
}

/// `BROLGA_CASES` of them; for long runs by hand.
#[test]
#[ignore = "takes as long as asked for"]
fn many_random_kernels() {
    check_seeds(many(), strips);
}
