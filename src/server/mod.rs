//! Sockets. Reads packets and messages, calls [`answer`](crate::answer::answer), writes the replies and counts; decides
//! nothing. [`Server::bind`] binds the ports early, so that the ready line can name them; nothing is answered before
//! [`Server::start`]. Only the daemon (and the demo) calls this.

mod answer_times;
mod batch;
mod certificates;
pub mod counters;
mod dnstap;
mod encrypted;
mod handshake;
mod inherited;
mod limits;
mod rrl;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
mod udp;

pub use answer_times::TimeTotals;
pub(crate) use batch::inherited_descriptor;
pub use certificates::Certificates;
pub use counters::{Counters, DropReason, OTHER_RCODE, ThreadCounters, Totals};
pub use dnstap::QueryLogState;
pub use encrypted::Encrypted;
pub use handshake::HandshakeResult;
pub use inherited::{InheritedSockets, PassedSocket, SocketUse};
pub use limits::StreamLimits;
pub use socket::BindError;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use arc_swap::{ArcSwap, Cache};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::answer::{Outcome, RawQuery, answer, answer_truncated};
use crate::clock;
use crate::config::Dnstap;
use crate::model::Moment;
use crate::snapshot::Snapshot;
use dnstap::{LogBatch, PlannedLog, RunningLog};
use encrypted::EncryptedListener;
use rrl::{RateDecision, RateLimiter};
use socket::BoundSockets;
use udp::{Answerer, UdpOutcome};

/// Workers for each address where the number of cores is unknown.
const FALLBACK_WORKERS: usize = 1;

/// Most datagrams and connections from before the start that are discarded: more than any receive buffer has, so that a
/// flood cannot delay the start for ever.
const MOST_EARLY: usize = 100_000;

/// A DNS server on its addresses: bound, then started, then stopped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    bound: Vec<BoundSockets>,
    encrypted: Vec<EncryptedListener>,
    limits: StreamLimits,
    planned_log: Option<PlannedLog>,
    running: Option<RunningServer>,
}

#[derive(Debug)]
struct RunningServer {
    threads_stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    streams_stop: CancellationToken,
    streams: Vec<tokio::task::JoinHandle<()>>,
    query_log: Option<RunningLog>,
}

impl Server {
    /// Binds UDP and TCP ports: `workers` UDP sockets for each address, 0 for one for each core. All or none.
    pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Server, BindError> {
        Server::bind_with(addresses, workers, &mut InheritedSockets::default())
    }

    /// The same with sockets of another process, where there are some for an address: as many workers as it had.
    pub fn bind_with(
        addresses: &[SocketAddr],
        workers: usize,
        inherited: &mut InheritedSockets,
    ) -> Result<Server, BindError> {
        let workers = match workers {
            0 => thread::available_parallelism().map_or(FALLBACK_WORKERS, usize::from),
            some => some,
        };
        let mut bound = Vec::with_capacity(addresses.len());
        for &address in addresses {
            match socket::bind_with(address, workers, inherited) {
                Ok(sockets) => bound.push(sockets),
                // The default, all addresses of both families, includes a family that this machine may not have.
                Err(BindError::NoFamily { .. }) if address.ip().is_unspecified() && addresses.len() > 1 => {
                    let why = "this machine has no addresses of this family: the server doesn't listen on it";
                    tracing::warn!(%address, "{why}");
                }
                Err(error) => return Err(error),
            }
        }
        let addresses = bound.iter().map(|bound| bound.address).collect();
        let limits = StreamLimits::default();
        Ok(Server { addresses, bound, encrypted: Vec::new(), limits, planned_log: None, running: None })
    }

    /// Binds the ports of an encrypted transport; returns the addresses, in order, with the real ports. Call it before
    /// [`Server::start`].
    pub fn bind_encrypted(
        &mut self,
        what: Encrypted,
        addresses: &[SocketAddr],
        certificates: &Arc<Certificates>,
        inherited: &mut InheritedSockets,
    ) -> Result<Vec<SocketAddr>, BindError> {
        let bind = |&address: &SocketAddr| EncryptedListener::bind(what, address, certificates.clone(), inherited);
        let bound = addresses.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let addresses = bound.iter().map(|listening| listening.address).collect();
        self.encrypted.extend(bound);
        Ok(addresses)
    }

