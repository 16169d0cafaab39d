//! Weights that lie beside a program which carries none.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What the file may be called: of the program `digits`, whose model is `lenet5`, `digits.safetensors`, or
/// `lenet5.safetensors`, as it calls those that it trains itself.
pub(super) fn names(program: &Path, model: &str) -> [String; 2] {
    // Behind the whole name: `net-1.0` and `net-1.1` are two programs.
    let of_program = program.file_name().unwrap_or_default().to_string_lossy();
    [&*of_program, model].map(|name| format!("{name}.safetensors"))
}

/// The file, if there is one: beside the program as it was called, which may be a link with weights of its own, or beside what
/// that leads to.
pub(super) fn weights(program: &Path, model: &str) -> Option<PathBuf> {
    let has_folder = program.parent().is_some_and(|folder| folder != Path::new(""));
    let called = match has_folder {
        true => Some(program.to_path_buf()),
        false => std::env::var_os("PATH").and_then(|folders| found_in(&folders, program)),
    };
    // Where there is no `/proc`, nobody knows.
    let real = std::env::current_exe().ok();
    [called, real].into_iter().flatten().find_map(|place| {
        let files = names(&place, model).map(|name| place.with_file_name(name));
        files.into_iter().find(|file| file.is_file())
    })
}

/// The program that a shell starts by a name without a folder.
fn found_in(folders: &OsStr, program: &Path) -> Option<PathBuf> {
    let name = program.file_name()?;
    std::env::split_paths(folders).map(|folder| folder.join(name)).find(|place| is_executable(place))
}

#[cfg(unix)]
fn is_executable(place: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    place.metadata().is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(place: &Path) -> bool {
    place.is_file()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_as_shells_find_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (file, mode) in [("text/net", 0o644), ("first/net", 0o755), ("second/net", 0o755)] {
            create_dir(at(file).parent().unwrap()).unwrap();
            write(at(file), "").unwrap();
            set_permissions(at(file), Permissions::from_mode(mode)).unwrap();
        }
        create_dir(at("net")).unwrap();
        let found = |folders: &[&str], name: &str| {
            let folders = std::env::join_paths(folders.iter().map(|name| at(name))).unwrap();
            found_in(&folders, Path::new(name))
        };
        assert_eq!(found(&["none", "", "text", "first", "second"], "net"), Some(at("first/net")));
        assert_eq!(found(&["second", "first"], "net"), Some(at("second/net")));
        assert_eq!(found(&["text", "first"], "other"), None);
    }
}
