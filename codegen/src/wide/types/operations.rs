//! Operations on vectors, named like the instructions.

/// An operation with two operands, the second of which may be in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Binary {
    Addps,
    Subps,
    Mulps,
    Divps,
    Maxps,
    Minps,
    /// Comparison of floats by predicate.
    Cmpps(u8),
    And,
    Or,
    Xor,
    Paddd,
    Psubd,
    Pmulld,
    Pmaxsd,
    Pminsd,
    Pcmpeqd,
    Pcmpgtd,
    Psllvd,
    Psravd,
    Psrlvd,
    /// Products of the even lanes, 64 bits each.
    Pmuludq,
    /// Even lanes of the first, odd lanes of the second.
    Interleave,
}

/// An operation with one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unary {
    Copy,
    Sqrtps,
    /// Rounding by mode.
    Roundps(u8),
    Cvttps2dq,
    Cvtdq2ps,
    Pabsd,
    Pslld(u8),
    Psrld(u8),
    Psrad(u8),
    /// Each pair of lanes as one 64-bit number.
    Psrlq(u8),
    /// Lane `i + distance` in lane `i`, where both are below twice the distance; nothing is said about the others.
    Down(usize),
    /// The first lane in all of them.
    Splat,
}

// Predicates of vcmpps (Intel SDM, volume 2): ordered, except for `not equal`.
pub(crate) const EQ: u8 = 0;
pub(crate) const UNORDERED: u8 = 3;
pub(crate) const NE: u8 = 4;
pub(crate) const ORDERED: u8 = 7;
pub(crate) const LT: u8 = 0x11;
pub(crate) const LE: u8 = 0x12;
pub(crate) const GE: u8 = 0x1d;
pub(crate) const GT: u8 = 0x1e;
