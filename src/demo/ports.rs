//! The ports of the demo. Checks that the server's ports are free before anything is started, and finds another port
//! for the endpoints if theirs is in use, so that two demos can run at the same time.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::daemon::StartError;

/// How many ports above one that is in use are tried, to suggest a free one (judgment).
const NEIGHBOURS: u16 = 100;

/// How often another port is drawn for the endpoints (judgment: a draw fails only if the port is in use on one of a few
/// addresses).
const DRAWS: usize = 16;

/// Refuses addresses of the server that are in use. The message names the flag to choose another.
pub(crate) fn check_free(dns: SocketAddr, http: SocketAddr) -> Result<(), StartError> {
    for (address, flag, is_taken) in
        [(dns, "--dns", is_dns_taken as fn(SocketAddr) -> bool), (http, "--http", is_tcp_taken)]
    {
        if address.port() != 0 && is_taken(address) {
            return Err(StartError::Demo(taken(address, flag, is_taken)));
        }
    }
    Ok(())
}

fn taken(address: SocketAddr, flag: &str, is_taken: fn(SocketAddr) -> bool) -> String {
    let port = address.port();
    let with = |port| SocketAddr::new(address.ip(), port);
    // Port 0 means any free port.
    let free =
        (1..=NEIGHBOURS).filter_map(|more| port.checked_add(more)).find(|port| !is_taken(with(*port))).unwrap_or(0);
    let (other, command) = (with(free), format!("ss -lnp 'sport = :{port}'"));
    format!(
        "{address}: the port is in use, perhaps by another demo; choose another with `{flag} {other}`, \
         or see who has it with `{command}`"
    )
}

/// The ports of `endpoints` that are in use on one of their addresses.
pub(crate) fn taken_ports(endpoints: &[SocketAddr]) -> BTreeSet<u16> {
    endpoints.iter().filter(|address| is_tcp_taken(**address)).map(SocketAddr::port).collect()
}

/// A port that is free on every address of `endpoints`.
pub(crate) fn another(endpoints: &[SocketAddr]) -> Option<u16> {
    let drawn = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).ok();
    let is_free = |port: &u16| endpoints.iter().all(|address| !is_tcp_taken(SocketAddr::new(address.ip(), *port)));
    std::iter::repeat_with(drawn).take(DRAWS).flatten().map(|address| address.port()).find(is_free)
}

fn is_dns_taken(address: SocketAddr) -> bool {
    is_tcp_taken(address) || UdpSocket::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// Whether a TCP port is in use. Other errors are reported when the port is really bound.
fn is_tcp_taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_named_with_a_free_one() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = busy.local_addr().unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for (refused, flag) in
            [(check_free(address, any), "--dns 127.0.0.1:"), (check_free(any, address), "--http 127.0.0.1:")]
        {
            let message = refused.unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{address}: the port is in use")) && message.contains(flag),
                "{message}"
            );
        }
        check_free(any, any).unwrap();
    }

    #[test]
    fn endpoints_get_another_port_if_theirs_is_in_use() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = busy.local_addr().unwrap();
        assert_eq!(taken_ports(&[address]), BTreeSet::from([address.port()]));
        let port = another(&[address]).unwrap();
        assert_ne!(port, address.port());
        assert!(taken_ports(&[SocketAddr::new(address.ip(), port)]).is_empty());
    }
}
