//! Graphs by the content of their files, so that a file that is loaded already is not loaded again: weights and plan are
//! shared between versions, and with what a reload replaces, for as long as one of them is in use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rten::{Model, ModelOptions};

use super::CpuError;

/// SHA-256 of a file.
type Digest = [u8; 32];

/// The graphs that are in use.
#[derive(Default)]
pub struct Graphs {
    loaded: Mutex<BTreeMap<Digest, Weak<Model>>>,
}

impl Graphs {
    /// The graph of a file with this digest, loaded if it is not in use.
    pub(super) fn get(&self, digest: Digest, onnx: Vec<u8>) -> Result<Arc<Model>, CpuError> {
        if let Some(graph) = self.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(graph);
        }
        let mut options = ModelOptions::with_all_ops();
        let graph = options.prepack_weights(true).load(onnx).map_err(|error| CpuError::Load(error.to_string()))?;
        let graph = Arc::new(graph);
        let mut loaded = self.lock();
        loaded.retain(|_, graph| graph.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&graph));
        Ok(graph)
    }

    /// The map is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Weak<Model>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::embedded::MODELS;

    #[test]
    fn a_file_in_use_is_loaded_once() {
        let model = MODELS.iter().find(|model| model.name == "tiny_mlp").expect("there");
        let graphs = Graphs::default();
        let load = |digest| graphs.get(digest, model.onnx.to_vec()).expect("a graph");
        let (first, second, other) = (load([1; 32]), load([1; 32]), load([2; 32]));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        assert!(graphs.get([1; 32], Vec::new()).is_ok(), "its content is not looked at again");
        drop((first, second));
        assert!(graphs.get([1; 32], Vec::new()).is_err(), "nobody uses it any more");
        let _again = load([1; 32]);
        assert_eq!(graphs.lock().len(), 2);
    }
}
