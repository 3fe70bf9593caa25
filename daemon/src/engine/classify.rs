//! Triton's classification extension: the largest values of an output as texts `value:index[:label]`. Pure.

use std::fmt::Display;

use proofload_wire::tensor::{DataType, Element, Tensor};

use super::ServeError;

/// Larger outputs are no classes, and sorting them would take too long.
const MAX_ELEMENTS: usize = 1_000_000;

/// The `count` largest values of each row of the batch, or of the whole tensor where there is no batch dimension.
pub(super) fn classify(output: &Tensor, batched: bool, count: usize, labels: &[String]) -> Result<Tensor, ServeError> {
    if output.element_count() > MAX_ELEMENTS {
        return Err(ServeError::InvalidArgument(format!(
            "classification output tensor too large: '{}' has more than {MAX_ELEMENTS} elements",
            output.name
        )));
    }
    let batch = output.shape.first().copied().filter(|_| batched);
    let rows = batch.map_or(1, |rows| usize::try_from(rows).unwrap_or(0));
    let row = output.element_count().checked_div(rows).unwrap_or(0);
    let count = count.min(row);
    let texts = texts(output, row.max(1), count, labels)?;
    let shape = batch.into_iter().chain(i64::try_from(count)).collect();
    let failed = |error: proofload_wire::WireError| ServeError::Internal(error.to_string());
    Tensor::from_strings(output.name.clone(), shape, &texts).map_err(failed)
}

fn texts(output: &Tensor, row: usize, count: usize, labels: &[String]) -> Result<Vec<String>, ServeError> {
    match output.datatype {
        DataType::Uint8 => top::<u8>(output, row, count, labels, |value| value.to_string()),
        DataType::Uint16 => top::<u16>(output, row, count, labels, |value| value.to_string()),
        DataType::Uint32 => top::<u32>(output, row, count, labels, |value| value.to_string()),
        DataType::Uint64 => top::<u64>(output, row, count, labels, |value| value.to_string()),
        DataType::Int8 => top::<i8>(output, row, count, labels, |value| value.to_string()),
        DataType::Int16 => top::<i16>(output, row, count, labels, |value| value.to_string()),
        DataType::Int32 => top::<i32>(output, row, count, labels, |value| value.to_string()),
        DataType::Int64 => top::<i64>(output, row, count, labels, |value| value.to_string()),
        DataType::Fp32 => top::<f32>(output, row, count, labels, six_digits),
        DataType::Fp64 => top::<f64>(output, row, count, labels, six_digits),
        DataType::Bool | DataType::Fp16 | DataType::Bf16 | DataType::Bytes => {
            Err(ServeError::InvalidArgument(format!(
                "class result not available for output '{}' due to unsupported type '{}'",
                output.name, output.datatype
            )))
        }
    }
}

/// As C++ writes a number by default, and so Triton.
fn six_digits(value: impl Display) -> String {
    format!("{value:.6}")
}

fn top<T: Element + PartialOrd>(
    output: &Tensor,
    row: usize,
    count: usize,
    labels: &[String],
    write: fn(T) -> String,
) -> Result<Vec<String>, ServeError> {
    let values = output.to_values::<T>().map_err(|error| ServeError::Internal(error.to_string()))?;
    let text = |row: &[T], index: usize| {
        let (value, label) = (write(row[index]), labels.get(index).filter(|label| !label.is_empty()));
        label.map_or_else(|| format!("{value}:{index}"), |label| format!("{value}:{index}:{label}"))
    };
    Ok(values.chunks(row).flat_map(|row| largest(row).take(count).map(|index| text(row, index))).collect())
}

/// Indices from the largest value to the smallest; of equal ones the first goes first. What is no number is last.
fn largest<T: PartialOrd>(row: &[T]) -> impl Iterator<Item = usize> {
    let is_number = |index: &usize| row[*index].partial_cmp(&row[*index]).is_some();
    let (mut numbers, others): (Vec<usize>, Vec<usize>) = (0..row.len()).partition(is_number);
    numbers.sort_by(|one, other| row[*other].partial_cmp(&row[*one]).unwrap_or(std::cmp::Ordering::Equal));
    numbers.into_iter().chain(others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_written_as_triton_writes_them() {
        let labels: Vec<String> = ["cat", "", "dog"].map(str::to_owned).into();
        let check = |output: &Tensor, batched, count, expected: Result<(&[i64], &[&str]), &str>| {
            let found = classify(output, batched, count, &labels);
            match (found, expected) {
                (Ok(found), Ok((shape, texts))) => {
                    let found_texts: Vec<_> = found.strings().map(String::from_utf8_lossy).collect();
                    assert_eq!(
                        (found.shape.as_slice(), found_texts),
                        (shape, texts.iter().map(|&t| t.into()).collect())
                    );
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => panic!("{output:?}: {found:?}, expected {expected:?}"),
            }
        };
        let row = Tensor::from_f32("y", vec![4], &[1.0, 3.25, 0.5, 2.4]).unwrap();
        check(&row, false, 2, Ok((&[2], &["3.250000:1", "2.400000:3"])));
        check(&row, false, 9, Ok((&[4], &["3.250000:1", "2.400000:3", "1.000000:0:cat", "0.500000:2:dog"])));
        let rows = Tensor::from_values("y", vec![2, 2], &[1_i64, -2, 7, 7]).unwrap();
        check(&rows, true, 1, Ok((&[2, 1], &["1:0:cat", "7:0:cat"])));
        check(&rows, false, 3, Ok((&[3], &["7:2:dog", "7:3", "1:0:cat"])));
        let nan = Tensor::from_f32("y", vec![3], &[f32::NAN, 1.0, f32::INFINITY]).unwrap();
        check(&nan, false, 3, Ok((&[3], &["inf:2:dog", "1.000000:1", "NaN:0:cat"])));
        check(&Tensor::from_f32("y", vec![0, 4], &[]).unwrap(), true, 1, Ok((&[0, 0], &[])));
        let halves = Tensor::new("y", DataType::Fp16, vec![1], vec![0, 0].into()).unwrap();
        check(&halves, false, 1, Err("unsupported type 'FP16'"));
        let large = Tensor::new("y", DataType::Uint8, vec![1_000_001], vec![0; 1_000_001].into()).unwrap();
        check(&large, false, 1, Err("too large"));
    }

    proptest! {
        /// Whatever the values, each index comes once, and no value stands before a larger one.
        #[test]
        fn the_largest_go_first(values in proptest::collection::vec(any::<f32>(), 0..50)) {
            let order: Vec<usize> = largest(&values).collect();
            let mut all = order.clone();
            all.sort_unstable();
            prop_assert_eq!(all, (0..values.len()).collect::<Vec<_>>());
            let sorted: Vec<f32> = order.into_iter().map(|index| values[index]).filter(|value| !value.is_nan()).collect();
            prop_assert!(sorted.is_sorted_by(|one, other| one >= other));
        }
    }
}
