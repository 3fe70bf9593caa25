//! ONNX files made in memory, for tests.

use bytes::Bytes;
use prost::Message;

use super::initial::encoded;
use super::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};
use super::tensor::Tensor;

/// A model that grows. Attributes and domain go to the node that is added next.
#[derive(Default)]
pub(crate) struct Model {
    opset: i64,
    graph: GraphProto,
    attributes: Vec<Bytes>,
    domain: String,
}

impl Model {
    pub(crate) fn new(opset: i64) -> Self {
        Self { opset, ..Self::default() }
    }

    pub(crate) fn opset(&mut self, opset: i64) -> &mut Self {
        self.opset = opset;
        self
    }

    pub(crate) fn input(&mut self, name: &str, element: i32, shape: &[Option<i64>]) -> &mut Self {
        let dimensions = shape.iter().map(|fixed| DimensionProto { fixed: *fixed }).collect();
        self.graph.input.push(port(name, element, Some(ShapeProto { dimensions })));
        self
    }

    pub(crate) fn output(&mut self, name: &str, element: i32) -> &mut Self {
        self.graph.output.push(port(name, element, None));
        self
    }

    pub(crate) fn constant(&mut self, name: &str, tensor: &Tensor) -> &mut Self {
        self.graph.initializer.push(encoded(name, tensor).into());
        self
    }

    pub(crate) fn domain(&mut self, domain: &str) -> &mut Self {
        domain.clone_into(&mut self.domain);
        self
    }

    fn attribute(&mut self, attribute: &AttributeProto) -> &mut Self {
        self.attributes.push(attribute.encode_to_vec().into());
        self
    }

    pub(crate) fn int(&mut self, name: &str, i: i64) -> &mut Self {
        self.attribute(&AttributeProto { name: name.to_owned(), i: Some(i), ..AttributeProto::default() })
    }

    pub(crate) fn ints(&mut self, name: &str, ints: &[i64]) -> &mut Self {
        self.attribute(&AttributeProto { name: name.to_owned(), ints: ints.to_vec(), ..AttributeProto::default() })
    }

    pub(crate) fn node(&mut self, op_type: &str, inputs: &[&str], outputs: &[&str]) -> &mut Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let node = NodeProto {
            input: names(inputs),
            output: names(outputs),
            name: String::new(),
            op_type: op_type.to_owned(),
            attribute: std::mem::take(&mut self.attributes),
            domain: std::mem::take(&mut self.domain),
        };
        self.graph.node.push(node.encode_to_vec().into());
        self
    }

    pub(crate) fn encoded(&self) -> Bytes {
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: self.opset }];
        let graph = Some(self.graph.encode_to_vec().into());
        ModelProto { graph, opset_import }.encode_to_vec().into()
    }
}

fn port(name: &str, element: i32, shape: Option<ShapeProto>) -> Bytes {
    let kind = Some(TypeProto { tensor: Some(TensorTypeProto { element, shape }) });
    ValueInfoProto { name: name.to_owned(), kind }.encode_to_vec().into()
}
