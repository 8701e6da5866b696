//! Keys, each declared once: [`keys!`] makes from one line the field that holds the value, the reader, the check for
//! unknown keys, the property of the JSON schema and the row in the tables of `zones/README.md`.
//!
//! ```text
//! keys! {
//!     /// `[rrl]`
//!     RrlKeys in RateLimit {
//!         /// how many replies a second one client net gets over UDP with the same answer
//!         rate: u32 = integer(0..=MAX_RATE.into()), default 0;
//!         /// clients that are never limited
//!         exempt: Vec<At<String>> = texts("[\"10.0.0.0/8\"]");
//!     }
//! }
//! ```
//!
//! - `in RateLimit` makes it a [`Table`] whose problems refer to this section of the manual. A table that has rules
//!   between its keys implements [`Table`] by hand.
//! - The doc comment of a key is its text in the manual and in the schema. A key without one has no row in the manual.
//! - After the name and the type of the value comes its *kind*, which reads it and describes it: see `kinds` and
//!   `tables`. `.parsed(parse)` makes another value of a text, and `.each(parse)` of each text of a list.
//!   `.then(parse)` adds any check or conversion. `.sized` and `.matching` check nothing: they describe the value in
//!   the schema. `.with_schema(json)` replaces this description.
//! - `, default VALUE`: the field is [`OrDefault`], and the manual and the schema show the value. In all other cases
//!   the field is `Option<At<T>>`. `, inherits JSON`: the default comes from elsewhere and is shown. `, note "TEXT"`:
//!   the manual shows this text as the default. Without any of these it shows `none`. `, required "HINT"`: a missing
//!   key is an error with this hint; with `""`, `Table::check` makes the error.
//! - `"use" enabled: bool = ...`: the key is called `use`, the field `enabled`.
//! - `[Nats, Kafka] tls: ...`: only tables of these types have the key. They are values of a [`TypeWord`], whose
//!   `check` refuses the keys of other types.
//! - Each struct derefs to the [`Head`] of its table: its name, and where each key is written, also where the value is
//!   wrong.
//! - A table that is made of several groups implements [`KeyGroup`] by hand, from those of its groups.
//! - `Table::check` is for rules between keys. It runs after all keys are read.
//!
//! The manual: `<!-- keys: NAME -->` and `<!-- end -->` enclose a table that is generated from the declarations;
//! `test_manual.rs` has the list. `WRITE_KEYS=1 cargo test --lib config::keys` writes the tables, without the variable
//! the test compares.

mod kinds;
mod parsed;
mod tables;
#[cfg(test)]
mod test_manual;
#[cfg(test)]
mod tests;
mod types;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use crate::config::fields::{Fields, Head};
use crate::config::node::Node;
use crate::source::{At, Place, Problems};

pub(super) use kinds::{
    List, NAME, TextKind, boolean, check_name, choice, custom, duration, in_any_case, integer, list, name, number,
    text, texts,
};
pub(super) use parsed::{WrongText, accepted, wrong};
pub(super) use tables::{Inline, Table, inline, named, table, table_schema};
pub(super) use types::TypeWord;

/// A key as it is declared, for the schema and the manual.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Its name.
    pub(super) name: &'static str,
    doc: Cow<'static, str>,
    default: Default,
    schema: Json,
}

/// What the manual has in the column `default`.
#[derive(Debug, Clone)]
enum Default {
    Required,
    #[cfg_attr(not(test), expect(dead_code, reason = "only the manual shows it"))]
    Note(&'static str),
    Value(Option<Json>),
}

impl Key {
    pub(super) fn new(name: &'static str, doc: &'static str, schema: Json) -> Key {
        Key { name, doc: Cow::Borrowed(doc.trim()), default: Default::Note("none"), schema }
    }

    pub(super) fn default(self, value: Option<Json>) -> Key {
        Key { default: Default::Value(value), ..self }
    }

    pub(super) fn note(self, text: &'static str) -> Key {
        Key { default: Default::Note(text), ..self }
    }

    pub(super) fn required(self) -> Key {
        Key { default: Default::Required, ..self }
    }

    /// With the types that have it before its text.
    pub(super) fn of(mut self, types: &str) -> Key {
        self.doc = Cow::Owned(format!("{types}: {}", self.doc));
        self
    }

    /// Not required by the schema.
    pub(super) fn optional(self) -> Key {
        match self.default {
            Default::Required => self.note("required"),
            Default::Note(_) | Default::Value(_) => self,
        }
    }

    /// Whether it has the same name and text.
    pub(super) fn is(&self, other: &Key) -> bool {
        (self.name, &self.doc) == (other.name, &other.doc)
    }

