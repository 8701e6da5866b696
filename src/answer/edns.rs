//! The OPT record of a reply: its content, and the room that is reserved for it while the rest is written.

use super::{RawQuery, Transport};
use crate::snapshot::Identity;
use crate::wire::cookie::COOKIES_LEN;
use crate::wire::edns::{ClientSubnet, Edns, option};
use crate::wire::reply::{OptHead, ReplyWriter};

/// The UDP payload size of our OPT: the same 1232 octets as our longest reply.
const UDP_SIZE: u16 = super::MAX_UDP_REPLY as u16;
/// Octets of an OPT record without options, and of an option without data.
const OPT_LEN: usize = 11;
const OPTION_HEAD: usize = 4;
/// Longest NSID in a reply: with the longest question and all other options it still fits into 512 octets.
const MAX_NSID: usize = 128;

/// Replies over encrypted transports are padded to a multiple of this many octets, where the query is padded: the
/// recommended block length (RFC 8467, 4.1).
const PADDED_TO: usize = 468;

/// Info codes of extended errors (RFC 8914, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtendedError {
    /// The answer is an earlier one, because nothing is eligible now (4.4).
    StaleAnswer = 3,
    /// Not our zone (4.21).
    NotAuthoritative = 20,
    /// Our zone, but it cannot be served (4.25).
    InvalidData = 24,
}

/// The cookies of a reply, and the status of the query's.
#[derive(Debug, Clone, Copy)]
pub(super) struct CookieReply {
    data: [u8; COOKIES_LEN],
    pub(super) seen: CookieStatus,
}

/// The status of the cookies in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieStatus {
    /// Only the client's cookie.
    ClientOnly,
    /// With a server cookie that is not ours or too old: treated as if there were none (RFC 7873, 5.2.3).
    Invalid,
    /// With a valid server cookie.
    Valid,
}

/// The OPT record of a reply that is being built.
#[derive(Debug, Clone, Copy)]
pub(super) struct OptReply<'a> {
    dnssec_ok: bool,
    padded_to: Option<usize>,
    nsid: Option<&'a [u8]>,
    subnet: Option<ClientSubnet>,
    pub(super) cookie: Option<CookieReply>,
    pub(super) scope: u8,
    pub(super) extended_error: Option<ExtendedError>,
}

impl<'a> OptReply<'a> {
    /// For a query with `edns`. Options of another version than 0 are unknown, and not answered.
    pub(super) fn new(edns: &Edns<'a>, raw: &RawQuery<'_>, identity: &'a Identity) -> OptReply<'a> {
        let nsid = &identity.nsid[..identity.nsid.len().min(MAX_NSID)];
        OptReply {
            dnssec_ok: edns.dnssec_ok,
            padded_to: (edns.is_padded && is_encrypted(raw.transport)).then_some(PADDED_TO),
            nsid: (edns.wants_nsid && !nsid.is_empty()).then_some(nsid),
            subnet: edns.client_subnet,
            cookie: cookie_reply(edns, raw, identity),
            scope: 0,
            extended_error: None,
        }
    }

    /// Octets to reserve for it. None are reserved for an extended error: it is added only where room is left.
    pub(super) fn room(&self) -> usize {
        let nsid = self.nsid.map_or(0, |nsid| OPTION_HEAD + nsid.len());
        let subnet = self.subnet.map_or(0, |subnet| OPTION_HEAD + 4 + subnet.octets().len());
        let cookie = self.cookie.map_or(0, |cookie| OPTION_HEAD + cookie.data.len());
        OPT_LEN + nsid + subnet + cookie
    }

    /// Leaves out the NSID: a truncated reply should be short.
    pub(super) fn shorten(&mut self) {
        self.nsid = None;
    }

    /// Whether the query has a valid server cookie.
    pub(super) fn has_valid_cookie(&self) -> bool {
        self.cookie.is_some_and(|cookie| cookie.seen == CookieStatus::Valid)
    }

    /// Writes it at the end of a reply of at most `limit` octets.
    pub(super) fn write(&self, reply: &mut ReplyWriter<'_>, limit: usize, rcode: u16) {
        let mut subnet_data = [0; 20];
        let subnet = self.subnet.map(|subnet| subnet_option(&subnet, self.scope, &mut subnet_data));
        let error = self.extended_error.map(|error| (error as u16).to_be_bytes());
        let options = [
            self.cookie.as_ref().map(|cookie| (option::COOKIE, &cookie.data[..])),
            subnet.map(|data| (option::CLIENT_SUBNET, data)),
            error.as_ref().map(|data| (option::EXTENDED_ERROR, &data[..])),
            self.nsid.map(|data| (option::NSID, data)),
        ];
        let head = OptHead {
            udp_size: UDP_SIZE,
            extended_rcode: (rcode >> 4) as u8,
            dnssec_ok: self.dnssec_ok,
            padded_to: self.padded_to,
        };
        reply.opt(limit, head, options.into_iter().flatten());
    }
}

/// Whether padding helps: on encrypted transports, where an observer sees only lengths (RFC 7830, 6).
fn is_encrypted(transport: Transport) -> bool {
    match transport {
        Transport::Udp | Transport::Tcp => false,
        Transport::Tls | Transport::Https | Transport::Quic => true,
    }
}

/// A fresh cookie for this client, and the status of the one that it sent.
fn cookie_reply(edns: &Edns<'_>, raw: &RawQuery<'_>, identity: &Identity) -> Option<CookieReply> {
    let (cookie, secrets) = (edns.cookie?, identity.cookies.as_ref()?);
    let ip = raw.source.ip();
    let seen = if cookie.server.is_empty() {
        CookieStatus::ClientOnly
    } else if secrets.accepts(&cookie, ip, raw.unix_secs) {
        CookieStatus::Valid
    } else {
        CookieStatus::Invalid
    };
    Some(CookieReply { data: secrets.issue(cookie.client, ip, raw.unix_secs), seen })
}

/// A client subnet option's data: family, source and address as in the query, with our scope (RFC 7871, 7.2.1).
fn subnet_option<'d>(subnet: &ClientSubnet, scope: u8, data: &'d mut [u8; 20]) -> &'d [u8] {
    let octets = subnet.octets();
    data[..2].copy_from_slice(&subnet.family.to_be_bytes());
    (data[2], data[3]) = (subnet.source, scope);
    data[4..4 + octets.len()].copy_from_slice(octets);
    &data[..4 + octets.len()]
}
