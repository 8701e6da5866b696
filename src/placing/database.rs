//! Builds a [`Database`] from nets with their facts, and looks up the facts of an address in it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::spans::Spans;
use crate::model::{Database, Facts, FileStamp};
use crate::placing::address::{Address, folded};

/// Builds a database from nets in ascending order.
#[derive(Debug)]
pub struct DatabaseBuilder {
    database: Database,
}

impl DatabaseBuilder {
    /// An empty database: no address has facts.
    pub fn new(name: String, stamp: FileStamp) -> DatabaseBuilder {
        let (v4, v6) = (Spans::uniform(0), Spans::uniform(0));
        DatabaseBuilder { database: Database { name, stamp, v4, v6, facts: vec![Facts::default()] } }
    }

    /// Stores facts and returns their number, for [`DatabaseBuilder::add`].
    pub fn add_facts(&mut self, facts: Facts) -> u32 {
        self.database.facts.push(facts);
        self.database.facts.len() as u32 - 1
    }

    /// Gives a net the facts with this number. The nets must be in ascending order and must not overlap; `false` for a
    /// net that breaks this rule.
    pub fn add(&mut self, net: IpNet, facts: u32) -> bool {
        match net {
            IpNet::V4(net) => add(&mut self.database.v4, net.network().to_bits(), net.prefix_len(), facts),
            IpNet::V6(net) => add(&mut self.database.v6, net.network().to_bits(), net.prefix_len(), facts),
        }
    }

    /// Returns the database without spare memory.
    pub fn finish(mut self) -> Database {
        self.database.v4.shrink();
        self.database.v6.shrink();
        self.database.facts.shrink_to_fit();
        self.database
    }
}

fn add<A: Address>(spans: &mut Spans<A, u32>, start: A, len: u8, facts: u32) -> bool {
    if spans.starts.last().is_some_and(|last| start < *last) {
        return false;
    }
    spans.cut(start, facts);
    if let Some(after) = start.last_of(len).next() {
        spans.cut(after, 0);
    }
    true
}

/// The facts of `ip` in a database; for IPv4 in IPv6, those of the IPv4 address.
pub fn facts_of(database: &Database, ip: IpAddr) -> Facts {
    let at = match folded(ip) {
        IpAddr::V4(ip) => database.v4.at(ip.to_bits()),
        IpAddr::V6(ip) => database.v6.at(ip.to_bits()),
    };
    at.and_then(|at| database.facts.get(at as usize)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Country;

    #[test]
    fn every_address_has_the_facts_of_its_net_and_gaps_have_none() {
        let mut builder = DatabaseBuilder::new("d".into(), FileStamp::default());
        let of = |code| Facts { country: Country::parse(code), ..Facts::default() };
        let (de, fr) = (builder.add_facts(of("DE")), builder.add_facts(of("FR")));
        for (net, facts) in [("10.0.0.0/9", de), ("10.128.0.0/9", de), ("11.0.0.0/8", fr), ("255.255.255.255/32", fr)] {
            assert!(builder.add(net.parse().unwrap(), facts), "{net}");
        }
        assert!(!builder.add("9.0.0.0/8".parse().unwrap(), de), "not in order");
        let database = builder.finish();
        assert_eq!((database.v4.count(), database.v6.count()), (5, 1));
        let country = |ip: &str| facts_of(&database, ip.parse().unwrap()).country;
        assert_eq!((country("10.200.0.1"), country("11.0.0.1")), (Country::parse("DE"), Country::parse("FR")));
        assert_eq!((country("12.0.0.0"), country("255.255.255.255")), (None, Country::parse("FR")));
        assert_eq!((country("::ffff:10.0.0.1"), country("2001:db8::1")), (Country::parse("DE"), None));
    }
}
