//! Enums of the model configuration by their names: protobuf's JSON form, where serde alone would write numbers.

use serde::Serializer;

use super::inference as pb;

/// An enum that knows the names of its values.
pub(crate) trait EnumName: TryFrom<i32> {
    /// The name in the `.proto` file.
    fn name(&self) -> &'static str;
}

macro_rules! named {
    ($($name:ty),* $(,)?) => {$(
        impl EnumName for $name {
            fn name(&self) -> &'static str {
                self.as_str_name()
            }
        }
    )*};
}

named! {
    pb::DataType,
    pb::model_input::Format,
    pb::batch_input::Kind,
    pb::batch_output::Kind,
    pb::model_instance_group::Kind,
    pb::model_instance_group::secondary_device::SecondaryDeviceKind,
    pb::model_optimization_policy::ModelPriority,
    pb::model_queue_policy::TimeoutAction,
    pb::model_sequence_batching::control::Kind,
}

/// Writes the name, or the number if it is a newer one than this code.
// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn serialize<E: EnumName, S: Serializer>(value: &i32, out: S) -> Result<S::Ok, S::Error> {
    match E::try_from(*value) {
        Ok(known) => out.serialize_str(known.name()),
        Err(_) => out.serialize_i32(*value),
    }
}
