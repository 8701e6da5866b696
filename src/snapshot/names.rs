//! Names and static records, compiled from the model.

use crate::model::{Model, ZoneId};
use crate::wire::Name;

/// Every name of every zone.
#[derive(Debug, Default)]
pub struct ZoneTable {}

impl ZoneTable {
    /// Compiles the zones; `tally_base` gives the first counter id of a steered name (zone, index in its `steered`).
    pub fn build(_model: &Model, _tally_base: &mut dyn FnMut(ZoneId, usize) -> u32) -> ZoneTable {
        ZoneTable {}
    }

    /// The steered name that answers `name`: itself, or the wildcard that covers it, as (zone, index in its `steered`).
    pub fn steered(&self, _name: &Name) -> Option<(ZoneId, usize)> {
        None
    }
}
