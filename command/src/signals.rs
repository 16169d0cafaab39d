//! Signals that ask a run to stop. Handlers are set by those who run something, and by nobody else.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether a run was asked to stop.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The signal that asked for an end, or 0.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// From now on the first Ctrl-C (or SIGTERM, or SIGHUP) asks to stop, the second ends the process. Signals that whoever started
/// it has it ignore stay so: SIGHUP under `nohup`, SIGINT behind `&` in a script.
#[cfg(unix)]
pub(crate) fn listen() {
    let handler: extern "C" fn(libc::c_int) = noted;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        if !is_ignored(signal) {
            // SAFETY: the handler stores numbers and ends the process, which may be done at any time.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
    }
}

/// From now on the first Ctrl-C (or Ctrl-Break, or the closing of the window) asks to stop, the second ends the process.
#[cfg(windows)]
pub(crate) fn listen() {
    // The standard library is linked with it, and has no function for this.
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn SetConsoleCtrlHandler(handler: Option<unsafe extern "system" fn(u32) -> i32>, add: i32) -> i32;
    }
    // SAFETY: the handler, which a thread of the system calls, stores numbers and waits. Where it cannot be set, Ctrl-C ends the
    // process.
    unsafe { SetConsoleCtrlHandler(Some(told), 1) };
}

/// There is no way to be asked here: Ctrl-C ends the process at once, with the checkpoints that are there.
#[cfg(not(any(unix, windows)))]
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

/// Asks the run to stop, and says that nothing more is to be done about it; if it was asked before, the system ends the process.
#[cfg(windows)]
unsafe extern "system" fn told(event: u32) -> i32 {
    const CTRL_BREAK: u32 = 1;
    if ASKED.swap(true, Ordering::SeqCst) {
        return 0;
    }
    // A window that closes: the process ends when this returns, or after some seconds, which the run has for its checkpoint.
    while event > CTRL_BREAK {
        std::thread::park();
    }
    1
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
