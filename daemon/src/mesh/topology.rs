//! Which triangles meet along which edges. Pure.

/// A triangle's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side {
    /// The edge's corner with the lower number.
    pub(super) low: u32,
    /// The edge's other corner.
    pub(super) high: u32,
    /// The triangle.
    pub(super) face: u32,
    /// Which of its sides: from this corner to the next.
    pub(super) slot: u8,
    /// Whether the triangle goes from the lower to the higher corner.
    pub(super) forward: bool,
}

impl Side {
    /// Where the triangle's side begins and ends.
    pub(super) fn ends(self) -> (u32, u32) {
        if self.forward { (self.low, self.high) } else { (self.high, self.low) }
    }
}

/// All sides, those of an edge beside one another.
pub(super) fn sides(triangles: &[[u32; 3]]) -> Vec<Side> {
    let mut sides = Vec::with_capacity(3 * triangles.len());
    for (face, &triangle) in (0_u32..).zip(triangles) {
        for (slot, (from, to)) in (0_u8..).zip(super::edges(triangle)) {
            let forward = from < to;
            let (low, high) = if forward { (from, to) } else { (to, from) };
            sides.push(Side { low, high, face, slot, forward });
        }
    }
    sides.sort_unstable();
    sides
}

/// The sides of each edge.
pub(super) fn by_edge(sides: &[Side]) -> impl Iterator<Item = &[Side]> {
    sides.chunk_by(|a, b| (a.low, a.high) == (b.low, b.high))
}

/// Sets that grow together (union by halving paths; Tarjan 1975).
pub(super) struct Sets(Vec<u32>);

impl Sets {
    /// So many sets of one.
    pub(super) fn new(count: usize) -> Self {
        Self((0..count as u32).collect())
    }

    /// The set's name.
    pub(super) fn of(&mut self, mut member: u32) -> u32 {
        while self.0[member as usize] != member {
            let above = self.0[self.0[member as usize] as usize];
            self.0[member as usize] = above;
            member = above;
        }
        member
    }

    /// Makes one set of two.
    pub(super) fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b) as usize] = a.min(b);
    }

    /// How many sets there are.
    pub(super) fn count(&mut self) -> usize {
        (0..self.0.len() as u32).filter(|&member| self.0[member as usize] == member).count()
    }
}

/// The corner of a triangle at a vertex, numbered over all triangles.
pub(super) fn corner_at(triangles: &[[u32; 3]], face: u32, vertex: u32) -> u32 {
    let place = triangles[face as usize].iter().position(|&corner| corner == vertex);
    // A side's ends are corners of its triangle.
    3 * face + place.unwrap_or_default() as u32
}

/// Connected parts of a surface: the set of each triangle.
pub(super) fn parts(triangles: &[[u32; 3]], sides: &[Side], joins: impl Fn(&[Side]) -> bool) -> Sets {
    let mut sets = Sets::new(triangles.len());
    for edge in by_edge(sides).filter(|edge| joins(edge)) {
        edge.windows(2).for_each(|pair| sets.unite(pair[0].face, pair[1].face));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_and_parts() {
        let triangles = [[0, 1, 2], [2, 1, 3], [4, 5, 6]];
        let sides = sides(&triangles);
        assert_eq!(by_edge(&sides).filter(|edge| edge.len() == 2).count(), 1);
        assert_eq!(by_edge(&sides).count(), 8);
        let shared = by_edge(&sides).find(|edge| edge.len() == 2).unwrap();
        assert_eq!([shared[0].ends(), shared[1].ends()], [(1, 2), (2, 1)]);
        let mut parts = parts(&triangles, &sides, |_| true);
        assert_eq!((parts.count(), parts.of(1), parts.of(2)), (2, 0, 2));
    }
}
