//! The fields of a model configuration that say what a model is warmed with.

use proofload_wire::grpc::inference::model_warmup::Input;
use proofload_wire::grpc::inference::model_warmup::input::InputDataType;
use proofload_wire::grpc::inference::{DataType, ModelWarmup};

use super::fields::{Reader, boolean, named, number, text};
use super::text::{Field, Message};

impl Reader {
    pub(super) fn warm_up(&mut self, message: &Message) -> ModelWarmup {
        let mut sample = ModelWarmup::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut sample.name),
                "batch_size" => self.set(field, number(field), &mut sample.batch_size),
                "count" => self.set(field, number(field), &mut sample.count),
                "inputs" => {
                    let (name, input) = self.nested(field, Self::warm_up_entry);
                    if sample.inputs.insert(name.clone(), input).is_some() {
                        self.error(field, format!("the input '{}' is given twice", name.escape_debug()));
                    }
                }
                _ => self.other(field, "a warm-up sample"),
            }
        }
        sample
    }

    fn warm_up_entry(&mut self, message: &Message) -> (String, Input) {
        let mut entry = (String::new(), Input::default());
        for field in &message.fields {
            match field.name.as_str() {
                "key" => self.set(field, text(field), &mut entry.0),
                "value" => entry.1 = self.nested(field, Self::warm_up_input),
                _ => self.other(field, "an input of a warm-up sample"),
            }
        }
        entry
    }

    fn warm_up_input(&mut self, message: &Message) -> Input {
        let mut input = Input::default();
        for field in &message.fields {
            match field.name.as_str() {
                "data_type" => self.set(field, named(field, DataType::from_str_name), &mut input.data_type),
                "dims" => self.push(field, number(field), &mut input.dims),
                "zero_data" => self.data(field, boolean(field).map(InputDataType::ZeroData), &mut input),
                "random_data" => self.data(field, boolean(field).map(InputDataType::RandomData), &mut input),
                "input_data_file" => self.data(field, text(field).map(InputDataType::InputDataFile), &mut input),
                _ => self.other(field, "an input of a warm-up sample"),
            }
        }
        input
    }

    /// As with every choice of protobuf's, two would mean that one is lost.
    fn data(&mut self, field: &Field, value: Result<InputDataType, String>, input: &mut Input) {
        if input.input_data_type.is_some() {
            let what = "is one too many: an input takes one of 'zero_data', 'random_data' and 'input_data_file'";
            self.error(field, format!("'{}' {what}", field.name));
        }
        self.set(field, value.map(Some), &mut input.input_data_type);
    }
}
