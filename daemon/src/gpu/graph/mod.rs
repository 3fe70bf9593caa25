//! An ONNX model as a graph of the operators that are computed on a GPU, read and checked. It knows no shapes but those that
//! its inputs declare; they are bound when a plan is made of it. Pure: bytes in, values out.

mod attributes;
pub mod initial;
pub mod operator;
mod order;
mod proto;
mod read;
pub mod tensor;
#[cfg(test)]
pub(crate) mod testing;
mod understand;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::operator::Operator;
use self::tensor::{Element, Tensor};

pub use self::read::{OPSETS, read};

/// A value of a graph: what one node gives and others take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: ValueId,
    /// What its elements are declared to be.
    pub element: Element,
    /// Its declared dimensions, `None` for one that may vary; `None` where the file does not say how many there are.
    pub shape: Option<Vec<Option<usize>>>,
}

/// One operator with what it takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, for messages. A file's node with many outputs is many here, which share it.
    pub name: Arc<str>,
    /// Its operator's name in ONNX, for messages.
    pub kind: String,
    /// What it does.
    pub operator: Operator,
    /// What it takes; `None` where something optional is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// What it gives.
    pub output: ValueId,
}

/// A graph. Each value is given once, and nodes come after what they take.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// What it does, in order.
    pub nodes: Vec<Node>,
    /// What is known before it is given anything.
    pub constants: BTreeMap<ValueId, Arc<Tensor>>,
}

/// Why a file is no graph that can be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// It cannot be decoded.
    #[error("it is no ONNX model that can be read: {0}")]
    Encoding(String),
    /// Its operators are of a version whose meaning is not known.
    #[error("its operators are of opset {version}; those of opset {} to {} are understood: convert it with \
             onnx.version_converter", OPSETS.start(), OPSETS.end())]
    Opset {
        /// Which.
        version: i64,
    },
    /// An operator is outside the set.
    #[error(
        "operator '{operator}' of node '{node}' (opset {opset}) is not among those that the CUDA executor computes"
    )]
    Operator {
        /// Which.
        operator: String,
        /// The node.
        node: String,
        /// The version of its operators.
        opset: i64,
    },
    /// A node is not as its operator is, or has an attribute that is not computed.
    #[error("{operator} '{node}': {what}")]
    Node {
        /// Its operator.
        operator: String,
        /// Its name.
        node: String,
        /// What is wrong.
        what: String,
    },
    /// A constant cannot be read.
    #[error("{0}")]
    Constant(String),
    /// A name is wrong.
    #[error("value '{name}' {what}")]
    Name {
        /// Which.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A node needs what it gives.
    #[error("node '{node}' waits for its own result")]
    Cycle {
        /// One of them.
        node: String,
    },
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::operator::{Binary, Function};
    use super::testing::Model;
    use super::*;

    #[test]
    fn a_model_is_read() {
        let mut model = Model::new(17);
        model.input("x", 1, &[None, Some(4)]);
        model.constant("w", &Tensor::vector(vec![1.0; 4]));
        // Out of order, which files must not be, and are.
        model.node("Relu", &["sum"], &["y"]).node("Add", &["x", "w"], &["sum"]);
        model.output("y", 1);
        let graph = read(model.encoded()).expect("a graph");
        let kinds: Vec<_> = graph.nodes.iter().map(|node| node.operator.clone()).collect();
        assert_eq!(kinds, [Operator::Binary(Binary::Add), Operator::Unary(Function::Relu)]);
        assert_eq!(graph.inputs.len(), 1, "a constant is no input");
        assert_eq!(graph.inputs[0].shape, Some(vec![None, Some(4)]));
        assert_eq!(graph.constants.len(), 1);
    }

    #[test]
    fn a_split_is_as_many_nodes_as_it_has_outputs() {
        let mut model = Model::new(17);
        model.input("x", 1, &[Some(4)]).ints("split", &[1, 3]).node("Split", &["x"], &["a", "b"]);
        let graph = read(model.output("a", 1).output("b", 1).encoded()).expect("a graph");
        assert!(matches!(graph.nodes[1].operator, Operator::Part { index: 1, of: 2, .. }), "{:?}", graph.nodes);
        let [Operator::Part { sizes: Some(first), .. }, Operator::Part { sizes: Some(second), .. }] =
            [&graph.nodes[0].operator, &graph.nodes[1].operator]
        else {
            panic!("{:?}", graph.nodes)
        };
        assert!(Arc::ptr_eq(first, second), "each output has a copy of all sizes");
        assert!(Arc::ptr_eq(&graph.nodes[0].name, &graph.nodes[1].name), "each output has a copy of the name");
    }

    #[test]
    fn what_is_not_computed_is_named() {
        let check = |build: &dyn Fn(&mut Model), parts: &[&str]| {
            let mut model = Model::new(17);
            model.input("x", 1, &[Some(4)]);
            build(&mut model);
            let error = read(model.encoded()).expect_err("refused").to_string();
            parts.iter().for_each(|part| assert!(error.contains(part), "{error} lacks {part}"));
        };
        check(
            &|m| _ = m.node("NonMaxSuppression", &["x"], &["y"]),
            &["operator 'NonMaxSuppression' of node 'y' (opset 17)"],
        );
        check(&|m| _ = m.domain("com.microsoft").node("FusedConv", &["x"], &["y"]), &["'com.microsoft.FusedConv'"]);
        check(
            &|m| _ = m.int("surprise", 1).node("Relu", &["x"], &["y"]),
            &["Relu 'y'", "'surprise' is not understood"],
        );
        check(&|m| _ = m.int("axis", 1).int("axis", 1).node("Softmax", &["x"], &["y"]), &["given twice"]);
        check(
            &|m| _ = m.ints("split", &[0; 9]).node("Split", &["x"], &["y", "z"]),
            &["'split' has 9 sizes", "2 outputs"],
        );
        check(&|m| _ = m.node("Add", &["x"], &["y"]), &["has 1 inputs"]);
        check(&|m| _ = m.node("Add", &["x", ""], &["y"]), &["has 1 inputs"]);
        check(&|m| _ = m.node("MaxPool", &["x"], &["y", "places"]), &["kernel_shape"]);
        check(&|m| _ = m.node("Relu", &["x"], &["x"]), &["value 'x' is given twice"]);
        check(&|m| _ = m.output("nowhere", 1), &["'nowhere' is an output that nothing gives"]);
        check(&|m| _ = m.node("Add", &["x", "b"], &["a"]).node("Relu", &["a"], &["b"]), &["waits for its own result"]);
        check(&|m| _ = m.opset(5), &["opset 5; those of opset 11 to 25"]);
        check(&|m| _ = m.opset(99), &["opset 99"]);
        check(&|m| _ = m.input("z", 11, &[]), &["value 'z' is of a type"]);
        assert!(read(Bytes::new()).is_err_and(|error| error.to_string().contains("no graph")));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(bytes.into());
        }

        #[test]
        fn no_change_of_a_model_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut model = Model::new(17);
            model.input("x", 1, &[None, Some(4)]).constant("w", &Tensor::vector(vec![1.0; 4]));
            model.int("axis", -1).node("Softmax", &["x"], &["s"]).node("Add", &["s", "w"], &["y"]).output("y", 1);
            let mut bytes = model.encoded().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(bytes.into());
        }
    }
}
