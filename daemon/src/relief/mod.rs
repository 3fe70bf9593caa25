//! Pictures to relief meshes: picture → raster → depth model → height field → closed solid → STL, OBJ or PLY.
//!
//! The steps are pure functions in modules of their own; this one puts them in order around the engine's depth
//! model and accounts for the time. How pictures arrive and meshes leave is `front::studio`'s affair.

pub mod depth;
pub mod export;
pub mod height;
pub mod laps;
pub mod mesh;
pub mod meters;
mod palette;
pub mod parameters;
pub mod picture;
pub mod visit;
pub mod workshop;

use std::time::Instant;

use bytes::Bytes;
use proofload_wire::infer::InferResponse;
use proofload_wire::phases::Phases;

use self::height::{Depths, HeightError, HeightField};
use self::laps::{Laps, Step};
use self::mesh::Mesh;
use self::meters::{Meters, Outcome};
use self::parameters::Parameters;
use self::picture::{PictureError, Raster};
use self::visit::Visit;
use self::workshop::{Done, Limits, Lost, Workshop};
use crate::engine::{Engine, Failed, Protocol, RequestContext, ServeError};

/// Largest picture file, in bytes.
pub const MAX_PICTURE_BYTES: usize = 10 * 1024 * 1024;

/// Why there is no mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReliefError {
    /// The picture is not usable.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// No room, no depth model, or a failure.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A relief, ready to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Relief {
    /// The mesh as a file.
    pub file: Vec<u8>,
    /// Its triangles.
    pub triangles: usize,
    /// Its vertices.
    pub vertices: usize,
    /// Where the time went.
    pub phases: Phases,
}

/// The service.
pub struct Studio {
    engine: Engine,
    workshop: Workshop,
    meters: Meters,
}

impl Studio {
    /// A service over the engine's depth model.
    pub fn new(engine: Engine, limits: Limits, meters: Meters) -> Self {
        Self { engine, workshop: Workshop::new(limits), meters }
    }

    /// A place for one request, to be kept until it is answered.
    ///
    /// # Errors
    /// When there is none.
    pub fn enter(&self) -> Result<Visit, ReliefError> {
        let place = self.workshop.enter().map_err(|full| {
            self.meters.outcome(Outcome::Rejected);
            let message = format!("the relief service is full with {} requests", full.requests);
            ServeError::Unavailable { message, retry_after: Some(full.retry_after) }
        })?;
        Ok(Visit::new(self.engine.clone(), self.meters.clone(), place))
    }

    /// Requests that have a place.
    pub fn occupied(&self) -> usize {
        self.workshop.occupied()
    }

    /// Makes a relief. Dropping the future gives up what has not begun.
    ///
    /// # Errors
    /// When the picture is not usable, or the depth model does not serve.
    pub async fn relief(
        &self,
        mut visit: Visit,
        picture: Bytes,
        parameters: Parameters,
        context: RequestContext,
    ) -> Result<Relief, Failed<ReliefError>> {
        visit.begin(context.clone());
        let made = self.make(&mut visit, picture, parameters, context).await;
        let phases = visit.end(made.as_ref().map(drop), Instant::now());
        match made {
            Ok(Carving { file, triangles, vertices }) => Ok(Relief { file, triangles, vertices, phases }),
            Err(error) => Err(Failed { error, phases }),
        }
    }

    async fn make(
        &self,
        visit: &mut Visit,
        picture: Bytes,
        parameters: Parameters,
        context: RequestContext,
    ) -> Result<Carving, ReliefError> {
        let raster = self.work(visit, move |laps| prepare(&picture, &parameters, laps)).await??;
        let aspect = raster.aspect;
        let depths = self.depths(visit, &raster, context).await?;
        let carved = self.work(visit, move |laps| carve(depths, aspect, &parameters, laps)).await?;
        let carving = carved.map_err(|error| ServeError::Internal(format!("model '{}': {error}", depth::MODEL)))?;
        self.workshop.observe(visit.laps.work(&visit.depth));
        Ok(carving)
    }

    async fn work<T: Send + 'static>(
        &self,
        visit: &mut Visit,
        job: impl FnOnce(&mut Laps) -> T + Send + 'static,
    ) -> Result<T, ServeError> {
        let Done { result, laps } = self.workshop.run(job).await.map_err(lost)?;
        visit.laps.extend(laps);
        Ok(result)
    }

    async fn depths(&self, visit: &mut Visit, raster: &Raster, context: RequestContext) -> Result<Depths, ServeError> {
        let request = depth::request(raster).map_err(|error| ServeError::Internal(error.to_string()))?;
        let (received, part_of) = (Instant::now(), Some(visit.inference.clone()));
        let context = RequestContext { received, part_of, protocol: Protocol::Internal, ..context };
        let read = |response: InferResponse| depth::depths(&response).map_err(ServeError::Internal);
        let inference = self.engine.infer(request, context, read).await;
        visit.laps.note(Step::Model, received, Instant::now());
        let (depths, phases) = match inference {
            Ok(inference) => (Ok(inference.response), inference.phases),
            Err(failed) => (Err(failed.error), failed.phases),
        };
        visit.depth = phases;
        depths
    }
}

fn lost(_: Lost) -> ServeError {
    ServeError::Internal("the relief service lost the request; the daemon's log says why".to_owned())
}

fn prepare(file: &[u8], parameters: &Parameters, laps: &mut Laps) -> Result<Raster, PictureError> {
    let image = laps.time(Step::Decode, || picture::open(file))?;
    Ok(laps.time(Step::Prepare, || picture::shrink(image, parameters.resolution)))
}

struct Carving {
    file: Vec<u8>,
    triangles: usize,
    vertices: usize,
}

fn carve(depths: Depths, aspect: f64, parameters: &Parameters, laps: &mut Laps) -> Result<Carving, HeightError> {
    let mesh = laps.time(Step::Mesh, || {
        let field = HeightField::from_depths(depths, aspect, parameters)?;
        Ok(Mesh::solid(&field))
    })?;
    let file = laps.time(Step::Encode, || parameters.format.encode(&mesh));
    Ok(Carving { file, triangles: mesh.triangles.len(), vertices: mesh.vertices.len() })
}
