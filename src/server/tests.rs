//! The servers on real sockets of the loopback interface, over an echo in place of `answer`.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::answer::{Reject, Reply, Transport};

/// For what must come: no bound of the server's, but of the test's patience on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// First octet of a message that [`echo`] answers with a panic.
const BUG: u8 = 0xEE;

#[derive(Clone)]
struct Echo;

impl Answerer for Echo {
    fn refresh(&mut self, _: &ThreadCounters) {}

    fn answer(&mut self, ask: &RawQuery<'_>, _: Moment, out: &mut [u8]) -> UdpOutcome {
        UdpOutcome::Normal(echo(ask, out))
    }
}

fn echo(ask: &RawQuery<'_>, out: &mut [u8]) -> Outcome {
    if ask.packet.len() < 12 {
        return Outcome::Silence(Reject::Short);
    }
    assert_ne!(ask.packet[0], BUG, "a bug of ours, in a test");
    let len = ask.packet.len().min(out.len());
    out[..len].copy_from_slice(&ask.packet[..len]);
    Outcome::Reply(Reply { len, ..Reply::default() })
}

struct Scene {
    server: Server,
    counters: Counters,
    runtime: tokio::runtime::Runtime,
}

fn bound(address: &str, workers: usize) -> Scene {
    let server = Server::bind(&[address.parse().unwrap()], workers).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    Scene { server, counters: Counters::new(), runtime }
}

fn serving(address: &str, workers: usize) -> Scene {
    let mut scene = bound(address, workers);
    scene.start(|| Echo);
    scene
}

impl Scene {
    fn start<A: Answerer + Send + 'static>(&mut self, answerer: impl Fn() -> A) {
        self.server.start_with(answerer, Arc::new(echo), &self.counters, self.runtime.handle()).unwrap();
    }

    fn port(&self) -> u16 {
        self.server.addresses()[0].port()
    }

    /// A client of this server at `ip`, which hears nothing that comes from another address or port.
    fn client(&self, ip: &str) -> UdpSocket {
        let to = SocketAddr::new(ip.parse().unwrap(), self.port());
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.connect(to).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn stop(self) -> Totals {
        self.runtime.block_on(self.server.stop());
        self.counters.totals()
    }
}

fn message(id: u16) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[1; 28]].concat()
}

fn framed(id: u16) -> Vec<u8> {
    [&[0, 30], &message(id)[..]].concat()
}

fn received(client: &UdpSocket) -> Vec<u8> {
    let mut reply = vec![0; 2048];
    let length = client.recv(&mut reply).expect("a reply");
    reply.truncate(length);
    reply
}

fn is_answered(client: &UdpSocket, id: u16) {
    client.send(&message(id)).unwrap();
    assert_eq!(received(client), message(id));
}

fn dropped(totals: &Totals, reason: DropReason) -> u64 {
    totals.dropped.iter().find(|(other, _)| *other == reason).unwrap().1
}

#[test]
fn a_reply_leaves_from_the_address_that_its_query_was_sent_to() {
    let scene = serving("0.0.0.0:0", 2);
    for ip in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
        is_answered(&scene.client(ip), 1);
    }
    assert_eq!(scene.stop().queries, [(Transport::Udp, 0, 3)]);

    let one = serving("127.0.0.3:0", 1);
    is_answered(&one.client("127.0.0.3"), 2);
    one.stop();
}

#[test]
fn ipv6_is_answered_on_its_wildcard_and_leaves_ipv4_alone() {
    let mut six = match Server::bind(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))], 1) {
        Ok(server) => Scene { server, ..bound("127.0.0.1:0", 1) },
        Err(error) => return assert!(matches!(error, BindError::NoFamily { .. }), "{error}"),
    };
    six.start(|| Echo);
    is_answered(&six.client("::1"), 1);
    let mut connection = TcpStream::connect((Ipv6Addr::LOCALHOST, six.port())).unwrap();
    connection.write_all(&framed(2)).unwrap();
    connection.read_exact(&mut [0; 32]).unwrap();
    let four = six.client("127.0.0.1");
    let _ = four.send(&message(3));
    assert_eq!(four.recv(&mut [0; 64]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    six.stop();
}

#[test]
fn bursts_larger_than_a_batch_lose_nothing() {
    const CLIENTS: u16 = 4;
    const BURST: u16 = 100;
    let scene = serving("127.0.0.1:0", 2);
    for _ in 0..5 {
        let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| scene.client("127.0.0.1")).collect();
        for (client, id) in clients.iter().flat_map(|client| (0..BURST).map(move |id| (client, id))) {
            client.send(&message(id)).unwrap();
        }
        for client in &clients {
            let mut replies: Vec<Vec<u8>> = (0..BURST).map(|_| received(client)).collect();
            replies.sort();
            assert!(replies.into_iter().eq((0..BURST).map(message)));
        }
    }
    assert_eq!(scene.stop().queries, [(Transport::Udp, 0, 2000)]);
}

