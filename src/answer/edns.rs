//! The OPT record of a reply: what goes into it, and how much room is kept for it while the rest is written.

use crate::snapshot::Identity;
use crate::wire::edns::{ClientSubnet, Edns, option};
use crate::wire::reply::{OptHead, ReplyWriter};

/// The UDP payload we say we can take; the same 1232 octets we give.
const UDP_SIZE: u16 = super::MAX_UDP_REPLY as u16;
/// Octets of an OPT record without options, and of an option without data.
const OPT_LEN: usize = 11;
const OPTION_HEAD: usize = 4;
/// Longest NSID that is given: with the longest question and all other options it still fits 512 octets.
const MAX_NSID: usize = 128;

/// Info codes of extended errors (RFC 8914, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtendedError {
    /// What is served was good once; nothing eligible is left (4.4).
    StaleAnswer = 3,
    /// Not our zone (4.21).
    NotAuthoritative = 20,
}

/// The OPT record of a reply, as it comes together.
#[derive(Debug, Clone, Copy)]
pub(super) struct OptReply<'a> {
    dnssec_ok: bool,
    nsid: Option<&'a [u8]>,
    subnet: Option<ClientSubnet>,
    pub(super) scope: u8,
    pub(super) extended_error: Option<ExtendedError>,
}

impl<'a> OptReply<'a> {
    /// For a query with `edns`. Options of another version than 0 aren't known, so that they aren't answered.
    pub(super) fn new(edns: &Edns<'a>, identity: &'a Identity) -> OptReply<'a> {
        let nsid = &identity.nsid[..identity.nsid.len().min(MAX_NSID)];
        OptReply {
            dnssec_ok: edns.dnssec_ok,
            nsid: (edns.wants_nsid && !nsid.is_empty()).then_some(nsid),
            subnet: edns.client_subnet,
            scope: 0,
            extended_error: None,
        }
    }

    /// Octets to keep free for it; an extended error is reckoned with, as it is known last.
    pub(super) fn room(&self) -> usize {
        let nsid = self.nsid.map_or(0, |nsid| OPTION_HEAD + nsid.len());
        let subnet = self.subnet.map_or(0, |subnet| OPTION_HEAD + 4 + subnet.octets().len());
        OPT_LEN + nsid + subnet + OPTION_HEAD + 2
    }

    /// Writes it at the end of a reply of at most `limit` octets.
    pub(super) fn write(&self, reply: &mut ReplyWriter<'_>, limit: usize, rcode: u16) {
        let mut subnet_data = [0; 20];
        let subnet = self.subnet.map(|subnet| subnet_option(&subnet, self.scope, &mut subnet_data));
        let error = self.extended_error.map(|error| (error as u16).to_be_bytes());
        let options = [
            subnet.map(|data| (option::CLIENT_SUBNET, data)),
            error.as_ref().map(|data| (option::EXTENDED_ERROR, &data[..])),
            self.nsid.map(|data| (option::NSID, data)),
        ];
        let head = OptHead { udp_size: UDP_SIZE, extended_rcode: (rcode >> 4) as u8, dnssec_ok: self.dnssec_ok };
        reply.opt(limit, head, options.into_iter().flatten());
    }
}

/// A client subnet option's data: family, source and address as asked, with our scope (RFC 7871, 7.2.1).
fn subnet_option<'d>(subnet: &ClientSubnet, scope: u8, data: &'d mut [u8; 20]) -> &'d [u8] {
    let octets = subnet.octets();
    data[..2].copy_from_slice(&subnet.family.to_be_bytes());
    (data[2], data[3]) = (subnet.source, scope);
    data[4..4 + octets.len()].copy_from_slice(octets);
    &data[..4 + octets.len()]
}
