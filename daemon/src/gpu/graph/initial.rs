//! `TensorProto` to a tensor: a constant of a graph, however its file writes it down.

use bytes::Bytes;
use prost::Message;

use super::proto::{TensorProto, decode};
use super::tensor::{Data, Element, Tensor, elements};

/// Fields of one tensor; lists that are not packed have one for each number.
const MOST_FIELDS: usize = 1 << 20;
/// Elements of one constant.
const MOST_ELEMENTS: usize = 1 << 28;
/// Dimensions of any tensor.
pub const MOST_DIMENSIONS: usize = 8;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Reads a tensor as it stands in ONNX files, with its name.
///
/// # Errors
/// When it is none, its data are elsewhere, or it is of a type that is not computed with.
pub fn tensor(bytes: Bytes) -> Result<(String, Tensor), String> {
    let proto: TensorProto = decode(bytes, MOST_FIELDS)?;
    let name = proto.name.clone();
    let complain = |what: String| format!("constant '{name}' {what}");
    let element = Element::of_onnx(proto.data_type.into())
        .ok_or_else(|| complain(format!("is of ONNX element type {}, which is not computed with", proto.data_type)))?;
    if proto.data_location == EXTERNAL {
        return Err(complain("is kept outside of the file, where only the file itself is read".to_owned()));
    }
    let shape = shape(&proto.dims).map_err(complain)?;
    let count = elements(&shape).filter(|count| *count <= MOST_ELEMENTS);
    let count = count.ok_or_else(|| complain(format!("has more than {MOST_ELEMENTS} elements")))?;
    let data = data(element, &proto, count);
    let data = data.filter(|data| data.len() == count);
    let data = data.ok_or_else(|| complain(format!("does not hold the {count} elements of its shape {shape:?}")))?;
    let tensor = Tensor::new(element, shape, data).ok_or_else(|| complain("is inconsistent".to_owned()))?;
    Ok((name, tensor))
}

fn shape(dims: &[i64]) -> Result<Vec<usize>, String> {
    if dims.len() > MOST_DIMENSIONS {
        return Err(format!("has {} dimensions, at most {MOST_DIMENSIONS} are computed with", dims.len()));
    }
    let sizes = dims.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>();
    sizes.map_err(|_| format!("has a negative dimension: {dims:?}"))
}

fn data(element: Element, proto: &TensorProto, count: usize) -> Option<Data> {
    if let Some(raw) = &proto.raw_data {
        return (raw.len() == count.checked_mul(element.bytes())?).then(|| Data::from_bytes(element, raw, count))?;
    }
    Some(match element {
        Element::F32 => Data::Real(proto.float_data.clone()),
        // Bits, in the lower half of each number.
        Element::F16 => {
            let bits = |number: &i32| half::f16::from_bits(*number as u16).to_f32();
            Data::Real(proto.int32_data.iter().map(bits).collect())
        }
        Element::I64 => Data::Whole(proto.int64_data.clone()),
        Element::I8 | Element::U8 | Element::I32 | Element::Bool => {
            Data::Whole(proto.int32_data.iter().map(|number| element.saturated(i64::from(*number))).collect())
        }
    })
}

/// Writes a tensor as it stands in ONNX files.
pub fn encoded(name: &str, tensor: &Tensor) -> Vec<u8> {
    let proto = TensorProto {
        dims: tensor.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect(),
        data_type: tensor.element().to_onnx(),
        name: name.to_owned(),
        raw_data: Some(tensor.data().to_bytes(tensor.element()).into()),
        ..TensorProto::default()
    };
    proto.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(proto: &TensorProto, expected: Result<Data, &str>) {
        let read = tensor(proto.encode_to_vec().into());
        match expected {
            Ok(data) => assert_eq!(read.map(|(_, tensor)| tensor.data().clone()), Ok(data), "{proto:?}"),
            Err(part) => assert!(read.as_ref().is_err_and(|why| why.contains(part)), "{read:?}"),
        }
    }

    #[test]
    fn constants_are_read_however_they_are_written() {
        let of = |data_type, dims: &[i64]| TensorProto { data_type, dims: dims.to_vec(), ..TensorProto::default() };
        let raw = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
        let floats = vec![1.0, 2.0];
        check(&TensorProto { float_data: floats.clone(), ..of(1, &[2]) }, Ok(Data::Real(floats)));
        check(&TensorProto { raw_data: raw(&[0, 0, 128, 63]), ..of(1, &[]) }, Ok(Data::Real(vec![1.0])));
        check(&TensorProto { int32_data: vec![0x3c00], ..of(10, &[1]) }, Ok(Data::Real(vec![1.0])));
        check(&TensorProto { raw_data: raw(&[255]), ..of(3, &[1]) }, Ok(Data::Whole(vec![-1])));
        check(&TensorProto { int64_data: vec![-7], ..of(7, &[1]) }, Ok(Data::Whole(vec![-7])));
        check(&of(1, &[0]), Ok(Data::Real(Vec::new())));
        check(&of(1, &[2]), Err("does not hold the 2 elements"));
        check(&TensorProto { raw_data: raw(&[0; 5]), ..of(1, &[1]) }, Err("does not hold"));
        check(&of(11, &[1]), Err("element type 11"));
        check(&of(1, &[-1]), Err("negative dimension"));
        check(&of(1, &[1 << 40, 1 << 40]), Err("more than"));
        check(&of(1, &[0, 1 << 40, 1 << 40]), Err("more than"));
        check(&of(1, &[1; 9]), Err("9 dimensions"));
        check(&TensorProto { data_location: EXTERNAL, ..of(1, &[1]) }, Err("outside of the file"));
    }

    #[test]
    fn what_is_written_is_read() {
        let written = Tensor::new(Element::I8, vec![2, 1], Data::Whole(vec![-3, 4])).expect("well-formed");
        assert_eq!(tensor(encoded("w", &written).into()), Ok(("w".to_owned(), written)));
    }
}
