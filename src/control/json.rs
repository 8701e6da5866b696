//! JSON in responses. It has the escapes of [`crate::printable`], because files and other servers decide what is in its
//! strings, and operators read it in terminals. No other code of `control` makes JSON. Bodies of requests are read here
//! too: an array of the values of an object's fields is no object.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::printable;

/// The media type of JSON (RFC 8259, 11).
const MEDIA_TYPE: &str = "application/json";

/// A response with this value.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        with_type(printable::json(&self.0))
    }
}

/// A response with a text that is JSON already.
pub(super) fn with_type(text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response()
}

/// A value as JSON, for a response that several clients share.
pub(super) fn octets(value: &impl Serialize) -> Bytes {
    printable::json(value).into()
}

/// A value as JSON on one line, for an event of a stream.
pub(super) fn line(value: &impl Serialize) -> String {
    String::from_utf8(printable::json(value)).unwrap_or_default()
}

/// The value of a body, which is an object.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body).map(|Object(value)| value)
}

/// For `deserialize_with`: a list of objects.
pub(super) fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(from)?.into_iter().map(|Object(value)| value).collect())
}

/// A value that is written as an object. Without this, a struct is also read from an array of its fields.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object<T>, D::Error> {
        from.deserialize_map(ObjectVisitor(std::marker::PhantomData))
    }
}

struct ObjectVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::simulate::SimulationRequest;

    #[test]
    fn a_body_is_an_object_and_so_are_its_parts() {
        for (body, is_read) in [
            ("{}", true),
            (r#"{"demand": [{"net": "192.0.2.0/24", "qps": 5}], "override": [{"target": "a", "state": "up"}]}"#, true),
            ("[[], []]", false),
            ("[]", false),
            (r#"{"demand": [["192.0.2.0/24", 5]]}"#, false),
            (r#"{"override": [["a", "up"]]}"#, false),
            (r#"{"colour": "red"}"#, false),
            ("null", false),
            ("{} {}", false),
        ] {
            assert_eq!(object::<SimulationRequest>(body.as_bytes()).is_ok(), is_read, "{body}");
        }
    }
}
