//! The records at the end of a reply: OPT, into the room that was reserved for it, and TSIG.

use super::{Full, ReplyWriter, Section};
use crate::wire::code::{class, rtype};
use crate::wire::edns::option;
use crate::wire::tsig::Tsig;

/// Octets of an OPT record without options (RFC 6891, 6.1.2).
const OPT_LEN: usize = 11;
/// Octets of an option before its data.
const OPTION_HEAD: usize = 4;

/// The OPT record of a reply.
#[derive(Debug, Clone, Copy)]
pub struct OptHead {
    /// Our UDP payload size.
    pub udp_size: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// DNSSEC OK, as the query had it.
    pub dnssec_ok: bool,
    /// The reply is padded to a multiple of this many octets, where there is room (RFC 7830).
    pub padded_to: Option<usize>,
}

impl ReplyWriter<'_> {
    /// Adds the OPT record into the reserved room, with as many of `options` (each code and data) as fit, in their
    /// order. `total` is the most octets of the whole reply.
    pub fn opt<'d>(&mut self, total: usize, head: OptHead, options: impl Iterator<Item = (u16, &'d [u8])>) {
        self.limit = total.min(self.out.len());
        let start = self.at;
        let flags = u16::from(head.dnssec_ok) << 15;
        let [size_hi, size_lo] = head.udp_size.to_be_bytes();
        let [flags_hi, flags_lo] = flags.to_be_bytes();
        let fixed: [u8; OPT_LEN] =
            [0, 0, rtype::OPT as u8, size_hi, size_lo, head.extended_rcode, 0, flags_hi, flags_lo, 0, 0];
        if self.put(&fixed).is_err() {
            return;
        }
        for (code, data) in options {
            let before = self.at;
            let [code_hi, code_lo] = code.to_be_bytes();
            let [len_hi, len_lo] = (data.len() as u16).to_be_bytes();
            if self.put(&[code_hi, code_lo, len_hi, len_lo]).and_then(|()| self.put(data)).is_err() {
                self.at = before;
            }
        }
        if let Some(block) = head.padded_to {
            self.pad(block);
        }
        let len = (self.at - start - OPT_LEN) as u16;
        self.out[start + OPT_LEN - 2..start + OPT_LEN].copy_from_slice(&len.to_be_bytes());
        self.counts[Section::Additional as usize] += 1;
    }

    /// Adds the padding option as the last: the length becomes a multiple of `block` octets, or all of the room.
    fn pad(&mut self, block: usize) {
        let head = self.at + OPTION_HEAD;
        let end = head.next_multiple_of(block).min(self.limit);
        let Some(len) = end.checked_sub(head) else { return };
        let [code_hi, code_lo] = option::PADDING.to_be_bytes();
        let [len_hi, len_lo] = (len as u16).to_be_bytes();
        if self.put(&[code_hi, code_lo, len_hi, len_lo]).is_ok() {
            self.out[head..end].fill(0);
            self.at = end;
        }
    }

    /// Adds, as the last record, the TSIG record of a reply that is not signed because of `error` (RFC 8945, 5.3.2).
    /// `total` is the most octets of the whole reply.
    pub fn tsig(&mut self, total: usize, tsig: &Tsig<'_>, error: u16) -> Result<(), Full> {
        /// Octets of RDATA after the fudge: no MAC, original id, error, no other data.
        const TAIL_LEN: usize = 8;
        self.limit = total.min(self.out.len());
        let mark = self.mark(Section::Additional);
        let [len_hi, len_lo] = ((tsig.signer.len() + TAIL_LEN) as u16).to_be_bytes();
        let fixed = [0, rtype::TSIG as u8, 0, class::ANY as u8, 0, 0, 0, 0, len_hi, len_lo];
        let ([id_hi, id_lo], [error_hi, error_lo]) = (tsig.original_id, error.to_be_bytes());
        let tail: [u8; TAIL_LEN] = [0, 0, id_hi, id_lo, error_hi, error_lo, 0, 0];
        let parts = [tsig.owner, &fixed, tsig.signer, &tail];
        let added = parts.into_iter().try_for_each(|part| self.put(part));
        match added {
            Ok(()) => self.counts[Section::Additional as usize] += 1,
            Err(Full) => self.rewind(Section::Additional, mark),
        }
        added
    }
}
