//! The directory of the zones.
use crate::config::problem::Problems;
use crate::config::settings::Settings;
use crate::model::Model;

/// Reads every zone of the directory.
pub(super) fn read(settings: &Settings, _problems: &mut Problems) -> Model {
    Model { regions: settings.regions.clone(), clients: settings.clients.clone(), ..Model::default() }
}
