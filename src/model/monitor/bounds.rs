//! What a monitor may be at most: for policy files, and for checks that other nodes write.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Least interval: more often is load, not news.
pub const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// A day between probes is not monitoring any more (judgment).
pub const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// Shortest timeout: below it no answer can come in time (judgment: a LAN's round trip). The longest is that of an
/// interval.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(1);
/// Longest hold-down: for a longer time people use `state` and overrides (judgment).
pub const MAX_HOLD_DOWN: Duration = Duration::from_secs(3600);
/// Most failures and successes in a row that `fall` and `rise` may want (judgment).
pub const MAX_RUN: u32 = 100;
/// Most arguments of a program, and octets in one (judgment: what a person writes into a policy; a long list belongs in
/// a file).
pub const MAX_ARGS: usize = 64;
/// See [`MAX_ARGS`].
pub const MAX_ARG: usize = 4096;
/// Longest text in a request or expectation (judgment: what servers take in a header line).
pub const MAX_TEXT: usize = 4096;
/// More request headers than these is a slip (judgment).
pub const MAX_HEADERS: usize = 32;
/// Most redirects to follow (judgment: a health page that takes more is none; curl stops at 50, browsers at 20).
pub const MAX_REDIRECTS: u32 = 10;
/// Statuses that a server can send: three digits (RFC 9110, 15); what is over 599 some vendors use.
pub const STATUSES: RangeInclusive<u16> = 100..=999;
/// Most days that a certificate may be wanted to have left (judgment: authorities of a company's own give certificates
/// for ten years).
pub const MAX_MIN_DAYS: u32 = 3650;
