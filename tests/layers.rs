//! Rooms and files use only what lies below them.
//!
//! Read from the text of the crates: the `use` lines, and the paths that stand in the code. What counts:
//!
//! - A file *uses* another one of its crate where it names the module that the file is, or something in it. A name that the
//!   module only has from elsewhere (`pub use`, or `use`) leads to the file where it is defined, through any number of such
//!   lines. So a `mod.rs` that declares its children and passes on their names is used by nobody, however often it is named.
//! - `pub use` and `pub(crate) use` pass on, and are no use by themselves; neither is `mod`. A folder's `mod.rs` may so declare
//!   and pass on children that use what it defines itself; if it uses one of them beyond that, they form a cycle.
//! - Modules inside of a file are the file. What is compiled for tests only does not count: tests look from above.
//! - A type may have methods in several files: that is how a room adds to a type of the room below (`impl Lowering` in
//!   `lower/products`). A file *calls* another one where it calls such a method on what has that type for sure: `self`, a name that
//!   it declares with the type, or that every file which declares it does; and the method stands in one file only. What is written
//!   recursively calls files above; the list of these is [`UP`].
//! - Implementations of traits and macros are not seen, nor methods on what an expression gives.
//!
//! A *room* is a folder (or a file at the top) with all that lies in it; a folder in a folder is one of its own if it is listed.

mod methods;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::{Crate, Module, name};

/// A room, and those that it may use: all of them stand above it.
type Room = (&'static str, &'static [&'static str]);

/// Facts see no pass. Passes of graphs, choices and fusion never see lowering; program passes see facts, and how things are
/// changed.
const PASSES: &[Room] = &[
    ("tuning", &[]),
    ("facts", &["tuning"]),
    ("options", &["tuning", "facts"]),
    ("rewrite", &["facts"]),
    ("graph", &["options", "facts", "rewrite"]),
    ("choose", &["options", "facts", "rewrite", "graph"]),
    ("fuse", &["facts"]),
    ("lower", &["tuning", "options", "facts", "rewrite"]),
    ("lower::regions", &["facts", "lower"]),
    ("lower::products", &["tuning", "facts", "lower", "lower::regions"]),
    ("lower::indexed", &["facts", "lower", "lower::regions"]),
    ("lower::control", &["lower", "lower::regions"]),
    (
        "lower::driver",
        &[
            "tuning",
            "options",
            "facts",
            "rewrite",
            "lower",
            "lower::regions",
            "lower::products",
            "lower::indexed",
            "lower::control",
        ],
    ),
    ("lower::prepared", &["options", "facts", "rewrite", "choose", "lower::driver"]),
    ("program", &["options", "facts", "rewrite"]),
    ("manager", &["tuning", "options"]),
    ("pipelines", &["manager", "graph", "choose", "fuse", "program"]),
    ("filetest", &["options", "facts", "choose", "lower::driver", "manager", "pipelines"]),
    ("lib", &[]),
];

/// Code is written, portable or for a wide machine, before anybody knows what becomes of it. Neither of the rooms of the wide
/// emitter that make code knows the other.
const CODEGEN: &[Room] = &[
    ("lib", &[]),
    ("error", &[]),
    ("leaf", &[]),
    ("limits", &[]),
    ("portable", &["leaf", "limits"]),
    ("wide::types", &["limits", "portable"]),
    ("wide::writing", &["limits", "portable", "wide::types"]),
    ("wide::assembling", &["leaf", "limits", "portable", "wide::types"]),
    ("wide", &["leaf", "limits", "portable", "wide::types", "wide::writing", "wide::assembling"]),
    ("target", &["error", "portable", "wide::types", "wide"]),
    ("image", &["lib", "error", "leaf", "limits", "portable", "target"]),
    ("artefacts", &["error", "target", "image"]),
    (
        "emulate",
        &[
            "error",
            "leaf",
            "portable",
            "wide::types",
            "wide::assembling",
            "wide",
            "target",
            "image",
            "artefacts",
        ],
    ),
];

/// A model is data before a graph is built of it; signatures of layers are data, too.
const FRONTEND: &[Room] = &[
    ("source", &[]),
    ("diagnostics", &["source"]),
    ("expr", &["source", "diagnostics"]),
    ("signature", &[]),
    ("model", &["source", "diagnostics", "expr", "signature"]),
    ("graph", &["source", "diagnostics", "expr", "signature", "model"]),
    ("instance", &["source", "diagnostics", "expr", "model", "graph"]),
    ("symbolic", &["graph", "instance"]),
    ("language", &["source", "diagnostics", "expr", "signature", "model", "graph"]),
    ("lib", &[]),
];

/// What runs a model knows neither of training nor of the one file that holds both.
const RUNTIME: &[Room] = &[
    ("shown", &[]),
    ("error", &["shown"]),
    ("names", &["error"]),
    ("random", &[]),
    ("order", &[]),
    ("paths", &[]),
    ("tensors", &["error"]),
    ("run", &["shown", "error", "names", "random", "order", "tensors"]),
    ("files", &["shown", "error", "names", "order", "paths", "tensors", "run"]),
    ("training", &["shown", "error", "random", "order", "paths", "tensors", "run", "files"]),
    ("container", &["shown", "error", "names", "order", "paths", "tensors", "run", "files", "training"]),
    ("lib", &[]),
];

/// The crates whose rooms are listed.
const CRATES: &[(&str, &[Room])] =
    &[("passes", PASSES), ("codegen", CODEGEN), ("frontend", FRONTEND), ("runtime", RUNTIME)];

/// Those whose files are few and stand beside each other.
const FLAT: &[&str] =
    &["src/lib.rs", "src/main.rs", "command/src/lib.rs", "models/src/lib.rs", "launchers/src/lib.rs"];

/// What is written recursively: the crate, the files that call methods of one above, and that one. `a::` are all files in `a`.
const UP: &[(&str, &str, &str)] = &[
    // Arguments of calls are expressions, and so is what a function of the model's own is.
    ("frontend", "graph::calls", "graph::eval"),
    ("frontend", "graph::own", "graph::eval"),
    // Steps hold bodies.
    ("frontend", "graph::body::", "graph::body"),
    // Inside of a `With` a parameter is what its steps make of it.
    ("frontend", "graph::builder::", "graph::body::with"),
    // Operators bring their operands to one type, or are formulas of operators.
    ("frontend", "graph::ops", "graph::ops::"),
    // A body may import a file.
    ("frontend", "model::body", "model::file"),
    // The bodies of loops and conditions are nodes.
    ("passes", "lower::control", "lower::driver"),
    // A region around a product that takes nothing behind itself is lowered node by node.
    ("passes", "lower::products::fused", "lower::driver"),
    // Strips and columns are of statements.
    ("codegen", "portable::strip", "portable::kernel"),
    ("codegen", "wide::writing::strips", "wide::writing::statements"),
    ("codegen", "wide::writing::columns", "wide::writing::statements"),
];

/// What some rooms never name of other crates: program passes and code generation see no graph.
const UNSEEN: &[(&str, &str, &[&str])] = &[("passes", "program", GRAPHS), ("codegen", "", GRAPHS)];

const GRAPHS: &[&str] = &[
    "brolga_ir::Graph",
    "brolga_ir::graph",
    "brolga_ir::NodeId",
    "brolga_ir::Node",
    "brolga_ir::Value",
    "brolga_ir::Op",
    "brolga_ir::ops",
    "brolga_ir::Builder",
    "brolga_ir::builder",
    "brolga_ir::interpret",
];

fn read(root: &str) -> Crate {
    Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root))
}

