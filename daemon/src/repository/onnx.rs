//! The signature of an ONNX file: names, types and shapes of its inputs and outputs, read without loading the model.
//! Only the few fields needed are declared; all else is skipped. Field numbers after onnx/onnx.proto.

use std::collections::BTreeSet;

use proofload_wire::tensor::DataType;
use prost::{Message, Oneof};

/// Parameter of an ONNX model that says what computes it. The daemon adds it to the configuration that it gives out.
pub const ENGINE: &str = "engine";
/// Parameter beside it: why our own executor does not compute it on the GPU that there is.
pub const NOT_ON_GPU: &str = "engine_reason";
/// Parameter of an ONNX model: threads that one operator runs on, with ONNX Runtime.
pub const INTRA_OP_THREADS: &str = "intra_op_thread_count";

#[derive(Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<InitializerName>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

/// `TensorProto` without its data.
#[derive(Message)]
struct InitializerName {
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorTypeProto>,
}

#[derive(Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dimensions: Vec<DimensionProto>,
}

#[derive(Message)]
struct DimensionProto {
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    value: Option<DimensionValue>,
}

#[derive(Oneof)]
enum DimensionValue {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    #[prost(string, tag = "2")]
    Named(String),
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: DataType,
    /// All its dimensions, -1 for those that may vary; `None` when the file does not say even how many there are.
    pub shape: Option<Vec<i64>>,
}

/// What a graph takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// Its inputs.
    pub inputs: Vec<Port>,
    /// Its outputs.
    pub outputs: Vec<Port>,
}

/// Reads the signature of an ONNX file.
///
/// # Errors
/// When the bytes are no ONNX model, or one of its tensors has a type that the protocol does not know.
pub fn signature(onnx: &[u8]) -> Result<Signature, String> {
    let model = ModelProto::decode(onnx).map_err(|error| format!("is no ONNX model: {error}"))?;
    let graph = model.graph.ok_or("is no ONNX model: it has no graph")?;
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|constant| constant.name.as_str()).collect();
    // Old files list constants among the inputs too.
    let inputs = graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
    Ok(Signature {
        inputs: inputs.map(port).collect::<Result<_, _>>()?,
        outputs: graph.output.iter().map(port).collect::<Result<_, _>>()?,
    })
}

fn port(value: &ValueInfoProto) -> Result<Port, String> {
    let tensor = value.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let tensor = tensor.ok_or_else(|| format!("has '{}', which is no tensor", value.name))?;
    let datatype = datatype(tensor.element).ok_or_else(|| {
        format!("has '{}' of ONNX element type {}, which the protocol lacks", value.name, tensor.element)
    })?;
    let dimension = |dimension: &DimensionProto| match dimension.value {
        Some(DimensionValue::Fixed(size)) if size >= 0 => size,
        _ => -1,
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dimensions.iter().map(dimension).collect());
    Ok(Port { name: value.name.clone(), datatype, shape })
}

/// `TensorProto.DataType`.
fn datatype(element: i32) -> Option<DataType> {
    Some(match element {
        1 => DataType::Fp32,
        2 => DataType::Uint8,
        3 => DataType::Int8,
        4 => DataType::Uint16,
        5 => DataType::Int16,
        6 => DataType::Int32,
        7 => DataType::Int64,
        8 => DataType::Bytes,
        9 => DataType::Bool,
        10 => DataType::Fp16,
        11 => DataType::Fp64,
        12 => DataType::Uint32,
        13 => DataType::Uint64,
        16 => DataType::Bf16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(name: &str, element: i32, dims: &[Option<i64>]) -> ValueInfoProto {
        let dimension = |size: &Option<i64>| DimensionProto {
            value: Some(size.map_or_else(|| DimensionValue::Named("n".to_owned()), DimensionValue::Fixed)),
        };
        let shape = ShapeProto { dimensions: dims.iter().map(dimension).collect() };
        let tensor = TensorTypeProto { element, shape: Some(shape) };
        ValueInfoProto { name: name.to_owned(), kind: Some(TypeProto { tensor: Some(tensor) }) }
    }

    #[test]
    fn constants_are_no_inputs_and_named_dimensions_vary() {
        let graph = GraphProto {
            initializer: vec![InitializerName { name: "w".to_owned() }],
            input: vec![value("x", 1, &[None, Some(16)]), value("w", 1, &[Some(2)])],
            output: vec![value("y", 7, &[])],
        };
        let read = signature(&ModelProto { graph: Some(graph) }.encode_to_vec()).expect("a model");
        let port =
            |name: &str, datatype, shape: &[i64]| Port { name: name.to_owned(), datatype, shape: Some(shape.to_vec()) };
        assert_eq!(read.inputs, [port("x", DataType::Fp32, &[-1, 16])]);
        assert_eq!(read.outputs, [port("y", DataType::Int64, &[])]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = signature(&bytes);
        }
    }
}