#[test]
fn nothing_from_before_the_start_is_answered() {
    let mut scene = bound("127.0.0.1:0", 2);
    let client = scene.client("127.0.0.1");
    for id in 0..10 {
        client.send(&message(id)).unwrap();
    }
    let mut early = TcpStream::connect(("127.0.0.1", scene.port())).unwrap();
    early.write_all(&framed(1)).unwrap();
    scene.start(|| Echo);
    is_answered(&client, 99);
    assert!(matches!(early.read(&mut [0; 1]), Ok(0) | Err(_)), "an early connection is closed");
    assert_eq!(scene.stop().queries, [(Transport::Udp, 0, 1)]);
}

#[test]
fn stopping_answers_what_was_received() {
    let scene = serving("127.0.0.1:0", 2);
    let client = scene.client("127.0.0.1");
    let mut connection = TcpStream::connect(("127.0.0.1", scene.port())).unwrap();
    connection.write_all(&framed(7)).unwrap();
    connection.read_exact(&mut [0; 32]).unwrap();
    for id in 0..200 {
        client.send(&message(id)).unwrap();
    }
    assert_eq!(scene.stop().queries, [(Transport::Udp, 0, 200), (Transport::Tcp, 0, 1)]);
    client.set_nonblocking(true).unwrap();
    assert_eq!((0..200).filter(|_| client.recv(&mut [0; 64]).is_ok()).count(), 200);
    assert_eq!(connection.read(&mut [0; 1]).unwrap(), 0, "connections are closed");
}

#[test]
fn a_dropped_server_ends_and_frees_its_port() {
    let scene = serving("127.0.0.1:0", 2);
    let client = scene.client("127.0.0.1");
    is_answered(&client, 1);
    drop(scene.server);
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // While a thread is still ending this is answered, or taken by nobody; in the end the port is refused.
    let refused = (0..1000).any(|_| {
        let _ = client.send(&message(2));
        matches!(client.recv(&mut [0; 64]), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    });
    assert!(refused);
}

#[test]
fn garbage_and_bugs_cost_only_themselves() {
    let scene = serving("127.0.0.1:0", 1);
    let client = scene.client("127.0.0.1");
    client.send(&[]).unwrap();
    client.send(&[0; 11]).unwrap();
    client.send(&[0; 1473]).unwrap();
    client.send(&[0; 60_000]).unwrap();
    client.send(&[BUG; 40]).unwrap();
    is_answered(&client, 5);
    let long = vec![3; 1472];
    client.send(&long).unwrap();
    assert_eq!(received(&client), long[..1232], "the reply has its bound");
    let totals = scene.stop();
    assert_eq!(dropped(&totals, DropReason::Rejected(Reject::Short)), 2);
    assert_eq!(dropped(&totals, DropReason::TooLong), 2);
    assert_eq!(dropped(&totals, DropReason::Fault), 1);
    assert_eq!(totals.queries, [(Transport::Udp, 0, 2)]);
}

#[test]
fn clients_that_are_gone_before_their_reply_do_no_harm() {
    let scene = serving("0.0.0.0:0", 1);
    for id in 0..100 {
        scene.client("127.0.0.1").send(&message(id)).unwrap();
    }
    is_answered(&scene.client("127.0.0.1"), 100);
    let totals = scene.stop();
    assert_eq!(totals.queries[0].2 + dropped(&totals, DropReason::Unsent), 101);
}

/// Waits for a word before its first answer.
struct Gated(Option<mpsc::Receiver<()>>);

impl Answerer for Gated {
    fn refresh(&mut self, _: &ThreadCounters) {}

    fn answer(&mut self, ask: &RawQuery<'_>, _: Moment, out: &mut [u8]) -> UdpOutcome {
        if let Some(gate) = self.0.take() {
            let _ = gate.recv();
        }
        UdpOutcome::Normal(echo(ask, out))
    }
}

#[test]
fn what_the_kernel_drops_is_counted() {
    let mut scene = bound("127.0.0.1:0", 1);
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(Some(gate));
    scene.start(|| Gated(gate.lock().unwrap().take()));
    let client = scene.client("127.0.0.1");
    let flood = 20_000;
    for _ in 0..flood {
        client.send(&[1; 1000]).unwrap();
    }
    open.send(()).unwrap();
    // The kernel reports drops with the next datagram that it queues.
    let mut later = 0;
    while scene.counters.totals().queue_drops == 0 && later < 1000 {
        let another = scene.client("127.0.0.1");
        is_answered(&another, later as u16);
        later += 1;
    }
    let totals = scene.stop();
    assert!(totals.queue_drops > 0);
    assert_eq!(totals.queries[0].2 + totals.queue_drops, flood + later);
}

#[test]
fn half_open_connections_keep_nobody_out() {
    let scene = serving("127.0.0.1:0", 1);
    let address = ("127.0.0.1", scene.port());
    let mut half_open = Vec::new();
    for _ in 0..600 {
        let mut connection = TcpStream::connect(address).unwrap();
        let _ = connection.write_all(&[0, 30, 1]);
        half_open.push(connection);
    }
    for id in 0..3 {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(&framed(id)).unwrap();
        let mut reply = [0; 32];
        connection.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..], framed(id));
    }
    let totals = scene.stop();
    assert!(dropped(&totals, DropReason::Displaced) >= 600 - 512, "{totals:?}");
}

