//! One ICMP or ICMPv6 echo (RFC 792, RFC 4443).

use std::net::IpAddr;
use std::time::Duration;

use surge_ping::{IcmpPacket, SurgeError};

use crate::health::probe::{Failure, ProbeClients};

/// What `ping` sends by default, so that a filter by size treats both alike.
const PAYLOAD: [u8; 56] = *b"portolan asks whether you are there; an echo is answered";
/// ICMP types (IANA, "ICMP Type Numbers" and "ICMPv6 Parameters").
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// Sends an echo request to `target` and waits at most `timeout` for what comes back; gives the echo's time.
pub(super) async fn echo(clients: &ProbeClients, target: IpAddr, timeout: Duration) -> Result<Duration, Failure> {
    let client = clients.icmp_towards(target)?;
    let (ident, sequence) = clients.echo_marks();
    let mut pinger = client.pinger(target, ident).await;
    pinger.timeout(timeout);
    match pinger.ping(sequence, &PAYLOAD).await {
        Ok((packet, rtt)) => match refusal(&packet) {
            None => Ok(rtt),
            Some(failure) => Err(failure),
        },
        Err(SurgeError::Timeout { .. }) => Err(Failure::TimedOut { after: timeout }),
        Err(SurgeError::IOError(error)) => Err(Failure::from_io(&error)),
        Err(other) => Err(Failure::Vantage(format!("cannot probe from here: {other}"))),
    }
}

/// An error message about our echo comes back like a reply does; only the type tells them apart.
fn refusal(packet: &IcmpPacket) -> Option<Failure> {
    let (kind, code, expected, from) = match packet {
        IcmpPacket::V4(v4) => (v4.get_icmp_type().0, v4.get_icmp_code().0, ECHO_REPLY_V4, IpAddr::V4(v4.get_source())),
        IcmpPacket::V6(v6) => {
            (v6.get_icmpv6_type().0, v6.get_icmpv6_code().0, ECHO_REPLY_V6, IpAddr::V6(v6.get_source()))
        }
    };
    let what = match (packet, kind) {
        _ if kind == expected => return None,
        (IcmpPacket::V4(_), 3) | (IcmpPacket::V6(_), 1) => "destination unreachable",
        (IcmpPacket::V4(_), 11) | (IcmpPacket::V6(_), 3) => "time to live exceeded",
        (IcmpPacket::V4(_) | IcmpPacket::V6(_), _) => "an ICMP error",
    };
    Some(Failure::Unreachable(format!("{what} (type {kind}, code {code}, from {from})")))
}
