//! `[clients]` of `portolan.toml`, and what `[regions.NAME]` adds to it: the settings that place clients.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::config::keys::{keys, name, texts};
use crate::model::{RegionId, Selector};
use crate::source::{At, Place, files::path_of};

/// Most databases (judgment).
const MAX_DATABASES: usize = 16;

/// The settings that place clients.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// The clients of each region, by its id.
    pub claims: Vec<Selector>,
    /// The region of clients that no other rule places.
    pub default: Option<RegionId>,
    /// The MMDB files, as the user would type them.
    pub databases: Vec<PathBuf>,
    /// Where each of them is written.
    pub(super) named: Vec<Place>,
    /// Where the nets of the regions are written.
    pub(super) net_places: HashMap<IpNet, Place>,
    /// The files of nets that regions name, absolute.
    pub net_files: Vec<PathBuf>,
}

keys! {
    /// `[clients]`.
    ClientKeys in Clients {
        /// `["city-v4.mmdb", "city-v6.mmdb", "asn.mmdb"]`: databases of the countries, places and autonomous systems of
        /// addresses, up to 16 files; see [below](#where-clients-are)
        mmdb: Vec<At<String>> = texts("[\"geo-v4.mmdb\", \"geo-v6.mmdb\"]").bounded(0..=MAX_DATABASES, "files");
        /// the region of clients for which no other rule gives a region
        default_region: String = name("\"eu-west\""), note "none: unknown";
    }
}

/// Adds the databases of `[clients]`, which are relative to the directory `base` unless a flag names them.
pub(super) fn add_databases(list: At<Vec<At<String>>>, base: &Path, to: &mut ClientSettings) {
    for written in list.value {
        to.databases.push(path_of(&written, base));
        to.named.push(written.place);
    }
}
