//! Opening files that users name: regular ones only.
//!
//! A device or a pipe has no size, reading it may never end, and opening a pipe waits for somebody to write. So what a
//! path leads to is looked at before it is opened.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The longest text that is read: a model, a graph, a kernel program.
pub const MAX_TEXT: u64 = 256 << 20;

/// Opens a regular file for reading; gives its size in bytes too.
///
/// # Errors
/// What is not there, may not be read, or is a folder, a device or a pipe.
pub fn open_regular(path: impl AsRef<Path>) -> Result<(File, u64)> {
    let check = |metadata: std::fs::Metadata| match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => Ok(metadata.len()),
        (_, true) => Err(Error::new(ErrorKind::IsADirectory, "it is a folder")),
        _ => Err(Error::new(ErrorKind::InvalidInput, "it is no regular file, but a device or a pipe")),
    };
    check(std::fs::metadata(&path)?)?;
    let file = File::open(path)?;
    let size = check(file.metadata()?)?;
    Ok((file, size))
}

/// The bytes of a regular file of at most `most`.
///
/// # Errors
/// Those of [`open_regular`], and a file that is larger.
pub fn read_regular(path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size.min(most) as usize)?;
    // It may grow while it is read.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("text");
        std::fs::write(&path, b"12345").expect("a file");
        assert_eq!(read_regular(&path, 5).expect("five bytes"), b"12345");
        assert!(read_regular(&path, 4).expect_err("too long").to_string().contains("more than 4 bytes"));
        for (path, what) in [(folder.path(), "a folder"), (Path::new("/dev/zero"), "a device")] {
            assert!(open_regular(path).expect_err("not regular").to_string().contains(what));
        }
        assert!(open_regular(folder.path().join("none")).is_err());
    }

    /// Opening a pipe would wait for a writer.
    #[cfg(unix)]
    #[test]
    fn pipes_are_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        assert!(open_regular(&path).expect_err("a pipe").to_string().contains("a pipe"));
    }
}
