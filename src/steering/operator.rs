//! The operator's word on an endpoint, from the file (`state`) and from overrides, and what it means where: for the
//! stage `state`, and for `on_empty`. What is measured comes after it.

use std::time::{Duration, UNIX_EPOCH};

use crate::model::{AdminState, EndpointId, Override, OverrideState};
use crate::steering::Scene;

/// What an operator makes of an endpoint.
pub(super) enum Word<'a> {
    /// Nothing: what is measured counts.
    None,
    /// Never answered with.
    Disabled,
    /// No new answers, as the file says.
    DrainedByFile,
    /// No new answers.
    Drained(&'a Override),
    /// As if it were down.
    ForcedDown(&'a Override),
    /// As if it were up.
    ForcedUp(&'a Override),
}

/// The word on an endpoint: an override goes before the file, but for `disabled`.
pub(super) fn word<'a>(scene: &Scene<'a>, endpoint: EndpointId) -> Word<'a> {
    let said = scene.view.override_of(endpoint);
    match (scene.model.endpoint(endpoint).state, said) {
        (AdminState::Disabled, _) => Word::Disabled,
        (AdminState::Drain, None) => Word::DrainedByFile,
        (AdminState::Enabled, None) => Word::None,
        (AdminState::Enabled | AdminState::Drain, Some(said)) => match said.state {
            OverrideState::Drain => Word::Drained(said),
            OverrideState::Down => Word::ForcedDown(said),
            OverrideState::Up => Word::ForcedUp(said),
        },
    }
}

/// Why the operator's word keeps an endpoint out.
pub(super) fn objection(scene: &Scene, endpoint: EndpointId) -> Option<String> {
    match word(scene, endpoint) {
        Word::None | Word::ForcedUp(_) => None,
        Word::Disabled => Some("disabled: state = \"disabled\" in the policy file".to_owned()),
        Word::DrainedByFile => Some("drained: state = \"drain\" in the policy file".to_owned()),
        Word::Drained(said) => Some(format!("drained {}", told(scene, endpoint, said))),
        Word::ForcedDown(said) => Some(format!("forced down {}", told(scene, endpoint, said))),
    }
}

/// That an override makes it eligible whatever is measured, and the file's drain where that is overruled.
pub(super) fn forced_up(scene: &Scene, endpoint: EndpointId) -> Option<String> {
    let Word::ForcedUp(said) = word(scene, endpoint) else { return None };
    let over = match scene.model.endpoint(endpoint).state {
        AdminState::Drain => "; overrules state = \"drain\" in the policy file",
        AdminState::Enabled | AdminState::Disabled => "",
    };
    Some(format!("forced up {}{over}", told(scene, endpoint, said)))
}

/// Whether it is to be given no new answers while there is anything else that is up.
pub(super) fn is_drained(scene: &Scene, endpoint: EndpointId) -> bool {
    match word(scene, endpoint) {
        Word::Drained(_) | Word::DrainedByFile => true,
        Word::None | Word::Disabled | Word::ForcedDown(_) | Word::ForcedUp(_) => false,
    }
}

/// How long the override of an endpoint still holds, where its end is known.
pub(super) fn ends_in(scene: &Scene, endpoint: EndpointId) -> Option<Duration> {
    match word(scene, endpoint) {
        Word::Drained(said) | Word::ForcedDown(said) | Word::ForcedUp(said) => scene.view.holds_for(said),
        Word::None | Word::Disabled | Word::DrainedByFile => None,
    }
}

/// Whether it is never answered with, whatever else there is: disabled, or forced down.
pub(super) fn is_barred(scene: &Scene, endpoint: EndpointId) -> bool {
    match word(scene, endpoint) {
        Word::Disabled | Word::ForcedDown(_) => true,
        Word::None | Word::DrainedByFile | Word::Drained(_) | Word::ForcedUp(_) => false,
    }
}

/// `by alice (region:eu): kernel update, until 2026-11-23 14:30 UTC`.
fn told(scene: &Scene, endpoint: EndpointId, said: &Override) -> String {
    let mut text = format!("by {}", said.who);
    if said.target != scene.model.endpoint(endpoint).name {
        text.push_str(&format!(" ({})", said.target));
    }
    if !said.why.is_empty() {
        text.push_str(&format!(": {}", said.why));
    }
    if let Some(until) = said.until.and_then(moment_of) {
        text.push_str(&format!(", until {until}"));
    }
    text
}

/// Unix seconds as `2026-11-23 14:30 UTC`; nothing for what is no date of our calendar.
fn moment_of(unix: f64) -> Option<String> {
    /// 9999-12-31: the last day that the format has room for.
    const LAST: f64 = 253_402_214_400.0;
    let since = Duration::try_from_secs_f64(unix).ok().filter(|_| unix < LAST)?;
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH.checked_add(since)?).to_string();
    let (day, time) = text.split_once('T')?;
    Some(format!("{day} {} UTC", time.get(..5)?))
}
