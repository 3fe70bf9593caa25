//! Triangles over one closed way in space. Small ways get the triangulation of least area, found by going through all of
//! them (Barequet and Sharir 1995), long ones are cut in two along a short chord until they are small, and long ones that a
//! point sees whole become a fan around it. No edge is used that the mesh has elsewhere already. Pure.

use crate::mesh::vector::{Vector, dot, length, minus, normal};

/// Ways of up to so many vertices are gone through: the work grows with the cube.
const SMALL: usize = 120;
/// Ways longer than this become a fan, whatever they look like: cutting them costs the square.
const LONG: usize = 20_000;
/// How much the shape of triangles counts beside their area: enough to choose among triangulations of one plane.
const SHAPE_WEIGHT: f64 = 0.01;
/// What a triangle without area costs, in areas of the square over its longest side: more than any other choice.
const FLAT_WEIGHT: f64 = 1e3;
/// Twice the area of a triangle without area, as a share of its longest side squared.
const FLAT_SHARE: f64 = 1e-6;
/// A chord cuts off at least this part of a way.
const LEAST_PART: usize = 6;

/// Triangles by the numbers of vertices on the way. The number behind the last is the middle, when there is one.
pub(super) struct Patch {
    pub(super) triangles: Vec<[usize; 3]>,
    pub(super) middle: Option<Vector>,
}

/// A patch that turns as the way does. `is_known` says whether the mesh has an edge between two of its vertices already.
pub(super) fn over(way: &[Vector], is_known: &dyn Fn(usize, usize) -> bool) -> Patch {
    if way.len() > SMALL && (way.len() > LONG || is_seen_whole(way)) {
        return fan(way);
    }
    let mut triangles = Vec::new();
    let mut waiting = vec![(0..way.len()).collect::<Vec<_>>()];
    let mut chords = std::collections::HashSet::new();
    while let Some(part) = waiting.pop() {
        let taken = |a: usize, b: usize| is_known(a, b) || chords.contains(&(a.min(b), a.max(b)));
        if part.len() > SMALL {
            let Some((from, to)) = chord(way, &part, &taken) else { return fan(way) };
            chords.insert((part[from].min(part[to]), part[from].max(part[to])));
            let cut_off = part[from..=to].to_vec();
            waiting.push([&part[..=from], &part[to..]].concat());
            waiting.push(cut_off);
            continue;
        }
        let Some(found) = least(way, &part, &taken) else { return fan(way) };
        for [a, b, c] in &found {
            chords.extend([(a, b), (b, c), (c, a)].map(|(from, to)| (*from.min(to), *from.max(to))));
        }
        triangles.extend(found);
    }
    Patch { triangles, middle: None }
}

/// Triangles around the middle of the way: its edges are new, whatever the mesh has.
fn fan(way: &[Vector]) -> Patch {
    let triangles = (0..way.len()).map(|at| [at, (at + 1) % way.len(), way.len()]).collect();
    Patch { triangles, middle: Some(middle(way)) }
}

fn middle(way: &[Vector]) -> Vector {
    std::array::from_fn(|axis| way.iter().map(|place| place[axis]).sum::<f64>() / way.len() as f64)
}

/// Whether all triangles around the middle have area and look the same way.
fn is_seen_whole(way: &[Vector]) -> bool {
    let middle = middle(way);
    let faces = || (0..way.len()).map(|at| [way[at], way[(at + 1) % way.len()], middle]);
    let whole = faces().map(normal).fold([0.0; 3], |sum, one| std::array::from_fn(|axis| sum[axis] + one[axis]));
    faces().all(|face| !is_flat(face) && dot(normal(face), whole) > 0.5 * length(normal(face)) * length(whole))
}

fn longest_squared([a, b, c]: [Vector; 3]) -> f64 {
    let squared = |from: Vector, to: Vector| dot(minus(to, from), minus(to, from));
    squared(a, b).max(squared(b, c)).max(squared(c, a))
}

fn is_flat(face: [Vector; 3]) -> bool {
    length(normal(face)) <= FLAT_SHARE * longest_squared(face)
}

fn cost(face: [Vector; 3]) -> f64 {
    let longest = longest_squared(face);
    let flat = if is_flat(face) { FLAT_WEIGHT * longest } else { 0.0 };
    length(normal(face)) / 2.0 + SHAPE_WEIGHT * longest + flat
}

/// The chord of a part that is shortest for what it cuts off.
fn chord(way: &[Vector], part: &[usize], taken: &dyn Fn(usize, usize) -> bool) -> Option<(usize, usize)> {
    let count = part.len();
    let least = (count / LEAST_PART).max(2);
    // A few thousand chords are enough to find a good one.
    let step = (count / 256).max(1);
    let mut best: Option<(f64, usize, usize)> = None;
    for from in (0..count - least).step_by(step) {
        for to in (from + least..count.min(from + count - least + 1)).step_by(step) {
            let (distance, shorter) =
                (length(minus(way[part[to]], way[part[from]])), (to - from).min(count - to + from));
            let score = distance / shorter as f64;
            if best.is_none_or(|best| score < best.0) && !taken(part[from], part[to]) {
                best = Some((score, from, to));
            }
        }
    }
    best.map(|(_, from, to)| (from, to))
}

