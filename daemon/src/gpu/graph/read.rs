//! An ONNX file as a graph. Files come from clients too, so everything in them is bounded and doubted: sizes and counts
//! before memory is taken for them, names, and order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::attributes::Attributes;
use super::operator::Operator;
use super::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto, decode};
use super::tensor::{Element, Tensor};
use super::{Graph, GraphError, Node, Port, ValueId, initial, order, understand};

/// The oldest and the newest version of ONNX's operators whose meaning is known here.
pub const OPSETS: std::ops::RangeInclusive<i64> = 11..=25;

/// Of a model's own message.
const MOST_MODEL_FIELDS: usize = 1 << 16;
/// Of a graph's message: nodes, constants, inputs, outputs, notes on values.
const MOST_GRAPH_FIELDS: usize = 1 << 18;
/// Of a node's message: inputs, outputs, attributes.
const MOST_NODE_FIELDS: usize = 1 << 12;
/// Of an input's or output's message.
const MOST_PORT_FIELDS: usize = 64;
/// Elements of all constants together.
const MOST_CONSTANT_ELEMENTS: usize = 1 << 28;
/// The names of ONNX's own operators.
const DOMAINS: [&str; 2] = ["", "ai.onnx"];

/// Reads a file.
///
/// # Errors
/// When it is no ONNX model, is beyond the bounds, contradicts itself, or has an operator, a type or an attribute that
/// is not computed; each is named.
pub fn read(file: Bytes) -> Result<Graph, GraphError> {
    let model: ModelProto = decode(file, MOST_MODEL_FIELDS).map_err(GraphError::Encoding)?;
    let encoded = model.graph.clone().ok_or_else(|| GraphError::Encoding("it has no graph".to_owned()))?;
    let opset = opset(&model)?;
    let graph: GraphProto = decode(encoded, MOST_GRAPH_FIELDS).map_err(GraphError::Encoding)?;
    if !graph.sparse_initializer.is_empty() {
        return Err(GraphError::Encoding("it has sparse constants, which are not computed with".to_owned()));
    }
    let mut reader = Reader { opset, ..Reader::default() };
    reader.constants(graph.initializer)?;
    let inputs = reader.inputs(graph.input)?;
    for node in graph.node {
        reader.node(node)?;
    }
    let outputs = reader.outputs(graph.output)?;
    let nodes = order::sorted(reader.nodes, reader.names.len())?;
    Ok(Graph { inputs, outputs, nodes, constants: reader.constants })
}

fn opset(model: &ModelProto) -> Result<i64, GraphError> {
    let own = model.opset_import.iter().find(|set| DOMAINS.contains(&set.domain.as_str()));
    let version = own.map_or(1, |set| set.version);
    if OPSETS.contains(&version) { Ok(version) } else { Err(GraphError::Opset { version }) }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    opset: i64,
    names: BTreeMap<String, ValueId>,
    /// By value: whether something gives it.
    given: Vec<bool>,
    constants: BTreeMap<ValueId, Arc<Tensor>>,
    constant_elements: usize,
    nodes: Vec<Node>,
}

impl Reader {
    fn value(&mut self, name: &str) -> ValueId {
        let next = ValueId(self.given.len());
        let id = *self.names.entry(name.to_owned()).or_insert(next);
        if id == next {
            self.given.push(false);
        }
        id
    }

    /// A value that is given here and nowhere else.
    fn give(&mut self, name: &str) -> Result<ValueId, GraphError> {
        let id = self.value(name);
        match self.given.get_mut(id.0) {
            Some(given) if !*given => *given = true,
            _ => return Err(GraphError::Name { name: name.to_owned(), what: "is given twice" }),
        }
        Ok(id)
    }

    fn constants(&mut self, initializers: Vec<Bytes>) -> Result<(), GraphError> {
        for bytes in initializers {
            let (name, tensor) = initial::tensor(bytes).map_err(GraphError::Constant)?;
            self.constant(&name, tensor)?;
        }
        Ok(())
    }

    fn constant(&mut self, name: &str, tensor: Tensor) -> Result<(), GraphError> {
        self.constant_elements = self.constant_elements.saturating_add(tensor.data().len());
        if self.constant_elements > MOST_CONSTANT_ELEMENTS {
            return Err(GraphError::Constant(format!(
                "its constants have more than {MOST_CONSTANT_ELEMENTS} elements"
            )));
        }
        let id = self.give(name)?;
        self.constants.insert(id, Arc::new(tensor));
        Ok(())
    }

    fn inputs(&mut self, encoded: Vec<Bytes>) -> Result<Vec<Port>, GraphError> {
        let ports = encoded.into_iter().map(port).collect::<Result<Vec<_>, _>>()?;
        // Old files list constants among the inputs too.
        let own =
            |name: &str, reader: &Self| reader.names.get(name).is_none_or(|id| !reader.constants.contains_key(id));
        let ports: Vec<_> = ports.into_iter().filter(|(name, ..)| own(name, self)).collect();
        ports
            .into_iter()
            .map(|(name, element, shape)| Ok(Port { value: self.give(&name)?, name, element, shape }))
            .collect()
    }

