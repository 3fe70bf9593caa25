//! Whether a model finds room on a GPU, before anything of it is there: from the plans that it would have.

use super::prepared::SCRATCH_BYTES;
use crate::gpu::graph::Graph;
use crate::gpu::memory::admission::{Alternatives, Need, TooLarge};
use crate::gpu::memory::manager::Manager;
use crate::gpu::plan::memory::aligned;
use crate::gpu::plan::{Plan, Precision, Settings, plan};

/// How a model will be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The shape of each input, in the graph's order, at a batch of one; what is not known is 1.
    pub shapes: Vec<Vec<usize>>,
    /// Its largest batch; 0 where the first dimension is none.
    pub max_batch: u32,
    /// How many instances compute at a time.
    pub instances: usize,
    /// The size of its file, which its weights are about as large as.
    pub file_bytes: usize,
}

/// Makes room for a model.
///
/// # Errors
/// When there is none; says by how much and what would help.
pub(super) fn admit(
    graph: &Graph,
    settings: Settings,
    name: &str,
    asked: &Asked,
    manager: &Manager,
) -> Result<(), Box<TooLarge>> {
    let batch = asked.max_batch.max(1);
    let need = |batch: u32, settings: Settings| need(graph, settings, asked, batch);
    let wanted = need(batch, settings);
    if manager.has_room(name, wanted) {
        return manager.admit(name, batch, wanted, &Alternatives::default());
    }
    // Only who is refused needs to know what would have been taken.
    let smaller = std::iter::successors(Some(batch / 2), |batch| Some(batch / 2)).take_while(|batch| *batch > 0);
    let half = Settings { precision: Precision::Fp16, ..settings };
    let otherwise = Alternatives {
        smaller: smaller.map(|batch| (batch, need(batch, settings))).collect(),
        half: (settings.precision != Precision::Fp16).then(|| need(batch, half)),
    };
    manager.admit(name, batch, wanted, &otherwise)
}

/// What a model takes at a batch. Sizes that nobody knows yet may be none that it can be planned for: then its weights are
/// what is known.
fn need(graph: &Graph, settings: Settings, asked: &Asked, batch: u32) -> Need {
    let shaped = |shape: &Vec<usize>| match (asked.max_batch, shape.split_first()) {
        (1.., Some((_, rest))) => [&[batch as usize], rest].concat(),
        _ => shape.clone(),
    };
    let shapes: Vec<_> = asked.shapes.iter().map(shaped).collect();
    let planned = plan(graph, &shapes, settings).ok();
    let weights = |plan: &Plan| {
        let bytes = plan.constants.iter().map(|constant| constant.tensor.data().len() * constant.element.bytes());
        bytes.map(aligned).sum::<usize>()
    };
    let arena = planned.as_ref().map_or(0, |plan| aligned(plan.arena_bytes));
    Need {
        weight_bytes: planned.as_ref().map_or(asked.file_bytes, weights) as u64,
        activation_bytes: (arena * asked.instances) as u64,
        workspace_bytes: (SCRATCH_BYTES * asked.instances) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::graph::read;
    use crate::gpu::graph::tensor::Tensor;
    use crate::gpu::graph::testing::Model as File;

    fn graph() -> Graph {
        let mut file = File::new(17);
        let weights = Tensor::vector(vec![0.5; 128 * 128]).reshaped(vec![128, 128]).expect("well-formed");
        file.input("x", 1, &[None, Some(128)]).constant("w", &weights).node("MatMul", &["x", "w"], &["m"]);
        file.node("Relu", &["m"], &["y"]).output("y", 1);
        read(file.encoded()).expect("a graph")
    }

    fn asked(width: usize) -> Asked {
        Asked { shapes: vec![vec![1, width]], max_batch: 32, instances: 2, file_bytes: 12345 }
    }

    #[test]
    fn what_a_model_takes_comes_from_its_plans() {
        let scratch = 2 * SCRATCH_BYTES as u64;
        let one = need(&graph(), Settings::default(), &asked(128), 1);
        let all = need(&graph(), Settings::default(), &asked(128), 32);
        assert_eq!((one.weight_bytes, one.workspace_bytes), (128 * 128 * 4, scratch));
        assert!(all.activation_bytes >= 16 * one.activation_bytes, "{one:?} {all:?}");
        let half = need(&graph(), Settings { precision: Precision::Fp16, ..Settings::default() }, &asked(128), 32);
        assert_eq!(half.weight_bytes, 128 * 128 * 2);
        let unknown = need(&graph(), Settings::default(), &asked(1), 32);
        assert_eq!(unknown, Need { weight_bytes: 12345, activation_bytes: 0, workspace_bytes: scratch });
    }
}
