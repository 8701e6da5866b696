//! The seats of connections, and the octets that wait for clients: how many are taken, and how many there are.

use crate::admission::{Seats, WaitingOctets};
use crate::telemetry::families::{self as family, Family};
use crate::telemetry::text::Exposition;

/// The room of a group of listeners.
#[derive(Debug, Clone)]
pub struct ListenerRoom {
    /// Its label: `dns` (TCP, DoT and DoH together), `quic`, `api`, or `events` (event streams, which also have a seat
    /// of `api`).
    pub listener: &'static str,
    /// Its seats.
    pub seats: Seats,
    /// The octets that wait for its clients; `None` if another group has them. Those of `quic` are in `dns`, those of
    /// `events` in `api`.
    pub octets: Option<WaitingOctets>,
}

/// Writes these metrics.
pub(super) fn write(text: &mut Exposition, rooms: &[ListenerRoom]) {
    let seats = |room: &ListenerRoom| Some([room.seats.taken(), room.seats.capacity()]);
    write_pair(text, [&family::SEATS_TAKEN, &family::SEATS], rooms, seats);
    let octets = |room: &ListenerRoom| room.octets.as_ref().map(|octets| [octets.waiting(), octets.total()]);
    write_pair(text, [&family::WAITING, &family::WAITING_LIMIT], rooms, octets);
}

/// Writes how many are taken, and how many there are.
fn write_pair(
    text: &mut Exposition,
    families: [&'static Family; 2],
    rooms: &[ListenerRoom],
    read: impl Fn(&ListenerRoom) -> Option<[usize; 2]>,
) {
    let all: Vec<(&str, [usize; 2])> = rooms.iter().filter_map(|room| Some((room.listener, read(room)?))).collect();
    for (at, of) in families.into_iter().enumerate() {
        let mut samples = text.family(of);
        for (listener, values) in &all {
            samples.sample(&[listener], values[at]);
        }
    }
}