    /// The sockets by other descriptors, for another process. An error is the system's.
    pub fn passed_sockets(&self) -> io::Result<Vec<PassedSocket>> {
        let mut all = Vec::new();
        for bound in &self.bound {
            all.extend(bound.passed()?);
        }
        for listening in &self.encrypted {
            all.push(listening.passed()?);
        }
        Ok(all)
    }

    /// Sets the limits of the streams. Call it before [`Server::start`].
    pub fn limit_streams(&mut self, limits: StreamLimits) {
        self.limits = limits;
    }

    /// Plans a query log under the name `node`. Call it before [`Server::start`].
    pub fn log_queries(&mut self, dnstap: Dnstap, node: &str) -> Arc<QueryLogState> {
        let state = Arc::new(QueryLogState::default());
        self.planned_log = Some(PlannedLog { dnstap, node: node.to_owned(), state: state.clone() });
        state
    }

    /// The bound addresses, in the order of [`Server::bind`], with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Begins to answer from whatever `snapshots` points to: a thread for each UDP socket, a task of `runtime` for
    /// each listener. What was received before is discarded unanswered, except by sockets of another process. It can be
    /// called again after [`Server::retire`]. An error means that the system has no more threads; call
    /// [`Server::stop`] then.
    pub fn start(
        &mut self,
        snapshots: Arc<ArcSwap<Snapshot>>,
        counters: &Counters,
        runtime: &Handle,
    ) -> io::Result<()> {
        let for_streams = snapshots.clone();
        let limiter = Arc::new(RateLimiter::new(clock::secret()?));
        self.start_with(
            move || SnapshotAnswerer { cache: Cache::new(snapshots.clone()), limiter: limiter.clone() },
            Arc::new(move |ask: &RawQuery<'_>, out: &mut [u8]| answer(&for_streams.load(), ask, out)),
            counters,
            runtime,
        )
    }

    /// As [`Server::start`], with the answering functions as arguments: one for each UDP thread, and one for all
    /// streams.
    fn start_with<A: Answerer + Send + 'static>(
        &mut self,
        answerer: impl Fn() -> A,
        for_streams: Arc<streams::AnswerFn>,
        counters: &Counters,
        runtime: &Handle,
    ) -> io::Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let bound = self.bound.iter().map(BoundSockets::try_clone).collect::<io::Result<Vec<_>>>()?;
        let encrypted = self.encrypted.iter().map(EncryptedListener::try_clone).collect::<io::Result<Vec<_>>>()?;
        let running = self.running.get_or_insert_with(RunningServer::new);
        if let Some(planned) = self.planned_log.clone() {
            running.query_log = Some(RunningLog::start(planned, counters.shared())?);
        }
        let log = running.query_log.as_ref().map(|running| running.log.clone());
        let context = streams::StreamContext::new(for_streams, counters.shared(), &self.limits, log.clone());
        for BoundSockets { udp, tcp, is_inherited, .. } in bound {
            for socket in udp {
                if !is_inherited {
                    discard_early(&socket)?;
                }
                let log = log.as_ref().map(|log| log.batch(socket.local_addr().ok()));
                running.spawn_worker(socket, answerer(), counters.thread(), log)?;
            }
            if !is_inherited {
                discard_early_connections(&tcp);
            }
            let _context = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(tcp)?;
            let task = streams::serve_tcp(listener, context.clone(), running.streams_stop.clone());
            running.streams.push(runtime.spawn(task));
        }
        // QUIC connections take no descriptor each, and forging a source is easier: they have a limit of their own.
        let for_quic = context.with_seats(&self.limits.quic_connections);
        for listening in encrypted {
            let context = match listening.what {
                Encrypted::Tls | Encrypted::Https => context.clone(),
                Encrypted::Quic => for_quic.clone(),
            };
            running.streams.push(listening.start(context, running.streams_stop.clone(), runtime)?);
        }
        Ok(())
    }

    /// Stops: received queries are answered, connections are closed after the messages that they have sent, threads are
    /// joined. Takes 0.1 s, and at most about two seconds.
    pub async fn stop(mut self) {
        // With them the ports would stay open, and connections be accepted that nobody serves.
        self.bound.clear();
        self.encrypted.clear();
        self.retire().await;
    }

    /// The same, but the sockets stay open: another process serves them, or this one again after [`Server::start`].
    pub async fn retire(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        for bound in &mut self.bound {
            bound.is_inherited = true;
        }
        running.threads_stop.store(true, Ordering::Release);
        running.streams_stop.cancel();
        for task in running.streams.drain(..) {
            // An error is a panic of the task, which is printed already; there is nothing left to stop.
            let _ = task.await;
        }
        let threads = std::mem::take(&mut running.threads);
        let query_log = running.query_log.take();
        let ending = move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            query_log.map(RunningLog::stop)
        };
        let _ = tokio::task::spawn_blocking(ending).await;
    }
}

