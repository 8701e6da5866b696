//! All pairs of regions, for the simulation of losing two regions at once.

use crate::control::simulate::request::SimulationError;
use crate::model::{Model, RegionId};

/// The pairs, in the order of the files.
pub(super) fn of(model: &Model) -> Result<Vec<Vec<RegionId>>, SimulationError> {
    let regions: Vec<RegionId> = (0..model.regions.len() as u16).map(RegionId).collect();
    if regions.len() < 2 {
        let why = "there are no pairs: fewer than two regions are declared ([regions.NAME] in the settings)";
        return Err(SimulationError::Refused(why.to_owned()));
    }
    let with_later = |at: usize| regions[at + 1..].iter().map(move |other| (at, *other));
    let pairs = (0..regions.len()).flat_map(with_later).map(|(at, other)| vec![regions[at], other]);
    Ok(pairs.collect())
}
