//! What the command does where memory ends.
//!
//! What grows with sizes that a user gave (tensors, arenas, files) is asked for by ways that can fail, and its lack is an error
//! as any other. Everything else is small, but may be what no room is left for. There the standard library says how much it
//! asked for, and aborts; on Unix the command then says what can be done, and ends with exit code 1, as after other errors.
//! A run that trains loses what came after its last checkpoint, no more: checkpoints are whole files, or none.
//!
//! The allocator is the system's. It is wrapped to know that a thread's last request has failed, which costs the test of a pointer
//! and a load. A failure that was answered as an error is forgotten after some requests that are granted: the program goes on.
//! Not after the first, since the standard library makes a few before it aborts (it looks whether a backtrace is wanted).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether any request has been refused. Until then nothing else is looked at.
static EVER_REFUSED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Bytes of this thread's last request that the system refused, or 0 if it is forgotten. Nothing is made for it, and nothing
    /// dropped, so the allocator and the handler of a signal may use it at any time.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
    /// Requests that were granted since.
    static GRANTED: Cell<usize> = const { Cell::new(0) };
}

/// How many requests are granted before a refusal is forgotten.
const FORGOTTEN_AFTER: usize = 1000;

struct Watched;

#[inline]
fn noted(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() || EVER_REFUSED.load(Ordering::Relaxed) {
        note(pointer.is_null(), bytes);
    }
    pointer
}

#[cold]
fn note(refused: bool, bytes: usize) {
    if refused {
        EVER_REFUSED.store(true, Ordering::Relaxed);
        REFUSED.set(bytes);
        GRANTED.set(0);
    } else if REFUSED.get() != 0 {
        GRANTED.set(GRANTED.get() + 1);
        if GRANTED.get() == FORGOTTEN_AFTER {
            REFUSED.set(0);
        }
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        noted(unsafe { System.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        noted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: promised by the caller.
        noted(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// From now on a process that aborts because it gets no memory says so, and ends with exit code 1.
pub fn answer_its_lack() {
    #[cfg(unix)]
    {
        let handler: extern "C" fn(libc::c_int) = aborted;
        // SAFETY: the handler calls nothing but what may be called at any time.
        unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
        // Some crates panic where they get no memory.
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let bytes = REFUSED.get();
            if bytes == 0 {
                return others(panic);
            }
            // What it says of itself, in case that memory was not the reason.
            let payload = panic.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let place = panic.location().map(|place| (place.file(), place.line() as usize));
            say(text.unwrap_or_default().as_bytes());
            if let Some((file, line)) = place {
                say(b" (");
                say(file.as_bytes());
                say(b":");
                say(decimal(line, &mut [0; 20]));
                say(b")");
            }
            say(b"\n");
            end(bytes)
        }));
    }
}

/// The least that is missed where a thread cannot be started: the stack of its signal handlers.
#[cfg(unix)]
const STACK: usize = 64 << 10;

/// Called when the process aborts. It may lie in any state, so nothing is allocated and no lock is taken. Where memory was not
/// the reason the process ends by the signal, as ever.
#[cfg(unix)]
extern "C" fn aborted(_: libc::c_int) {
    // The thread that aborts is the one that this runs on.
    let bytes = match REFUSED.get() {
        0 if is_left(STACK) => {
            // SAFETY: the signal is held back while this runs, and ends the process behind it.
            unsafe { libc::signal(libc::SIGABRT, libc::SIG_DFL) };
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGABRT) };
            return;
        }
        0 => STACK,
        bytes => bytes,
    };
    end(bytes)
}

/// Says what was missed, and ends the process.
#[cfg(unix)]
fn end(bytes: usize) -> ! {
    let mut digits = [0; 20];
    say(b"error: out of memory: ");
    say(decimal(bytes, &mut digits));
    say(b" bytes could not be had; take a smaller model, batch or data set, or fewer threads, or allow the process more \
         memory (checkpoints that are written stay)\n");
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(1) }
}

/// Whether the system gives so much address space.
#[cfg(unix)]
fn is_left(bytes: usize) -> bool {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a mapping of its own, which nobody uses.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, kind, -1, 0);
        start != libc::MAP_FAILED && libc::munmap(start, bytes) == 0
    }
}

/// Writes to standard error; what cannot be written is lost.
#[cfg(unix)]
fn say(text: &[u8]) {
    // SAFETY: reads the bytes of the slice.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

/// The number in decimal, at the end of the digits.
#[cfg(unix)]
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_forgotten_when_the_program_goes_on() {
        let bytes = isize::MAX as usize;
        let mut much: Vec<u8> = Vec::new();
        assert!(much.try_reserve_exact(bytes).is_err());
        assert_eq!(REFUSED.get(), bytes);
        let message = std::hint::black_box(format!("{bytes} bytes could not be had"));
        assert_eq!(REFUSED.get(), bytes, "{message}");
        (0..FORGOTTEN_AFTER).for_each(|number| drop(std::hint::black_box(number.to_string())));
        assert_eq!(REFUSED.get(), 0);
    }
}
