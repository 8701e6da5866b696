//! Decodes the bytes of an MMDB file into a [`Database`]. A record is decoded once, even if many networks point to it.
//! The caller reads the file.

mod record;
#[cfg(test)]
pub(crate) mod test_writer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use crate::model::{Database, FileStamp};
use crate::placing::DatabaseBuilder;
use crate::placing::mmdb::record::{FIELDS, Record};

/// Most networks, with and without data. Judgment: ten times those of the largest city database. A broken tree could
/// have any number.
const MAX_NETWORKS: usize = 1 << 26;

/// Why some bytes are not a usable database.
#[derive(Debug)]
pub enum MmdbError {
    /// They are not an MMDB file, or a broken one.
    Broken(MaxMindDbError),
    /// Two networks overlap.
    Overlap,
    /// It has more than 67 million networks.
    TooManyNetworks,
    /// None of its networks has a field that is used; the number of networks with data.
    NoFields(usize),
}

impl fmt::Display for MmdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MmdbError::Broken(error) => write!(f, "it is not an MMDB file, or a broken one: {error}"),
            MmdbError::Overlap => f.write_str("it is a broken MMDB file: its networks overlap"),
            MmdbError::TooManyNetworks => write!(f, "it has more than {MAX_NETWORKS} networks"),
            MmdbError::NoFields(networks) => {
                write!(f, "none of its {networks} networks has any of the fields that are looked for: {FIELDS}")
            }
        }
    }
}

impl From<MaxMindDbError> for MmdbError {
    fn from(error: MaxMindDbError) -> MmdbError {
        MmdbError::Broken(error)
    }
}

/// Decodes the content of the database file `name`, which has this stamp.
pub fn decode(name: String, stamp: FileStamp, bytes: Vec<u8>) -> Result<Database, MmdbError> {
    let reader = Reader::from_source(bytes)?;
    let mut builder = DatabaseBuilder::new(name, stamp);
    // The number of facts by the offset of their record, and by their content: many records have equal facts.
    let (mut at_offset, mut numbers) = (HashMap::new(), HashMap::new());
    let (mut networks, mut with_data) = (0, 0);
    // Networks without data are counted too, because a broken tree may have any number of them.
    for network in reader.networks(WithinOptions::default().include_networks_without_data())? {
        let network = network?;
        networks += 1;
        if networks > MAX_NETWORKS {
            return Err(MmdbError::TooManyNetworks);
        }
        let Some(offset) = network.offset() else { continue };
        with_data += 1;
        let facts = match at_offset.get(&offset) {
            Some(known) => *known,
            None => {
                let facts = network.decode::<Record>()?.unwrap_or_default().facts();
                let number = *numbers.entry(facts).or_insert_with(|| builder.add_facts(facts));
                at_offset.insert(offset, number);
                number
            }
        };
        let net = network.network()?;
        let Ok(net) = IpNet::new(net.ip(), net.prefix()) else { continue };
        let in_order = add(&mut builder, net, facts);
        if !in_order {
            return Err(MmdbError::Overlap);
        }
    }
    if numbers.keys().all(|facts| *facts == Default::default()) {
        return Err(MmdbError::NoFields(with_data));
    }
    Ok(builder.finish())
}

/// Adds a network. An IPv6 network that contains `::/96`, where the format has IPv4, counts for all of IPv4 too.
fn add(builder: &mut DatabaseBuilder, net: IpNet, facts: u32) -> bool {
    /// Where MMDB files have the IPv4 addresses.
    const V4_LEN: u8 = 96;
    if let IpNet::V6(wide) = net
        && wide.prefix_len() <= V4_LEN
        && wide.network().is_unspecified()
        && !builder.add(IpNet::V4(all_of_ipv4()), facts)
    {
        return false;
    }
    builder.add(net, facts)
}

fn all_of_ipv4() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)
}
