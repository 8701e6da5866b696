//! What a database says of addresses: countries, continents, places and autonomous systems. A [`Database`] is a whole
//! file decoded once: every address has a span, every span points to its facts, and facts that are equal are one.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::model::address::{Address, folded};
use crate::model::spans::Spans;
use crate::model::{Continent, Country, Location};

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Facts {
    /// Its country.
    pub country: Option<Country>,
    /// Its continent.
    pub continent: Option<Continent>,
    /// Where it is.
    pub point: Option<Point>,
    /// Its autonomous system.
    pub asn: Option<u32>,
}

impl Facts {
    /// These, and what they leave open from `others`.
    pub fn or(self, others: Facts) -> Facts {
        Facts {
            country: self.country.or(others.country),
            continent: self.continent.or(others.continent),
            point: self.point.or(others.point),
            asn: self.asn.or(others.asn),
        }
    }
}

/// A place on the globe in millionths of a degree (a tenth of a metre), which can be compared and hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point {
    latitude: i32,
    longitude: i32,
}

impl Point {
    /// From degrees; `None` for what is no place.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Point> {
        let is_place = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        let millionths = |degrees: f64| (degrees * 1e6).round() as i32;
        is_place.then(|| Point { latitude: millionths(latitude), longitude: millionths(longitude) })
    }

    /// In degrees.
    pub fn location(self) -> Location {
        Location { latitude: f64::from(self.latitude) / 1e6, longitude: f64::from(self.longitude) / 1e6 }
    }
}

/// What tells whether a file is still the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileStamp {
    /// Where it is.
    pub path: PathBuf,
    /// Octets.
    pub len: u64,
    /// Seconds since 1970, and nanoseconds.
    pub modified: (i64, i64),
    /// Device and number.
    pub inode: (u64, u64),
}

/// A database, decoded. 8 bytes a span of IPv4, 20 of IPv6, 32 a distinct set of facts.
#[derive(Debug)]
pub struct Database {
    /// The file as the user would type it.
    pub name: String,
    /// The file that was read.
    pub stamp: FileStamp,
    pub(crate) v4: Spans<u32, u32>,
    pub(crate) v6: Spans<u128, u32>,
    /// The first is nothing.
    pub(crate) facts: Vec<Facts>,
}

impl Database {
    /// One that knows nothing yet.
    pub fn new(name: String, stamp: FileStamp) -> Database {
        Database { name, stamp, v4: Spans::uniform(0), v6: Spans::uniform(0), facts: vec![Facts::default()] }
    }

    /// Takes in facts that addresses may have; the number is for [`Database::add`].
    pub fn learn(&mut self, facts: Facts) -> u32 {
        self.facts.push(facts);
        self.facts.len() as u32 - 1
    }

    /// Says of a net that it has the facts of this number. Nets come in rising order, none within another; `false` for
    /// one that doesn't.
    pub fn add(&mut self, net: IpNet, facts: u32) -> bool {
        match net {
            IpNet::V4(net) => add(&mut self.v4, net.network().to_bits(), net.prefix_len(), facts),
            IpNet::V6(net) => add(&mut self.v6, net.network().to_bits(), net.prefix_len(), facts),
        }
    }

    /// No more will come: what was set aside for it is given back.
    pub fn finish(&mut self) {
        self.v4.shrink();
        self.v6.shrink();
        self.facts.shrink_to_fit();
    }

    /// What it says of `ip`; of IPv4 in IPv6, what it says of the IPv4 address.
    pub fn lookup(&self, ip: IpAddr) -> Facts {
        let at = match folded(ip) {
            IpAddr::V4(ip) => self.v4.at(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.at(ip.to_bits()),
        };
        at.and_then(|at| self.facts.get(at as usize)).copied().unwrap_or_default()
    }

    /// How many spans there are of IPv4 and IPv6.
    pub fn sizes(&self) -> (usize, usize) {
        (self.v4.starts.len(), self.v6.starts.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_the_facts_of_its_net_and_gaps_have_none() {
        let mut database = Database::new("d".into(), FileStamp::default());
        let of = |code| Facts { country: Country::parse(code), ..Facts::default() };
        let (de, fr) = (database.learn(of("DE")), database.learn(of("FR")));
        for (net, facts) in [("10.0.0.0/9", de), ("10.128.0.0/9", de), ("11.0.0.0/8", fr), ("255.255.255.255/32", fr)] {
            assert!(database.add(net.parse().unwrap(), facts), "{net}");
        }
        assert!(!database.add("9.0.0.0/8".parse().unwrap(), de), "not in order");
        database.finish();
        assert_eq!(database.sizes(), (5, 1));
        let country = |ip: &str| database.lookup(ip.parse().unwrap()).country;
        assert_eq!((country("10.200.0.1"), country("11.0.0.1")), (Country::parse("DE"), Country::parse("FR")));
        assert_eq!((country("12.0.0.0"), country("255.255.255.255")), (None, Country::parse("FR")));
        assert_eq!((country("::ffff:10.0.0.1"), country("2001:db8::1")), (Country::parse("DE"), None));
    }
}
