//! Requests joined along the batch dimension for a graph that computes them at once, and its outputs taken apart again.
//! Shapes and bytes only; how an engine holds its values is its own affair. Pure.

use bytes::Bytes;
use proofload_wire::tensor::{DataType, Tensor, element_count};

use super::{BackendError, Request};
use crate::repository::spec::TensorSpec;

/// Input number `index` of all requests, and the shape that the graph sees.
///
/// # Errors
/// When a request lacks it.
pub(super) fn join<'a>(
    spec: &TensorSpec,
    index: usize,
    requests: &'a [Request],
    batched: bool,
) -> Result<(Vec<&'a Tensor>, Vec<i64>), BackendError> {
    let missing = |what: &str| BackendError::Input { tensor: spec.name.clone(), what: what.to_owned() };
    let parts = requests.iter().map(|request| request.inputs.get(index).ok_or_else(|| missing("it is missing")));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let first = parts.first().ok_or_else(|| missing("the batch is empty"))?;
    let dims = spec.reshape.as_deref().unwrap_or_else(|| &first.shape[usize::from(batched).min(first.shape.len())..]);
    let elements = requests.iter().map(|request| i64::from(request.elements)).sum();
    let shape = batched.then_some(elements).into_iter().chain(dims.iter().copied()).collect();
    Ok((parts, shape))
}

/// An output of the graph as one tensor for each request.
///
/// # Errors
/// When it is not as it was declared.
pub(super) fn split(
    spec: &TensorSpec,
    shape: &[i64],
    data: &Bytes,
    elements: &[u32],
    batched: bool,
) -> Result<Vec<Tensor>, BackendError> {
    let wrong = |what: String| BackendError::Output { tensor: spec.name.clone(), what };
    let dims = check_output(spec, shape, elements, batched).map_err(wrong)?;
    if !batched {
        return Ok(vec![tensor(spec, dims, data.clone())?]);
    }
    let each = element_count(&dims).unwrap_or(0);
    let mut from = 0;
    let part = |&count: &u32| {
        let to = end(spec.datatype, data, from, each.saturating_mul(count as usize));
        let shape = std::iter::once(i64::from(count)).chain(dims.iter().copied()).collect();
        let part = tensor(spec, shape, data.slice(from.min(to)..to));
        from = to;
        part
    };
    elements.iter().map(part).collect()
}

/// Where so many elements end that begin at `from`; the end of the data where there are fewer.
fn end(datatype: DataType, data: &Bytes, from: usize, count: usize) -> usize {
    if let Some(size) = datatype.size() {
        return from.saturating_add(size.saturating_mul(count)).min(data.len());
    }
    let mut at = from;
    for _ in 0..count {
        let length = data.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes));
        at = at.saturating_add(4).saturating_add(length as usize).min(data.len());
    }
    at
}

/// The dimensions of an output beside the batch, as clients see them, if they are as declared.
fn check_output(spec: &TensorSpec, shape: &[i64], elements: &[u32], batched: bool) -> Result<Vec<i64>, String> {
    let total: i64 = elements.iter().copied().map(i64::from).sum();
    let (batch, dims) = shape.split_at(usize::from(batched).min(shape.len()));
    let declared = spec.reshape.as_ref().unwrap_or(&spec.dims);
    let same =
        dims.len() == declared.len() && dims.iter().zip(declared).all(|(size, want)| *want == -1 || size == want);
    if (batched && batch != [total]) || !same {
        return Err(format!(
            "the model answered shape {shape:?}; the configuration declares {declared:?} for a batch of {total}"
        ));
    }
    Ok(if spec.reshape.is_some() { spec.dims.clone() } else { dims.to_vec() })
}

fn tensor(spec: &TensorSpec, shape: Vec<i64>, data: Bytes) -> Result<Tensor, BackendError> {
    Tensor::new(spec.name.clone(), spec.datatype, shape, data)
        .map_err(|error| BackendError::Output { tensor: spec.name.clone(), what: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: DataType, dims: &[i64]) -> TensorSpec {
        let (name, labels) = ("y".to_owned(), std::sync::Arc::default());
        TensorSpec { name, datatype, dims: dims.to_vec(), reshape: None, labels }
    }

    #[test]
    fn what_was_joined_is_taken_apart_by_elements() {
        let check = |datatype, data: &[u8], elements: &[u32], expected: &[&[u8]]| {
            let count: u32 = elements.iter().sum();
            let shape = [i64::from(count), 1];
            let parts = split(&spec(datatype, &[-1]), &shape, &Bytes::copy_from_slice(data), elements, true);
            let parts = parts.expect("well-formed");
            assert_eq!(parts.iter().map(|part| &part.data[..]).collect::<Vec<_>>(), expected);
            assert!(parts.iter().zip(elements).all(|(part, count)| part.shape == [i64::from(*count), 1]));
        };
        check(DataType::Uint8, &[1, 2, 3], &[1, 2], &[&[1], &[2, 3]]);
        let strings = [1, 0, 0, 0, b'a', 0, 0, 0, 0, 2, 0, 0, 0, b'b', b'c'];
        check(DataType::Bytes, &strings, &[2, 1], &[&strings[..9], &strings[9..]]);
        check(DataType::Bytes, &strings, &[1, 2], &[&strings[..5], &strings[5..]]);
    }

    #[test]
    fn other_outputs_than_declared_are_named() {
        let check = |shape: &[i64], bytes: usize, part: &str| {
            let data = Bytes::from(vec![0; bytes]);
            let error = split(&spec(DataType::Uint8, &[2]), shape, &data, &[1, 2], true).expect_err(part).to_string();
            assert!(error.starts_with("output 'y': ") && error.contains(part), "{error}");
        };
        check(&[3, 3], 9, "answered shape [3, 3]; the configuration declares [2] for a batch of 3");
        check(&[2, 2], 4, "for a batch of 3");
        check(&[3, 2], 5, "bytes");
    }
}