    /// The schema of the value, with what an editor shows.
    fn property(&self) -> Json {
        let mut schema = self.schema.clone();
        if !self.doc.is_empty() {
            schema["description"] = json!(self.doc);
        }
        if let Default::Value(Some(value)) = &self.default {
            schema["default"] = value.clone();
        }
        schema
    }
}

/// The schema of a table with these keys and no others. What several groups declare under one name is one property:
/// with the keys of all of them, if it is a table.
pub(super) fn object(keys: &[Key]) -> Json {
    let mut properties = Map::new();
    for key in keys {
        let property = key.property();
        match properties.get_mut(key.name) {
            None => _ = properties.insert(key.name.to_owned(), property),
            Some(known) => {
                let texts =
                    [&known["description"], &property["description"]].map(|text| text.as_str().unwrap_or_default());
                known["description"] = json!(texts.join(". "));
                let more = property["properties"].as_object().cloned().unwrap_or_default();
                if let Some(properties) = known.get_mut("properties").and_then(Json::as_object_mut) {
                    properties.extend(more);
                }
            }
        }
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required = keys.iter().filter(|key| matches!(key.default, Default::Required)).map(|key| key.name);
    let required: Vec<&str> = required.collect();
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// Keys that are read together: a whole table, or a part that several tables share.
pub(super) trait KeyGroup: Sized {
    /// The declarations.
    fn keys() -> Vec<Key>;

    /// The keys that not all types of the table have, each with the types that do: see [`TypeWord`].
    fn owned() -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }

    /// Takes these keys out of a table. WrongText values are problems, and count as missing.
    fn take(fields: &mut Fields, problems: &mut Problems) -> Self;
}

/// How the values of a key are read and described.
pub(super) trait KeyKind: Sized {
    /// What a value becomes.
    type Value;

    /// Reads the value of `key`; a wrong one is a problem.
    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<Self::Value>;

    /// The JSON schema of a value.
    fn schema(&self) -> Json;

    /// A value as it is written, for defaults.
    fn shown(&self, _value: &Self::Value) -> Option<Json> {
        None
    }

    /// The same kind with a further check, or a conversion to another type. A wrong value is a problem.
    fn then<T>(self, parse: fn(At<Self::Value>, &mut Problems) -> Option<T>) -> Then<Self, T> {
        Then { kind: self, parse }
    }

    /// The same kind; `show` writes the default in the manual and the schema.
    fn shown_as(self, show: fn(&Self::Value) -> Json) -> Described<Self> {
        Described { kind: self, schema: None, show: Some(show) }
    }

    /// The same kind with another JSON schema.
    fn with_schema(self, schema: fn() -> Json) -> Described<Self> {
        Described { kind: self, schema: Some(schema), show: None }
    }
}

/// The same kind, which must give `T`.
pub(super) fn typed<T, K: KeyKind<Value = T>>(kind: K) -> K {
    kind
}

/// See [`KeyKind::then`].
pub(super) struct Then<K: KeyKind, T> {
    kind: K,
    parse: fn(At<K::Value>, &mut Problems) -> Option<T>,
}

impl<K: KeyKind, T> KeyKind for Then<K, T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        let place = node.place.clone();
        let value = self.kind.read(key, node, problems)?;
        (self.parse)(At { value, place }, problems)
    }

    fn schema(&self) -> Json {
        self.kind.schema()
    }
}

/// See [`KeyKind::with_schema`] and [`KeyKind::shown_as`].
pub(super) struct Described<K: KeyKind> {
    kind: K,
    schema: Option<fn() -> Json>,
    show: Option<fn(&K::Value) -> Json>,
}

impl<K: KeyKind> KeyKind for Described<K> {
    type Value = K::Value;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<K::Value> {
        self.kind.read(key, node, problems)
    }

    fn schema(&self) -> Json {
        self.schema.map_or_else(|| self.kind.schema(), |schema| schema())
    }

    fn shown(&self, value: &K::Value) -> Option<Json> {
        self.show.map_or_else(|| self.kind.shown(value), |show| Some(show(value)))
    }
}

/// The value of a key that has a default.
#[derive(Debug, Clone)]
pub(super) struct OrDefault<T> {
    /// As it is written, or the default.
    pub(super) value: T,
    /// Where it is written. `None` when the key is missing, or its value is wrong.
    pub(super) place: Option<Place>,
}

impl<T> std::ops::Deref for OrDefault<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> std::ops::DerefMut for OrDefault<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<'a, T> IntoIterator for &'a OrDefault<Vec<T>> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.value.iter()
    }
}

