//! The rules that keep one client from holding up another: who gets a connection, how many octets may wait for a peer,
//! and how often a client net may do what costs something. All listeners use them: DNS over TCP, TLS, HTTPS and QUIC,
//! the API and its event streams.
//!
//! - [`Seats`]: the connections of a group of listeners. Each connection has a [`Seat`]. When all are taken, a newcomer
//!   still gets one: a connection of the client net with the most seats is displaced, the least useful one first. So a
//!   flood displaces itself, and a net with few seats always gets in.
//! - [`WaitingOctets`]: the octets that wait for their peers, for each connection and in all. A reply reserves its
//!   octets before it is queued; they are free again when they have gone to the peer. When no more may wait, the site
//!   with the most of them loses a connection.
//! - [`RateByNet`]: how often a client net may do something.
//! - [`SiteShares`]: how much of something a site may have at a time.
//! - [`Handshakes`]: which TLS handshakes are done while there are many.
//!
//! A client net is an IPv4 address, or a /64 of IPv6. The nets of one /48 count together, and are then treated by the
//! same rule among themselves: otherwise one site would count as 65,536 clients.
//!
//! Plain values: time is an argument, and nothing here reads or writes a socket. The costs of an admission grow with
//! the logarithm of the number of seats.

mod connection;
mod handshakes;
mod net;
mod order;
mod rate;
mod seats;
mod share;
#[cfg(test)]
mod tests;
mod waiting;

pub use connection::Displacement;
pub use handshakes::{Handshake, Handshakes};
pub use net::SourceNet;
pub use rate::RateByNet;
pub use seats::{Seat, Seats};
pub use share::{SiteShare, SiteShares};
#[cfg(test)]
pub(crate) use waiting::FREE;
pub use waiting::{Account, Reservation, WaitingOctets};
