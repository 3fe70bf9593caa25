//! Triton's generate extension: one flat JSON object for a request and one for a response, whose keys are tensors or
//! parameters, as the model's metadata says. Shapes are not in it: they are what fits the model.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::{Error, SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::data::{self, Data};
use super::json_error;
use crate::WireError;
use crate::infer::{InferRequest, InferResponse, ParameterValue, Parameters};
use crate::tensor::{DataType, Tensor, string_count};
use crate::types::TensorMetadata;

/// Key of the request's id.
const ID: &str = "id";
/// Key of an object that holds further parameters.
const PARAMETERS: &str = "parameters";

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Reads the body of a generate request for this model, whose inputs are described as its metadata describes them.
///
/// # Errors
/// When the body is no such object, or a value does not fit its input; the message says which.
pub fn decode_generate(
    model: &str,
    version: Option<&str>,
    body: &[u8],
    inputs: &[TensorMetadata],
) -> Result<InferRequest, WireError> {
    let members: Members<'_> = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    let mut request = InferRequest {
        model_name: model.to_owned(),
        model_version: version.map(str::to_owned),
        ..InferRequest::default()
    };
    for (key, value) in members {
        let input = inputs.iter().find(|input| input.name == key);
        match (key.as_str(), input) {
            (PARAMETERS, Some(_)) => {
                let what = "Keyword 'parameters' for nested schema also given as input tensor name";
                return Err(WireError::Json(what.to_owned()));
            }
            (PARAMETERS, None) => nested(value, inputs, &mut request)?,
            (ID, None) => request.id = read(&key, value, "a string")?,
            (_, Some(input)) => request.inputs.push(tensor(input, value)?),
            (_, None) => drop(request.parameters.insert(key.clone(), parameter(&key, value)?)),
        }
    }
    Ok(request)
}

fn nested(value: &RawValue, inputs: &[TensorMetadata], request: &mut InferRequest) -> Result<(), WireError> {
    let members: Members<'_> = read(PARAMETERS, value, "an object")?;
    for (key, value) in members {
        match inputs.iter().find(|input| input.name == key) {
            Some(input) => request.inputs.push(tensor(input, value)?),
            None => drop(request.parameters.insert(key.clone(), parameter(&key, value)?)),
        }
    }
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a RawValue, expected: &str) -> Result<T, WireError> {
    serde_json::from_str(value.get()).map_err(|_| WireError::Json(format!("'{key}' must be {expected}")))
}

fn parameter(key: &str, value: &RawValue) -> Result<ParameterValue, WireError> {
    read(key, value, "a boolean, a number or a string, for it is no input of the model and thus a parameter")
}

/// One value, or a list of them, in the only shape of the input that it fits.
fn tensor(input: &TensorMetadata, value: &RawValue) -> Result<Tensor, WireError> {
    let Some(datatype) = DataType::parse(&input.datatype) else {
        return Err(WireError::UnknownDatatype { tensor: input.name.clone(), datatype: input.datatype.clone() });
    };
    let text = value.get();
    let data = if text.starts_with('[') {
        data::parse(&input.name, datatype, text)?
    } else {
        data::parse(&input.name, datatype, &format!("[{text}]"))?
    };
    let shape = shape(input, elements(datatype, &data))?;
    Tensor::new(input.name.clone(), datatype, shape, data)
}

fn elements(datatype: DataType, data: &Bytes) -> usize {
    datatype.size().map_or_else(|| string_count(data), |size| data.len() / size)
}

/// The innermost open dimension takes what the fixed ones leave; the other open ones are 1.
fn shape(input: &TensorMetadata, elements: usize) -> Result<Vec<i64>, WireError> {
    let misfit = || {
        let (elements, shape) = (elements, &input.shape);
        WireError::data(&input.name, format!("has {elements} values, which do not fill its shape {shape:?}"))
    };
    let fixed: i64 = input.shape.iter().filter(|size| **size != -1).try_fold(1_i64, |product, size| {
        product.checked_mul(*size).filter(|product| *product > 0).ok_or_else(misfit)
    })?;
    let elements = i64::try_from(elements).map_err(|_| misfit())?;
    if elements % fixed != 0 {
        return Err(misfit());
    }
    let mut left = elements / fixed;
    let mut shape = input.shape.clone();
    for size in shape.iter_mut().rev().filter(|size| **size == -1) {
        *size = std::mem::replace(&mut left, 1);
    }
    if left == 1 { Ok(shape) } else { Err(misfit()) }
}

/// Writes a response as one object: an output of one element as its value, any other as a list.
///
/// # Errors
/// When an output cannot be said in JSON, such as NaN, FP16, or text that is no UTF-8.
pub fn encode_generated(response: &InferResponse) -> Result<Vec<u8>, WireError> {
    serde_json::to_vec(&Generated(response)).map_err(|error| WireError::Unencodable(error.to_string()))
}

struct Generated<'a>(&'a InferResponse);

impl Serialize for Generated<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let InferResponse { model_name, model_version, id, parameters, outputs } = self.0;
        let mut object = out.serialize_map(None)?;
        if !id.is_empty() {
            object.serialize_entry(ID, id)?;
        }
        object.serialize_entry("model_name", model_name)?;
        object.serialize_entry("model_version", model_version)?;
        write_parameters(parameters, &mut object)?;
        for output in outputs {
            object.serialize_entry(&output.name, &Value(output))?;
        }
        object.end()
    }
}

