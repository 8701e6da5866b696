//! The kinds of values that many keys share. Each reads a value, and describes it for editors.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::fields::{mismatch, wrong_type};
use crate::config::keys::KeyKind;
use crate::config::node::{Kind, Node};
use crate::source::{At, Problems, did_you_mean};

/// What names of endpoints, pools, monitors, fences and regions look like, as [`check_name`] checks it.
pub(in crate::config) const NAME: &str = "^[A-Za-z0-9._-]{1,63}$";
/// Names go into URLs, metrics and arguments: letters, digits, `-`, `_` and `.`, at most 63 of them (judgment, as a
/// DNS label).
pub(in crate::config) fn check_name(name: &At<String>, what: &str, problems: &mut Problems) {
    let plain = name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !plain || name.value.is_empty() || name.value.len() > 63 {
        let problem = problems.error(&name.place, format!("`{}` can't be the name of {what}", name.value));
        problem.hint("use 1 to 63 letters, digits, `-`, `_` and `.`");
    }
}

/// A length of time, as `humantime` reads it, without its bounds.
const DURATION: &str = r"^\s*(0|([0-9]+\s*[a-zA-Zµ]+\s*)+)$";

/// A string; `example` is a value as it is written.
pub(in crate::config) fn text(example: &'static str) -> TextKind {
    TextKind { example, is_item: false, pattern: None, length: None }
}

/// The name of something that is declared.
pub(in crate::config) fn name(example: &'static str) -> TextKind {
    text(example).matching(NAME)
}

/// A list of strings; `example` is the whole list.
pub(in crate::config) fn texts(example: &'static str) -> List<TextKind> {
    list(TextKind { is_item: true, ..text(example) }, example)
}

/// See [`text`].
pub(in crate::config) struct TextKind {
    example: &'static str,
    is_item: bool,
    pattern: Option<&'static str>,
    length: Option<RangeInclusive<usize>>,
}

impl TextKind {
    /// A pattern for the schema, which editors use. `then` or `Table::check` must check it.
    pub(in crate::config) fn matching(self, pattern: &'static str) -> TextKind {
        TextKind { pattern: Some(pattern), ..self }
    }

    /// The length in octets for the schema, which editors use. `then` or `Table::check` must check it.
    pub(in crate::config) fn sized(self, length: RangeInclusive<usize>) -> TextKind {
        TextKind { length: Some(length), ..self }
    }
}

impl KeyKind for TextKind {
    type Value = String;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<String> {
        let Node { place, kind } = node;
        if let Kind::Text(value) | Kind::Loose(value) = kind {
            return Some(value);
        }
        let key = &key.value;
        let what = if self.is_item { format!("each of `{key}`") } else { format!("`{key}`") };
        let wrong = wrong_type(&place, &what, "a string", kind.described(), problems);
        wrong.hint(format!("write `{key} = {}`", self.example));
        None
    }

    fn schema(&self) -> Json {
        let mut schema = json!({ "type": "string" });
        if let Some(pattern) = self.pattern {
            schema["pattern"] = json!(pattern);
        }
        if let Some(length) = &self.length {
            schema["minLength"] = json!(length.start());
            schema["maxLength"] = json!(length.end());
        }
        schema
    }

    fn shown(&self, value: &String) -> Option<Json> {
        Some(json!(value))
    }
}

/// `true` or `false`.
pub(in crate::config) fn boolean() -> Boolean {
    Boolean
}

/// See [`boolean`].
pub(in crate::config) struct Boolean;

impl KeyKind for Boolean {
    type Value = bool;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<bool> {
        match node.kind {
            Kind::Bool(is) => Some(is),
            Kind::Loose(text) if text == "true" || text == "false" => Some(text == "true"),
            other => mismatch(&key.value, "true or false", "true", (&node.place, &other), problems),
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }

    fn shown(&self, value: &bool) -> Option<Json> {
        Some(json!(value))
    }
}

/// A whole number within `range`, all of which must fit `T`.
pub(in crate::config) fn integer<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> Integer<T> {
    Integer { range, of: std::marker::PhantomData }
}

/// See [`integer`].
pub(in crate::config) struct Integer<T> {
    range: RangeInclusive<i64>,
    of: std::marker::PhantomData<T>,
}

impl<T: TryFrom<i64> + Copy + serde::Serialize> KeyKind for Integer<T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        let expected = || format!("a whole number from {} to {}", self.range.start(), self.range.end());
        let mut hint = None;
        let found = match node.kind {
            Kind::Integer(value) if self.range.contains(&value) => return T::try_from(value).ok(),
            // The reader of TOML makes these of numbers that don't fit.
            Kind::Integer(i64::MAX | i64::MIN) => "a number of more than 63 bits".to_owned(),
            Kind::Integer(value) => value.to_string(),
            Kind::Float(value) if value.fract() == 0.0 => {
                // A number that is larger than an i64 becomes the nearest one, which is outside every range.
                let whole = Some(value as i64).filter(|whole| self.range.contains(whole));
                hint = whole.map(|whole| format!("write `{} = {whole}`", key.value));
                "one in the form of a fraction".to_owned()
            }
            Kind::Loose(text) => match text.parse() {
                Ok(value) if self.range.contains(&value) => return T::try_from(value).ok(),
                Ok(_) => text,
                Err(_) => format!("`{text}`"),
            },
            other => other.described().to_owned(),
        };
        let problem = wrong_type(&node.place, &format!("`{}`", key.value), &expected(), &found, problems);
        if let Some(hint) = hint {
            problem.hint(hint);
        }
        None
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": self.range.start(), "maximum": self.range.end() })
    }

    fn shown(&self, value: &T) -> Option<Json> {
        Some(json!(value))
    }
}

