//! The way of a relief through a GPU: the picture is decoded here, its pixels go to the depth model's instance as an errand,
//! and the mesh's file comes back. What has no kernel goes the CPU's way: masks, OBJ, very large pictures, the stages of a
//! progressive relief. What the mesh is like is found here, from the heights, by the same code as on the CPU.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proofload_wire::phases::Phases;

use super::benches::Haste;
use super::carve::{self, Carving};
use super::laps::{Laps, Step};
use super::parameters::Parameters;
use super::picture::{self, PictureError, Pixels};
use super::visit::Visit;
use super::{ReliefError, Studio, depth};
use crate::backend::errand::Errand;
use crate::engine::{Failed, Protocol, RequestContext, ServeError};
use crate::gpu::relief::{Job, Made};

/// A picture that is decoded, and what is to be made of it; `None` for one that the CPU makes.
type Decoded = Option<(Pixels, Job)>;

/// Where an errand leaves what it made.
type Outcome = Arc<Mutex<Option<(Made, Laps)>>>;

impl Studio {
    /// Whether such reliefs go this way.
    pub(super) fn is_for_gpu(&self, parameters: &Parameters) -> bool {
        Job::suits(parameters) && self.engine.does_errands(depth::MODEL)
    }

    /// Makes a relief. `None` when the GPU has not made it: the CPU can.
    pub(super) async fn make_on_gpu(
        &self,
        visit: &mut Visit,
        picture: Bytes,
        parameters: Parameters,
        context: RequestContext,
        (first, later): (Haste, Haste),
    ) -> Result<Option<Carving>, ReliefError> {
        let decode = move |laps: &mut Laps| decode(&picture, &parameters, laps);
        let Some((pixels, job)) = self.work(visit, first, decode).await?? else { return Ok(None) };
        let aspect = job.aspect();
        let Some((Made { file, columns, heights_mm }, laps)) = self.errand(visit, pixels, job, context).await? else {
            return Ok(None);
        };
        visit.add_depth(&Phases { compute_ns: ns(laps.spent(&[Step::Model])), batch_size: 1, ..Phases::default() });
        visit.laps.extend(laps);
        visit.tell();
        let describe = move |laps: &mut Laps| carve::described(columns, heights_mm, aspect, &parameters, laps);
        let facts = self.work(visit, later, describe).await?;
        Ok(Some(Carving { file, facts }))
    }

    /// Has the depth model's instance make it.
    async fn errand(
        &self,
        visit: &Visit,
        pixels: Pixels,
        job: Job,
        context: RequestContext,
    ) -> Result<Option<(Made, Laps)>, ServeError> {
        let made = Outcome::default();
        let (into, bytes) = (Arc::clone(&made), pixels.bytes.len());
        let errand = Errand::new(move |instance| {
            *lock(&into) = Some(instance.relief(&job, &pixels.bytes)?);
            Ok(())
        });
        let (received, part_of) = (Instant::now(), Some(visit.inference.clone()));
        let context = RequestContext { received, part_of, protocol: Protocol::Internal, ..context };
        match self.engine.errand(depth::MODEL, errand, bytes, context).await {
            Ok(_) => Ok(lock(&made).take()),
            Err(Failed { error: error @ (ServeError::Internal(_) | ServeError::Unsupported(_)), .. }) => {
                tracing::warn!("a relief was made on the CPU: {error}");
                Ok(None)
            }
            Err(Failed { error, .. }) => Err(error),
        }
    }
}

fn decode(picture: &[u8], parameters: &Parameters, laps: &mut Laps) -> Result<Decoded, PictureError> {
    let pixels = laps.time(Step::Decode, || picture::open(picture).map(picture::pixels))?;
    Ok(Job::new(&pixels, parameters).map(|job| (pixels, job)))
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lock(made: &Outcome) -> MutexGuard<'_, Option<(Made, Laps)>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}