    fn outputs(&mut self, encoded: Vec<Bytes>) -> Result<Vec<Port>, GraphError> {
        let mut ports = Vec::new();
        for bytes in encoded {
            let (name, element, shape) = port(bytes)?;
            let value = self.value(&name);
            if !self.given.get(value.0).is_some_and(|given| *given) {
                return Err(GraphError::Name { name, what: "is an output that nothing gives" });
            }
            ports.push(Port { value, name, element, shape });
        }
        Ok(ports)
    }

    fn node(&mut self, encoded: Bytes) -> Result<(), GraphError> {
        let mut node: NodeProto = decode(encoded, MOST_NODE_FIELDS).map_err(GraphError::Encoding)?;
        // Optional outputs at the end may be written as empty names.
        while node.output.last().is_some_and(String::is_empty) {
            node.output.pop();
        }
        if node.name.is_empty() {
            node.name = node.output.first().cloned().unwrap_or_default();
        }
        let operators = self.understood(&mut node)?;
        let wrong = |what: String| wrong(&node, what);
        if node.output.len() != operators.len() || node.output.iter().any(String::is_empty) {
            return Err(wrong(format!("has {} outputs; {} are computed", node.output.len(), operators.len())));
        }
        let inputs = self.node_inputs(&node.input);
        let name: Arc<str> = Arc::from(node.name.as_str());
        for (operator, output) in operators.into_iter().zip(&node.output) {
            let (least, most) = understand::arity(&operator);
            if !(least..=most).contains(&inputs.len()) || inputs.iter().take(least).any(Option::is_none) {
                return Err(wrong(format!("has {} inputs, which it cannot have", inputs.len())));
            }
            let output = self.give(output)?;
            let (name, kind) = (Arc::clone(&name), node.op_type.clone());
            self.nodes.push(Node { name, kind, operator, inputs: inputs.clone(), output });
        }
        Ok(())
    }

    /// What a node means: an operator for each of its outputs. A constant is noted, and its node is none any more.
    fn understood(&mut self, node: &mut NodeProto) -> Result<Vec<Operator>, GraphError> {
        let attributes = Attributes::read(std::mem::take(&mut node.attribute));
        let mut attributes = attributes.map_err(|what| wrong(node, what))?;
        let ours = DOMAINS.contains(&node.domain.as_str());
        let outputs = node.output.len();
        let operators = match node.op_type.as_str() {
            _ if !ours => None,
            "Constant" if outputs == 1 => {
                let tensor = understand::constant(&mut attributes).map_err(|what| wrong(node, what))?;
                self.constant(&node.output.remove(0), tensor)?;
                Some(Vec::new())
            }
            "Split" => Some(understand::split(&mut attributes, outputs).map_err(|what| wrong(node, what))?),
            name => {
                let operator = understand::operator(name, &mut attributes, self.opset);
                operator.map_err(|what| wrong(node, what))?.map(|operator| vec![operator])
            }
        };
        let NodeProto { op_type, domain, name, .. } = &*node;
        let operator = if domain.is_empty() { op_type.clone() } else { format!("{domain}.{op_type}") };
        let outside = GraphError::Operator { operator, node: name.clone(), opset: self.opset };
        let operators = operators.ok_or(outside)?;
        attributes.finish().map_err(|what| wrong(node, what))?;
        Ok(operators)
    }

    /// Optional inputs that are left out are empty names, or not written at the end.
    fn node_inputs(&mut self, names: &[String]) -> Vec<Option<ValueId>> {
        let mut inputs: Vec<_> = names.iter().map(|name| (!name.is_empty()).then(|| self.value(name))).collect();
        while inputs.last().is_some_and(Option::is_none) {
            inputs.pop();
        }
        inputs
    }
}

fn wrong(node: &NodeProto, what: String) -> GraphError {
    GraphError::Node { operator: node.op_type.clone(), node: node.name.clone(), what }
}

/// Name, type and shape of an input or output.
fn port(encoded: Bytes) -> Result<(String, Element, Option<Vec<Option<usize>>>), GraphError> {
    let info: ValueInfoProto = decode(encoded, MOST_PORT_FIELDS).map_err(GraphError::Encoding)?;
    let wrong = |what: &'static str| GraphError::Name { name: info.name.clone(), what };
    let kind = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref()).ok_or_else(|| wrong("is no tensor"))?;
    let element = Element::of_onnx(kind.element.into());
    let element = element.ok_or_else(|| wrong("is of a type that is not computed with"))?;
    let shape = kind.shape.as_ref().map(|shape| {
        shape.dimensions.iter().map(|size| size.fixed.and_then(|size| usize::try_from(size).ok())).collect::<Vec<_>>()
    });
    if shape.as_ref().is_some_and(|shape| shape.len() > initial::MOST_DIMENSIONS) {
        return Err(wrong("has more dimensions than are computed with"));
    }
    Ok((info.name, element, shape))
}
