//! The lock of a directory that one run at a time may write to.
//!
//! It is a file in the directory that is locked as long as the run lives. The system gives the lock back when the process
//! ends, however it ends, so a file that is left behind keeps nobody out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::shown::Shown;

/// The name of the file.
const NAME: &str = ".brolga-lock";

/// A lock that is held; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Locks a directory; `None` where its file system has no locks.
    ///
    /// # Errors
    /// Another run has the lock; the directory cannot be written to.
    pub(crate) fn take(directory: &Path) -> Result<Option<Lock>> {
        let path = directory.join(NAME);
        let io = |e| Error::io("use the directory", directory, e);
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
            let mut lock = Lock { path: path.clone(), file };
            match lock.file.try_lock() {
                Ok(()) if lock.is_held() => {
                    lock.sign();
                    return Ok(Some(lock));
                }
                // Whoever had it removed the file after it was opened here, so another may have made a new one.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(lock.taken(directory)),
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
    }

    /// Whether the directory still has this file: not if it was removed, or replaced by another directory.
    pub(crate) fn is_held(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Says in the file who has the lock. That is for people; what counts is the lock.
    fn sign(&mut self) {
        let _ = self.file.set_len(0);
        let _ = writeln!(self.file, "process {}", std::process::id());
    }

    /// The error of whoever finds it locked.
    fn taken(&mut self, directory: &Path) -> Error {
        let mut text = String::new();
        let _ = self.file.rewind();
        let _ = (&mut self.file).take(100).read_to_string(&mut text);
        let by = match text.trim() {
            "" => String::new(),
            who => format!(" ({who})"),
        };
        let message = format!(
            "`{}` is in use by another run{by}: wait until that has ended, stop it, or choose another directory",
            directory.shown()
        );
        // A file that another has locked is not this value's to remove.
        self.path = PathBuf::new();
        Error::new(ErrorKind::Option, message)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still locked; who has opened it meanwhile finds that out by `is_held`.
        if self.is_held() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(a), Ok(b)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Files that are open cannot be replaced here.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_files_left_behind_keep_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        // Left behind by a run that was killed.
        std::fs::write(at.join(NAME), "process 1\n").unwrap();
        let first = Lock::take(at).unwrap().unwrap();
        let error = Lock::take(at).unwrap_err().to_string();
        assert!(
            error.contains(&format!("in use by another run (process {})", std::process::id())),
            "{error}"
        );
        assert!(first.is_held(), "a run that is refused leaves the lock alone");
        drop(first);
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0);
        let second = Lock::take(at).unwrap().unwrap();
        // Somebody clears the directory, and another run takes it.
        std::fs::remove_file(at.join(NAME)).unwrap();
        assert!(!second.is_held());
        let third = Lock::take(at).unwrap().unwrap();
        drop(second);
        assert!(third.is_held(), "who has lost the lock leaves that of others alone");
    }

    #[test]
    fn of_many_at_once_one_has_it() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(Some(_lock)) = Lock::take(dir.path()) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have the lock");
                        taken.fetch_add(1, Ordering::Relaxed);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }
}
