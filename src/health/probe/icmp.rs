//! The icmp probe: one echo request of ICMP or ICMPv6 (RFC 792, RFC 4443).

use std::net::IpAddr;
use std::time::Duration;

use surge_ping::{IcmpPacket, SurgeError};

use crate::health::probe::{Failure, ProbeClients};

/// As long as what `ping` sends by default, so that a filter by size treats both in the same way.
const PAYLOAD: [u8; 56] = *b"portolan asks whether you are there; an echo is answered";
/// ICMP types (IANA, "ICMP Type Numbers" and "ICMPv6 Parameters").
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// Sends an echo request to `target` and waits at most `timeout` for the reply. Returns the round-trip time.
pub(super) async fn echo(clients: &ProbeClients, target: IpAddr, timeout: Duration) -> Result<Duration, Failure> {
    let client = clients.icmp_towards(target)?;
    let (ident, sequence) = clients.next_echo();
    let mut pinger = client.pinger(target, ident).await;
    pinger.timeout(timeout);
    match pinger.ping(sequence, &PAYLOAD).await {
        Ok((packet, rtt)) => match icmp_error(&packet, target) {
            None => Ok(rtt),
            Some(failure) => Err(failure),
        },
        Err(SurgeError::Timeout { .. }) => Err(Failure::TimedOut { after: timeout }),
        Err(SurgeError::IOError(error)) => Err(Failure::from_io(&error)),
        Err(other) => Err(Failure::Vantage(format!("cannot probe from here: {other}"))),
    }
}

/// The failure, if `packet` is an ICMP error about our echo and not a reply. The client delivers both in the same way;
/// only the type differs.
fn icmp_error(packet: &IcmpPacket, target: IpAddr) -> Option<Failure> {
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
    let text = format!("{what} (type {kind}, code {code}, from {from})");
    // If the target itself sends the error, there is a path to it.
    Some(if from == target { Failure::Rejected(text) } else { Failure::Unreachable(text) })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use surge_ping::Icmpv4Packet;

    use super::*;

    const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

    /// An IPv4 header without options: version, lengths, protocol ICMP, source. The other fields don't matter here.
    fn ip_header(payload: u8) -> [u8; 20] {
        let mut header = [0; 20];
        (header[0], header[3], header[9]) = (0x45, 20 + payload, 1);
        header[12..16].copy_from_slice(&ROUTER.octets());
        header
    }

    fn received(icmp: &[u8]) -> IcmpPacket {
        let packet = [&ip_header(icmp.len() as u8)[..], icmp].concat();
        IcmpPacket::V4(Icmpv4Packet::decode(&packet, socket2::Type::RAW, ROUTER, US).expect("well-formed"))
    }

    #[test]
    fn an_error_about_our_echo_is_no_reply() {
        let target = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
        assert_eq!(icmp_error(&received(&[0, 0, 0, 0, 0, 1, 0, 1]), target), None, "an echo reply");
        let echo = [8, 0, 0, 0, 0, 1, 0, 1];
        for (kind, code, text) in [
            (3, 1, "destination unreachable (type 3, code 1, from 192.0.2.254)"),
            (11, 0, "time to live exceeded (type 11, code 0, from 192.0.2.254)"),
        ] {
            let error = [&[kind, code, 0, 0, 0, 0, 0, 0][..], &ip_header(8), &echo].concat();
            assert_eq!(icmp_error(&received(&error), target), Some(Failure::Unreachable(text.to_owned())));
            assert_eq!(icmp_error(&received(&error), ROUTER.into()), Some(Failure::Rejected(text.to_owned())));
        }
    }
}
