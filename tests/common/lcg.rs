//! Numbers that repeat late, the same everywhere: what tests of several crates fill tensors with.

/// A linear congruential generator with the constants of Knuth's MMIX (1997).
pub struct Lcg(pub u64);

impl Lcg {
    /// A sequence of its own for each salt.
    pub fn new(salt: u64) -> Lcg {
        Lcg(salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 64 bits, of which the upper ones are good.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0
    }

    /// In -1..1, a multiple of 2^-23.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    }
}
