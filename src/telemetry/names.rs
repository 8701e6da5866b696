//! Gauges of steered names.

use crate::control::names::NameState;
use crate::model::Model;
use crate::telemetry::families::{Family, NAME_ELIGIBLE, NAME_ON_EMPTY, NAME_PREFERRED};
use crate::telemetry::text::Exposition;

/// Writes these metrics; `states` are by policy.
pub(super) fn write(text: &mut Exposition, model: &Model, states: &[NameState]) {
    let mut each = |family: &'static Family, value: &dyn Fn(&NameState) -> usize| {
        let mut samples = text.family(family);
        for zone in &model.zones {
            let apex = zone.apex.to_string();
            for name in &zone.steered {
                if let Some(state) = states.get(name.policy.0 as usize) {
                    samples.sample(&[&apex, &name.label], value(state));
                }
            }
        }
    };
    each(&NAME_ELIGIBLE, &|state| state.eligible);
    each(&NAME_ON_EMPTY, &|state| usize::from(state.on_empty));
    each(&NAME_PREFERRED, &|state| usize::from(state.preferred));
}
