//! Values that are tables: `[ecs]`, `[endpoint.NAME]`, and tables in one line such as `band = { ms = 8 }`.

use std::marker::PhantomData;

use serde_json::{Value as Json, json};

use crate::config::fields::{Fields, TableForm, mismatch};
use crate::config::keys::{KeyGroup, KeyKind, NAME, object};
use crate::config::node::{Entry, Kind, Node};
use crate::source::{At, ManualSection, Problems};

/// A table with declared keys.
pub(in crate::config) trait Table: KeyGroup {
    /// The section of the manual that problems of it refer to; `None`: that of the table around it.
    const SECTION: Option<ManualSection> = None;
    /// Keys that are not supported yet.
    const LATER: &'static [&'static str] = &[];

    /// Reads the table. Unknown keys are problems.
    fn read(mut fields: Fields, problems: &mut Problems) -> Option<Self> {
        let before = problems.errors();
        let mut table = Self::take(&mut fields, problems);
        fields.finish(Self::LATER, problems);
        table.check(problems.errors() == before, problems).then_some(table)
    }

    /// Rules between keys; `is_clean`: no error was found in the table. `false`: the table can't be used.
    fn check(&mut self, _is_clean: bool, _problems: &mut Problems) -> bool {
        true
    }

    /// Its JSON schema.
    fn schema() -> Json {
        object(&Self::keys())
    }
}

/// The schema of a table, with the section that explains it.
pub(in crate::config) fn table_schema<T: Table>(mut schema: Json) -> Json {
    if let Some(section) = T::SECTION {
        schema["description"] = json!(format!("See {}", section.link()));
    }
    schema
}

fn about<R>(section: Option<ManualSection>, problems: &mut Problems, read: impl FnOnce(&mut Problems) -> R) -> R {
    match section {
        Some(section) => problems.about(section, read),
        None => read(problems),
    }
}

/// `[key]`.
pub(in crate::config) fn table<T: Table>() -> Block<T> {
    Block(PhantomData)
}

/// See [`table`].
pub(in crate::config) struct Block<T>(PhantomData<T>);

impl<T: Table> KeyKind for Block<T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        let entry = Entry { key: key.clone(), value: node };
        about(T::SECTION, problems, |problems| T::read(Fields::of(entry, TableForm::Block, problems)?, problems))
    }

    fn schema(&self) -> Json {
        table_schema::<T>(T::schema())
    }
}

/// A table that is mostly written in one line, such as `example`.
pub(in crate::config) fn inline<T: Table>(example: &'static str) -> Inline<T> {
    Inline { example, section: None, of: PhantomData }
}

impl<T> Inline<T> {
    /// Its problems refer to this section.
    pub(in crate::config) fn about(self, section: ManualSection) -> Inline<T> {
        Inline { section: Some(section), ..self }
    }
}

/// See [`inline`].
pub(in crate::config) struct Inline<T> {
    example: &'static str,
    section: Option<ManualSection>,
    of: PhantomData<T>,
}

impl<T: Table> KeyKind for Inline<T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        about(self.section, problems, |problems| {
            if !matches!(node.kind, Kind::Table(_)) {
                return mismatch(&key.value, "a table", self.example, (&node.place, &node.kind), problems);
            }
            let entry = Entry { key: key.clone(), value: node };
            T::read(Fields::of(entry, TableForm::Inline, problems)?, problems)
        })
    }

    fn schema(&self) -> Json {
        T::schema()
    }
}

/// Tables under names: `[endpoint.a]`, `[endpoint.b]`.
pub(in crate::config) fn named<T: Table>() -> Named<T> {
    Named(PhantomData)
}

/// See [`named`].
pub(in crate::config) struct Named<T>(PhantomData<T>);

impl<T: Table> KeyKind for Named<T> {
    type Value = Vec<T>;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<Vec<T>> {
        about(T::SECTION, problems, |problems| {
            let tables = Fields::named_tables(&key.value, node, problems);
            let form = TableForm::Named(key.value.as_str().into());
            let mut read = Vec::with_capacity(tables.len());
            // One after the other: of 100,000 names, only one at a time is both a tree and a struct.
            for entry in tables {
                let fields = Fields::of(entry, form.clone(), problems);
                read.extend(fields.and_then(|fields| T::read(fields, problems)));
            }
            Some(read)
        })
    }

    fn schema(&self) -> Json {
        table_schema::<T>(
            json!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": T::schema() }),
        )
    }
}
