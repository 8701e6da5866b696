//! Texts that are parsed: a domain name, a URL, a path. The parsers are pure: they know nothing of places and problems.

use serde_json::Value as Json;

use crate::config::keys::{KeyKind, List, TextKind};
use crate::config::node::Node;
use crate::source::{At, Place, Problems};

/// Why a text is no such value, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct WrongText {
    message: String,
    hint: Option<String>,
}

/// An error with a hint.
pub(in crate::config) fn wrong(message: impl Into<String>, hint: impl Into<String>) -> WrongText {
    WrongText { message: message.into(), hint: Some(hint.into()) }
}

impl WrongText {
    /// An error with a hint, where there is one.
    pub(in crate::config) fn new(message: String, hint: Option<String>) -> WrongText {
        WrongText { message, hint }
    }
}

impl From<(String, String)> for WrongText {
    fn from((message, hint): (String, String)) -> WrongText {
        wrong(message, hint)
    }
}

/// A parsed value. An error is a problem at `place`.
pub(in crate::config) fn accepted<T>(
    parsed: Result<T, WrongText>,
    place: &Place,
    problems: &mut Problems,
) -> Option<T> {
    parsed.map_err(|WrongText { message, hint }| problems.error(place, message).hint = hint).ok()
}

/// A parser of a text.
type Parse<T> = fn(&str) -> Result<T, WrongText>;

/// A text that is parsed.
pub(in crate::config) struct Parsed<T> {
    text: TextKind,
    parse: Parse<T>,
}

impl TextKind {
    /// The value that `parse` makes of the text.
    pub(in crate::config) fn parsed<T>(self, parse: Parse<T>) -> Parsed<T> {
        Parsed { text: self, parse }
    }
}

impl List<TextKind> {
    /// The values that `parse` makes of the texts. WrongText ones are left out.
    pub(in crate::config) fn each<T>(self, parse: Parse<T>) -> List<Parsed<T>> {
        self.of(|text| text.parsed(parse))
    }
}

impl<T> KeyKind for Parsed<T> {
    type Value = T;

    fn read(&self, key: &At<String>, node: Node, problems: &mut Problems) -> Option<T> {
        let place = node.place.clone();
        let written = self.text.read(key, node, problems)?;
        accepted((self.parse)(&written), &place, problems)
    }

    fn schema(&self) -> Json {
        self.text.schema()
    }
}