/// The first file of a crate.
fn root(name: &str) -> String {
    format!("{name}/src/lib.rs")
}

/// The room that a module lies in: the longest name that begins its own.
fn room_of(rooms: &[Room], module: &Module) -> Option<&'static str> {
    let full = name(module);
    let within = |room: &&str| full == **room || full.starts_with(&format!("{room}::"));
    rooms.iter().map(|&(room, _)| room).filter(within).max_by_key(|room| room.len())
}

/// The files that each file uses.
type Edges = BTreeMap<Module, BTreeSet<Module>>;

/// Those that each file of a crate uses or calls methods of, without what goes up because it is recursive; and how often each
/// row of [`UP`] was met.
fn edges(of: &str, files: &Crate) -> (Edges, Vec<usize>) {
    let mut met = vec![0; UP.len()];
    let mut all = files.edges();
    for (module, called) in methods::calls(files) {
        all.entry(module).or_default().extend(called);
    }
    let is_in = |module: &Module, file: &str| match file.strip_suffix("::") {
        Some(folder) => name(module).strip_prefix(folder).is_some_and(|rest| rest.starts_with("::")),
        None => name(module) == file,
    };
    for (module, used) in &mut all {
        used.retain(|used| {
            let goes = |(known, from, to): &(&str, &str, &str)| {
                *known == of && is_in(module, from) && is_in(used, to)
            };
            let up = UP.iter().position(goes);
            up.iter().for_each(|&at| met[at] += 1);
            up.is_none()
        });
    }
    (all, met)
}

/// Each file that uses another room than it may.
fn breaches(edges: &Edges, rooms: &[Room]) -> Vec<String> {
    let mut found = Vec::new();
    for (module, used) in edges {
        let Some(own) = room_of(rooms, module) else {
            found.push(format!("{} lies in no room that is listed", name(module)));
            continue;
        };
        let may = rooms.iter().find(|(room, _)| *room == own).map_or(&[][..], |(_, may)| may);
        for used in used {
            let other = room_of(rooms, used).unwrap_or("lib");
            if other != own && !may.contains(&other) {
                found.push(format!("{} uses {}", name(module), name(used)));
            }
        }
    }
    found
}

