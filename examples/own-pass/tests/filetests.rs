//! Files under `tests/filetests/unneg`: each a graph, and what the pass makes of it.

use std::path::Path;

use brolga_passes::filetest::Suite;
use own_pass::UNNEG;

#[test]
fn filetests() {
    let suite = Suite::new().graph_pass(UNNEG).bless(std::env::var_os("BROLGA_BLESS").is_some());
    let outcome = suite.run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests")).unwrap();
    assert!(outcome.failures.is_empty(), "{outcome}");
    assert_eq!(outcome.files["unneg"], 3);
}
