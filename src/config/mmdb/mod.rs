//! MMDB files: read into memory (a file that is mapped would change under the reader), decoded once into a
//! [`Database`], and forgotten. A record is decoded once, however many networks point to it.

mod record;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writer;

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use maxminddb::{Reader, WithinOptions};

use crate::config::files;
use crate::config::mmdb::record::{FIELDS, Record};
use crate::config::problem::reason;
use crate::model::{Database, FileStamp};

/// Largest file. Judgment: eight times the largest city database.
const MAX_OCTETS: u64 = 1 << 30;
/// Most networks, with and without data. Judgment: ten times those of the largest city database; a broken tree could
/// have more than there are atoms.
const MAX_NETWORKS: usize = 1 << 26;

/// Why a database isn't used, and what to do.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) hint: &'static str,
}

const HINT: &str = "[clients] mmdb lists MMDB files, relative to the settings file";

/// The database in the file at `path`, which is called `shown`; one of `known` where the file hasn't changed since.
pub(super) fn database(shown: &Path, path: &Path, known: &[Arc<Database>]) -> Result<Arc<Database>, Refused> {
    let failed = |error: std::io::Error| Refused { why: reason(&error), hint: HINT };
    let refused = |why: String, hint| Refused { why, hint };
    let (mut file, found) = files::open(path).map_err(|error| match error.kind() == ErrorKind::IsADirectory {
        true => refused("it is not a file".into(), HINT),
        false => failed(error),
    })?;
    let stamp = stamp(path, &found);
    if let Some(known) = known.iter().find(|known| known.stamp == stamp) {
        return Ok(known.clone());
    }
    if stamp.len > MAX_OCTETS {
        return Err(refused(format!("it is over {} MiB", MAX_OCTETS >> 20), HINT));
    }
    let mut octets = Vec::with_capacity(stamp.len as usize + 1);
    file.by_ref().take(MAX_OCTETS).read_to_end(&mut octets).map_err(failed)?;
    if self::stamp(path, &file.metadata().map_err(failed)?) != stamp {
        let hint = "write the new file beside it and rename it over the old one";
        return Err(refused("it was changed while it was read".into(), hint));
    }
    decode(shown, octets, stamp).map(Arc::new)
}

fn stamp(path: &Path, of: &Metadata) -> FileStamp {
    FileStamp {
        path: path.to_path_buf(),
        len: of.len(),
        modified: (of.mtime(), of.mtime_nsec()),
        inode: (of.dev(), of.ino()),
    }
}

fn decode(shown: &Path, octets: Vec<u8>, stamp: FileStamp) -> Result<Database, Refused> {
    let broken = |error: maxminddb::MaxMindDbError| Refused {
        why: format!("it is not an MMDB file, or a broken one: {error}"),
        hint: HINT,
    };
    let reader = Reader::from_source(octets).map_err(broken)?;
    let mut database = Database::new(shown.display().to_string(), stamp);
    // By where the record is, and by what it says: many cities of a country say the same to us.
    let (mut at_offset, mut numbers) = (HashMap::new(), HashMap::new());
    let (mut networks, mut with_data) = (0, 0);
    // Those without data are asked for so that they count: a broken tree may have nothing else.
    for network in reader.networks(WithinOptions::default().include_networks_without_data()).map_err(broken)? {
        let network = network.map_err(broken)?;
        networks += 1;
        if networks > MAX_NETWORKS {
            return Err(Refused { why: format!("it has more than {MAX_NETWORKS} networks"), hint: HINT });
        }
        let Some(offset) = network.offset() else { continue };
        with_data += 1;
        let facts = match at_offset.get(&offset) {
            Some(known) => *known,
            None => {
                let facts = network.decode::<Record>().map_err(broken)?.unwrap_or_default().facts();
                let number = *numbers.entry(facts).or_insert_with(|| database.learn(facts));
                at_offset.insert(offset, number);
                number
            }
        };
        let net = network.network().map_err(broken)?;
        let Ok(net) = IpNet::new(net.ip(), net.prefix()) else { continue };
        let in_order = take(&mut database, net, facts);
        if !in_order {
            return Err(Refused { why: "it is a broken MMDB file: its networks overlap".into(), hint: HINT });
        }
    }
    if numbers.keys().all(|facts| *facts == Default::default()) {
        let why = format!("none of its {with_data} networks has any of the fields that are looked for: {FIELDS}");
        return Err(Refused { why, hint: "use a database of countries, cities or autonomous systems" });
    }
    database.finish();
    Ok(database)
}

/// Adds a network. One of IPv6 that is so wide that all of IPv4 lies in it, where the format has that (`::/96`), speaks for
/// IPv4 too.
fn take(database: &mut Database, net: IpNet, facts: u32) -> bool {
    /// Where MMDB files have the IPv4 addresses.
    const V4_LEN: u8 = 96;
    if let IpNet::V6(wide) = net
        && wide.prefix_len() <= V4_LEN
        && wide.network().is_unspecified()
        && !database.add(IpNet::V4(all_of_ipv4()), facts)
    {
        return false;
    }
    database.add(net, facts)
}

fn all_of_ipv4() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)
}