/// The files of each cycle.
fn cycles(edges: &Edges) -> Vec<String> {
    let mut reached: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for from in edges.keys() {
        let mut seen = BTreeSet::new();
        let mut stack: Vec<&Module> = edges[from].iter().collect();
        while let Some(module) = stack.pop() {
            if seen.insert(module) {
                stack.extend(&edges[module]);
            }
        }
        reached.insert(from, seen);
    }
    let mut found = BTreeSet::new();
    for (module, all) in &reached {
        let with: Vec<String> =
            all.iter().filter(|other| reached[*other].contains(module)).map(|other| name(other)).collect();
        if !with.is_empty() {
            found.insert(with.join(", "));
        }
    }
    found.into_iter().collect()
}

#[test]
fn rooms_use_only_those_that_they_may() {
    for (name, rooms) in CRATES {
        let files = read(&root(name));
        assert!(files.modules().count() > 10, "{name}");
        let found = breaches(&edges(name, &files).0, rooms);
        assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
    }
}

/// So rooms form no cycle either.
#[test]
fn rooms_stand_in_the_order_of_use() {
    for (name, rooms) in CRATES {
        for (at, (room, may)) in rooms.iter().enumerate() {
            for used in *may {
                let above = rooms[..at].iter().any(|(other, _)| other == used);
                assert!(above, "{name}: {used} does not stand above {room}");
            }
        }
    }
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let listed = CRATES.iter().map(|(name, _)| root(name));
    for root in listed.chain(FLAT.iter().map(|root| (*root).to_owned())) {
        let found = cycles(&read(&root).edges());
        assert!(found.is_empty(), "{root}:\n{}", found.join("\n"));
    }
}

#[test]
fn no_file_calls_methods_of_one_that_uses_it() {
    let mut all = vec![0; UP.len()];
    let listed = CRATES.iter().map(|(name, _)| (*name, root(name)));
    for (name, root) in listed.chain(FLAT.iter().map(|root| ("", (*root).to_owned()))) {
        let (edges, met) = edges(name, &read(&root));
        let found = cycles(&edges);
        assert!(found.is_empty(), "{root}:\n{}", found.join("\n"));
        all.iter_mut().zip(met).for_each(|(all, met)| *all += met);
    }
    let unused: Vec<_> = UP.iter().zip(all).filter(|(_, met)| *met == 0).map(|(row, _)| row).collect();
    assert!(unused.is_empty(), "nothing goes up that way: {unused:?}");
}

/// The graph holds operators, and operators are built, printed and differentiated as graphs: the one cycle there is.
const CLOSED: &[&str] = &["attribute", "builder", "choice", "graph", "nodes", "ops", "text::print"];

