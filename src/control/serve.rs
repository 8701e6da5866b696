//! The connections of the HTTP API, and their limits: how many there are, how long a client may take to send a
//! request or to read a response, and how large the head of a request is. The routes know nothing of these limits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::access::{ApiAccess, Refusal};
use crate::control::connections::{ApiConnection, ApiRoom};
use crate::control::patient::PatientStream;
use crate::repeats::Repeats;
use crate::timer;

/// Time limit for the head of a request, and for the next request on an idle connection. Judgment: an idle connection
/// is closed between two scrapes of a long interval; opening a new one costs little.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel closes a connection whose client acknowledges nothing for this long (TCP_USER_TIMEOUT).
const STALLED_TIMEOUT: Duration = Duration::from_secs(30);

/// The kernel's buffer for what is sent, in octets; Linux doubles it. Judgment: 256 clients that read nothing take 32
/// MiB, and a line of 100 ms still carries 1 MB a second.
const SEND_BUFFER: usize = 64 * 1024;

/// Longest head of a request in octets. The longest useful one is an explain of a name of 1004 characters.
const MAX_HEAD: usize = 16 * 1024;

/// Most header fields in a request. Browsers send about 20.
const MAX_HEADERS: usize = 64;

/// How long open responses may continue when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Pause after a failed accept, so that the loop does not spin. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most errors of the system that are logged each on its own (judgment: an accept has a few).
const MOST_ERRORS: usize = 8;

/// The routes, with what all connections share.
#[derive(Debug, Clone)]
pub struct ApiRoutes {
    pub(super) router: Router,
    pub(super) room: ApiRoom,
    pub(super) access: Arc<ApiAccess>,
}

impl ApiRoutes {
    /// Routes that need nothing of the API's state, with connections of their own.
    pub fn new(router: Router, room: ApiRoom) -> ApiRoutes {
        ApiRoutes { router, room, access: Arc::default() }
    }
}

/// Serves `routes` on `listener` until `stop` is cancelled. Returns when the last response ended, or one second after
/// the stop. When all seats are taken, a newcomer displaces the least useful connection of the client net that has the
/// most: see [`crate::admission`].
pub async fn serve(listener: TcpListener, routes: ApiRoutes, stop: CancellationToken) {
    serve_within(HEAD_TIMEOUT, listener, routes, stop).await;
}

