//! Sheets that are no part of a solid's surface: fins on an edge, walls within, scraps. A sheet is what hangs together over
//! edges of two triangles. Pure.

use std::collections::HashMap;

use super::Done;
use crate::mesh::Mesh;
use crate::mesh::topology::{by_edge, parts, sides};
use crate::mesh::vector::{length, normal};

/// Dropping sheets joins others; more passes than this have not been needed.
const PASSES: usize = 4;
/// An open sheet with less than this share of the whole area is a scrap.
const SCRAP_SHARE: f64 = 1e-3;

/// A sheet, and the edges at which it ends.
#[derive(Default)]
struct Sheet {
    faces: Vec<u32>,
    area: f64,
    ends: Vec<(u32, u32)>,
}

/// Drops the smaller sheets at edges with an odd number of triangles: the third at an edge is too many.
pub(super) fn drop_fins(mesh: &mut Mesh, done: &mut Done) {
    for _ in 0..PASSES {
        let (mut sheets, mut triangles_at) = sheets_of(mesh);
        if !triangles_at.values().any(|count| *count > 2) {
            return;
        }
        // The largest is the surface.
        sheets.pop();
        let mut dropped = Vec::new();
        for sheet in sheets {
            let odd = |edge: &(u32, u32)| triangles_at[edge] % 2 == 1 && triangles_at[edge] > 1;
            let ends_well = |edge: &(u32, u32)| triangles_at[edge] % 2 == 1;
            if sheet.ends.iter().any(odd) && sheet.ends.iter().all(ends_well) {
                sheet.ends.iter().for_each(|edge| *triangles_at.entry(*edge).or_default() -= 1);
                dropped.extend(sheet.faces);
            }
        }
        if dropped.is_empty() {
            return;
        }
        done.fins_dropped += dropped.len();
        remove(mesh, &dropped);
    }
}

/// Drops small open sheets that share no edge with the rest.
pub(super) fn drop_scraps(mesh: &mut Mesh, done: &mut Done) {
    let (mut sheets, triangles_at) = sheets_of(mesh);
    let whole: f64 = sheets.iter().map(|sheet| sheet.area).sum();
    sheets.pop();
    let alone = |sheet: &&Sheet| !sheet.ends.is_empty() && sheet.ends.iter().all(|edge| triangles_at[edge] == 1);
    let scraps = sheets.iter().filter(alone).filter(|sheet| sheet.area < SCRAP_SHARE * whole);
    let dropped: Vec<u32> = scraps.flat_map(|sheet| sheet.faces.iter().copied()).collect();
    done.scraps_dropped += dropped.len();
    remove(mesh, &dropped);
}

/// The sheets, the smallest first, and the number of triangles at the edges where they end.
fn sheets_of(mesh: &Mesh) -> (Vec<Sheet>, HashMap<(u32, u32), usize>) {
    let sides = sides(&mesh.triangles);
    let mut names = parts(&mesh.triangles, &sides, |edge| edge.len() == 2);
    let mut sheets: HashMap<u32, Sheet> = HashMap::new();
    for (face, &triangle) in (0_u32..).zip(&mesh.triangles) {
        let sheet = sheets.entry(names.of(face)).or_default();
        sheet.faces.push(face);
        sheet.area += length(normal(mesh.corners(triangle))) / 2.0;
    }
    let mut triangles_at = HashMap::new();
    for edge in by_edge(&sides).filter(|edge| edge.len() != 2) {
        let ends = (edge[0].low, edge[0].high);
        triangles_at.insert(ends, edge.len());
        for side in edge {
            sheets.entry(names.of(side.face)).or_default().ends.push(ends);
        }
    }
    let mut sheets: Vec<Sheet> = sheets.into_values().collect();
    sheets.sort_by(|a, b| a.area.total_cmp(&b.area).then_with(|| a.faces.cmp(&b.faces)));
    (sheets, triangles_at)
}

pub(super) fn remove(mesh: &mut Mesh, dropped: &[u32]) {
    let mut gone = vec![false; mesh.triangles.len()];
    dropped.iter().for_each(|&face| gone[face as usize] = true);
    let mut gone = gone.into_iter();
    mesh.triangles.retain(|_| !gone.next().unwrap_or_default());
}