#[test]
fn in_the_ir_only_graphs_and_their_operators_use_each_other() {
    let found = cycles(&read(&root("ir")).edges());
    assert_eq!(found.len(), 1, "{}", found.join("\n"));
    let closed = |file: &&str| CLOSED.iter().any(|of| file == of || file.starts_with(&format!("{of}::")));
    let others: Vec<&str> = found[0].split(", ").filter(|file| !closed(file)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn rooms_that_see_no_graph_name_none() {
    for (name_of_crate, room, unseen) in UNSEEN {
        let files = read(&root(name_of_crate));
        let modules =
            files.modules().filter(|module| room.is_empty() || module.first().is_some_and(|m| m == room));
        for module in modules {
            for path in files.outside(module) {
                let known =
                    unseen.iter().find(|name| path == **name || path.starts_with(&format!("{name}::")));
                assert_eq!(known, None, "{name_of_crate}: {} names {path}", name(module));
            }
        }
    }
}

/// The reader itself.
mod reader {
    use super::{Crate, Room, breaches, cycles, methods, name};

    fn edges(texts: &[(&str, &str)]) -> Vec<String> {
        let all = Crate::of(texts).edges();
        let lines =
            all.iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{} {}", name(from), name(to))));
        lines.collect()
    }

    const EMPTY: (&str, &str) = ("b", "");

    #[test]
    fn uses_are_seen() {
        for text in [
            "use crate::b;",
            "use crate::b::{self, X as Y};",
            "use super::b::X;",
            "use {std::fmt, crate::{b::X}};",
            "fn f() { crate::b::f(); }",
            "fn f<'a>(x: &'a [crate::b::X]) {}",
            "fn f(x: crate::b::X) {}",
            "fn f() { for _ in 0..super::b::N {} }",
            "#[derive(Debug)]\nuse super::b::X;",
            "mod inner { fn f() { super::super::b::f() } }",
            "const C: char = '\\''; use crate::b;",
            "const S: &str = r#\"a\" b\"#; use crate::b;",
            "use crate::{b as other};\nfn f() { other::f() }",
        ] {
            assert_eq!(edges(&[("lib", ""), ("a", text), EMPTY]), ["a b"], "{text}");
        }
    }

    #[test]
    fn what_is_no_use_is_none() {
        for text in [
            "pub use crate::b::X;",
            "pub(crate) use crate::b::X;",
            "// use crate::b;",
            "/* use crate::b; */",
            "const S: &str = \"use crate::b; \\\" crate::b::f()\";",
            "#[cfg(test)]\nmod tests { use crate::b; fn f() { { crate::b::f() } } }",
            "#[cfg(test)]\nuse crate::b;",
            "pub(in crate::b) struct X;",
            "fn f(b: usize) { x.b::<u8>(); B::b() }",
            "use other::b;",
            "mod inner { fn f() { super::b::f() } }",
        ] {
            assert_eq!(edges(&[("lib", ""), ("a", text), EMPTY]), [""; 0], "{text}");
        }
    }

    #[test]
    fn names_that_are_passed_on_lead_to_where_they_are_defined() {
        let lib = ("lib", "pub use a::X;");
        let a = ("a", "mod x;\npub use x::X;\nuse crate::b::f;");
        let x = ("a::x", "");
        assert_eq!(edges(&[lib, a, x, ("b", ""), ("c", "use crate::X;")]), ["a b", "c a::x"]);
        assert_eq!(edges(&[lib, a, x, ("b", ""), ("c", "use crate::a::{X, Y};")]), ["a b", "c a", "c a::x"]);
    }

    #[test]
    fn cycles_and_breaches_are_found() {
        let parent = ("a", "mod x;\nuse x::f;\npub struct A;");
        let files = Crate::of(&[("lib", ""), parent, ("a::x", "use super::A;"), ("b", "use crate::a::A;")]);
        assert_eq!(cycles(&files.edges()), ["a, a::x"]);
        let rooms: &[Room] = &[("a", &[]), ("b", &[]), ("lib", &[])];
        assert_eq!(breaches(&files.edges(), rooms), ["b uses a"]);
        let files = Crate::of(&[
            ("lib", ""),
            ("a", "mod x;\npub use x::f;\npub struct A;"),
            ("a::x", "use super::A;"),
        ]);
        assert!(cycles(&files.edges()).is_empty());
    }

    const TYPE: (&str, &str) = ("a", "pub struct A<'a>;\nimpl<'a> A<'a> { pub fn new() -> A<'a> { A } }");
    const METHOD: (&str, &str) = ("b", "use crate::a::A;\nimpl A<'_> where Self: Sized { fn f(&self) {} }");

    fn calls(text: &str) -> Vec<String> {
        let files = Crate::of(&[("lib", ""), TYPE, METHOD, ("c", text)]);
        methods::calls(&files)[&vec!["c".to_owned()]].iter().map(|called| name(called)).collect()
    }

    #[test]
    fn calls_of_methods_are_seen() {
        for text in [
            "use crate::a::A; fn g(a: &mut A) { a.f() }",
            "use crate::a::A; fn g(a: &'static A<'_>) { a\n    .f() }",
            "use crate::a::A; struct S<'s> { a: &'s mut A<'s> } impl S<'_> { fn g(&self) { self.a.f() } }",
            "use crate::a::A; impl A<'_> { fn g(&self) { self.f::<3>() } }",
            "use crate::a::A; impl<'a> A<'a> { fn g(&self) { Self::f(self) } }",
            "use crate::a::A; impl Drop for A<'_> { fn drop(&mut self) { self.f() } }",
            "use crate::a::A; fn g(a: &A) {} fn h() { i(|a| a.f()) }",
        ] {
            assert_eq!(calls(text), ["b"], "{text}");
        }
    }

    #[test]
    fn calls_of_other_methods_are_none() {
        for text in [
            "use crate::a::A; fn g(a: &mut A) { a.h() }",
            "use other::A; fn g(a: &mut A) { a.f() }",
            "use crate::a::A; fn g(a: &mut A, b: B) { b.f() }",
            "use crate::a::A; fn g(a: &mut A) {} fn h(a: &B) { a.f() }",
            "struct B; impl B { fn g(&self) { self.f() } }",
            "use crate::a::A; fn g(a: &mut A) { a.f }",
            "use crate::a::A; impl A<'_> { fn f(&self) { self.f() } }",
        ] {
            assert_eq!(calls(text), [""; 0], "{text}");
        }
    }
}
