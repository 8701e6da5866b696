//! The JSON of lists and watches of the Kubernetes API. Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::discovery::instance::bounded;
use crate::discovery::kubernetes::book::ApiObject;
use crate::discovery::kubernetes::slices::or_default;
use crate::model::KubernetesResource;

/// Most values of a page of the list, and of an event of a watch, so that many short ones do not take far more memory
/// than their text has octets. Judgment: 20 slices and one slice of 1,000 endpoints, with 25 values each.
const MAX_PAGE_VALUES: usize = 500_000;
const MAX_EVENT_VALUES: usize = 25_000;

/// Whether a JSON text could have more values than `most`: each object, and each further value of an object or an
/// array, has one of these octets.
fn has_too_many_values(text: &[u8], most: usize) -> bool {
    text.iter().filter(|octet| matches!(octet, b'{' | b',')).count() > most
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct ObjectPage {
    /// The objects.
    pub(super) items: Vec<ApiObject>,
    /// The version of the list, from which a watch goes on.
    pub(super) version: String,
    /// Where the next page begins; empty: this is the last one.
    pub(super) next: String,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct List<T> {
    kind: String,
    metadata: ListMetadata,
    #[serde(default, deserialize_with = "or_default")]
    items: Vec<T>,
}

impl<T: DeserializeOwned> List<T> {
    /// The list of a text, with its kind.
    fn read(text: &[u8], object: fn(T) -> ApiObject) -> Result<(String, ObjectPage), serde_json::Error> {
        let List { kind, metadata, items } = serde_json::from_slice::<List<T>>(text)?;
        let items = items.into_iter().map(object).collect();
        Ok((kind, ObjectPage { items, version: metadata.resource_version, next: metadata.next }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(default, rename = "continue", deserialize_with = "or_default")]
    next: String,
}

impl ObjectPage {
    /// From the JSON; an error says what it is instead, and to check `at`, where the place of the API is written.
    pub(super) fn parse(text: &[u8], resource: KubernetesResource, at: &str) -> Result<ObjectPage, String> {
        let plural = resource.as_str();
        let wrong = |why: &str| format!("not a list of {plural} of the Kubernetes API ({why}): check {at}");
        if has_too_many_values(text, MAX_PAGE_VALUES) {
            return Err(wrong(&format!("a page with over {MAX_PAGE_VALUES} values")));
        }
        let read = match resource {
            KubernetesResource::EndpointSlices => List::read(text, ApiObject::Slice),
            KubernetesResource::Ingresses | KubernetesResource::Gateways => List::read(text, ApiObject::Addressed),
        };
        let (kind, page) = read.map_err(|error| wrong(&error.to_string()))?;
        if kind != format!("{}List", resource.kind()) {
            return Err(wrong(&format!("its kind is {}", bounded(&kind))));
        }
        Ok(page)
    }
}

/// What an event of a watch means.
#[derive(Debug)]
pub(super) enum WatchNews {
    /// An object is new or another one, as of this version.
    Changed(ApiObject, String),
    /// The object of this name has gone, as of this version.
    Removed(String, String),
    /// Everything up to this version was sent.
    Bookmark(String),
    /// The version is too old.
    Gone,
    /// The server ends the watch, and why.
    Refused(String),
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: ListMetadata,
}

/// The `Status` of the API.
#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default, deserialize_with = "or_default")]
    message: String,
}

/// What an event means; an error says what is wrong with it.
pub(super) fn watch_news(text: &[u8], resource: KubernetesResource) -> Result<WatchNews, String> {
    let wrong = |error: serde_json::Error| format!("an event of the watch can't be read: {error}");
    if has_too_many_values(text, MAX_EVENT_VALUES) {
        return Err(format!("an event of the watch has over {MAX_EVENT_VALUES} values"));
    }
    let Event { kind, object } = serde_json::from_slice(text).map_err(wrong)?;
    let version = || Versioned::deserialize(&object).map(|of| of.metadata.resource_version).map_err(wrong);
    let read = || ApiObject::read(resource, &object).map_err(wrong);
    match kind.as_str() {
        "ADDED" | "MODIFIED" => Ok(WatchNews::Changed(read()?, version()?)),
        "DELETED" => Ok(WatchNews::Removed(read()?.name().to_owned(), version()?)),
        "BOOKMARK" => Ok(WatchNews::Bookmark(version()?)),
        "ERROR" => match Status::deserialize(&object).map_err(wrong)? {
            Status { code: 410, .. } => Ok(WatchNews::Gone),
            Status { code, message } => Ok(WatchNews::Refused(format!("the watch ended with {code}: {message}"))),
        },
        other => Err(format!("an event of the watch has the unknown type {}", bounded(other))),
    }
}

/// The message of a `Status`, or the text itself.
pub(super) fn message(text: &[u8]) -> String {
    match serde_json::from_slice::<Status>(text) {
        Ok(Status { message, .. }) if !message.is_empty() => message,
        Ok(_) | Err(_) => String::from_utf8_lossy(text).into_owned(),
    }
}
