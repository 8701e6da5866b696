//! Response rate limiting: how often one client net got the same answer recently, for all UDP threads together. A flood
//! of queries with a forged source makes a server send its replies to the owner of that address; such replies are
//! withheld here. A genuine client gets a truncated reply and asks again over TCP, where a source cannot be forged.
//! The table has a fixed size; a packet needs no lock and no allocation; time is an argument.
//!
//! Each pair of net and answer has an account: each second adds `rate`, up to `rate`; a reply costs one. While the
//! account is below zero, replies are withheld, and still cost one: a flood gets answers again only after it has
//! stopped, within [`WINDOW_SECS`] at most. Pairs that share a place in the table displace each other, first those
//! within their limit that were unused for longest. A displaced pair begins with a new account, so that the worst
//! effect of a full table is that the limit is not enforced.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher13;

use crate::model::rate_limit::{MAX_RATE, MAX_SLIP, RateLimit};

/// For how long an account can be below zero: as BIND's default.
const WINDOW_SECS: i32 = 15;

/// Accounts that share one place: a cache line of them, so that looking through them is one fetch from memory.
const WAYS: usize = 8;

/// Places: 16,384 of 64 octets are 1 MiB, 131,072 accounts; more than there are names and nets worth an attack at once.
const SETS: usize = 1 << 14;

/// What to do with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateDecision {
    /// Send it.
    Send,
    /// Send a truncated one instead.
    Slip,
    /// Send nothing.
    Drop,
}

/// The accounts of all nets and answers.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// Secret, so that an attacker cannot choose names that share a place with another net.
    key: [u8; 16],
    /// Allocated when limiting is first switched on.
    table: OnceLock<Box<[Set]>>,
}

#[derive(Debug)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// An account, packed into 64 bits: tag 24, second of the last change 20, slips 4, balance 16. All zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    /// Identifies the pair within its place: one pair in two million is mistaken for another in its place.
    tag: u32,
    /// Modulo 2^20: 12 days.
    second: u32,
    /// Replies withheld since the last truncated one.
    slips: u8,
    /// Replies that may still be sent; below zero: over the limit.
    balance: i16,
}

const SECOND_MASK: u32 = (1 << 20) - 1;

const _: () = assert!(WINDOW_SECS * MAX_RATE as i32 <= i16::MAX as i32, "an overdrawn balance must fit");
const _: () = assert!(MAX_SLIP < 16, "slips must fit four bits");

impl RateLimiter {
    /// No account yet. `key` is unpredictable.
    pub(crate) fn new(key: [u8; 16]) -> RateLimiter {
        RateLimiter { key, table: OnceLock::new() }
    }

    /// Allocates the table when the limit is on; called before packets are handled.
    pub(crate) fn prepare(&self, limit: &RateLimit) {
        if limit.is_on() {
            self.table.get_or_init(|| (0..SETS).map(|_| Set(Default::default())).collect());
        }
    }

    /// Whether a reply about `subject` may be sent to `client` in this second (of any clock that does not jump).
    pub(crate) fn decide(&self, limit: &RateLimit, client: IpAddr, subject: u64, second: u64) -> RateDecision {
        let Some(table) = self.table.get().filter(|_| limit.is_on()) else { return RateDecision::Send };
        let hash = self.hash(limit.net_of(client), subject);
        let tag = (hash >> 40) as u32;
        let second = second as u32 & SECOND_MASK;
        let set = &table[hash as usize % SETS];
        loop {
            let (slot, seen) = set.place_of(tag, second);
            let before = match Account::unpack(seen) {
                account if seen != 0 && account.tag == tag => account,
                _ => Account { tag, second, slips: 0, balance: limit.rate as i16 },
            };
            let (after, verdict) = before.charged(limit, second);
            // Another thread changed the account: read it again. Each failure here is a success of another thread.
            if slot.compare_exchange_weak(seen, after.pack(), Relaxed, Relaxed).is_ok() {
                return match verdict {
                    RateDecision::Slip | RateDecision::Drop if limit.is_exempt(client) => RateDecision::Send,
                    verdict => verdict,
                };
            }
        }
    }

