//! A whole ONNX file as a graph for a GPU: nodes come after what they take, constants hold what their shapes say, and little
//! is kept of a large file.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proofload_daemon::gpu::graph::read;
use proofload_fuzz::{Allowance, KIB};

/// A field of two bytes becomes a record of some hundred, in a vector that doubles.
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 1024 };

fuzz_target!(|file: &[u8]| {
    if let Ok(graph) = ALLOWANCE.hold(file.len(), || read(Bytes::copy_from_slice(file))) {
        let mut given: Vec<_> = graph.constants.keys().copied().collect();
        given.extend(graph.inputs.iter().map(|port| port.value));
        for node in &graph.nodes {
            assert!(node.inputs.iter().flatten().all(|input| given.contains(input)), "{node:?}");
            given.push(node.output);
        }
        assert!(graph.outputs.iter().all(|port| given.contains(&port.value)), "{:?}", graph.outputs);
        for tensor in graph.constants.values() {
            assert_eq!(tensor.shape().iter().product::<usize>(), tensor.data().len());
        }
    }
});
