//! A relief in four stages, each a whole mesh and better than the one before: blocks by the picture's light, then the depth
//! model's relief at a quarter, a half and all of the resolution. A stage is computed when it is asked for, so that nothing
//! is done for a client that has gone away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proofload_wire::phases::Phases;

use super::benches::Haste;
use super::carve::{self, Carving, Prepared};
use super::height::Depths;
use super::laps::Laps;
use super::mask::Mask;
use super::parameters::Parameters;
use super::picture::Raster;
use super::visit::Visit;
use super::{Facts, ReliefError, Studio, spoiled, voxels};
use crate::engine::{Failed, RequestContext};
use crate::mesh::Mesh;

/// Blocks along the longer side of the first look.
const PREVIEW_RESOLUTION: usize = 24;
/// Fewest samples along the longer side, as for any relief.
const LEAST_RESOLUTION: usize = 16;

/// How far the relief is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Blocks, by light alone.
    Preview,
    /// A quarter of the resolution.
    Coarse,
    /// Half of the resolution.
    Medium,
    /// What `generate-3d` answers.
    Final,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Preview, Self::Coarse, Self::Medium, Self::Final];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Coarse => "coarse",
            Self::Medium => "medium",
            Self::Final => "final",
        }
    }

    /// How much is done with it, in percent.
    pub fn percent(self) -> u8 {
        match self {
            Self::Preview => 25,
            Self::Coarse => 50,
            Self::Medium => 75,
            Self::Final => 100,
        }
    }

    /// How many times fewer samples along a side than the final relief.
    fn divisor(self) -> usize {
        match self {
            Self::Preview | Self::Coarse => 4,
            Self::Medium => 2,
            Self::Final => 1,
        }
    }
}

/// A stage's mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Which stage.
    pub stage: Stage,
    /// The mesh as a file.
    pub file: Vec<u8>,
    /// What it is like.
    pub facts: Facts,
    /// Where the time went until now.
    pub phases: Phases,
}

/// A relief that is being made. Dropping it ends the work.
pub struct Progress {
    studio: Arc<Studio>,
    /// Until it is settled.
    visit: Option<Visit>,
    parameters: Parameters,
    context: RequestContext,
    mask: Arc<Option<Mask>>,
    /// What is still to be computed.
    coming: VecDeque<(Stage, Raster)>,
}

impl Progress {
    /// Decodes a picture and makes the first look at it, before other work that waits in the house.
    ///
    /// # Errors
    /// When the picture is not usable.
    pub async fn begin(
        studio: Arc<Studio>,
        mut visit: Visit,
        picture: Bytes,
        parameters: Parameters,
        context: RequestContext,
    ) -> Result<(Self, Piece), Failed<ReliefError>> {
        visit.begin(context.clone());
        let job = move |laps: &mut Laps| look(&picture, &parameters, laps);
        let looked = studio.work(&mut visit, Haste::Urgent, job).await.map_err(ReliefError::from);
        match looked.and_then(|looked| looked) {
            Err(error) => {
                let phases = visit.end(Err(&error), Instant::now());
                Err(Failed { error, phases })
            }
            Ok((Carving { file, facts }, mask, coming)) => {
                studio.meters.stage(Stage::Preview);
                let phases = visit.phases(Instant::now());
                let piece = Piece { stage: Stage::Preview, file, facts, phases };
                let visit = Some(visit);
                Ok((Self { studio, visit, parameters, context, mask: Arc::new(mask), coming }, piece))
            }
        }
    }

    /// The next stage. `None` after the last, and after a failure.
    ///
    /// # Errors
    /// When the depth model does not serve.
    pub async fn next(&mut self) -> Option<Result<Piece, Failed<ReliefError>>> {
        let (stage, raster) = self.coming.pop_front()?;
        let mut visit = self.visit.take()?;
        let made = self.make(&mut visit, raster).await;
        match made {
            Err(error) => {
                let phases = visit.end(Err(&error), Instant::now());
                Some(Err(Failed { error, phases }))
            }
            Ok(Carving { file, facts }) => {
                self.studio.meters.stage(stage);
                let now = Instant::now();
                let phases = if stage == Stage::Final {
                    self.studio.workshop.observe(visit.laps.work(&visit.depth));
                    visit.end(Ok(()), now)
                } else {
                    let phases = visit.phases(now);
                    self.visit = Some(visit);
                    phases
                };
                Some(Ok(Piece { stage, file, facts, phases }))
            }
        }
    }

    async fn make(&self, visit: &mut Visit, raster: Raster) -> Result<Carving, ReliefError> {
        let depths = self.studio.depths(visit, &raster, self.context.clone()).await?;
        let (aspect, parameters, mask) = (raster.aspect, self.parameters, Arc::clone(&self.mask));
        let job =
            move |laps: &mut Laps| carve::carve(depths, aspect, mask.as_ref().as_ref(), &parameters, Mesh::solid, laps);
        let carved = self.studio.work(visit, Haste::Usual, job).await?;
        Ok(carved.map_err(|error| spoiled(&error))?)
    }
}

type Looked = (Carving, Option<Mask>, VecDeque<(Stage, Raster)>);

/// The first look, and what the later stages begin with.
fn look(picture: &[u8], parameters: &Parameters, laps: &mut Laps) -> Result<Looked, ReliefError> {
    let Prepared { raster, mask } = carve::prepare(picture, parameters.resolution, parameters.mask, laps)?;
    let plain = Parameters { smoothing: 0.0, ..*parameters };
    let light = light(&raster.thinned(PREVIEW_RESOLUTION));
    let carving = carve::carve(light, raster.aspect, mask.as_ref(), &plain, voxels::solid, laps);
    let carving = carving.map_err(|error| spoiled(&error))?;
    let thinned =
        |stage: Stage| (stage, raster.thinned((parameters.resolution / stage.divisor()).max(LEAST_RESOLUTION)));
    let mut coming: VecDeque<_> = [Stage::Coarse, Stage::Medium].into_iter().map(thinned).collect();
    coming.push_back((Stage::Final, raster));
    Ok((carving, mask, coming))
}

/// Light as if it were depth: what is bright is near. Weights of Rec. 709.
fn light(raster: &Raster) -> Depths {
    let size = raster.columns * raster.rows;
    let at = |place: usize| {
        let [red, green, blue] = [0, 1, 2].map(|plane| raster.planes[plane * size + place]);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    Depths { columns: raster.columns, rows: raster.rows, values: (0..size).map(at).collect() }
}
