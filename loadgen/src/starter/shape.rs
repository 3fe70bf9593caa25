//! Shapes that can be sent, of shapes as models state them.

use proofload_wire::types::TensorMetadata;

/// Side of a picture, where a model takes any.
const PICTURE_SIDE: i64 = 224;
/// Tokens of a text, where a model takes any number.
const TOKENS: i64 = 128;
/// What else stands for any size.
const SOME: i64 = 16;

/// A shape to send, and what to say of it, a line each.
pub(super) fn concrete(input: &TensorMetadata) -> (Vec<i64>, Vec<String>) {
    let rank = input.shape.len();
    let whole_numbers = input.datatype.contains("INT") && input.datatype != "UINT8";
    let is_batch = |index: usize| index == 0 && rank > 1;
    let guess = |index: usize| match rank {
        _ if is_batch(index) => 1,
        4 if !whole_numbers => PICTURE_SIDE,
        _ if input.datatype == "BYTES" => 1,
        _ if whole_numbers => TOKENS,
        _ => SOME,
    };
    let open = |(index, dim): (usize, &i64)| if *dim < 0 { guess(index) } else { *dim };
    let shape = input.shape.iter().enumerate().map(open).collect();
    let guessed: Vec<usize> = (0..rank).filter(|i| input.shape[*i] < 0 && !is_batch(*i)).collect();
    let batch = rank > 1 && input.shape[0] < 0;
    (shape, notes(input, batch, &guessed, whole_numbers))
}

fn notes(input: &TensorMetadata, batch: bool, guessed: &[usize], whole_numbers: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if batch || !guessed.is_empty() {
        let mut note = format!("the model says {:?}:", input.shape);
        if batch {
            note.push_str(" 1 is the batch");
        }
        if !guessed.is_empty() {
            let places: Vec<String> = guessed.iter().map(|index| (index + 1).to_string()).collect();
            let and = if batch { "," } else { "" };
            note.push_str(&format!("{and} any size stands at {}, so this is a guess", places.join(" and ")));
        }
        notes.push(note);
    }
    if whole_numbers {
        notes.push("random whole numbers are 0 to 127".to_owned());
    }
    notes
}
