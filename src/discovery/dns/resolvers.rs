//! The resolvers of the system: `nameserver` lines of `/etc/resolv.conf` (resolv.conf(5)). Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of DNS.
pub(super) const PORT: u16 = 53;
/// Most resolvers that are used, as the C library does (`MAXNS`).
const MOST: usize = 3;

/// The resolvers of the text of `/etc/resolv.conf`; this host where it names none.
pub(super) fn of_system(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    };
    let all: Vec<SocketAddr> =
        text.lines().filter_map(address).take(MOST).map(|address| SocketAddr::new(address, PORT)).collect();
    if all.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)] } else { all }
}

/// The resolvers that are written in a policy.
pub(super) fn written(texts: &[String]) -> Vec<SocketAddr> {
    let address = |text: &String| {
        let with_port = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT));
        text.parse::<SocketAddr>().ok().or_else(with_port)
    };
    texts.iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_file_or_this_host() {
        let shown = |all: Vec<SocketAddr>| all.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        let text = "# x\nsearch a\nnameserver 192.0.2.53\n nameserver 2001:db8::53\nnameserver fe80::1%eth0\n";
        assert_eq!(shown(of_system(text)), ["192.0.2.53:53", "[2001:db8::53]:53"]);
        assert_eq!(shown(of_system("")), ["127.0.0.1:53"]);
        assert_eq!(
            shown(written(&["192.0.2.1".into(), "[::1]:5353".into(), "x".into()])),
            ["192.0.2.1:53", "[::1]:5353"]
        );
    }
}
