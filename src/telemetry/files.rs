//! What is known of the files, as metrics: which version of each zone is served, and whether changes are noticed.

use crate::config::{Standing, ZoneState};
use crate::control::ReloadStatus;

const ZONE_CURRENT: &str = "portolan_zone_current";
const ZONE_SINCE: &str = "portolan_zone_version_timestamp_seconds";
const ZONE_REMOVAL: &str = "portolan_zone_removal_timestamp_seconds";
const NOTICED: &str = "portolan_file_changes_noticed";

/// The gauges, with what each of them is.
pub(super) const GAUGES: [(&str, &str); 4] = [
    (ZONE_CURRENT, "Whether a zone is served as its files are."),
    (ZONE_SINCE, "When the version of a zone that is served was first loaded, in Unix seconds."),
    (ZONE_REMOVAL, "Until when a zone is served that disappeared from the files, or its names, in Unix seconds."),
    (NOTICED, "Whether the system gives notice of changed files; else they are looked at every few seconds."),
];

/// Name, zone and value of each.
pub(super) fn gauges(reload: &ReloadStatus) -> Vec<(&'static str, Option<String>, f64)> {
    let mut gauges = vec![(NOTICED, None, f64::from(u8::from(reload.unnoticed.is_none())))];
    gauges.extend(reload.zones.iter().flat_map(of_zone));
    gauges
}

fn of_zone(zone: &ZoneState) -> impl Iterator<Item = (&'static str, Option<String>, f64)> {
    let apex = zone.apex.to_string();
    let since = zone.version.as_ref().map(|version| version.since);
    let (is_current, since, until) = match zone.standing {
        Standing::Current => (true, since, None),
        Standing::Kept => (false, since, None),
        Standing::Unserved => (false, None, None),
        Standing::Vanished(_, until) => (false, since, Some(until)),
    };
    let values = [(ZONE_CURRENT, Some(f64::from(u8::from(is_current)))), (ZONE_SINCE, since), (ZONE_REMOVAL, until)];
    values.into_iter().filter_map(move |(name, value)| Some((name, Some(apex.clone()), value?)))
}
