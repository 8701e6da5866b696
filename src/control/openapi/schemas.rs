//! Schemas of values that are texts of a certain form. The forms of times are the usual ones: the server reads others
//! too.

use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

use crate::model::OverrideState;

/// Some of 1 to 999 s, minutes and hours, or days up to 99.
const LENGTH_OF_TIME: &str = "^([1-9][0-9]{0,2}(s|m|h)( [1-9][0-9]{0,2}(s|m|h)){0,2}|[1-9][0-9]?days)$";
/// A minute is the longest that is sure to be below the limits.
const SHORT_TIME: &str = "^([1-9]|[1-5][0-9]|60)s$";

/// The state of an override.
pub(in crate::control) fn override_state() -> Schema {
    let states = [OverrideState::Drain, OverrideState::Up, OverrideState::Down].map(OverrideState::as_str);
    one_of("The state of the override", states)
}

/// For how long an override lasts.
pub(in crate::control) fn length_of_time() -> Schema {
    let what = "For how long, such as `2h`; without it, until the override is cleared. Other forms are read too";
    text(what).pattern(Some(LENGTH_OF_TIME)).examples(["30m", "2h"]).into()
}

/// For how long a heartbeat is valid, or a drill lasts.
pub(in crate::control) fn short_time() -> Schema {
    let what = "For how long; longer times and other forms are read too, within the limits of the call";
    text(what).pattern(Some(SHORT_TIME)).examples(["5s", "60s"]).into()
}

/// A text that is one of these.
pub(in crate::control) fn one_of<const N: usize>(what: &str, texts: [&'static str; N]) -> Schema {
    text(what).enum_values(Some(texts)).into()
}

/// An address of IPv4 or IPv6.
pub(in crate::control) fn address(what: &str) -> Schema {
    let of = |format| ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
    AnyOfBuilder::new().description(Some(what)).item(of(KnownFormat::Ipv4)).item(of(KnownFormat::Ipv6)).into()
}

fn text(what: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(what))
}
