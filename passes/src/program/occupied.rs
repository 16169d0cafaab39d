//! Which addresses of the arena are taken during which steps: where `plan` looks for room.
//!
//! A segment tree over the steps (Bentley, "Algorithms for Klee's rectangle problems", 1977). A node stands for a span of
//! steps and knows two sets of addresses: those of blocks that live for its whole span and not for that of its parent,
//! and those of blocks that live at any time in it. The life of a block is cut into spans of O(log steps) nodes; what
//! is taken during it is the second set of those, and the first of all nodes above them. Blocks are never removed, so
//! sets keep runs of addresses rather than blocks: blocks that lie next to each other become one run. Where the arena is
//! well filled, runs are few, and finding room takes about logarithmic time.

use crate::facts::liveness::Life;

/// Runs of addresses, first and end, apart from each other and ascending.
#[derive(Clone, Default)]
struct Runs(Vec<(usize, usize)>);

impl Runs {
    fn insert(&mut self, mut first: usize, mut end: usize) {
        let from = self.0.partition_point(|run| run.1 < first);
        let to = self.0.partition_point(|run| run.0 <= end);
        if let Some(run) = self.0[from..to].first() {
            first = first.min(run.0);
        }
        if let Some(run) = self.0[from..to].last() {
            end = end.max(run.1);
        }
        self.0.splice(from..to, [(first, end)]);
    }
}

#[derive(Clone, Default)]
struct Node {
    /// Taken during the whole span.
    throughout: Runs,
    /// Taken at any time in the span.
    ever: Runs,
}

/// What is taken so far.
pub(crate) struct Occupied {
    /// The root is number 1; the children of `n` are `2 n` and `2 n + 1`; leaves are steps.
    nodes: Vec<Node>,
}

impl Occupied {
    /// Nothing is taken, in so many steps.
    pub fn new(steps: usize) -> Occupied {
        Occupied { nodes: vec![Node::default(); 2 * steps.max(1).next_power_of_two()] }
    }

    /// Takes addresses for a life.
    pub fn insert(&mut self, offset: usize, bytes: usize, life: Life) {
        let end = offset + bytes;
        if bytes == 0 {
            return;
        }
        for number in self.spans(life) {
            self.nodes[number].throughout.insert(offset, end);
            let mut above = number;
            while above > 0 {
                self.nodes[above].ever.insert(offset, end);
                above /= 2;
            }
        }
    }

    /// The lowest offset from which on `bytes` are free during a life.
    pub fn lowest(&self, bytes: usize, life: Life) -> usize {
        let sets = self.taken(life);
        let mut offset = 0;
        let mut agreed = 0;
        // Every set moves the offset behind what is in its way, until all agree one after the other. Progress: the offset
        // only grows, past one of finitely many runs each time.
        for set in sets.iter().cycle() {
            let run = set.0.partition_point(|run| run.1 <= offset);
            match set.0.get(run).filter(|run| run.0 < offset + bytes) {
                Some(run) => (offset, agreed) = (run.1, 0),
                None => agreed += 1,
            }
            if agreed == sets.len() {
                break;
            }
        }
        offset
    }

    /// The offset of the smallest gap between taken addresses that holds `bytes` during a life, the lowest of equals; behind
    /// all that is taken, if there is none.
    pub fn tightest(&self, bytes: usize, life: Life) -> usize {
        let mut runs: Vec<(usize, usize)> =
            self.taken(life).into_iter().flat_map(|set| &set.0).copied().collect();
        runs.sort_unstable();
        let mut offset = 0;
        let mut best: Option<(usize, usize)> = None;
        for (first, end) in runs {
            if first >= offset + bytes {
                let waste = first - offset - bytes;
                if best.is_none_or(|(least, _)| waste < least) {
                    best = Some((waste, offset));
                }
            }
            offset = offset.max(end);
        }
        best.map_or(offset, |(_, offset)| offset)
    }

    /// What is taken at any time during a life.
    fn taken(&self, life: Life) -> Vec<&Runs> {
        let mut sets: Vec<&Runs> = Vec::new();
        let mut above: Vec<usize> = Vec::new();
        for number in self.spans(life) {
            sets.push(&self.nodes[number].ever);
            above.extend(
                std::iter::successors(Some(number / 2), |&above| Some(above / 2)).take_while(|&n| n > 0),
            );
        }
        above.sort_unstable();
        above.dedup();
        sets.extend(above.into_iter().map(|number| &self.nodes[number].throughout));
        sets.retain(|set| !set.0.is_empty());
        sets
    }

    /// The fewest nodes whose spans make up a life.
    fn spans(&self, (first, last): Life) -> Vec<usize> {
        let leaves = self.nodes.len() / 2;
        let (mut low, mut high) = (first + leaves, last + leaves + 1);
        let mut found = Vec::new();
        while low < high {
            if low % 2 == 1 {
                found.push(low);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                found.push(high);
            }
            (low, high) = (low / 2, high / 2);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every block compared with every other.
    fn gaps(placed: &[(usize, usize, Life)], life: Life) -> Vec<(usize, usize)> {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(.., other)| other.0 <= life.1 && life.0 <= other.1)
            .map(|&(offset, bytes, _)| (offset, offset + bytes))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        let mut gaps = Vec::new();
        for (first, end) in taken {
            if first > at {
                gaps.push((at, first));
            }
            at = at.max(end);
        }
        gaps.push((at, usize::MAX));
        gaps
    }

    #[test]
    fn room_is_where_comparing_all_blocks_finds_it() {
        let mut rng = brolga_ir::random::Rng(7);
        let mut random = move |below: usize| rng.below(below);
        for steps in [1, 2, 37, 64, 100] {
            for tightest in [false, true] {
                let mut occupied = Occupied::new(steps);
                let mut placed: Vec<(usize, usize, Life)> = Vec::new();
                for _ in 0..200 {
                    let (a, b) = (random(steps), random(steps));
                    let (life, bytes) = ((a.min(b), a.max(b)), 64 * (1 + random(9)));
                    let gaps = gaps(&placed, life);
                    let fitting = gaps.iter().filter(|(first, end)| end - first >= bytes);
                    let offset = if tightest {
                        // The open end is the largest of all gaps.
                        let found = occupied.tightest(bytes, life);
                        assert_eq!(
                            Some(&found),
                            fitting.min_by_key(|(first, end)| end - first).map(|(f, _)| f)
                        );
                        found
                    } else {
                        let found = occupied.lowest(bytes, life);
                        assert_eq!(Some(&found), fitting.clone().next().map(|(first, _)| first));
                        found
                    };
                    occupied.insert(offset, bytes, life);
                    placed.push((offset, bytes, life));
                }
            }
        }
    }
}