/// The cheapest triangulation of a part. `None` when every one needs an edge that is taken.
fn least(way: &[Vector], part: &[usize], taken: &dyn Fn(usize, usize) -> bool) -> Option<Vec<[usize; 3]>> {
    let count = part.len();
    let at = |place: usize| way[part[place]];
    let mut costs = vec![0.0_f64; count * count];
    let mut tips = vec![0_usize; count * count];
    for span in 2..count {
        for from in 0..count - span {
            let to = from + span;
            let whole = span == count - 1;
            let mut best = (f64::INFINITY, 0);
            if whole || !taken(part[from], part[to]) {
                for tip in from + 1..to {
                    let both = costs[from * count + tip] + costs[tip * count + to];
                    let sum = if both < best.0 { both + cost([at(from), at(tip), at(to)]) } else { both };
                    if sum < best.0 {
                        best = (sum, tip);
                    }
                }
            }
            (costs[from * count + to], tips[from * count + to]) = best;
        }
    }
    costs[count - 1].is_finite().then(|| collect(part, &tips))
}

fn collect(part: &[usize], tips: &[usize]) -> Vec<[usize; 3]> {
    let count = part.len();
    let mut triangles = Vec::with_capacity(count - 2);
    let mut waiting = vec![(0, count - 1)];
    while let Some((from, to)) = waiting.pop() {
        if to - from >= 2 {
            let tip = tips[from * count + to];
            triangles.push([part[from], part[tip], part[to]]);
            waiting.extend([(from, tip), (tip, to)]);
        }
    }
    triangles
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Every edge of the way is used once, in its direction, and every other edge once in both.
    fn closes(patch: &Patch, count: usize) -> bool {
        let mut uses: HashMap<(usize, usize), i32> = HashMap::new();
        for [a, b, c] in &patch.triangles {
            for (from, to) in [(a, b), (b, c), (c, a)] {
                *uses.entry((*from, *to)).or_default() += 1;
            }
        }
        let on_way = |from: usize, to: usize| from < count && to == (from + 1) % count;
        uses.iter().all(|(&(from, to), &times)| times == 1 && (on_way(from, to) || uses.get(&(to, from)) == Some(&1)))
            && (0..count).all(|at| uses.get(&(at, (at + 1) % count)) == Some(&1))
    }

    fn area(way: &[Vector], patch: &Patch) -> f64 {
        let at = |number: usize| way.get(number).copied().or(patch.middle).unwrap();
        patch.triangles.iter().map(|face| length(normal(face.map(at))) / 2.0).sum()
    }

    fn circle(count: usize, wave: f64) -> Vec<Vector> {
        let angle = |at: usize| at as f64 * std::f64::consts::TAU / count as f64;
        (0..count).map(|at| [angle(at).cos(), angle(at).sin(), wave * (3.0 * angle(at)).sin()]).collect()
    }

    #[test]
    fn ways_are_closed() {
        for (count, wave) in [(3, 0.0), (4, 0.5), (50, 0.3), (121, 0.0), (400, 0.8), (1000, 0.1)] {
            let way = circle(count, wave);
            let patch = over(&way, &|_, _| false);
            assert!(closes(&patch, count), "{count} {wave}");
            assert!(area(&way, &patch) < 4.5 + 3.0 * wave, "{count} {wave}: {}", area(&way, &patch));
        }
    }

    #[test]
    fn a_plane_without_a_middle_is_covered_once() {
        let ell = [[0.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0], [1.0, 3.0], [0.0, 3.0]];
        let way: Vec<Vector> = ell.iter().map(|[x, y]| [*x, *y, 7.0]).collect();
        let patch = over(&way, &|_, _| false);
        assert!((area(&way, &patch) - 5.0).abs() < 1e-9 && closes(&patch, 6));
    }

    #[test]
    fn edges_that_are_taken_are_not_used() {
        let way = circle(4, 0.0);
        let patch = over(&way, &|a, b| (a.min(b), a.max(b)) == (0, 2));
        assert!(closes(&patch, 4) && patch.middle.is_none());
        let patch = over(&way, &|_, _| true);
        assert!(closes(&patch, 4) && patch.middle.is_some() && patch.triangles.len() == 4);
    }

    #[test]
    fn points_in_a_row_make_no_flat_triangles() {
        let way: Vec<Vector> = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 2.0], [0.0, 2.0]]
            .map(|[x, y]: [f64; 2]| [x, y, 0.0])
            .to_vec();
        let patch = over(&way, &|_, _| false);
        assert!(patch.triangles.iter().all(|face| !is_flat(face.map(|at| way[at]))));
    }

    proptest! {
        #[test]
        fn any_way_is_closed(way in proptest::collection::vec(proptest::array::uniform3(-1.0..1.0_f64), 3..160), taken in 0..7_usize) {
            let patch = over(&way, &|a, b| taken > 1 && (a * b) % taken == 1);
            prop_assert!(closes(&patch, way.len()));
        }
    }
}
