//! The two pieces of work around the depth model: a picture becomes what the model takes, depths become a file. Pure,
//! but for the clock that times their steps.

use schemars::JsonSchema;
use serde::Serialize;

use super::height::{Depths, HeightError, HeightField};
use super::laps::{Laps, Step};
use super::mask::{Mask, Wanted};
use super::parameters::Parameters;
use super::picture::{self, PictureError, Raster};
use crate::mesh::Mesh;
use crate::mesh::quality::Quality;

/// A picture on its way to the depth model.
pub(super) struct Prepared {
    /// Its light.
    pub(super) raster: Raster,
    /// What of it is raised, if not all.
    pub(super) mask: Option<Mask>,
}

/// What a relief is like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ReliefFacts")]
pub struct Facts {
    /// The mesh.
    #[serde(flatten)]
    pub quality: Quality,
    /// Thickness of the plate where it is thinnest, measured from above.
    pub minimum_wall_mm: f64,
    /// Where the mask came from; `None` when the whole picture is raised.
    pub mask: Option<&'static str>,
    /// Share of the picture that is raised, 0 to 1.
    pub foreground_share: f64,
}

/// A mesh as a file.
pub(super) struct Carving {
    /// The file.
    pub(super) file: Vec<u8>,
    /// What is in it.
    pub(super) facts: Facts,
}

/// Decodes a picture and averages it down.
pub(super) fn prepare(file: &[u8], resolution: usize, mask: Wanted, laps: &mut Laps) -> Result<Prepared, PictureError> {
    let image = laps.time(Step::Decode, || picture::open(file))?;
    Ok(laps.time(Step::Prepare, || {
        let raster = picture::shrink(image, resolution);
        let mask = Mask::of(&raster, mask);
        Prepared { raster, mask }
    }))
}

/// Makes a solid of depths, by `solid`, and a file of that.
pub(super) fn carve(
    depths: Depths,
    aspect: f64,
    mask: Option<&Mask>,
    parameters: &Parameters,
    solid: fn(&HeightField) -> Mesh,
    laps: &mut Laps,
) -> Result<Carving, HeightError> {
    let (mesh, facts) = laps.time(Step::Mesh, || {
        let field = HeightField::from_depths(depths, aspect, mask, parameters)?;
        let mesh = solid(&field);
        let facts = facts(&mesh, &field, mask);
        Ok((mesh, facts))
    })?;
    let file = laps.time(Step::Encode, || parameters.format.encode(&mesh));
    Ok(Carving { file, facts })
}

/// What a mesh that was made elsewhere is like: the solid under its heights, on a plate of the picture's shape.
pub(super) fn described(
    columns: usize,
    heights_mm: Vec<f32>,
    aspect: f64,
    parameters: &Parameters,
    laps: &mut Laps,
) -> Facts {
    laps.time(Step::Mesh, || {
        let field = HeightField::of_heights(columns, aspect, heights_mm, parameters);
        facts(&Mesh::solid(&field), &field, None)
    })
}

fn facts(mesh: &Mesh, field: &HeightField, mask: Option<&Mask>) -> Facts {
    Facts {
        quality: Quality::of(mesh),
        minimum_wall_mm: field.thinnest_mm(),
        mask: mask.map(|mask| mask.source().as_str()),
        foreground_share: mask.map_or(1.0, Mask::foreground_share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::export::Format;
    use crate::relief::mask::tests::raster;
    use crate::relief::mesh::tests::solidity;
    use crate::relief::parameters::Size;
    use proptest::prelude::*;

    fn parameters() -> impl Strategy<Value = Parameters> {
        let sizes = (10.0..500.0_f64, any::<bool>());
        (sizes, 0.1..100.0_f64, 0.2..50.0_f64, 0.0..8.0_f64, any::<bool>()).prop_map(
            |((side, longest), height_mm, base_mm, smoothing, invert)| {
                let size = if longest { Size::Longest(side) } else { Size::Width(side) };
                let (mask, format) = (Wanted::Auto, Format::Ply);
                Parameters { format, size, height_mm, base_mm, smoothing, invert, mask, ..Parameters::default() }
            },
        )
    }

    proptest! {
        /// Any picture with any parameters gives a solid: closed, manifold, turned outwards, nowhere degenerate, as
        /// large as asked and nowhere thinner than its base.
        #[test]
        fn every_relief_is_a_solid(
            (columns, rows) in (2..24_usize, 2..24_usize),
            light in proptest::collection::vec(0.0_f32..1.0, 24 * 24),
            noisy: bool,
            parameters in parameters(),
        ) {
            let shade = |at: usize| if noisy { light[at] } else { (light[at] * 1.5).floor() };
            let picture = raster(columns, rows, |x, y| [shade(y * 24 + x); 3]);
            let mask = Mask::of(&picture, parameters.mask);
            let depths = Depths { columns, rows, values: picture.planes[..columns * rows].to_vec() };
            let field = HeightField::from_depths(depths, picture.aspect, mask.as_ref(), &parameters).unwrap();
            let mesh = Mesh::solid(&field);
            solidity(&mesh)?;
            let found = facts(&mesh, &field, mask.as_ref());
            let [width_mm, depth_mm] = parameters.size.plate_mm(picture.aspect);
            prop_assert!(found.quality.watertight && found.quality.overhang_share.abs() < 1e-12);
            prop_assert!((found.quality.size_mm[0] - width_mm).abs() < 1e-3);
            prop_assert!((found.quality.size_mm[1] - depth_mm).abs() < 1e-3);
            prop_assert!(found.minimum_wall_mm > parameters.base_mm - 1e-3);
            prop_assert!(found.quality.volume_mm3 > width_mm * depth_mm * (parameters.base_mm - 1e-3));
        }
    }
}
