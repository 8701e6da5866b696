//! Probes of real sockets. Each test makes its servers, on ports that the kernel chooses.

mod closing;
mod dns;
mod exec;
mod grpc;
mod http;
mod https;
mod keep_open;
mod lenient;
mod plain;
mod tls;
mod versions;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::health::Rtt;
use crate::health::probe::{self, Failure, Measurement, ProbeClients, SourceAddresses};
use crate::model::{CertificateRule, CheckKey, HttpSpec, Monitor, ProbeKind, ProbeTarget};

/// The time-out of probes that are answered: longer than anything takes on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);
/// The time-out of probes that time out.
const BRIEF: Duration = Duration::from_millis(200);

/// Serves each connection by `talk`, which gets its number from 0. Returns the address.
async fn serve<T, F>(talk: T) -> SocketAddr
where
    T: Fn(usize, TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        for nth in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(talk(nth, stream));
        }
    });
    address
}

/// Reads a request up to its empty line.
async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(request).expect("our requests are ASCII")
}

fn check(kind: ProbeKind, to: SocketAddr, timeout: Duration) -> CheckKey {
    let monitor = Monitor { timeout, ..Monitor::new(kind) };
    CheckKey { monitor: monitor.into(), target: ProbeTarget::Socket(to) }
}

fn spec() -> HttpSpec {
    let path = "/healthz".to_owned();
    HttpSpec { path, host: None, headers: Vec::new(), statuses: vec![200], body: None, redirects: 0 }
}

/// Makes one probe and closes all its connections.
async fn probe(clients: &ProbeClients, check: &CheckKey, rtt: &Rtt) -> Measurement {
    let mut measured = None;
    probe::probe(clients, check, rtt, |measurement| measured = Some(measurement)).await;
    measured.expect("a probe ends")
}

async fn measure(kind: ProbeKind, to: SocketAddr, timeout: Duration) -> Measurement {
    probe(&ProbeClients::new(SourceAddresses::default()), &check(kind, to, timeout), &Rtt::default()).await
}

async fn failure(kind: ProbeKind, to: SocketAddr, timeout: Duration) -> Failure {
    measure(kind, to, timeout).await.result.expect_err("this probe fails")
}