#[test]
fn pipelined_queries_over_tcp_come_back_in_order() {
    let scene = serving("127.0.0.1:0", 1);
    let mut connection = TcpStream::connect(("127.0.0.1", scene.port())).unwrap();
    let queries: Vec<u8> = (0..500).flat_map(framed).collect();
    connection.write_all(&queries).unwrap();
    let mut replies = vec![0; queries.len()];
    connection.read_exact(&mut replies).unwrap();
    assert!(replies == queries);
    assert_eq!(scene.stop().queries, [(Transport::Tcp, 0, 500)]);
}

#[test]
fn every_worker_of_every_address_answers_for_itself() {
    let addresses: Vec<SocketAddr> = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap()).into();
    let mut scene = bound("127.0.0.1:0", 1);
    scene.server = Server::bind(&addresses, 3).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    scene.start(|| {
        made.fetch_add(1, Ordering::Relaxed);
        Echo
    });
    assert_eq!(made.load(Ordering::Relaxed), 6);
    let ports: Vec<SocketAddr> = scene.server.addresses().to_vec();
    for (address, wanted) in ports.iter().zip(&addresses) {
        assert_eq!(address.ip(), wanted.ip());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        is_answered(&client, 1);
    }
    scene.stop();
}

#[test]
fn both_transports_answer_from_the_snapshot_of_the_moment_and_let_old_ones_go() {
    use crate::model::{Model, WorldView};
    use crate::snapshot::{Identity, compile::compile};
    let empty =
        || compile(Arc::new(Model::default()), Arc::new(WorldView::default()), Arc::new(Identity::default()), 1, None);

    let mut scene = bound("127.0.0.1:0", 2);
    let first = Arc::new(empty());
    let snapshots = Arc::new(ArcSwap::new(first.clone()));
    scene.server.start(snapshots.clone(), &scene.counters, scene.runtime.handle()).unwrap();

    // `. NS`, which a server without zones refuses.
    let query = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let refused = [&[0x12, 0x34, 0x80, 5][..], &query[4..]].concat();
    let client = scene.client("127.0.0.1");
    client.send(&query).unwrap();
    assert_eq!(received(&client), refused);
    let mut connection = TcpStream::connect(("127.0.0.1", scene.port())).unwrap();
    connection.write_all(&[&[0, 17], &query[..]].concat()).unwrap();
    let mut reply = [0; 19];
    connection.read_exact(&mut reply).unwrap();
    assert_eq!(reply[2..], refused);

    // Idle threads and open connections don't keep what nobody else needs.
    snapshots.store(Arc::new(empty()));
    let began = crate::clock::now();
    while Arc::strong_count(&first) > 1 {
        assert!(crate::clock::now().since(began) < PATIENCE, "an idle thread holds the old snapshot");
        thread::yield_now();
    }
    assert_eq!(scene.stop().queries, [(Transport::Udp, 5, 1), (Transport::Tcp, 5, 1)]);
}
