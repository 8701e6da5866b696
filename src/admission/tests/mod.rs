//! Random sequences of what connections do, in simulated time, against the rules written down once more, by brute
//! force.

mod octets;
mod seats;

use std::net::IpAddr;
use std::time::Duration;

use crate::model::Moment;

fn at(millis: u64) -> Moment {
    Moment::START + Duration::from_millis(millis)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One of some addresses: four of IPv4, and twelve nets in three sites of IPv6.
fn address(number: u8) -> IpAddr {
    match number % 16 {
        four @ 0..4 => IpAddr::from([192, 0, 2, four]),
        six => ip(&format!("2001:db8:{}:{}::{number}", six % 3, six / 3)),
    }
}
