//! The keys that a configuration can have, read off the types that it is read into: serde tells the fields of a
//! struct to whoever it asks for one. So a key that is added to a type is a key of the file, of the environment and of
//! `--set` without being named anywhere else. Knows no values.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

/// A key that has a value and no keys below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its tables and its name.
    pub path: Vec<&'static str>,
    /// What its value looks like.
    pub kind: Kind,
    /// Whether it may have no value at all.
    pub optional: bool,
}

/// What values of a key look like, as far as it matters to text that stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, which needs no quotes in the environment.
    Text,
    /// A list, which may be written with commas there.
    List,
    /// Anything else, written as TOML writes it.
    Other,
}

impl Key {
    /// The key as messages, `--set` and Triton-like settings write it: `server.http_port`.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// Every key of `T`, in the order of its fields.
pub fn of<T: DeserializeOwned>() -> Vec<Key> {
    let mut keys = Vec::new();
    collect::<T>(&mut Vec::new(), &mut keys);
    keys
}

fn collect<T: DeserializeOwned>(path: &mut Vec<&'static str>, keys: &mut Vec<Key>) {
    let Seen { shape, optional } = look::<T>(path);
    match shape {
        Some(Shape::Table(fields)) => {
            for field in fields {
                path.push(field);
                collect::<T>(path, keys);
                path.pop();
            }
        }
        Some(Shape::Value(kind)) => keys.push(Key { path: path.clone(), kind, optional }),
        None => keys.push(Key { path: path.clone(), kind: Kind::Other, optional }),
    }
}

/// What stands at a path.
#[derive(Default)]
struct Seen {
    shape: Option<Shape>,
    optional: bool,
}

enum Shape {
    Table(&'static [&'static str]),
    Value(Kind),
}

fn look<T: DeserializeOwned>(path: &[&'static str]) -> Seen {
    let seen = RefCell::default();
    // It ends with `Stop` as soon as the path's end has told what it is.
    let _ = T::deserialize(Probe { path, seen: &seen });
    seen.into_inner()
}

/// Hands a struct the one field that leads on, and notes what is asked for at the end of the path.
#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [&'static str],
    seen: &'a RefCell<Seen>,
}

impl Probe<'_> {
    fn ends<V>(self, shape: Shape) -> Result<V, Stop> {
        if self.path.is_empty() {
            self.seen.borrow_mut().shape = Some(shape);
        }
        Err(Stop)
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.path.split_first() {
            None => self.ends(Shape::Table(fields)),
            Some((field, path)) => visitor.visit_map(OneField { field: Some(field), below: Probe { path, ..self } }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.seen.borrow_mut().optional |= self.path.is_empty();
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.ends(Shape::Value(Kind::Text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.ends(Shape::Value(Kind::Text))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        self.ends(Shape::Value(Kind::Text))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.ends(Shape::Value(Kind::List))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.ends(Shape::Value(Kind::Other))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        map identifier ignored_any
    }
}

struct OneField<'a> {
    field: Option<&'static str>,
    below: Probe<'a>,
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.field.take().map(|field| seed.deserialize(BorrowedStrDeserializer::new(field))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(self.below)
    }
}

/// Ends the asking; nothing is ever made of it.
#[derive(Debug, thiserror::Error)]
#[error("seen")]
struct Stop;

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;
    use crate::config::written::Written;

    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[allow(dead_code, reason = "only its shape is looked at")]
    struct Outer {
        name: String,
        inner: Option<Inner>,
        many: Vec<Inner>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code, reason = "only its shape is looked at")]
    struct Inner {
        a_path: Option<PathBuf>,
        share: f64,
        free: BTreeMap<String, u64>,
    }

    #[test]
    fn keys_are_the_fields() {
        let found: Vec<_> = of::<Outer>().into_iter().map(|key| (key.dotted(), key.kind, key.optional)).collect();
        let expected = [
            ("name", Kind::Text, false),
            ("inner.a-path", Kind::Text, true),
            ("inner.share", Kind::Other, false),
            ("inner.free", Kind::Other, false),
            ("many", Kind::List, false),
        ];
        assert_eq!(found, expected.map(|(name, kind, optional)| (name.to_owned(), kind, optional)));
    }

    #[test]
    fn every_key_has_a_name_of_its_own_in_the_environment() {
        let keys = of::<Written>();
        let names: BTreeSet<_> = keys.iter().map(|key| crate::config::layers::variable(&key.dotted())).collect();
        assert_eq!(names.len(), keys.len());
        assert!(names.contains("PROOFLOAD_SERVER_HTTP_PORT"), "{names:?}");
    }
}