async fn serve_within(head_timeout: Duration, listener: TcpListener, routes: ApiRoutes, stop: CancellationToken) {
    let (mut connections, mut failures) = (JoinSet::new(), Repeats::new(1, MOST_ERRORS));
    while let Some((stream, connection)) = accept(&listener, &routes.room, &mut failures, &stop).await {
        connections.spawn(serve_connection(stream, Arc::new(connection), head_timeout, routes.clone(), stop.clone()));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Dropping the set closes the connections that are still open.
    let _ = tokio::time::timeout(STOP_GRACE, all_ended).await;
}

/// The next connection, with its seat; `None` when the server stops.
async fn accept(
    listener: &TcpListener,
    room: &ApiRoom,
    failures: &mut Repeats<Option<i32>, ()>,
    stop: &CancellationToken,
) -> Option<(TcpStream, ApiConnection)> {
    let next = async {
        loop {
            room.seats.settled().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = timer::until(failures.next()) => {
                    log_repeated(failures);
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    let own = stream.local_addr().ok().map(|own| own.ip());
                    let connection = ApiConnection::admit(room, peer.ip(), own, clock::now());
                    return (stream, connection);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => tokio::task::yield_now().await,
                Err(error) => {
                    log_repeated(failures);
                    if failures.note(error.raw_os_error(), (), clock::now()) {
                        tracing::warn!(%error, "HTTP: a connection could not be accepted");
                    }
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        room.seats.make_room();
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        next = next => Some(next),
        () = stop.cancelled() => None,
    }
}

/// Logs how many accepts failed in a window that is over.
fn log_repeated(failures: &mut Repeats<Option<i32>, ()>) {
    if let Some(of) = failures.sum_up(clock::now()) {
        let (count, seconds) = (of.count(), of.within.as_secs());
        tracing::warn!(count, seconds, "HTTP: more connections could not be accepted");
    }
}

async fn serve_connection(
    stream: TcpStream,
    connection: Arc<ApiConnection>,
    head_timeout: Duration,
    routes: ApiRoutes,
    stop: CancellationToken,
) {
    // They fail only if the kernel lacks the option. The other limits apply in any case.
    let socket = socket2::SockRef::from(&stream);
    let _ = socket.set_tcp_user_timeout(Some(STALLED_TIMEOUT));
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = stream.set_nodelay(true);
    let ApiRoutes { router, room: _, access } = routes;
    let (router, of_request) = (TowerToHyperService::new(router), connection.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        of_request.seat.mark_used(clock::now());
        request.extensions_mut().insert(of_request.clone());
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(PatientStream::new(stream, connection.clone(), access.clone())), service);
    tokio::pin!(served);
    // Errors of one connection (it broke, or it sent garbage) are not worth a log line.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = connection.seat.displaced() => return access.refusals.count(Refusal::Displaced),
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Earlier than the server closes a connection whose client sends no request.
    const BEFORE_HEAD_TIMEOUT: Duration = Duration::from_secs(HEAD_TIMEOUT.as_secs() * 4 / 5);

    /// The response to `request`, read until the server closes the connection, which must be earlier than
    /// [`HEAD_TIMEOUT`].
    async fn answer(address: std::net::SocketAddr, request: &[u8]) -> String {
        let answer = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            // A reset after the response counts as a close.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::time::timeout(BEFORE_HEAD_TIMEOUT, answer).await.expect("the server closes the connection")
    }

    fn routes(router: Router, connections: usize) -> ApiRoutes {
        ApiRoutes { router, room: ApiRoom::new(connections, 1 << 20), access: Arc::default() }
    }

    #[tokio::test]
    async fn silent_clients_make_room_for_the_next_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let routes = routes(Router::new().route("/", axum::routing::get(async || "here")), 4);
        let task = tokio::spawn(serve(listener, routes.clone(), stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..20 {
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(b"GET / HT").await.unwrap();
            silent.push(slow);
        }
        // Earlier than any of them ends by its time limit.
        let next = answer(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(next.ends_with("here"), "{next}");
        let displaced = routes.access.refusals.all().into_iter().find(|(refusal, _)| *refusal == Refusal::Displaced);
        assert!(displaced.is_some_and(|(_, count)| count >= 16), "{displaced:?}");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_request_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task =
            tokio::spawn(serve_within(Duration::from_millis(100), listener, routes(Router::new(), 4), stop.clone()));
        let response = answer(address, b"GET / HT").await;
        assert!(!response.contains(" 200 "), "{response}");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_closed_and_its_octets_are_free_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let body = bytes::Bytes::from(vec![b'x'; 32 << 20]);
        let state = crate::control::test_world::world().state;
        let router = Router::new()
            .route("/", axum::routing::get(async || body))
            .layer(axum::middleware::from_fn_with_state(state.clone(), crate::control::gate::reserve_octets));
        let routes = routes(router, 4);
        let task = tokio::spawn(serve(listener, routes.clone(), stop.clone()));
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        deaf.readable().await.unwrap();
        assert_eq!(routes.room.octets.waiting(), 1 << 20, "all of the budget");
        tokio::time::pause();
        let are_free = async {
            while routes.room.octets.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), are_free).await.unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_head_without_end_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, routes(Router::new(), 4), stop.clone()));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD));
        for request in [many, long] {
            let answer = answer(address, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"), "{answer}");
        }
        stop.cancel();
        task.await.unwrap();
    }
}
