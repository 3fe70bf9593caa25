//! Binary tensors: a datatype, a rank, the dimensions, then the data. What is accepted has exactly as many bytes as
//! its shape says.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proofload_wire::json_body::decode_raw_request;
use proofload_wire::tensor::{DataType, Tensor};

const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
];

fuzz_target!(|input: &[u8]| {
    let [datatype, rank, rest @ ..] = input else { return };
    let datatype = DATATYPES[usize::from(*datatype) % DATATYPES.len()];
    let datatype = DataType::parse(datatype).expect("the protocol has it");
    let (dimensions, _) = rest.as_chunks::<8>();
    let shape: Vec<i64> = dimensions.iter().take(usize::from(*rank)).map(|bytes| i64::from_le_bytes(*bytes)).collect();
    let data = Bytes::copy_from_slice(&rest[8 * shape.len()..]);
    if let Ok(tensor) = Tensor::new("x", datatype, shape.clone(), data.clone()) {
        fits(&tensor);
        assert_eq!(tensor.data, data);
    }
    if let Ok(tensor) = decode_raw_request("x", datatype, &shape, &data) {
        fits(&tensor);
        assert!(shape.iter().zip(&tensor.shape).all(|(asked, found)| asked == found || *asked == -1));
    }
});

fn fits(tensor: &Tensor) {
    assert!(tensor.shape.iter().all(|&size| size >= 0), "{:?}", tensor.shape);
    let Some(size) = tensor.datatype.size() else {
        let strings: Vec<&[u8]> = tensor.strings().collect();
        assert_eq!(strings.len(), tensor.element_count());
        assert_eq!(Tensor::from_strings("x", tensor.shape.clone(), &strings).as_ref(), Ok(tensor));
        return;
    };
    assert_eq!(tensor.element_count() * size, tensor.data.len());
}