fn write_parameters<M: SerializeMap>(parameters: &Parameters, object: &mut M) -> Result<(), M::Error> {
    parameters.iter().try_for_each(|(name, value)| object.serialize_entry(name, value))
}

struct Value<'a>(&'a Tensor);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if self.0.element_count() != 1 {
            return Data(self.0).serialize(out);
        }
        let list = serde_json::to_string(&Data(self.0)).map_err(S::Error::custom)?;
        // A list of one value in brackets; without them, the value.
        let value = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(&list);
        RawValue::from_string(value.to_owned()).map_err(S::Error::custom)?.serialize(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Travels, response};

    fn inputs() -> Vec<TensorMetadata> {
        let input = |name: &str, datatype: &str, shape: &[i64]| TensorMetadata {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
        };
        vec![
            input("text_input", "BYTES", &[-1, 1]),
            input("numbers", "FP32", &[-1, 2, -1]),
            input("pair", "INT64", &[2]),
            input("half", "FP16", &[-1]),
        ]
    }

    #[test]
    fn keys_are_inputs_or_parameters() {
        let body = br#"{"id":"7","text_input":"a\"b","parameters":{"temperature":0.5,"pair":[3,4]},"stream":true,
                        "numbers":[1,2,3,4]}"#;
        let request = decode_generate("m", Some("2"), body, &inputs()).unwrap();
        assert_eq!((request.id.as_str(), request.model_version.as_deref()), ("7", Some("2")));
        let mut found: Vec<_> = request.inputs.iter().map(|input| (input.name.as_str(), input.shape.clone())).collect();
        found.sort();
        assert_eq!(found, [("numbers", vec![1, 2, 2]), ("pair", vec![2]), ("text_input", vec![1, 1])]);
        let text = request.inputs.iter().find(|input| input.name == "text_input").unwrap();
        assert_eq!(text.strings().next(), Some(&b"a\"b"[..]));
        let parameters: Vec<_> = request.parameters.into_iter().collect();
        let expected = [("stream", ParameterValue::Bool(true)), ("temperature", ParameterValue::Double(0.5))];
        assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let check = |body: &str, expected: &str| {
            let error = decode_generate("m", None, body.as_bytes(), &inputs()).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error} should contain {expected}");
        };
        check("[]", "cannot read the JSON");
        check(r#"{"id":7}"#, "'id' must be a string");
        check(r#"{"parameters":7}"#, "'parameters' must be an object");
        check(r#"{"tokens":[1]}"#, "'tokens' must be a boolean, a number or a string");
        check(r#"{"numbers":[1,2,3]}"#, "has 3 values, which do not fill its shape [-1, 2, -1]");
        check(r#"{"pair":[1,2,3,4]}"#, "has 4 values");
        check(r#"{"pair":1}"#, "has 1 values");
        check(r#"{"pair":[1.5,2]}"#, "has 1.5 in its data, which is no INT64");
        check(r#"{"text_input":7}"#, "which is no BYTES");
        check(r#"{"text_input":{"a":1}}"#, "which is no BYTES");
        check(r#"{"half":1}"#, "which JSON cannot carry");
        let named = [TensorMetadata { name: "parameters".to_owned(), ..TensorMetadata::default() }];
        let error = decode_generate("m", None, br#"{"parameters":{}}"#, &named).unwrap_err().to_string();
        assert!(error.contains("also given as input tensor name"), "{error}");
    }

    #[test]
    fn one_element_stands_without_a_list() {
        let outputs = vec![
            Tensor::from_strings("text_output", vec![1], &["é"]).unwrap(),
            Tensor::from_f32("numbers", vec![2], &[0.5, 1.0]).unwrap(),
            Tensor::from_f32("none", vec![0], &[]).unwrap(),
        ];
        let parameters = [("final".to_owned(), ParameterValue::Bool(true))].into();
        let (model_name, model_version) = ("m".to_owned(), "1".to_owned());
        let response = InferResponse { model_name, model_version, id: "7".to_owned(), parameters, outputs };
        let json = String::from_utf8(encode_generated(&response).unwrap()).unwrap();
        let expected = r#"{"id":"7","model_name":"m","model_version":"1","final":true,"text_output":"é","numbers":[0.5,1.0],"none":[]}"#;
        assert_eq!(json, expected);
    }

    proptest! {
        /// Whatever is written is one JSON object on one line: an event of a stream must not be cut in two.
        #[test]
        fn responses_are_one_line(response in response(Travels::Json)) {
            let json = encode_generated(&response).unwrap();
            prop_assert!(!json.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).unwrap().is_object());
        }

        #[test]
        fn no_bytes_panic(body: Vec<u8>, text in r#"[\[\]{}0-9.eE+\-,":a-z_\\ ]{0,60}"#) {
            let _ = decode_generate("m", None, &body, &inputs());
            for key in ["numbers", "text_input", "pair", "parameters", "id", "x"] {
                let _ = decode_generate("m", None, format!("{{\"{key}\":{text}}}").as_bytes(), &inputs());
            }
        }
    }
}