    fn hash(&self, net: u128, subject: u64) -> u64 {
        let mut pair = [0; 24];
        pair[..16].copy_from_slice(&net.to_ne_bytes());
        pair[16..].copy_from_slice(&subject.to_ne_bytes());
        SipHasher13::new_with_key(&self.key).hash(&pair)
    }
}

impl Set {
    /// The slot of this tag, or the one to reuse for it, and its content.
    fn place_of(&self, tag: u32, second: u32) -> (&AtomicU64, u64) {
        let seen = self.0.each_ref().map(|slot| slot.load(Relaxed));
        let own = seen.iter().position(|&word| word != 0 && Account::unpack(word).tag == tag);
        // Empty ones first, then those within their limit, then the longest unused.
        let worth = |at: &usize| match seen[*at] {
            0 => (false, false, 0),
            word => {
                let account = Account::unpack(word);
                (true, account.balance < 0 && account.age(second) <= WINDOW_SECS, -account.age(second))
            }
        };
        let at = own.or_else(|| (0..WAYS).min_by_key(worth)).unwrap_or(0);
        (&self.0[at], seen[at])
    }
}

impl Account {
    fn unpack(bits: u64) -> Account {
        Account {
            tag: (bits >> 40) as u32,
            second: (bits >> 20) as u32 & SECOND_MASK,
            slips: (bits >> 16) as u8 & 0xF,
            balance: bits as u16 as i16,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.tag) << 40
            | u64::from(self.second) << 20
            | u64::from(self.slips) << 16
            | u64::from(self.balance as u16)
    }

    /// Seconds since the last change; negative where another thread's clock is ahead.
    fn age(self, second: u32) -> i32 {
        // The 20 bits are moved to the top, so that the sign is right.
        ((second.wrapping_sub(self.second) << 12) as i32) >> 12
    }