/// A number within `range`, whole or with a fraction.
pub(in crate::config) fn number(range: RangeInclusive<f64>, example: &'static str) -> Number {
    Number { range, example }
}

/// See [`number`].
pub(in crate::config) struct Number {
    range: RangeInclusive<f64>,
    example: &'static str,
}

impl KeyKind for Number {
    type Value = f64;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<f64> {
        let (value, found) = match &node.kind {
            Kind::Integer(value) => (Some(*value as f64), value.to_string()),
            Kind::Float(value) => (Some(*value), value.to_string()),
            other => (None, other.described().to_string()),
        };
        let value = value.filter(|value| self.range.contains(value));
        if value.is_none() {
            let expected = format!("a number from {} to {}", self.range.start(), self.range.end());
            let wrong = wrong_type(&node.place, &format!("`{}`", key.value), &expected, &found, problems);
            wrong.hint(format!("write `{} = {}`", key.value, self.example));
        }
        value
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": self.range.start(), "maximum": self.range.end() })
    }

    fn shown(&self, value: &f64) -> Option<Json> {
        Some(if value.fract() == 0.0 { json!(*value as i64) } else { json!(value) })
    }
}

/// A length of time within `range`, such as `"500ms"`.
pub(in crate::config) fn duration(range: RangeInclusive<Duration>, example: &'static str) -> Length {
    Length { range, example }
}

/// See [`duration`].
pub(in crate::config) struct Length {
    range: RangeInclusive<Duration>,
    example: &'static str,
}

impl KeyKind for Length {
    type Value = Duration;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<Duration> {
        let (Node { place, kind }, key, example) = (node, &key.value, self.example);
        let (Kind::Text(value) | Kind::Loose(value)) = kind else {
            return mismatch(key, "a length of time", example, (&place, &kind), problems);
        };
        let Ok(parsed) = humantime::parse_duration(&value) else {
            let problem = problems.error(&place, format!("`{key}` must be a length of time, and \"{value}\" is none"));
            problem.hint(format!("write a number and a unit, such as `{key} = {example}`"));
            return None;
        };
        if !self.range.contains(&parsed) {
            let [least, most] = [self.range.start(), self.range.end()].map(bound);
            let problem = problems.error(&place, format!("`{key}` must be from {least} to {most}, not {value}"));
            if value.contains('M') {
                problem.hint(format!("`M` is a month; minutes are `m`: `{key} = \"{}\"`", value.replace('M', "m")));
            }
            return None;
        }
        Some(parsed)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": DURATION })
    }

    fn shown(&self, value: &Duration) -> Option<Json> {
        Some(json!(humantime::format_duration(*value).to_string()))
    }
}

/// A bound as people write it: days, where `humantime` would write months.
fn bound(bound: &Duration) -> String {
    match bound.as_secs() {
        86_400 => "1day".to_string(),
        days @ 86_400.. if days % 86_400 == 0 => format!("{}days", days / 86_400),
        long @ 86_400.. => format!("{long}s"),
        _ => humantime::format_duration(*bound).to_string(),
    }
}

/// One of these texts; `what` they are, for messages: `a state`.
pub(in crate::config) fn choice<T>(values: &'static [(&'static str, T)], what: &'static str) -> Choice<T> {
    Choice { values, what }
}

/// See [`choice`].
pub(in crate::config) struct Choice<T: 'static> {
    values: &'static [(&'static str, T)],
    what: &'static str,
}

