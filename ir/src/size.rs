//! Sizes in the making: arithmetic that cannot overflow.

use std::fmt;
use std::ops::{Add, Div, Mul, Rem, Sub};

use crate::types::MAX_BYTES;

/// A whole number that a user gave, or that is computed from such: an extent, an axis, a step, a padding.
///
/// Nothing can be done with it but what is checked. A result beyond 64 bits, and a division by zero, is *lost*, and
/// whatever is computed from it is lost too; the number comes out by [`Size::get`] and its like, where a lost one is
/// an error. So a formula is written as it stands in a book, and looked at once:
///
/// ```
/// use brolga_ir::Size;
///
/// let extent = |input: usize, kernel: i64, stride: i64| ((Size::from(input) - kernel) / stride + 1).get();
/// assert_eq!(extent(28, 5, 2), Ok(12));
/// assert!(extent(28, i64::MIN, 1).is_err() && extent(28, 5, 0).is_err() && extent(28, 30, 1).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size(Option<i64>);

/// The largest size that comes out of [`Size::get`]: no extent is larger, since no tensor is.
pub const MAX_SIZE: usize = MAX_BYTES;

impl Size {
    /// 0
    pub const ZERO: Size = Size(Some(0));
    /// 1
    pub const ONE: Size = Size(Some(1));

    /// The number as an extent: from 0 to [`MAX_SIZE`].
    ///
    /// # Errors
    /// What is lost, negative or larger.
    pub fn get(self) -> Result<usize, String> {
        match self.0 {
            Some(size @ 0..) if size as usize <= MAX_SIZE => Ok(size as usize),
            _ => Err(format!("a size of {self} is not from 0 to 2^40")),
        }
    }

    /// The number as an axis of a tensor with so many; negative ones count from the end.
    ///
    /// # Errors
    /// An axis that is not there.
    pub fn axis(self, rank: usize) -> Result<usize, String> {
        let rank = Size::from(rank).0.unwrap_or(i64::MAX);
        match self.0 {
            Some(axis) if (0..rank).contains(&axis) => Ok(axis as usize),
            Some(axis) if axis < 0 && axis >= -rank => Ok((axis + rank) as usize),
            _ => Err(format!("there is no axis {self} among {rank}")),
        }
    }

    /// The number, if it is not lost.
    pub fn number(self) -> Option<i64> {
        self.0
    }

    /// The number for what is only estimated; a lost one is as large as can be.
    pub fn approximate(self) -> f64 {
        self.0.unwrap_or(i64::MAX) as f64
    }

    /// The quotient, rounded up.
    pub fn div_ceil(self, by: impl Into<Size>) -> Size {
        let by = by.into();
        let up = self % by;
        let more = up.0.map(|rest| Size::from(i64::from(rest != 0)));
        self / by + more.unwrap_or(Size(None))
    }

    /// The larger one.
    pub fn max(self, other: impl Into<Size>) -> Size {
        Size(self.0.zip(other.into().0).map(|(a, b)| a.max(b)))
    }

    /// The smaller one.
    pub fn min(self, other: impl Into<Size>) -> Size {
        Size(self.0.zip(other.into().0).map(|(a, b)| a.min(b)))
    }

    /// Whether it is known to be smaller; a lost one never is.
    pub fn is_below(self, other: impl Into<Size>) -> bool {
        self.0.zip(other.into().0).is_some_and(|(a, b)| a < b)
    }

    /// The product of all.
    pub fn product(sizes: impl IntoIterator<Item = impl Into<Size>>) -> Size {
        sizes.into_iter().fold(Size::ONE, |product, size| product * size)
    }
}

impl From<usize> for Size {
    fn from(size: usize) -> Size {
        Size(i64::try_from(size).ok())
    }
}

impl From<&usize> for Size {
    fn from(size: &usize) -> Size {
        Size::from(*size)
    }
}

impl From<i64> for Size {
    fn from(size: i64) -> Size {
        Size(Some(size))
    }
}

impl From<i32> for Size {
    fn from(size: i32) -> Size {
        Size(Some(size.into()))
    }
}

impl From<&Size> for Size {
    fn from(size: &Size) -> Size {
        *size
    }
}

macro_rules! checked {
    ($($operator:ident $function:ident $by:expr),* $(,)?) => {
        $(impl<T: Into<Size>> $operator<T> for Size {
            type Output = Size;

            fn $function(self, other: T) -> Size {
                let checked: fn(i64, i64) -> Option<i64> = $by;
                Size(self.0.zip(other.into().0).and_then(|(a, b)| checked(a, b)))
            }
        })*
    };
}

checked! {
    Add add i64::checked_add,
    Sub sub i64::checked_sub,
    Mul mul i64::checked_mul,
    // Rounded down for positive divisors; lost for others than these.
    Div div |a, b| if b > 0 { a.checked_div_euclid(b) } else { None },
    Rem rem |a, b| if b > 0 { a.checked_rem_euclid(b) } else { None },
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(size) => size.fmt(f),
            None => f.write_str("more than 64 bits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_lost_and_stays_so() {
        let largest = Size::from(i64::MAX);
        for lost in [largest + 1, largest * 2, Size::from(i64::MIN) - 1, Size::from(usize::MAX), largest / 0]
        {
            assert_eq!(lost.number(), None);
            assert_eq!((lost * 2).number(), None);
            assert!(lost.get().is_err() && lost.axis(4).is_err() && !lost.is_below(1));
        }
        assert_eq!(
            Size::product([1usize << 40, 1 << 40, 1 << 40]).get().unwrap_err(),
            "a size of more than 64 bits is not from 0 to 2^40"
        );
    }

    #[test]
    fn numbers_that_fit() {
        assert_eq!(Size::from(7).div_ceil(2).get(), Ok(4));
        assert_eq!((Size::from(7) / 2).get(), Ok(3));
        assert_eq!((Size::from(-7) / 2).number(), Some(-4));
        assert_eq!(Size::from(-1).axis(3), Ok(2));
        assert!(Size::from(i64::MIN).axis(3).is_err() && Size::from(3).axis(3).is_err());
        assert!(Size::from(-1).get().is_err() && Size::from((1 << 40) + 1i64).get().is_err());
        assert_eq!(Size::product([2usize, 3, 4]).get(), Ok(24));
    }
}