    /// The account after one more reply in this second, and what to do with that reply.
    fn charged(self, limit: &RateLimit, second: u32) -> (Account, RateDecision) {
        let rate = i32::from(limit.rate);
        let age = self.age(second).clamp(0, WINDOW_SECS + 1);
        let paid = (i32::from(self.balance) + age * rate).min(rate);
        let balance = (paid - 1).max(-WINDOW_SECS * rate);
        let second = if age > 0 { second } else { self.second };
        let (slips, verdict) = match (balance >= 0, limit.slip) {
            (true, _) => (0, RateDecision::Send),
            (false, 0) => (0, RateDecision::Drop),
            // The first reply over the limit is truncated, so that a genuine client asks over TCP at once.
            (false, slip) if self.slips.is_multiple_of(slip) => (1 % slip, RateDecision::Slip),
            (false, slip) => ((self.slips + 1) % slip, RateDecision::Drop),
        };
        (Account { second, slips, balance: balance as i16, ..self }, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { rate: 5, slip: 2, v4: 24, v6: 56, exempt: Vec::new() };

    fn limiter() -> RateLimiter {
        let limiter = RateLimiter::new([3; 16]);
        limiter.prepare(&LIMIT);
        limiter
    }

    /// What becomes of `count` replies in one second: (sent, slipped, dropped).
    fn many(limiter: &RateLimiter, limit: &RateLimit, ip: [u8; 4], second: u64, count: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for _ in 0..count {
            counts[limiter.decide(limit, ip.into(), 7, second) as usize] += 1;
        }
        counts
    }

    const CLIENT: [u8; 4] = [192, 0, 2, 1];

    #[test]
    fn accounts_survive_packing() {
        for account in [
            Account { tag: 0xFF_FFFF, second: SECOND_MASK, slips: 15, balance: -1 },
            Account { tag: 1, second: 2, slips: 3, balance: i16::MAX },
            Account { tag: 0, second: 0, slips: 0, balance: i16::MIN },
        ] {
            assert_eq!(Account::unpack(account.pack()), account);
        }
    }

    #[test]
    fn a_client_within_the_rate_is_never_limited() {
        let limiter = limiter();
        for second in 0..1000 {
            assert_eq!(many(&limiter, &LIMIT, CLIENT, second, 5), [5, 0, 0], "second {second}");
        }
    }

    #[test]
    fn a_flood_gets_the_rate_at_first_and_then_every_other_one_truncated() {
        let limiter = limiter();
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 0, 105), [5, 50, 50]);
        for second in 1..60 {
            assert_eq!(many(&limiter, &LIMIT, CLIENT, second, 100), [0, 50, 50], "second {second}");
        }
        // It owes 15 seconds of the rate: after them it is free again, and not before.
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 59 + 15, 1)[0], 0);
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 59 + 17, 5)[0], 5);
    }

    #[test]
    fn slip_says_how_many_are_truncated() {
        for (slip, expected) in [(0, [5, 0, 30]), (1, [5, 30, 0]), (3, [5, 10, 20]), (10, [5, 3, 27])] {
            let limit = RateLimit { slip, ..LIMIT };
            assert_eq!(many(&limiter(), &limit, CLIENT, 9, 35), expected, "slip {slip}");
        }
    }

    #[test]
    fn nets_and_answers_have_accounts_of_their_own() {
        let limiter = limiter();
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 0, 5), [5, 0, 0]);
        assert_eq!(many(&limiter, &LIMIT, [192, 0, 2, 200], 0, 1)[0], 0, "a neighbour in the net");
        assert_eq!(many(&limiter, &LIMIT, [192, 0, 3, 1], 0, 5)[0], 5, "another net");
        assert_eq!(limiter.decide(&LIMIT, CLIENT.into(), 8, 0), RateDecision::Send, "another answer");
    }

    #[test]
    fn who_is_exempt_and_what_is_off_is_not_limited() {
        let limiter = limiter();
        let exempt = RateLimit { exempt: vec!["192.0.2.1/32".parse().unwrap()], ..LIMIT };
        assert_eq!(many(&limiter, &exempt, CLIENT, 0, 100), [100, 0, 0]);
        assert_eq!(many(&limiter, &RateLimit::default(), CLIENT, 0, 100), [100, 0, 0]);
        let unprepared = RateLimiter::new([3; 16]);
        assert_eq!(many(&unprepared, &LIMIT, CLIENT, 0, 100), [100, 0, 0]);
    }

    #[test]
    fn threads_whose_clocks_differ_and_a_clock_that_wraps_do_no_harm() {
        let limiter = limiter();
        for second in [1 << 20, (1 << 20) - 1, 1 << 20, (1 << 20) + 1] {
            let _ = many(&limiter, &LIMIT, CLIENT, second, 2);
        }
        assert_eq!(many(&limiter, &LIMIT, CLIENT, (1 << 20) + 1, 10)[0], 2, "the second was paid once");
    }

    #[test]
    fn a_lower_rate_counts_at_once() {
        let limiter = limiter();
        let high = RateLimit { rate: 1000, ..LIMIT };
        assert_eq!(many(&limiter, &high, CLIENT, 0, 10), [10, 0, 0]);
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 0, 6)[0], 5);
    }

    #[test]
    fn a_victim_stays_limited_while_the_table_is_full_of_others() {
        let limiter = limiter();
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 0, 200)[0], 5);
        for other in 0..300_000_u32 {
            limiter.decide(&LIMIT, IpAddr::V4((other << 8).into()), 1, 1);
        }
        assert_eq!(many(&limiter, &LIMIT, CLIENT, 2, 10)[0], 0);
    }

    #[test]
    fn threads_together_give_no_more_than_the_rate() {
        let limiter = limiter();
        let sent = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| many(&limiter, &LIMIT, CLIENT, 0, 10_000)[0])).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(sent, 5);
    }
}