impl<T: Copy + PartialEq> KeyKind for Choice<T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        let Node { place, kind } = node;
        let names = || self.values.iter().map(|(name, _)| *name);
        let (Kind::Text(written) | Kind::Loose(written)) = kind else {
            let example = format!("\"{}\"", names().next().unwrap_or_default());
            return mismatch(&key.value, "a string", &example, (&place, &kind), problems);
        };
        let found = self.values.iter().find(|(name, _)| *name == written);
        if found.is_none() {
            let problem = problems.error(&place, format!("`{written}` is not {}", self.what));
            problem.hint = did_you_mean(&written, names());
        }
        found.map(|(_, value)| *value)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "enum": self.values.iter().map(|(name, _)| name).collect::<Vec<_>>() })
    }

    fn shown(&self, value: &T) -> Option<Json> {
        self.values.iter().find(|(_, known)| known == value).map(|(name, _)| json!(name))
    }
}

/// A list; `example` is the whole list. Of a list from the environment or a flag the items are separated by commas.
pub(in crate::config) fn list<K: KeyKind>(item: K, example: &'static str) -> List<K> {
    List { item, example, length: None, most: None }
}

/// See [`list`].
pub(in crate::config) struct List<K> {
    item: K,
    example: &'static str,
    length: Option<RangeInclusive<usize>>,
    /// The most items that are read, and what they are.
    most: Option<(usize, &'static str)>,
}

impl<K> List<K> {
    /// The number of items for the schema, which editors use. `then` or `Table::check` must check it.
    pub(in crate::config) fn sized(self, length: RangeInclusive<usize>) -> List<K> {
        List { length: Some(length), ..self }
    }

    /// More items than this are an error, and are not read. `what` the items are: `addresses`.
    pub(in crate::config) fn most(self, most: usize, what: &'static str) -> List<K> {
        List { most: Some((most, what)), ..self }
    }

    /// [`List::sized`] and [`List::most`].
    pub(in crate::config) fn bounded(self, length: RangeInclusive<usize>, what: &'static str) -> List<K> {
        self.most(*length.end(), what).sized(length)
    }

    /// The same list of other items.
    pub(super) fn of<T>(self, change: impl FnOnce(K) -> T) -> List<T> {
        let List { item, example, length, most } = self;
        List { item: change(item), example, length, most }
    }
}

impl<K: KeyKind> KeyKind for List<K> {
    type Value = Vec<At<K::Value>>;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<Vec<At<K::Value>>> {
        let Node { place, kind } = node;
        let loose = |part: &str| Node { place: place.clone(), kind: Kind::Loose(part.trim().to_string()) };
        let mut items: Vec<Node> = match kind {
            Kind::List(items) => items,
            Kind::Loose(text) => text.split(',').map(loose).collect(),
            other => return mismatch(&key.value, "a list", self.example, (&place, &other), problems),
        };
        if let Some((most, what)) = self.most.filter(|(most, _)| items.len() > *most) {
            problems.error(&place, format!("`{}` must list at most {most} {what}", key.value));
            items.truncate(most);
        }
        let item = |node: Node| {
            let place = node.place.clone();
            self.item.read(key, node, problems).map(|value| At { value, place })
        };
        let is_empty = items.is_empty();
        let read: Vec<_> = items.into_iter().filter_map(item).collect();
        // A list whose items are all wrong is not an empty list: that would be a second problem of one mistake.
        (is_empty || !read.is_empty()).then_some(read)
    }

    fn schema(&self) -> Json {
        let mut schema = json!({ "type": "array", "items": self.item.schema() });
        if let Some(length) = &self.length {
            schema["minItems"] = json!(length.start());
            schema["maxItems"] = json!(length.end());
        }
        schema
    }
}

/// A kind that only one key has.
pub(in crate::config) fn custom<T>(read: Read<T>, schema: fn() -> Json) -> Custom<T> {
    Custom { read, schema }
}

/// Reads a value of a key.
type Read<T> = fn(&At<String>, Node, &mut Problems) -> Option<T>;

/// See [`custom`].
pub(in crate::config) struct Custom<T> {
    read: Read<T>,
    schema: fn() -> Json,
}

impl<T> KeyKind for Custom<T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        (self.read)(key, node, problems)
    }

    fn schema(&self) -> Json {
        (self.schema)()
    }
}

/// The schema of texts that are read in upper and lower case.
pub(in crate::config) fn in_any_case(values: &[&str]) -> Json {
    let pattern_of = |value: &&str| -> String {
        value.chars().map(|c| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase())).collect()
    };
    let patterns: Vec<String> = values.iter().map(pattern_of).collect();
    let pattern = format!("^({})$", patterns.join("|"));
    json!({ "anyOf": [{ "type": "string", "enum": values }, { "type": "string", "pattern": pattern }] })
}
