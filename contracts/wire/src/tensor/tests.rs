//! What a tensor accepts and what it refuses.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(datatype: DataType, shape: &[i64], data: &'static [u8], expected: Result<usize, &str>) {
    let tensor = Tensor::new("x", datatype, shape.to_vec(), Bytes::from_static(data));
    match (tensor, expected) {
        (Ok(tensor), Ok(count)) => assert_eq!(tensor.element_count(), count),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error} should contain {part}"),
        (tensor, expected) => panic!("{tensor:?} instead of {expected:?}"),
    }
}

#[test]
fn length_must_fit_shape() {
    check(DataType::Fp32, &[1, 2], &[0; 8], Ok(2));
    check(DataType::Fp32, &[], &[0; 4], Ok(1));
    check(DataType::Fp32, &[0, 5], &[], Ok(0));
    check(DataType::Fp32, &[1, 2], &[0; 7], Err("has 7 bytes of data, but FP32 of shape [1, 2] takes 8"));
    check(DataType::Int64, &[-1], &[0; 8], Err("every dimension must be 0 or more"));
    check(DataType::Bool, &[i64::MAX, 3], &[], Err("more elements"));
    check(DataType::Fp64, &[i64::MAX], &[], Err("more bytes"));
    check(DataType::Bool, &[1; 33], &[0], Err("more than 32 dimensions"));
}

#[test]
fn strings_must_be_whole_and_as_many_as_the_shape_says() {
    check(DataType::Bytes, &[2], &[1, 0, 0, 0, b'a', 0, 0, 0, 0], Ok(2));
    check(DataType::Bytes, &[0], &[], Ok(0));
    check(DataType::Bytes, &[1], &[1, 0, 0, 0, b'a', 0, 0, 0, 0], Err("holds 2 BYTES elements, but its shape 1"));
    check(DataType::Bytes, &[1], &[2, 0, 0, 0, b'a'], Err("in the middle of BYTES element 0"));
    check(DataType::Bytes, &[1], &[0xff, 0xff, 0xff, 0xff], Err("in the middle"));
    check(DataType::Bytes, &[1], &[1, 0, 0], Err("in the middle"));
}

#[test]
fn numbers_of_another_type_are_refused() {
    let tensor = Tensor::from_f32("x", vec![2], &[1.0, 2.0]).unwrap();
    let error = tensor.to_values::<i32>().unwrap_err();
    assert_eq!(error.to_string(), "tensor 'x' is FP32, not INT32");
}

proptest! {
    #[test]
    fn numbers_survive(values: Vec<i16>) {
        let tensor = Tensor::from_values("x", vec![values.len() as i64], &values).unwrap();
        prop_assert_eq!(tensor.to_values::<i16>().unwrap(), values);
    }

    #[test]
    fn floats_survive_bit_by_bit(bits: Vec<u32>) {
        let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
        let tensor = Tensor::from_f32("x", vec![values.len() as i64], &values).unwrap();
        let read: Vec<u32> = tensor.to_f32().unwrap().into_iter().map(f32::to_bits).collect();
        prop_assert_eq!(read, bits);
    }

    #[test]
    fn strings_survive(strings: Vec<Vec<u8>>) {
        let tensor = Tensor::from_strings("x", vec![strings.len() as i64], &strings).unwrap();
        let read: Vec<Vec<u8>> = tensor.strings().map(<[u8]>::to_vec).collect();
        prop_assert_eq!(read, strings);
    }

    #[test]
    fn no_shape_and_no_data_panics(which in 0_usize..14, shape: Vec<i64>, data: Vec<u8>) {
        let datatype = DataType::all().nth(which).unwrap();
        if let Ok(tensor) = Tensor::new("x", datatype, shape, data.into()) {
            prop_assert!(tensor.datatype != DataType::Bytes || tensor.strings().count() == tensor.element_count());
        }
    }
}
