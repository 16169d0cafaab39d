//! How packed weights lie in a buffer.

/// Matrices cut into panels: a tensor `[group, matrix, term, column]` in memory as
///
/// ```text
/// [group][block of columns][block of terms][matrix][term][column]
/// ```
///
/// A block has so many columns, and so many terms; the last of either has what is left over. 3 terms and 5 columns of one matrix,
/// in blocks of 2 terms and 4 columns, lie in this order:
///
/// ```text
/// 0  1  2  3 | 12        positions of the elements of the matrix, whose rows are terms
/// 4  5  6  7 | 13
/// -----------+---
/// 8  9 10 11 | 14
/// ```
///
/// Matrices are kernel positions of a convolution, positions of a tile (Winograd), or factors of the products of halves (Strassen).
/// It says nothing of what the elements are: only how they lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Panels {
    /// Extents of the tensor: groups, matrices of a group, terms and columns of a matrix.
    pub dims: [usize; 4],
    /// Terms of a block, at least 1.
    pub terms: usize,
    /// Columns of a block, at least 1.
    pub columns: usize,
    /// If not 0: the matrices of a block are an odd number of lines of so many elements apart, so that they do not all fall
    /// into the same set of the cache. With 16, matrices of 64 elements are 80 apart. Else they lie one behind the other.
    pub line: usize,
}

impl Panels {
    /// Elements of memory. Sizes beyond all memory stay beyond it.
    pub fn elements(&self) -> usize {
        self.dims[0].saturating_mul(self.group())
    }

    /// Elements from one group to the next.
    pub fn group(&self) -> usize {
        let (blocks, rest) = parts(self.dims[3], self.columns);
        let whole = blocks.saturating_mul(self.block(self.columns));
        if rest == 0 { whole } else { whole.saturating_add(self.block(rest)) }
    }

    /// Elements of a block of so many columns, of one group. Without terms it has a block of none.
    pub fn block(&self, columns: usize) -> usize {
        let (blocks, rest) = parts(self.dims[2], self.terms);
        let whole = blocks.saturating_mul(self.matrix(self.terms, columns));
        let matrix = if rest == 0 && blocks > 0 { 0 } else { self.matrix(rest, columns) };
        self.dims[1].saturating_mul(whole.saturating_add(matrix))
    }

    /// Elements from one matrix to the next, in a block of so many terms and columns.
    pub fn matrix(&self, terms: usize, columns: usize) -> usize {
        let elements = terms.saturating_mul(columns);
        match self.line {
            0 => elements,
            line => (elements.div_ceil(line) | 1).saturating_mul(line),
        }
    }

    /// Where an element lies, by its group, matrix, term and column.
    pub fn position(&self, [group, matrix, term, column]: [usize; 4]) -> usize {
        let (block, lane) = (column / self.columns, column % self.columns);
        let columns = self.columns.min(self.dims[3] - block * self.columns);
        let (before, row) = (term / self.terms, term % self.terms);
        let terms = self.terms.min(self.dims[2] - before * self.terms);
        group * self.group()
            + block * self.block(self.columns)
            + before * self.dims[1] * self.matrix(self.terms, columns)
            + matrix * self.matrix(terms, columns)
            + row * columns
            + lane
    }
}

/// Whole blocks, and what is left over.
fn parts(extent: usize, block: usize) -> (usize, usize) {
    let block = block.max(1);
    (extent / block, extent % block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all([groups, matrices, terms, columns]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
        let elements = groups * matrices * terms * columns;
        (0..elements).map(move |i| {
            let rest = i / columns;
            [rest / terms / matrices, rest / terms % matrices, rest % terms, i % columns]
        })
    }

    #[test]
    fn elements_lie_as_the_example_says() {
        let panels = Panels { dims: [1, 1, 3, 5], terms: 2, columns: 4, line: 0 };
        let found: Vec<usize> = all(panels.dims).map(|at| panels.position(at)).collect();
        assert_eq!(found, [0, 1, 2, 3, 12, 4, 5, 6, 7, 13, 8, 9, 10, 11, 14]);
        let spread = Panels { dims: [1, 3, 8, 8], terms: 8, columns: 8, line: 16 };
        assert_eq!((spread.matrix(8, 8), spread.elements()), (80, 240));
        assert_eq!(Panels { dims: [1, 3, 0, 8], ..spread }.elements(), 48);
    }

    /// Every element has a place of its own, and without lines none is left free.
    #[test]
    fn elements_fill_the_memory() {
        for dims in [[1, 1, 1, 1], [2, 3, 7, 5], [1, 9, 16, 33], [3, 2, 4, 6], [0, 1, 2, 3], [2, 1, 0, 3]] {
            for (terms, columns, line) in [(1, 1, 0), (4, 6, 0), (16, 32, 0), (7, 3, 16), (3, 2, 4)] {
                let panels = Panels { dims, terms, columns, line };
                let mut found: Vec<usize> = all(dims).map(|at| panels.position(at)).collect();
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), dims.iter().product::<usize>(), "{panels:?}");
                assert!(found.last().is_none_or(|&last| last < panels.elements()), "{panels:?}");
                assert!(line > 0 || found.len() == panels.elements(), "{panels:?}");
            }
        }
    }
}
