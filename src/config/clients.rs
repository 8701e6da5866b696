//! How clients are placed: `[clients]` and what `[regions.NAME]` says of them, and the placing itself, which waits until all
//! zones are read, since it answers what their policies ask.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::fields::Fields;
use crate::config::mmdb;
use crate::config::problem::Problems;
use crate::config::reach::{self, Sought};
use crate::config::settings::Settings;
use crate::config::source::{At, Place};
use crate::model::{ClientSources, Clients, Database, Ecs, Model, RegionId, Selector};
use crate::placing::{self, TooManyClasses};

/// More databases than these are a slip of the fingers (judgment).
pub(super) const MAX_DATABASES: usize = 16;

/// What the settings say of clients.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// Whose clients are of each region, by its id.
    pub claims: Vec<Selector>,
    /// The region of clients that nothing else places.
    pub default: Option<RegionId>,
    /// The MMDB files, as the user would type them.
    pub databases: Vec<PathBuf>,
    /// Where each is named.
    pub(super) named: Vec<Place>,
    /// Where each net that is written out is given to its region.
    pub(super) net_places: HashMap<IpNet, Place>,
    /// The files of nets that regions name, absolute.
    pub net_files: Vec<PathBuf>,
}

/// `[clients]` but for `mmdb`, whose files are relative to the directory `base`: the name of the default region.
pub(super) fn read(
    top: &mut Fields,
    base: &Path,
    into: &mut ClientSettings,
    problems: &mut Problems,
) -> Option<At<String>> {
    let mut fields = top.table("clients", problems)?;
    let default = fields.text("default_region", "\"eu-west\"", problems);
    if let Some(At { value, place }) = fields.texts("mmdb", "[\"geo-v4.mmdb\", \"geo-v6.mmdb\"]", problems) {
        if value.len() > MAX_DATABASES {
            problems.error(&place, format!("`mmdb` must list at most {MAX_DATABASES} files"));
        }
        for written in value.into_iter().take(MAX_DATABASES) {
            let from_flag = written.place.file.to_string_lossy().starts_with("flag ");
            into.databases.push(if from_flag { PathBuf::from(written.value) } else { base.join(written.value) });
            into.named.push(written.place);
        }
    }
    fields.finish(&[], problems);
    default
}

/// Places all clients for what the policies of `model` ask, and warns of what they select nobody by. What `before` was made of is taken over where it is the same.
/// The files that were read are added to `files`. A database that can't be used is a problem; where `before` has databases, those go on
/// in place of all. False where clients can't be placed.
pub(super) fn place(
    settings: &Settings,
    (model, sought): (&mut Model, &[Sought]),
    before: Option<&Model>,
    files: &mut Vec<PathBuf>,
    problems: &mut Problems,
) -> bool {
    let before = before.map(|model| &model.clients);
    files.extend(settings.placing.net_files.iter().cloned());
    let known = before.filter(|clients| clients.placement.is_some()).map(databases_of);
    let Some(databases) = databases(&settings.placing, before, files, problems).or(known.map(<[_]>::to_vec)) else {
        return false;
    };
    files.sort();
    files.dedup();
    reach::check(sought, &settings.placing, &databases, problems);
    let mut cutoffs: Vec<(u8, u8)> =
        model.zones.iter().map(|zone| zone.ecs).map(|Ecs { v4, v6, .. }| (v4, v6)).collect();
    cutoffs.sort_unstable();
    cutoffs.dedup();
    let sources = ClientSources {
        regions: model.regions.clone(),
        claims: settings.placing.claims.clone(),
        default: settings.placing.default,
        databases,
        cutoffs,
    };
    match placing::place(sources, &model.clients.selectors, before) {
        Ok(clients) => {
            model.clients = clients;
            true
        }
        Err(TooManyClasses) => {
            let message = "the regions, databases and policies tell more than 65,535 kinds of clients apart";
            let problem = problems.error(&Place::start_of(&settings.zones_shown), message);
            problem.hint("ask for fewer countries, autonomous systems and nets, or put several into one list");
            false
        }
    }
}

/// The databases that clients were placed by.
pub(super) fn databases_of(clients: &Clients) -> &[Arc<Database>] {
    clients.placement.as_ref().map_or(&[], |placement| &placement.sources.databases)
}

/// Every database that the settings name; `None` where one can't be used, which is told.
fn databases(
    settings: &ClientSettings,
    before: Option<&Clients>,
    files: &mut Vec<PathBuf>,
    problems: &mut Problems,
) -> Option<Vec<Arc<Database>>> {
    let known = before.map_or(&[][..], databases_of);
    let mut databases = Vec::new();
    for (shown, place) in settings.databases.iter().zip(&settings.named) {
        let path = std::path::absolute(shown).unwrap_or_else(|_| shown.clone());
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
