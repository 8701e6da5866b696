//! Class CHAOS: the names of the program and of the server, for operators (RFC 4892). Only what the settings have is
//! answered; by default every such query is refused.

use super::answering::Answering;
use crate::snapshot::Identity;
use crate::wire::code::{class, flag, rcode, rtype};
use crate::wire::question::Question;
use crate::wire::reply::{Owner, QUESTION_AT, Section};
use crate::wire::{OWNER_IS_QUESTION, PREPARED_HEAD};

/// Longest text: one character string (RFC 1035, 3.3).
const MAX_TEXT: usize = 255;

/// Questions for the program's version.
const VERSION: [&[u8]; 2] = [b"\x07version\x04bind\x00", b"\x07version\x06server\x00"];
/// Questions for the server's identity (RFC 4892, 2).
const ID: [&[u8]; 2] = [b"\x02id\x06server\x00", b"\x08hostname\x04bind\x00"];

impl Answering<'_> {
    /// Answers a question of class CHAOS and returns the response code.
    pub(super) fn chaos(&mut self, question: &Question<'_>) -> u16 {
        let Some(text) = text(question, &self.snapshot.identity) else { return rcode::REFUSED };
        let mut record = [0; PREPARED_HEAD + 1 + MAX_TEXT];
        let made = txt(&mut record, &text[..text.len().min(MAX_TEXT)]);
        let added = self.reply.rrset(Section::Answer, Owner::At(QUESTION_AT), made, None);
        self.flags |= if added.is_ok() { flag::AA } else { flag::TC };
        rcode::NOERROR
    }
}

/// The text for this name and type, if there is one.
fn text<'i>(question: &Question<'_>, identity: &'i Identity) -> Option<&'i [u8]> {
    if !matches!(question.qtype, rtype::TXT | rtype::ANY) {
        return None;
    }
    let name = question.name.as_wire();
    let text = match () {
        () if VERSION.contains(&name) => &identity.version,
        () if ID.contains(&name) => &identity.id,
        () => return None,
    };
    text.as_deref().map(str::as_bytes)
}

/// A prepared TXT record of one text, with TTL 0, so that no cache stores it.
fn txt<'b>(buffer: &'b mut [u8; PREPARED_HEAD + 1 + MAX_TEXT], text: &[u8]) -> &'b [u8] {
    buffer[..2].copy_from_slice(&OWNER_IS_QUESTION);
    buffer[2..4].copy_from_slice(&rtype::TXT.to_be_bytes());
    buffer[4..6].copy_from_slice(&class::CH.to_be_bytes());
    buffer[10..12].copy_from_slice(&(text.len() as u16 + 1).to_be_bytes());
    buffer[PREPARED_HEAD] = text.len() as u8;
    let end = PREPARED_HEAD + 1 + text.len();
    buffer[PREPARED_HEAD + 1..end].copy_from_slice(text);
    &buffer[..end]
}
