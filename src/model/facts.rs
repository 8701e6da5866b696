//! What is known of client addresses: countries, continents, places and autonomous systems. A [`Database`] is a whole
//! file decoded once: every address has a span, every span points to its facts, and facts that are equal are one.
//! Values only; `placing` decodes files and looks addresses up.

use std::path::PathBuf;

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
    /// From degrees; `None` outside -90 to 90 and -180 to 180.
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

/// Identifies one version of a file: a file with the same stamp has not changed.
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
    /// By IPv4 address, an index into `facts`.
    pub v4: Spans<u32, u32>,
    /// By IPv6 address, an index into `facts`.
    pub v6: Spans<u128, u32>,
    /// Every distinct set of facts; the first is nothing.
    pub facts: Vec<Facts>,
}
