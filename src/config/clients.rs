//! The settings that place clients: `[clients]`, and the lists of clients in `[regions.NAME]`. Also the placing itself.
//! It is done after all zones are read, because it needs the selectors of their policies.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::client_settings::ClientSettings;
use crate::config::mmdb;
use crate::config::reach;
use crate::config::settings::Settings;
use crate::config::zones::ReadZones;
use crate::model::{ClientSources, Clients, Database, Ecs, Model};
use crate::placing::{self, TooManyClasses};
use crate::source::{Problems, files::absolute};

/// Places all clients by the selectors of the policies of `model`, and warns of entries in selectors that select
/// nobody. Databases and nets of `before` that have not changed are reused. The files that were read are added to
/// `files`. A database that can't be used is a problem; then all databases of `before` are used, if it has any.
pub(super) fn place(
    settings: &Settings,
    ReadZones { model, sought, files, .. }: &mut ReadZones,
    before: Option<&Model>,
    problems: &mut Problems,
) -> Result<(), Unplaced> {
    let before = before.map(|model| &model.clients);
    files.extend(settings.placing.net_files.iter().cloned());
    let known = before.filter(|clients| clients.placement.is_some()).map(databases_of);
    let Some(databases) = databases(&settings.placing, before, files, problems).or(known.map(<[_]>::to_vec)) else {
        return Err(Unplaced::NoDatabase);
    };
    files.sort();
    files.dedup();
    reach::check(sought, &settings.placing, &databases, problems);
    let mut cutoffs: Vec<(u8, u8)> =
        model.zones.iter().map(|zone| zone.ecs).map(|Ecs { v4, v6, .. }| (v4, v6)).collect();
    cutoffs.sort_unstable();
    cutoffs.dedup();
    let sources = || ClientSources {
        regions: model.regions.clone(),
        claims: settings.placing.claims.clone(),
        default: settings.placing.default,
        databases: databases.clone(),
        cutoffs: cutoffs.clone(),
    };
    let located = placing::place(sources(), &model.clients.selectors, before);
    model.clients = located.map_err(|TooManyClasses| Unplaced::TooMany(sources()))?;
    Ok(())
}

/// Why clients can't be placed.
#[derive(Debug)]
pub(super) enum Unplaced {
    /// A database can't be used, which is a problem already.
    NoDatabase,
    /// By these sources there are too many classes.
    TooMany(ClientSources),
}

/// The databases that clients were placed by.
pub(super) fn databases_of(clients: &Clients) -> &[Arc<Database>] {
    clients.placement.as_ref().map_or(&[], |placement| &placement.sources.databases)
}

/// All databases that the settings name; `None` if one can't be used, which is a problem.
fn databases(
    settings: &ClientSettings,
    before: Option<&Clients>,
    files: &mut Vec<PathBuf>,
    problems: &mut Problems,
) -> Option<Vec<Arc<Database>>> {
    let known = before.map_or(&[][..], databases_of);
    let mut databases = Vec::new();
    for (shown, place) in settings.databases.iter().zip(&settings.named) {
        let path = absolute(shown);
        files.push(path.clone());
        match mmdb::database(shown, &path, known) {
            Ok(database) => databases.push(database),
            Err(unusable) => {
                let message = format!("can't use the database {}: {}", shown.display(), unusable.why);
                problems.error(place, message).hint(unusable.hint);
            }
        }
    }
    (databases.len() == settings.databases.len()).then_some(databases)
}
