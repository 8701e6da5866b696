//! One observation in a message: 14 octets for a check that is up, of 10,000.
//!
//! | octets | what |
//! |---|---|
//! | 1 | bits 0 and 1 health (0 up, 1 down, 2 unknown, 3 pending), 2 tried, 3 and 4 doubt, 5 to 7 held connection |
//! | 1 | bits 0 to 2: octets of the next field, less one; 3 RTT, 4 age, 5 remaining time, 6 reason follow; 7 is 0 |
//! | 1 to 8 | the hash, less the hash before and less one (the first: less the start of the slice, or less 0) |
//! | varint | smoothed RTT, µs, 1 at least |
//! | varint | how long ago the last probe ended, units of 10 ms |
//! | varint | the least time until the verdict can change, units of 10 ms; absent: 0 |
//! | varint | the number of the reason in the table of texts |
//!
//! A pending check has only the hash.

use std::time::Duration;

use crate::fleet::message::octets::{Reader, Writer, units};
use crate::fleet::message::{CheckHash, UnreadableMessage};
use crate::model::{Doubt, Health, Hold};

/// The unit of RTTs: far below a difference that matters.
const RTT_UNIT: Duration = Duration::from_micros(1);
/// The unit of ages and remaining times: an age below a second takes one octet.
const AGE_UNIT: Duration = Duration::from_millis(10);
/// The fewest octets of an observation.
pub(super) const LEAST_OCTETS: usize = 3;

const HAS_RTT: u8 = 1 << 3;
const HAS_AGE: u8 = 1 << 4;
const HAS_REMAINING: u8 = 1 << 5;
const HAS_WHY: u8 = 1 << 6;

/// A check in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireObservation {
    /// The check.
    pub check: CheckHash,
    /// What the vantage observed. `None`: it is in the vantage's plan, but there is no observation yet. Then what was
    /// reported before it restarted stays.
    pub observed: Option<Observed>,
}

/// What a vantage observed of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Its verdict.
    pub health: Health,
    /// Whether the first probe and its verification have ended.
    pub tried: bool,
    /// Smoothed RTT in whole µs, 1 µs at least.
    pub srtt: Option<Duration>,
    /// How long ago the last probe ended, in steps of 10 ms. `None` before the first.
    pub age: Option<Duration>,
    /// The least time until the verdict can change, in steps of 10 ms.
    pub may_change_in: Duration,
    /// The reason, as its position in the message's texts.
    pub why: Option<usize>,
    /// The held connection.
    pub hold: Option<Hold>,
    /// Whether the verdict differs from the last probes.
    pub doubt: Doubt,
}

/// The values of the health bits.
const PENDING: u8 = 3;

/// The held connections by their bits, less one.
const HOLDS: [Hold; 5] = [Hold::NotOpen, Hold::Open, Hold::ClosedByServer, Hold::ServerTalks, Hold::NoRoom];

/// Writes `entry`, whose hash is at least `base`.
pub(super) fn write(to: &mut Writer, entry: &WireObservation, base: u64) {
    let difference = entry.check.0.wrapping_sub(base);
    let octets = (8 - difference.leading_zeros() as usize / 8).max(1);
    let width = (octets - 1) as u8;
    let difference = difference.to_le_bytes();
    let Some(observed) = &entry.observed else {
        to.octet(PENDING);
        to.octet(width);
        return to.octets(&difference[..octets]);
    };
    let hold =
        observed.hold.and_then(|hold| HOLDS.iter().position(|known| *known == hold)).map_or(0, |at| at as u8 + 1);
    to.octet(
        health_bits(observed.health) | u8::from(observed.tried) << 2 | doubt_bits(observed.doubt) << 3 | hold << 5,
    );
    let remaining = units(observed.may_change_in, AGE_UNIT);
    let flag = |is_there: bool, bit: u8| if is_there { bit } else { 0 };
    to.octet(
        width
            | flag(observed.srtt.is_some(), HAS_RTT)
            | flag(observed.age.is_some(), HAS_AGE)
            | flag(remaining > 0, HAS_REMAINING)
            | flag(observed.why.is_some(), HAS_WHY),
    );
    to.octets(&difference[..octets]);
    if let Some(srtt) = observed.srtt {
        to.span(srtt.max(RTT_UNIT), RTT_UNIT);
    }
    if let Some(age) = observed.age {
        to.span(age, AGE_UNIT);
    }
    if remaining > 0 {
        to.number(remaining);
    }
    if let Some(why) = observed.why {
        to.number(why as u64);
    }
}

/// Reads an observation whose hash is at least `base`; `texts` is the number of texts of the message.
pub(super) fn read(from: &mut Reader<'_>, base: u64, texts: usize) -> Result<WireObservation, UnreadableMessage> {
    let (state, present) = (from.octet()?, from.octet()?);
    let octets = usize::from(present & 7) + 1;
    let mut difference = [0; 8];
    let written = from.octets(octets)?;
    difference[..octets].copy_from_slice(written);
    if (octets > 1 && written.last() == Some(&0)) || present & 0x80 != 0 {
        return Err(UnreadableMessage::Malformed);
    }
    let check = base.checked_add(u64::from_le_bytes(difference)).map(CheckHash).ok_or(UnreadableMessage::Malformed)?;
    let health = match state & 3 {
        0 => Health::Up,
        1 => Health::Down,
        2 => Health::Unknown,
        _pending if state == PENDING && present < 8 => return Ok(WireObservation { check, observed: None }),
        _pending => return Err(UnreadableMessage::Malformed),
    };
    let doubt = match state >> 3 & 3 {
        0 => Doubt::None,
        1 => Doubt::Suspect,
        2 => Doubt::HeldDown,
        _unknown => return Err(UnreadableMessage::Malformed),
    };
    let hold = match usize::from(state >> 5) {
        0 => None,
        bits => Some(*HOLDS.get(bits - 1).ok_or(UnreadableMessage::Malformed)?),
    };
    let has = |bit: u8| present & bit != 0;
    let srtt = if has(HAS_RTT) { Some(not_zero(from.span(RTT_UNIT)?)?) } else { None };
    let age = if has(HAS_AGE) { Some(from.span(AGE_UNIT)?) } else { None };
    let may_change_in = if has(HAS_REMAINING) { not_zero(from.span(AGE_UNIT)?)? } else { Duration::ZERO };
    let why = if has(HAS_WHY) { Some(from.number()? as usize).filter(|at| *at < texts) } else { None };
    if has(HAS_WHY) && why.is_none() {
        return Err(UnreadableMessage::Malformed);
    }
    let tried = state & 4 != 0;
    Ok(WireObservation {
        check,
        observed: Some(Observed { health, tried, srtt, age, may_change_in, why, hold, doubt }),
    })
}

fn not_zero(span: Duration) -> Result<Duration, UnreadableMessage> {
    if span.is_zero() { Err(UnreadableMessage::Malformed) } else { Ok(span) }
}

fn health_bits(health: Health) -> u8 {
    match health {
        Health::Up => 0,
        Health::Down => 1,
        Health::Unknown => 2,
    }
}

fn doubt_bits(doubt: Doubt) -> u8 {
    match doubt {
        Doubt::None => 0,
        Doubt::Suspect => 1,
        Doubt::HeldDown => 2,
    }
}