/// What [`keys!`] needs of a table that is read.
impl Fields {
    pub(super) fn key<K: KeyKind>(
        &mut self,
        key: &'static str,
        kind: K,
        problems: &mut Problems,
    ) -> Option<At<K::Value>> {
        let (key, node) = self.take(key)?;
        let place = node.place.clone();
        Some(At { value: kind.read(key, node, problems)?, place })
    }

    pub(super) fn required_key<K: KeyKind>(
        &mut self,
        key: &'static str,
        kind: K,
        hint: &str,
        problems: &mut Problems,
    ) -> Option<At<K::Value>> {
        if !hint.is_empty() && !self.is_partial && self.head.lacks(key) {
            problems.error(&self.head.name.place, format!("{} has no `{key}`", self.head.what())).hint(hint);
        }
        self.key(key, kind, problems)
    }

    pub(super) fn key_or<K: KeyKind>(
        &mut self,
        key: &'static str,
        kind: K,
        default: K::Value,
        problems: &mut Problems,
    ) -> OrDefault<K::Value> {
        let read = self.key(key, kind, problems).map(|At { value, place }| OrDefault { value, place: Some(place) });
        read.unwrap_or(OrDefault { value: default, place: None })
    }

    pub(super) fn head(&self) -> Arc<Head> {
        Arc::clone(&self.head)
    }
}

/// Declares keys. See the comment of this module.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        $group:ident $(in $section:ident)? {
            $(
                $(#[doc = $doc:literal])*
                $([$($owner:ident),+])? $($key:literal)? $field:ident: $type:ty = $kind:expr $(, $how:ident $arg:expr)?;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(in crate::config) struct $group {
            head: std::sync::Arc<$crate::config::fields::Head>,
            $( pub(in crate::config) $field: keys!(@field $type $(, $how)?), )*
        }

        impl $crate::config::keys::KeyGroup for $group {
            fn keys() -> Vec<$crate::config::keys::Key> {
                vec![$({
                    let kind = $crate::config::keys::typed::<$type, _>($kind);
                    let schema = $crate::config::keys::KeyKind::schema(&kind);
                    let key = $crate::config::keys::Key::new(keys!(@name $field $($key)?), concat!($($doc),*), schema);
                    keys!(@key key, kind $(, $how $arg)?)
                }),*]
            }

            fn owned() -> Vec<(&'static str, Vec<&'static str>)> {
                [$( keys!(@owned keys!(@name $field $($key)?) $(, [$($owner),+])?) ),*].into_iter().flatten().collect()
            }

            fn take(
                fields: &mut $crate::config::fields::Fields,
                problems: &mut $crate::source::Problems,
            ) -> $group {
                $group {
                    head: fields.head(),
                    $( $field: keys!(@take fields, problems, keys!(@name $field $($key)?), $kind $(, $how $arg)?), )*
                }
            }
        }

        $(
            impl $crate::config::keys::Table for $group {
                const SECTION: Option<$crate::source::ManualSection> = Some($crate::source::ManualSection::$section);
            }
        )?

        impl std::ops::Deref for $group {
            type Target = $crate::config::fields::Head;

            fn deref(&self) -> &Self::Target {
                &self.head
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@owned $name:expr) => { None };
    (@owned $name:expr, $owners:expr) => {
        Some(($name, $owners.map($crate::config::keys::TypeWord::word).to_vec()))
    };
    (@field $type:ty, default) => { $crate::config::keys::OrDefault<$type> };
    (@field $type:ty $(, $how:ident)?) => { Option<$crate::source::At<$type>> };
    (@key $key:ident, $kind:ident) => { $key };
    (@key $key:ident, $kind:ident, default $value:expr) => {
        $key.default($crate::config::keys::KeyKind::shown(&$kind, &$value))
    };
    (@key $key:ident, $kind:ident, inherits $value:expr) => { $key.default(Some($value)) };
    (@key $key:ident, $kind:ident, note $text:expr) => { $key.note($text) };
    (@key $key:ident, $kind:ident, required $hint:expr) => { $key.required() };
    (@take $fields:ident, $problems:ident, $name:expr, $kind:expr) => { $fields.key($name, $kind, $problems) };
    (@take $fields:ident, $problems:ident, $name:expr, $kind:expr, default $value:expr) => {
        $fields.key_or($name, $kind, $value, $problems)
    };
    (@take $fields:ident, $problems:ident, $name:expr, $kind:expr, required $hint:expr) => {
        $fields.required_key($name, $kind, $hint, $problems)
    };
    (@take $fields:ident, $problems:ident, $name:expr, $kind:expr, $how:ident $arg:expr) => {
        $fields.key($name, $kind, $problems)
    };
}

pub(super) use keys;
