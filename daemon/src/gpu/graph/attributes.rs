//! The attributes of a node, taken out one by one: whatever nobody asked for in the end is something that would have
//! been computed differently, and is refused by name.

use std::collections::BTreeMap;

use super::proto::{AttributeProto, decode};
use super::tensor::Tensor;
use bytes::Bytes;

/// Fields of one attribute: a list that is not packed has one for each number.
const MOST_FIELDS: usize = 1 << 16;

/// What a node says beside its inputs.
pub(super) struct Attributes(BTreeMap<String, AttributeProto>);

impl Attributes {
    pub(super) fn read(encoded: Vec<Bytes>) -> Result<Self, String> {
        let mut attributes = BTreeMap::new();
        for bytes in encoded {
            let attribute: AttributeProto = decode(bytes, MOST_FIELDS)?;
            let name = attribute.name.clone();
            if attributes.insert(name.clone(), attribute).is_some() {
                return Err(format!("attribute '{name}' is given twice"));
            }
        }
        Ok(Self(attributes))
    }

    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, String> {
        let Some(attribute) = self.0.remove(name) else { return Ok(None) };
        attribute.i.map(Some).ok_or_else(|| format!("attribute '{name}' must be a whole number"))
    }

    pub(super) fn int_or(&mut self, name: &str, default: i64) -> Result<i64, String> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        Ok(self.int_or(name, i64::from(default))? != 0)
    }

    pub(super) fn float_or(&mut self, name: &str, default: f32) -> Result<f32, String> {
        let Some(attribute) = self.0.remove(name) else { return Ok(default) };
        attribute.f.ok_or_else(|| format!("attribute '{name}' must be a number"))
    }

    pub(super) fn text_or(&mut self, name: &str, default: &str) -> Result<String, String> {
        let Some(attribute) = self.0.remove(name) else { return Ok(default.to_owned()) };
        let text = attribute.s.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        text.ok_or_else(|| format!("attribute '{name}' must be a text"))
    }

    pub(super) fn ints(&mut self, name: &str) -> Option<Vec<i64>> {
        self.0.remove(name).map(|attribute| attribute.ints)
    }

    pub(super) fn sizes(&mut self, name: &str) -> Result<Option<Vec<usize>>, String> {
        let Some(numbers) = self.ints(name) else { return Ok(None) };
        let sizes = numbers.iter().map(|number| usize::try_from(*number)).collect::<Result<_, _>>();
        sizes.map(Some).map_err(|_| format!("attribute '{name}' must not be negative, but is {numbers:?}"))
    }

    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<Tensor>, String> {
        let Some(attribute) = self.0.remove(name) else { return Ok(None) };
        let bytes = attribute.t.ok_or_else(|| format!("attribute '{name}' must be a tensor"))?;
        super::initial::tensor(bytes).map(|(_, tensor)| Some(tensor))
    }

    pub(super) fn floats(&mut self, name: &str) -> Option<Vec<f32>> {
        self.0.remove(name).map(|attribute| attribute.floats)
    }

    /// Takes an attribute whose only value that is understood is this one.
    pub(super) fn only(&mut self, name: &str, value: i64) -> Result<(), String> {
        match self.int_or(name, value)? {
            found if found == value => Ok(()),
            found => Err(format!("attribute '{name}' is {found}; only {value} is computed")),
        }
    }

    /// Takes attributes that do not change what is computed here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.0.remove(*name)));
    }

    /// Ends: what is left was not understood.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(name) => Err(format!("attribute '{name}' is not understood")),
            None => Ok(()),
        }
    }
}
