//! Signals that ask a run to stop. Handlers are set by those who run something, and by nobody else.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether a run was asked to stop.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The signal that asked for an end, or 0.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// From now on the first Ctrl-C (or SIGTERM, or SIGHUP) asks to stop, the second ends the process. What a user has told to
/// survive the terminal (`nohup`) does.
#[cfg(unix)]
pub(crate) fn listen() {
    let handler: extern "C" fn(libc::c_int) = noted;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        if signal != libc::SIGHUP || !is_ignored(signal) {
            // SAFETY: the handler stores numbers and ends the process, which may be done at any time.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
    }
}

/// There is no way to be asked here: a signal ends the process at once.
#[cfg(not(unix))]
pub(crate) fn listen() {}

/// Whether a run was asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// The exit code of a run that was stopped, as shells report an end by a signal: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
pub(crate) fn stopped_by() -> u8 {
    exit_code(SIGNAL.load(Ordering::SeqCst))
}

fn exit_code(signal: i32) -> u8 {
    const INTERRUPT: u8 = 2;
    match u8::try_from(signal) {
        Ok(signal @ 1..=127) => 128 + signal,
        _ => 128 + INTERRUPT,
    }
}

/// Asks the run to stop; ends the process if it was asked before.
#[cfg(unix)]
extern "C" fn noted(signal: libc::c_int) {
    if ASKED.swap(true, Ordering::SeqCst) {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(exit_code(signal).into()) };
    }
    SIGNAL.store(signal, Ordering::SeqCst);
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: an all-zero `sigaction` is a valid value, and the call only fills it in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!([2, 15, 1, 0, 200].map(exit_code), [130, 143, 129, 130, 130]);
    }
}
