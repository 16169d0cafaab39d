//! Containers: what is written is read and runs; what is wrong is refused with its reason, and nothing of it has run.

mod damage;
mod run;
mod write;

use std::path::PathBuf;

use crate::common::container::sample;

/// A folder that has a container in it, and the container's path.
fn folder(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.brolga");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Messages name the file and what is wrong with it, once.
#[test]
fn messages_name_the_file() {
    let (_folder, path) = folder(&sample()[..100]);
    let error = brolga_runtime::container::Container::read(&path).unwrap_err().to_string();
    assert!(error.starts_with("`") && error.contains("sample.brolga` is no container that can be used: "));
}
