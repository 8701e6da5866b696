//! The commands to go on with. Each works as it is printed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Choices;

/// The lines after `next:`. The files are in `dir`.
pub(super) fn next(choices: &Choices, dir: &Path) -> String {
    let (config, tokens) = (quoted(&dir.join("portolan.toml")), quoted(&dir.join("tokens")));
    let mut lines = vec![format!("portolan check --config {config}"), format!("portolan serve --config {config}")];
    // A port 0 is another one at each start.
    if choices.dns.port() != 0 {
        let (host, port) = (reachable(choices.dns).ip(), choices.dns.port());
        lines.push(format!("dig @{host} -p {port} www.{}", choices.zone.0));
    }
    if choices.http.port() != 0 {
        if choices.http != DEFAULT_HTTP {
            lines.push(format!("export PORTOLAN_SERVER=http://{}", reachable(choices.http)));
        }
        lines.push("portolan status".to_owned());
        let operator = &choices.operator.0;
        lines.push(format!("export PORTOLAN_TOKEN=\"$(sed -n 's/^{operator} operate //p' {tokens})\""));
        if let Some(first) = choices.endpoints.first() {
            lines.push(format!("portolan drain {} --why test --for 1m", first.name.0));
        }
    }
    format!("next:\n  {}", lines.join("\n  "))
}

/// What the commands use without `PORTOLAN_SERVER`.
pub(super) const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8053);

/// An address of this machine for a server that listens on all of its addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    match path.chars().all(is_plain) && !path.starts_with('-') {
        true => path,
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MonitorChoice, Word, ZoneName};
    use super::*;

    fn choices(dns: &str, http: &str) -> Choices {
        Choices {
            zone: ZoneName("svc.example".to_owned()),
            region: Word("here".to_owned()),
            endpoints: vec!["one=192.0.2.10".parse().unwrap()],
            monitor: MonitorChoice::None,
            dns: dns.parse().unwrap(),
            http: http.parse().unwrap(),
            operator: Word("alice".to_owned()),
        }
    }

    #[test]
    fn the_commands_reach_the_server_that_was_chosen() {
        let usual = next(&choices("127.0.0.1:5300", "127.0.0.1:8053"), Path::new("first"));
        assert_eq!(
            usual,
            "next:\n  portolan check --config first/portolan.toml\n  portolan serve --config first/portolan.toml\n  \
             dig @127.0.0.1 -p 5300 www.svc.example\n  portolan status\n  \
             export PORTOLAN_TOKEN=\"$(sed -n 's/^alice operate //p' first/tokens)\"\n  \
             portolan drain one --why test --for 1m"
        );
        let other = next(&choices("0.0.0.0:53", "[::]:9000"), Path::new("my zone's"));
        assert!(other.contains("--config 'my zone'\\''s/portolan.toml'\n"), "{other}");
        assert!(other.contains("dig @127.0.0.1 -p 53 "), "{other}");
        assert!(other.contains("export PORTOLAN_SERVER=http://[::1]:9000\n  portolan status\n"), "{other}");
        let unknown = next(&choices("127.0.0.1:0", "127.0.0.1:0"), Path::new("first"));
        assert!(unknown.ends_with("portolan serve --config first/portolan.toml"), "{unknown}");
    }
}
