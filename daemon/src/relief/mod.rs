//! Pictures to relief meshes: picture → raster → depth model → height field → closed solid → STL, OBJ or PLY.
//!
//! The steps are pure functions in modules of their own; this one puts them in order around the engine's depth
//! model and accounts for the time. How pictures arrive and meshes leave is `front::studio`'s affair.

mod benches;
mod carve;
pub mod depth;
pub mod height;
pub mod kept;
pub mod laps;
pub mod mask;
pub mod mesh;
pub mod meters;
mod on_gpu;
mod palette;
pub mod parameters;
pub mod picture;
pub mod progressive;
pub mod visit;
mod voxels;
pub mod workshop;

use std::time::Instant;

use bytes::Bytes;
use proofload_wire::infer::InferResponse;
use proofload_wire::phases::Phases;

use self::benches::Haste;
use self::carve::Carving;
pub use self::carve::Facts;
use self::height::{Depths, HeightError};
use self::laps::{Laps, Step};
use self::meters::{Meters, Outcome};
use self::parameters::Parameters;
use self::picture::{PictureError, Raster};
use self::visit::Visit;
use self::workshop::{Done, Ended, Limits, Place, Turned, Workshop};
use crate::engine::{Engine, Failed, Protocol, RequestContext, ServeError};
use crate::mesh::Mesh;

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
    /// What it is like.
    pub facts: Facts,
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

    /// A place for one request, to be kept until it is answered, which has to be before `until`, if that is said.
    ///
    /// # Errors
    /// When there is none, or it would be answered too late.
    pub fn enter(&self, until: Option<Instant>) -> Result<Visit, ReliefError> {
        let place = self.place_until(until).inspect_err(|_| self.meters.outcome(Outcome::Rejected))?;
        Ok(Visit::new(self.engine.clone(), self.meters.clone(), place))
    }

    /// A place for one request, as soon as there is one.
    ///
    /// # Errors
    /// Only when the service is gone.
    pub async fn wait(&self) -> Result<Visit, ReliefError> {
        let place = self.workshop.wait().await.ok_or_else(|| unserved(Ended::Lost))?;
        Ok(Visit::new(self.engine.clone(), self.meters.clone(), place))
    }

    /// A place for work of another kind, to be kept until it is answered.
    ///
    /// # Errors
    /// When there is none.
    pub fn place(&self) -> Result<Place, ServeError> {
        self.place_until(None)
    }

    fn place_until(&self, until: Option<Instant>) -> Result<Place, ServeError> {
        self.workshop.enter(Instant::now(), until).map_err(|turned| {
            let (message, retry_after) = match turned {
                Turned::Full { requests, retry_after } => {
                    (format!("the relief service is full with {requests} requests"), retry_after)
                }
                Turned::TooLate { retry_after } => {
                    let wait_ms = retry_after.as_millis();
                    (
                        format!("the relief service has work for {wait_ms} ms, longer than the request waits"),
                        retry_after,
                    )
                }
            };
            ServeError::Unavailable { message, retry_after: Some(retry_after) }
        })
    }

    /// Does work of another kind in its turn, beside the reliefs.
    ///
    /// # Errors
    /// When it gave no result.
    pub async fn job<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
        self.workshop.run(Haste::Usual, None, |_| job()).await.map(|done| done.result).map_err(unserved)
    }

    /// Jobs that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.workshop.waiting()
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
            Ok(Carving { file, facts }) => Ok(Relief { file, facts, phases }),
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
        let Parameters { resolution, mask, .. } = parameters;
        let (first, later) = match visit.haste {
            Haste::Spare => (Haste::Spare, Haste::Spare),
            haste => (haste, Haste::Begun),
        };
        if self.is_for_gpu(&parameters) {
            let hastes = (first, later);
            let made = self.make_on_gpu(visit, picture.clone(), parameters, context.clone(), hastes).await?;
            if let Some(carving) = made {
                self.observe(visit, Instant::now());
                return Ok(carving);
            }
        }
        let prepared = self.work(visit, first, move |laps| carve::prepare(&picture, resolution, mask, laps)).await??;
        let depths = self.depths(visit, &prepared.raster, context).await?;
        let (aspect, mask) = (prepared.raster.aspect, prepared.mask);
        let job = move |laps: &mut Laps| carve::carve(depths, aspect, mask.as_ref(), &parameters, Mesh::solid, laps);
        let carved = self.work(visit, later, job).await?;
        let carving = carved.map_err(|error| spoiled(&error))?;
        self.observe(visit, Instant::now());
        Ok(carving)
    }

    /// Takes note of a relief that is made at `now`.
    fn observe(&self, visit: &Visit, now: Instant) {
        let begun = visit.laps.begun().unwrap_or(now);
        self.workshop.observe(visit.laps.work(&visit.depth));
        self.workshop.observe_course(now.saturating_duration_since(begun));
    }

    async fn work<T: Send + 'static>(
        &self,
        visit: &mut Visit,
        haste: Haste,
        job: impl FnOnce(&mut Laps) -> T + Send + 'static,
    ) -> Result<T, ServeError> {
        let has_begun = visit.laps.begun().is_some();
        let until = if has_begun { visit.deadline() } else { self.workshop.begin_by(visit.deadline()) };
        let Done { result, laps } = self.workshop.run(haste, until, job).await.map_err(unserved)?;
        visit.laps.extend(laps);
        visit.tell();
        Ok(result)
    }

    async fn depths(&self, visit: &mut Visit, raster: &Raster, context: RequestContext) -> Result<Depths, ServeError> {
        let request = depth::request(raster).map_err(|error| ServeError::Internal(error.to_string()))?;
        let (received, part_of) = (Instant::now(), Some(visit.inference.clone()));
        let context = RequestContext { received, part_of, protocol: Protocol::Internal, ..context };
        let read = |response: InferResponse| depth::depths(&response).map_err(ServeError::Internal);
        let inference = self.engine.infer(request, context, read).await;
        visit.laps.note(Step::Model, received, Instant::now());
        visit.tell();
        let (depths, phases) = match inference {
            Ok(inference) => (Ok(inference.response), inference.phases),
            Err(failed) => (Err(failed.error), failed.phases),
        };
        visit.add_depth(&phases);
        depths
    }
}

/// What the depth model gave is no relief.
fn spoiled(error: &HeightError) -> ServeError {
    ServeError::Internal(format!("model '{}': {error}", depth::MODEL))
}

fn unserved(ended: Ended) -> ServeError {
    match ended {
        Ended::Lost => {
            ServeError::Internal("the relief service lost the request; the daemon's log says why".to_owned())
        }
        Ended::TooLate => ServeError::DeadlineExceeded(
            "the request's deadline passed while it waited for its turn in the relief service".to_owned(),
        ),
    }
}
