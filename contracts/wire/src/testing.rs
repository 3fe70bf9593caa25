//! Strategies for property tests: tensors, parameters, requests and responses of every kind.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::infer::{InferRequest, InferResponse, ParameterValue, Parameters, RequestedOutput};
use crate::tensor::{DataType, Tensor};

/// What a tensor must be like to travel.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Travels {
    /// Binary: any bytes.
    Raw,
    /// JSON: finite numbers, text, no 16-bit floats.
    Json,
}

fn parameter() -> impl Strategy<Value = ParameterValue> {
    prop_oneof![
        any::<bool>().prop_map(ParameterValue::Bool),
        any::<i64>().prop_map(ParameterValue::Int),
        (i64::MAX as u64 + 1..).prop_map(ParameterValue::Uint),
        // Halves are exact in JSON and never mistaken for whole numbers.
        (-1_000_000..1_000_000).prop_map(|half| ParameterValue::Double(f64::from(half) + 0.5)),
        ".{0,8}".prop_map(ParameterValue::String),
    ]
}

fn parameters() -> impl Strategy<Value = Parameters> {
    btree_map("[a-z]{1,6}", parameter(), 0..3)
}

fn shape() -> impl Strategy<Value = Vec<i64>> {
    vec(0_i64..4, 0..4)
}

fn numbers<T, S>(values: S) -> BoxedStrategy<Tensor>
where
    T: crate::tensor::Element + std::fmt::Debug + 'static,
    S: Strategy<Value = T> + Clone + 'static,
{
    (".{0,6}", shape())
        .prop_flat_map(move |(name, shape)| {
            let count = shape.iter().product::<i64>() as usize;
            vec(values.clone(), count)
                .prop_map(move |values| Tensor::from_values(name.clone(), shape.clone(), &values).unwrap())
        })
        .boxed()
}

fn booleans() -> BoxedStrategy<Tensor> {
    vec(0_u8..2, 0..9)
        .prop_map(|data| Tensor::new("flags", DataType::Bool, vec![data.len() as i64], data.into()).unwrap())
        .boxed()
}

fn halves(datatype: DataType) -> BoxedStrategy<Tensor> {
    vec(any::<[u8; 2]>(), 0..5)
        .prop_map(move |data| {
            let bytes: Bytes = data.concat().into();
            Tensor::new("half", datatype, vec![1, data.len() as i64], bytes).unwrap()
        })
        .boxed()
}

fn texts() -> BoxedStrategy<Tensor> {
    vec(any::<String>(), 0..5)
        .prop_map(|texts| Tensor::from_strings("text", vec![texts.len() as i64], &texts).unwrap())
        .boxed()
}

fn blobs() -> BoxedStrategy<Tensor> {
    vec(any::<Vec<u8>>(), 0..5)
        .prop_map(|blobs| Tensor::from_strings("blob", vec![blobs.len() as i64], &blobs).unwrap())
        .boxed()
}

/// Tensors of every type that can travel so.
pub(crate) fn tensor(travels: Travels) -> impl Strategy<Value = Tensor> {
    use proptest::num;
    let mut any_of = vec![
        booleans(),
        numbers(any::<u8>()),
        numbers(any::<u16>()),
        numbers(any::<u32>()),
        numbers(any::<u64>()),
        numbers(any::<i8>()),
        numbers(any::<i16>()),
        numbers(any::<i32>()),
        numbers(any::<i64>()),
        numbers(num::f32::NORMAL | num::f32::SUBNORMAL | num::f32::ZERO),
        numbers(num::f64::NORMAL | num::f64::SUBNORMAL | num::f64::ZERO),
        texts(),
    ];
    if travels == Travels::Raw {
        any_of.extend([
            halves(DataType::Fp16),
            halves(DataType::Bf16),
            blobs(),
            numbers(num::f32::INFINITE | num::f32::NORMAL),
        ]);
    }
    proptest::strategy::Union::new(any_of)
}

/// Requests whose tensors can travel so.
pub(crate) fn request(travels: Travels) -> impl Strategy<Value = InferRequest> {
    let output = ("[a-z]{1,6}", parameters()).prop_map(|(name, parameters)| RequestedOutput { name, parameters });
    (
        "[a-z_]{1,9}",
        proptest::option::of("[0-9]{1,3}"),
        ".{0,9}",
        parameters(),
        vec(tensor(travels), 0..4),
        vec(output, 0..3),
    )
        .prop_map(|(model_name, model_version, id, parameters, inputs, outputs)| InferRequest {
            model_name,
            model_version,
            id,
            parameters,
            inputs,
            outputs,
        })
}

/// Responses whose tensors can travel so.
pub(crate) fn response(travels: Travels) -> impl Strategy<Value = InferResponse> {
    ("[a-z_]{1,9}", "[0-9]{1,3}", ".{0,9}", parameters(), vec(tensor(travels), 0..4)).prop_map(
        |(model_name, model_version, id, parameters, outputs)| InferResponse {
            model_name,
            model_version,
            id,
            parameters,
            outputs,
        },
    )
}
