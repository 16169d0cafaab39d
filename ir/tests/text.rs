//! The text form of graphs: what is printed is read back as the same graph.

mod common;

use brolga_ir::Graph;
use common::cases;

#[test]
fn every_operator_comes_back() {
    for case in cases() {
        let graph = case.graph();
        let text = graph.to_string();
        let read = Graph::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(read == graph, "{}: read back differently:\n{text}\n{read}", case.label());
        assert_eq!(read.to_string(), text);
        read.verify().unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    }
}