impl RunningServer {
    fn new() -> RunningServer {
        RunningServer {
            threads_stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
            streams_stop: CancellationToken::new(),
            streams: Vec::new(),
            query_log: None,
        }
    }

    fn spawn_worker<A>(
        &mut self,
        socket: UdpSocket,
        answerer: A,
        counters: Arc<ThreadCounters>,
        log: Option<LogBatch>,
    ) -> io::Result<()>
    where
        A: Answerer + Send + 'static,
    {
        let stop = self.threads_stop.clone();
        let name = format!("udp-{}", self.threads.len());
        let worker = move || udp::serve(socket, answerer, &counters, log, &stop);
        self.threads.push(thread::Builder::new().name(name).spawn(worker)?);
        Ok(())
    }
}

impl Drop for RunningServer {
    /// A server that is dropped without [`Server::stop`] ends by itself soon after.
    fn drop(&mut self) {
        self.threads_stop.store(true, Ordering::Release);
        self.streams_stop.cancel();
    }
}

/// Answers from the current snapshot, within the rate limit.
struct SnapshotAnswerer {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    limiter: Arc<RateLimiter>,
}

impl Answerer for SnapshotAnswerer {
    fn refresh(&mut self, counters: &ThreadCounters) {
        let snapshot = self.cache.load();
        counters.reserve_picks(snapshot.tallies.len());
        self.limiter.prepare(&snapshot.identity.rate_limit);
    }

    fn answer(&mut self, ask: &RawQuery<'_>, now: Moment, out: &mut [u8]) -> UdpOutcome {
        let snapshot = self.cache.load();
        let outcome = answer(snapshot, ask, out);
        let Outcome::Reply(reply) = &outcome else { return UdpOutcome::Normal(outcome) };
        // With a valid cookie the source is not forged: the limit is not needed (RFC 7873, 5.2.5).
        if reply.has_valid_cookie {
            return UdpOutcome::Normal(outcome);
        }
        let limit = &snapshot.identity.rate_limit;
        match self.limiter.decide(limit, ask.source.ip(), reply.subject, now.from_first().as_secs()) {
            RateDecision::Send => UdpOutcome::Normal(outcome),
            RateDecision::Slip => UdpOutcome::Slipped(answer_truncated(snapshot, ask, out)),
            RateDecision::Drop => UdpOutcome::Withheld,
        }
    }
}

/// Discards what was received before the start: its senders got no reply and have asked another server by now.
fn discard_early(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let _ = (0..MOST_EARLY).take_while(|_| socket.recv(&mut [0]).is_ok()).count();
    socket.set_nonblocking(false)
}

fn discard_early_connections(listener: &TcpListener) {
    let _ = (0..MOST_EARLY).take_while(|_| listener.accept().is_ok()).count();
}
