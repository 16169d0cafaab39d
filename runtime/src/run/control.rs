//! The floating-point control word: round to nearest, denormals kept, exceptions masked.

/// Sets the control word that compiled code expects, and restores the caller's when dropped.
///
/// The word set is the one that Rust itself assumes, so Rust code may run in between.
pub(crate) struct FloatControl(Word);

impl FloatControl {
    pub(crate) fn set() -> FloatControl {
        let before = read();
        write(DEFAULT);
        FloatControl(before)
    }
}

impl Drop for FloatControl {
    fn drop(&mut self) {
        write(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
type Word = u32;
/// MXCSR: all exceptions masked (bits 7 to 12), round to nearest, neither FTZ nor DAZ
/// (Intel SDM, volume 1, section 10.2.3).
#[cfg(target_arch = "x86_64")]
const DEFAULT: Word = 0x1F80;

#[cfg(target_arch = "x86_64")]
fn read() -> Word {
    let mut word: Word = 0;
    // SAFETY: stores MXCSR into a local variable and touches nothing else.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack, preserves_flags)) };
    word
}

#[cfg(target_arch = "x86_64")]
fn write(word: Word) {
    // SAFETY: the word is the default or was read from MXCSR, so it has no reserved bit set.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, preserves_flags, readonly)) };
}

#[cfg(target_arch = "aarch64")]
type Word = u64;
/// FPCR: round to nearest, no flush to zero, no trapping (Arm ARM, FPCR).
#[cfg(target_arch = "aarch64")]
const DEFAULT: Word = 0;

#[cfg(target_arch = "aarch64")]
fn read() -> Word {
    let word: Word;
    // SAFETY: reads a register that user code may read.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
    word
}

#[cfg(target_arch = "aarch64")]
fn write(word: Word) {
    // SAFETY: the word is the default or was read from FPCR.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) word, options(nomem, nostack, preserves_flags)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Word = ();
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const DEFAULT: Word = ();
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn read() -> Word {}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn write(_: Word) {}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn sets_the_default_and_restores_what_was() {
        const FLUSH_TO_ZERO: u32 = 1 << 15;
        let before = read();
        write(before | FLUSH_TO_ZERO);
        let inside = {
            let _control = FloatControl::set();
            read()
        };
        let after = read();
        write(before);
        assert_eq!(inside, DEFAULT);
        assert_eq!(after & FLUSH_TO_ZERO, FLUSH_TO_ZERO);
    }
}
