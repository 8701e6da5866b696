//! How clients are placed: `[clients]` and what `[regions.NAME]` says of them, and the placing itself, which waits until all
//! zones are read, since it answers what their policies ask.

use crate::config::problem::Problems;
use crate::config::settings::Settings;
use crate::config::source::Place;
use crate::model::{Ecs, Model, Placement, Placing, RegionId, Selector, TooManyClasses};

/// What the settings say of clients.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// Whose clients are of each region, by its id.
    pub claims: Vec<Selector>,
    /// The region of clients that nothing else places.
    pub default: Option<RegionId>,
}

/// Places all clients for what the policies of `model` ask.
pub(super) fn place(settings: &Settings, model: &mut Model, problems: &mut Problems) {
    let mut cutoffs: Vec<(u8, u8)> =
        model.zones.iter().map(|zone| zone.ecs).map(|Ecs { v4, v6, .. }| (v4, v6)).collect();
    cutoffs.sort_unstable();
    cutoffs.dedup();
    let placing = Placing {
        regions: &model.regions,
        claims: &settings.placing.claims,
        selectors: &model.clients.selectors,
        default: settings.placing.default,
        databases: &[],
        cutoffs: &cutoffs,
    };
    match Placement::clients(&placing) {
        Ok(clients) => model.clients = clients,
        Err(TooManyClasses) => {
            let message = "the regions, databases and policies tell more than 65,535 kinds of clients apart";
            let problem = problems.error(&Place::start_of(&settings.zones_shown), message);
            problem.hint("ask for fewer countries, autonomous systems and nets, or put several into one list");
        }
    }
}
