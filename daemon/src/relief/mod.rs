//! Pictures to relief meshes: picture → raster → depth model → height field → closed solid → STL, OBJ or PLY.
//!
//! The steps are pure functions in modules of their own; this one puts them in order around the engine's depth
//! model and accounts for the time. How pictures arrive and meshes leave is `front::studio`'s affair.

pub mod depth;
pub mod export;
pub mod height;
pub mod mesh;
pub mod meters;
mod palette;
pub mod parameters;
pub mod picture;
pub mod workshop;

use std::time::{Duration, Instant};

use bytes::Bytes;
use proofload_wire::phases::Phases;

use self::height::{Depths, HeightError, HeightField};
use self::mesh::Mesh;
use self::meters::{Meters, Outcome};
use self::parameters::Parameters;
use self::picture::{PictureError, Raster};
use self::workshop::{Done, Limits, Lost, Place, Workshop};
use crate::engine::{Engine, RequestContext, ServeError};

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

/// A picture on its way to a mesh: what its steps have taken so far.
struct Progress {
    received: Instant,
    copy_in: Duration,
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
    pub fn enter(&self) -> Result<Place, ReliefError> {
        self.workshop.enter().map_err(|full| {
            self.meters.outcome(Outcome::Rejected);
            let message = format!("the relief service is full with {} requests", full.requests);
            ServeError::Unavailable { message, retry_after: Some(full.retry_after) }.into()
        })
    }

    /// Requests that have a place.
    pub fn occupied(&self) -> usize {
        self.workshop.occupied()
    }

    /// Counts a request that never became one: it could not be read, or asked for the impossible.
    pub fn count_invalid(&self) {
        self.meters.outcome(Outcome::Invalid);
    }

    /// Makes a relief. Dropping the future gives up what has not begun.
    ///
    /// # Errors
    /// When the picture is not usable, or the depth model does not serve.
    pub async fn relief(
        &self,
        picture: Bytes,
        parameters: Parameters,
        context: RequestContext,
    ) -> Result<Relief, ReliefError> {
        let made = self.make(picture, parameters, context).await;
        match &made {
            Ok(relief) => {
                self.meters.outcome(Outcome::Success);
                self.meters.phases(&relief.phases);
            }
            Err(ReliefError::Picture(_)) => self.meters.outcome(Outcome::Invalid),
            Err(ReliefError::Serve(ServeError::Unavailable { .. })) => self.meters.outcome(Outcome::Rejected),
            Err(ReliefError::Serve(_)) => self.meters.outcome(Outcome::Failed),
        }
        made
    }

    async fn make(
        &self,
        picture: Bytes,
        parameters: Parameters,
        context: RequestContext,
    ) -> Result<Relief, ReliefError> {
        let decoded = self.workshop.run(move || picture::decode(&picture, parameters.resolution)).await;
        let Done { result: raster, took: copy_in } = decoded.map_err(lost)?;
        let progress = Progress { received: context.received, copy_in };
        let (depths, aspect, depth_phases) = self.depths(raster?, context).await?;
        let carved = self.workshop.run(move || carve(depths, aspect, &parameters)).await;
        let Done { result: carving, took: copy_out } = carved.map_err(lost)?;
        let Carving { file, triangles, vertices } =
            carving.map_err(|error| ServeError::Internal(format!("model '{}': {error}", depth::MODEL)))?;
        self.workshop.observe(progress.copy_in + model_work(&depth_phases) + copy_out);
        let phases = phases(&progress, &depth_phases, copy_out, Instant::now());
        Ok(Relief { file, triangles, vertices, phases })
    }

    async fn depths(&self, raster: Raster, context: RequestContext) -> Result<(Depths, f64, Phases), ServeError> {
        let request = depth::request(&raster).map_err(|error| ServeError::Internal(error.to_string()))?;
        let inference = self.engine.infer(request, RequestContext { received: Instant::now(), ..context }).await?;
        let depths = depth::depths(&inference.response).map_err(ServeError::Internal)?;
        Ok((depths, raster.aspect, inference.phases))
    }
}

/// A picture's share of the depth model's work. It runs on the same cores as the workshop's.
fn model_work(depth: &Phases) -> Duration {
    let batch_ns = depth.total_ns().saturating_sub(depth.queue_ns);
    Duration::from_nanos(batch_ns / u64::from(depth.batch_size).max(1))
}

fn lost(_: Lost) -> ServeError {
    ServeError::Internal("the relief service lost the request; the daemon's log says why".to_owned())
}

struct Carving {
    file: Vec<u8>,
    triangles: usize,
    vertices: usize,
}

fn carve(depths: Depths, aspect: f64, parameters: &Parameters) -> Result<Carving, HeightError> {
    let field = HeightField::from_depths(depths, aspect, parameters)?;
    let mesh = Mesh::solid(&field);
    let file = parameters.format.encode(&mesh);
    Ok(Carving { file, triangles: mesh.triangles.len(), vertices: mesh.vertices.len() })
}

/// The work of each step, and everything else as waiting: for a turn in the workshop, in the model's queue, or for
/// a thread to wake up. So the phases have neither gap nor overlap.
fn phases(progress: &Progress, depth: &Phases, copy_out: Duration, now: Instant) -> Phases {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let total_ns = ns(now.saturating_duration_since(progress.received));
    let mut phases = Phases {
        queue_ns: 0,
        copy_in_ns: ns(progress.copy_in).saturating_add(depth.copy_in_ns),
        compute_ns: depth.compute_ns,
        copy_out_ns: ns(copy_out).saturating_add(depth.copy_out_ns),
        batch_size: depth.batch_size,
        cache_hit: depth.cache_hit,
    };
    phases.queue_ns = total_ns.saturating_sub(phases.total_ns());
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_picture_costs_its_share_of_the_batch() {
        let depth = Phases { queue_ns: 99, copy_in_ns: 1, compute_ns: 400, copy_out_ns: 3, ..Phases::default() };
        assert_eq!(model_work(&depth), Duration::from_nanos(404));
        assert_eq!(model_work(&Phases { batch_size: 4, ..depth }), Duration::from_nanos(101));
    }

    proptest! {
        /// The phases sum to the time from the request being received to the mesh being ready, exactly.
        #[test]
        fn phases_sum_to_the_total(copy_in in 0..10_000_u64, copy_out in 0..10_000_u64, own in 0..10_000_u64, waited in 0..10_000_u64) {
            let received = Instant::now();
            let depth = Phases { queue_ns: waited, copy_in_ns: own, compute_ns: own, copy_out_ns: own, ..Phases::default() };
            let total = copy_in + copy_out + depth.total_ns() + 77;
            let progress = Progress { received, copy_in: Duration::from_nanos(copy_in) };
            let found = phases(&progress, &depth, Duration::from_nanos(copy_out), received + Duration::from_nanos(total));
            prop_assert_eq!(found.total_ns(), total);
            prop_assert_eq!(found.queue_ns, waited + 77);
        }
    }
}
