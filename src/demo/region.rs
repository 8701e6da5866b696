//! One region of the demo: a process that answers HTTP on the region's addresses. Each answer is delayed by the
//! round-trip time to the region of the client. As a process it can be killed and stopped like a real server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use tokio::net::TcpListener;

/// The regions of the demo, and the second octet of their clients', vantages' and endpoints' addresses.
pub(crate) const REGIONS: [(&str, u8); 3] = [("us-east", 1), ("eu-west", 2), ("ap-south", 3)];

/// The beginning, after the address, of the message of a process whose port is in use.
pub(crate) const PORT_IN_USE: &str = "the port is in use";

/// Round-trip milliseconds between regions, in the order of [`REGIONS`]: like those of the Internet.
const ROUND_TRIP_MS: [[u64; 3]; 3] = [[2, 80, 190], [80, 2, 120], [190, 120, 2]];

/// Answers for `region` on `addresses` until standard input ends, which means that the parent has ended, or until an
/// address can't be bound. Prints `ready` when all addresses are bound.
pub async fn serve(region: &str, addresses: &[SocketAddr]) -> std::io::Result<()> {
    let from = position(region).unwrap_or_default();
    let app = Router::new().fallback(answer).with_state(from);
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| std::io::Error::new(error.kind(), refusal(*address, &error)))?;
        let service = app.clone().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
    }
    println!("ready");
    let mut nothing = tokio::io::sink();
    tokio::io::copy(&mut tokio::io::stdin(), &mut nothing).await.map(|_| ())
}

/// The message for an address that can't be bound.
fn refusal(address: SocketAddr, error: &std::io::Error) -> String {
    let port = address.port();
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{address}: {PORT_IN_USE}, perhaps by another demo; see who has it with `ss -ltnp 'sport = :{port}'`"
        ),
        _ => format!("{address}: {error}"),
    }
}

async fn answer(State(from): State<usize>, ConnectInfo(client): ConnectInfo<SocketAddr>) -> &'static str {
    tokio::time::sleep(delay(from, client.ip())).await;
    "ok"
}

/// The round-trip time between region `from` and that of the client; zero if the client is in no region.
fn delay(from: usize, client: IpAddr) -> Duration {
    let IpAddr::V4(ip) = client else { return Duration::ZERO };
    let at = REGIONS.iter().position(|(_, octet)| ip.octets()[..2] == [127, *octet]);
    Duration::from_millis(at.map_or(0, |at| ROUND_TRIP_MS[from][at]))
}

fn position(region: &str) -> Option<usize> {
    REGIONS.iter().position(|(name, _)| *name == region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_nearest_to_its_own_clients() {
        for (at, (_, octet)) in REGIONS.iter().enumerate() {
            let own = delay(at, IpAddr::from([127, *octet, 0, 9]));
            assert!(
                (0..REGIONS.len())
                    .filter(|other| *other != at)
                    .all(|other| { delay(other, IpAddr::from([127, *octet, 0, 9])) > own })
            );
        }
        assert_eq!(delay(0, IpAddr::from([127, 0, 0, 1])), Duration::ZERO);
    }
}
