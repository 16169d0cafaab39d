//! Writing files so that a reader, or a kill at any moment, meets the old file or the new one, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::shown::Shown;

/// How the temporary files of unfinished writes begin. Each is locked as long as it is being written.
const TEMPORARY: &str = ".brolga-unfinished-";

/// Writes a file by way of a temporary one in the same directory: write, fsync, rename, fsync the directory. A
/// symbolic link stays one; a device is written to, since it cannot be replaced.
///
/// # Errors
/// A directory that is not there or not writable, a full disk, a pipe or a socket; the old file is still there then.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let io = |e| Error::io("write", path, e);
    if fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let file = open_device(path).map_err(io)?;
        let mut writer = BufWriter::new(&file);
        return write(&mut writer).and_then(|()| writer.flush()).map_err(io);
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let directory = folder(&target);
    let run = || -> io::Result<()> {
        let file = temporary(directory)?;
        // A file system without locks keeps what a kill leaves behind.
        let _ = file.as_file().try_lock();
        let mut writer = BufWriter::with_capacity(1 << 20, file.as_file());
        write(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|e| e.error)?;
        sync_directory(directory)
    };
    run().map_err(|e| io(plain(e)))
}

/// Whether something can be written to without waiting for anybody: a file, a device, or what the program has open already
/// (`/dev/stdout`). Opening another pipe waits for a reader.
fn check_kind(path: &Path, there: &fs::Metadata) -> io::Result<()> {
    let is_open =
        ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"].iter().any(|own| path.starts_with(own));
    #[cfg(unix)]
    let device = {
        use std::os::unix::fs::FileTypeExt;
        there.file_type().is_char_device() || there.file_type().is_block_device()
    };
    #[cfg(not(unix))]
    let device = true;
    if there.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if there.is_file() || device || is_open {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is neither a file nor a device, but a pipe or a socket",
    ))
}

/// Opens a device for writing. What has become a pipe in the meantime is refused, and not waited for.
fn open_device(path: &Path) -> io::Result<File> {
    check_kind(path, &fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    let file = options.open(path)?;
    check_kind(path, &file.metadata()?)?;
    // Writing may wait, as for a terminal.
    #[cfg(target_os = "linux")]
    rustix::fs::fcntl_setfl(&file, rustix::fs::fcntl_getfl(&file)? - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

/// Finds out, as far as that can be known before, whether [`write_atomically`] could write a file of so many bytes: the
/// name is one that the file system takes, of a file or a device if it is there; the folder is there and takes new files,
/// and the disk has room. Leaves nothing behind.
///
/// # Errors
/// Those that writing would have.
pub fn check_writable(path: &Path, bytes: u64) -> Result<()> {
    let io = |e| Error::io("write", path, e);
    match fs::metadata(path) {
        Ok(there) => {
            check_kind(path, &there).map_err(io)?;
            // Of a device nothing is known.
            if !there.is_file() {
                return Ok(());
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        // A name that is too long, a folder that may not be looked into.
        Err(e) => return Err(io(e)),
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let run = || {
        let file = temporary(folder(&target))?;
        reserve(file.as_file(), bytes)
    };
    run().map_err(|e| io(plain(e))).map_err(|e| match fs::metadata(folder(&target)) {
        Err(_) => e.and(format!("there is no folder `{}`", folder(&target).shown())),
        Ok(_) => e,
    })
}

/// Takes room on the disk, where the system can tell.
#[cfg(target_os = "linux")]
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes.max(1)) {
        Err(e) if [Errno::NOSPC, Errno::FBIG, Errno::DQUOT].contains(&e) => Err(e.into()),
        _ => Ok(()),
    }
}

/// Only writing tells.
#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _bytes: u64) -> io::Result<()> {
    Ok(())
}

/// The folder that a file is in.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file of a name of its own.
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // The permissions of an ordinary new file, instead of those of a secret temporary one.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// What the system says, without the name of the temporary file that `tempfile` adds, which means nothing to anybody.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((said, _)) => io::Error::new(error.kind(), said),
        None => error,
    }
}

/// Removes the temporary files of writes that were interrupted; those that are being written stay.
pub(crate) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY)
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // Whoever else finds it may be faster.
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The result of a sync: pipes and devices have nothing to sync, and neither have directories on some file systems.
pub(crate) fn durable(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Makes renames and removals in a directory durable, where the file system can.
#[cfg(unix)]
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    durable(File::open(directory)?.sync_all())
}

/// Directories cannot be synced here; the file system orders its own changes.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomically(&path, |w| w.write_all(b"old")).unwrap();
        let error = write_atomically(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(error.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_being_written_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(dir.path().join(".brolga-unfinished-x"), b"left by a kill").unwrap();
        write_atomically(&path, |w| {
            w.write_all(b"one half")?;
            remove_unfinished(dir.path())?;
            w.write_all(b" and the other")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one half and the other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Neither before nor after a write does a message name a temporary file, and nothing is left behind.
    #[test]
    fn what_cannot_be_written_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"old").unwrap();
        for (path, why) in
            [(dir.path().join("no/such/file"), "o such"), (dir.path().join("file/below"), "irectory")]
        {
            let before = check_writable(&path, 10).unwrap_err().to_string();
            let after = write_atomically(&path, |w| w.write_all(b"x")).unwrap_err().to_string();
            for message in [before, after] {
                assert!(message.contains(why) && !message.contains("brolga-unfinished"), "{message}");
            }
        }
        assert!(check_writable(dir.path(), 10).unwrap_err().to_string().contains("it is a folder"));
        check_writable(&dir.path().join("file"), 0).unwrap();
        check_writable(&dir.path().join("new"), 1 << 20).unwrap();
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(target_os = "linux")]
        {
            let error = check_writable(&dir.path().join("new"), 1 << 60).unwrap_err().to_string();
            assert!(error.starts_with("cannot write `"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_stay_devices() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, b"old").unwrap();
        symlink(&target, &link).unwrap();
        write_atomically(&link, |w| w.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
        write_atomically(Path::new("/dev/null"), |w| w.write_all(b"gone")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert!(write_atomically(dir.path(), |w| w.write_all(b"x")).is_err(), "a directory");
    }

    /// The longest name that a file system takes is written; a longer one, of a file or a folder, is known before.
    #[cfg(unix)]
    #[test]
    fn names_that_are_too_long_are_known_before() {
        let dir = tempfile::tempdir().unwrap();
        for length in [1, 200, 255, 256, 300, 5000] {
            for path in [dir.path().join("a".repeat(length)), dir.path().join("a".repeat(length)).join("b")] {
                let before = check_writable(&path, 10);
                let after = write_atomically(&path, |w| w.write_all(b"x"));
                assert_eq!(before.is_ok(), after.is_ok(), "{length}: {before:?} {after:?}");
                assert!(length <= 255 || before.is_err());
                let _ = fs::remove_file(&path);
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// Nobody reads from either; opening them would wait.
    #[cfg(unix)]
    #[test]
    fn pipes_and_sockets_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&pipe, &socket] {
            for error in [check_writable(path, 1), write_atomically(path, |w| w.write_all(b"x"))] {
                let error = error.unwrap_err().to_string();
                assert!(error.contains("neither a file nor a device"), "{error}");
            }
        }
    }
}
