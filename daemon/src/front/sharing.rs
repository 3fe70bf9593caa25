//! Tensors of requests that are in shared memory, for both doors: inputs are copied out of their regions while the
//! request is decoded, within the budget of all bodies; outputs are copied into theirs before the answer is encoded.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use proofload_wire::WireError;
use proofload_wire::infer::{InferResponse, RequestedOutput};
use proofload_wire::shared::{Place, Regions};

use super::refusal::serve_error;
use crate::bodies::Bodies;
use crate::engine::ServeError;
use crate::shared_memory::{Region, SharedMemory};

/// Parameter of a wanted output: its classes instead of its data.
const CLASSIFICATION: &str = "classification";

/// Reads inputs, and counts what they take of the budget.
pub(super) struct Inputs<'a> {
    memory: &'a SharedMemory,
    bodies: &'a Arc<Bodies>,
    bytes: Cell<usize>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(memory: &'a SharedMemory, bodies: &'a Arc<Bodies>) -> Self {
        Self { memory, bodies, bytes: Cell::new(0) }
    }

    /// Memory of the inputs that were read; they hold a share of their own for it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

impl Regions for Inputs<'_> {
    fn read(&self, _: &str, place: &Place) -> Result<Bytes, WireError> {
        let region = self.memory.region(&place.region).map_err(wire_error)?;
        let size = usize::try_from(place.byte_size).unwrap_or(usize::MAX);
        let share = self.bodies.take(size).map_err(|full| WireError::NoRoom(full.to_string()))?;
        let copy = region.read(place).map_err(wire_error)?;
        self.bytes.set(self.bytes.get() + copy.len());
        Ok(Arc::new(share).pin(copy.into()))
    }
}

/// What `serve_error` makes the same error of.
fn wire_error(error: ServeError) -> WireError {
    match error {
        ServeError::NotFound(message) => WireError::NoRegion(message),
        ServeError::Unsupported(message) => WireError::Unsupported(message),
        other => WireError::BadRegion(other.to_string()),
    }
}

/// An output's place. It holds the region, whatever becomes of its registration.
#[derive(Debug)]
pub(super) struct Placed {
    output: String,
    region: Arc<Region>,
    place: Place,
}

/// The places that a request names for its outputs.
pub(super) fn places(memory: &SharedMemory, outputs: &[RequestedOutput]) -> Result<Vec<Placed>, ServeError> {
    let mut placed = Vec::new();
    for output in outputs {
        let Some(place) = Place::of(&output.name, &output.parameters).map_err(serve_error)? else { continue };
        if output.parameters.contains_key(CLASSIFICATION) {
            return Err(ServeError::InvalidArgument(format!(
                "output '{}' can't set both 'shared_memory_region' and 'classification'; choose one",
                output.name
            )));
        }
        let region = memory.region(&place.region)?;
        placed.push(Placed { output: output.name.clone(), region, place });
    }
    Ok(placed)
}

/// Puts outputs into their places and takes them out of the response.
pub(super) fn put(placed: &[Placed], response: &mut InferResponse) -> Result<(), ServeError> {
    for Placed { output, region, place } in placed {
        for tensor in response.outputs.iter_mut().filter(|tensor| tensor.name == *output) {
            let (size, needed) = (place.byte_size, tensor.data.len());
            if size < needed as u64 {
                return Err(ServeError::Internal(format!(
                    "shared memory size specified with the request for output '{output}' ({size} bytes) should be at \
                     least {needed} bytes to hold the results"
                )));
            }
            if needed > 0 {
                region.write(place, &tensor.data)?;
            }
            tensor.data = Bytes::new();
        }
    }
    Ok(())
}
