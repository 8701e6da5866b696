//! What an operator wants of an endpoint, from the file (`state`) and from overrides, and what it means for the stage
//! `state` and for `on_empty`. What is measured comes after it.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{AdminState, EndpointId, Override, OverrideState, Stated};
use crate::steering::{OutOfService, Scene};

/// What an operator wants of an endpoint.
enum Wanted<'a> {
    /// Nothing: what is measured counts.
    Measured,
    /// It is out of service.
    Out(OutOfService),
    /// As if it were up.
    ForcedUp(&'a Arc<Override>),
}

/// An override goes before the file, except for `disabled`. What a source has withdrawn is gone for both.
fn wanted<'a>(scene: &Scene<'a>, endpoint: EndpointId) -> Wanted<'a> {
    if let Some(Stated::Withdrawn { source }) = scene.view.stated.get(&endpoint) {
        return Wanted::Out(OutOfService::Withdrawn(source.clone()));
    }
    match (scene.model.endpoint(endpoint).state, scene.view.override_of(endpoint)) {
        (AdminState::Disabled, _) => Wanted::Out(OutOfService::Disabled),
        (AdminState::Drain, None) => Wanted::Out(OutOfService::DrainedByFile),
        (AdminState::Enabled, None) => Wanted::Measured,
        (AdminState::Enabled | AdminState::Drain, Some(entry)) => match entry.state {
            OverrideState::Drain => Wanted::Out(OutOfService::Drained(entry.clone())),
            OverrideState::Down => Wanted::Out(OutOfService::ForcedDown(entry.clone())),
            OverrideState::Up => Wanted::ForcedUp(entry),
        },
    }
}

/// Why an operator has an endpoint out of service.
pub(super) fn out_of_service(scene: &Scene, endpoint: EndpointId) -> Option<OutOfService> {
    match wanted(scene, endpoint) {
        Wanted::Out(why) => Some(why),
        Wanted::Measured | Wanted::ForcedUp(_) => None,
    }
}

/// The override that makes an endpoint eligible, whatever is measured.
pub(super) fn forced_up(scene: &Scene, endpoint: EndpointId) -> Option<Arc<Override>> {
    match wanted(scene, endpoint) {
        Wanted::ForcedUp(entry) => Some(entry.clone()),
        Wanted::Measured | Wanted::Out(_) => None,
    }
}

/// Whether it gets no new answers while anything else is up.
pub(super) fn is_drained(scene: &Scene, endpoint: EndpointId) -> bool {
    out_of_service(scene, endpoint).is_some_and(|why| why.is_drain())
}

/// Whether it is never answered with, whatever else there is: disabled, or forced down.
pub(super) fn is_barred(scene: &Scene, endpoint: EndpointId) -> bool {
    out_of_service(scene, endpoint).is_some_and(|why| !why.is_drain())
}

/// How long the override of an endpoint still holds, where its end is known. That of a disabled endpoint has no effect.
pub(super) fn ends_in(scene: &Scene, endpoint: EndpointId) -> Option<Duration> {
    match scene.model.endpoint(endpoint).state {
        AdminState::Disabled => None,
        AdminState::Enabled | AdminState::Drain => scene.view.override_ends_in(scene.view.override_of(endpoint)?),
    }
}

impl OutOfService {
    /// Whether it still may be given when nothing else is up.
    fn is_drain(&self) -> bool {
        match self {
            OutOfService::DrainedByFile | OutOfService::Drained(_) => true,
            OutOfService::Disabled | OutOfService::ForcedDown(_) | OutOfService::Withdrawn(_) => false,
        }
    }
}
