//! The seats of connections, and the octets that wait for clients: how many are taken, and how many there are.

use crate::admission::{Seats, WaitingOctets};
use crate::telemetry::families as family;
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
    let octets = |room: &ListenerRoom| room.octets.as_ref().map(|octets| [octets.waiting(), octets.total()]);
    let of_seats = [&family::SEATS_TAKEN, &family::SEATS];
    let of_octets = [&family::WAITING, &family::WAITING_LIMIT];
    let read: [(_, &dyn Fn(&ListenerRoom) -> Option<[usize; 2]>); 2] = [(of_seats, &seats), (of_octets, &octets)];
    for (families, read) in read {
        let all: Vec<(&str, [usize; 2])> = rooms.iter().filter_map(|room| Some((room.listener, read(room)?))).collect();
        for (at, of) in families.into_iter().enumerate() {
            let mut samples = text.family(of);
            for (listener, values) in &all {
                samples.sample(&[listener], values[at]);
            }
        }
    }
}
