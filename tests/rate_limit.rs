//! Response rate limiting with real packets: replies to a flood from one net are limited to the rate, and some are
//! truncated so that the client uses TCP. Clients over TCP or with a valid cookie are answered. Changed settings count
//! at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan::config::{self, Flags};
use portolan::model::{RateLimit, WorldView};
use portolan::server::{Counters, DropReason, Server};
use portolan::snapshot::compile::compile;
use portolan::snapshot::{Identity, Snapshot};
use portolan::wire::cookie::CookieSecrets;

/// The longest wait for something that must happen, on a busy machine. It is no limit of the server.
const PATIENCE: Duration = Duration::from_secs(20);

const ZONE: &str = "$TTL 300\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n*.wild A 192.0.2.80\n";

struct Scene {
    server: Server,
    counters: Counters,
    snapshots: Arc<ArcSwap<Snapshot>>,
    runtime: tokio::runtime::Runtime,
}

fn identity(rate: u16) -> Identity {
    Identity {
        cookies: Some(CookieSecrets { current: [5; 16], other: None }),
        rate_limit: RateLimit { rate, slip: 2, ..RateLimit::default() },
        ..Identity::default()
    }
}

fn serving(rate: u16) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("limit.test.zone"), ZONE).unwrap();
    let flags = Flags::default().with("region", "here").with("zones.dir", &dir.path().to_string_lossy());
    let model = config::load(None, &flags).unwrap().model;
    let snapshot = compile(Arc::new(model), Arc::new(WorldView::default()), Arc::new(identity(rate)), 1, None);
    let mut server = Server::bind(&["127.0.0.1:0".parse().unwrap()], 2).unwrap();
    let (counters, snapshots) = (Counters::new(), Arc::new(ArcSwap::from_pointee(snapshot)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    server.start(snapshots.clone(), &counters, runtime.handle()).unwrap();
    Scene { server, counters, snapshots, runtime }
}

impl Scene {
    fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(self.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The number of queries over UDP, of withheld replies, and of truncated replies.
    fn counted(&self) -> (u64, u64, u64) {
        let totals = self.counters.totals();
        let withheld = totals.dropped.iter().find(|(reason, _)| *reason == DropReason::RateLimited).unwrap().1;
        (totals.queries.iter().map(|(_, _, count)| count).sum::<u64>() + withheld, withheld, totals.slipped)
    }

    /// Sends `count` queries; returns the replies when the server has processed all of them.
    fn flood(&self, count: u64, query: impl Fn(u64) -> Vec<u8>) -> Vec<Vec<u8>> {
        let client = self.client();
        let before = self.counted().0;
        let mut replies = Vec::new();
        let mut buffer = [0; 2048];
        for n in 0..count {
            client.send(&query(n)).unwrap();
        }
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        for _ in 0..PATIENCE.as_millis() {
            while let Ok(length) = client.recv(&mut buffer) {
                replies.push(buffer[..length].to_vec());
            }
            let (dealt_with, withheld, _) = self.counted();
            if dealt_with - before == count && replies.len() as u64 + withheld >= count {
                break;
            }
        }
        replies
    }
}

fn query(name: &str, options: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
    packet.extend_from_slice(options);
    packet
}

fn is_truncated(reply: &[u8]) -> bool {
    reply[2] & 2 != 0
}

/// The data of the cookie option, which is the last of these replies.
fn cookies(reply: &[u8]) -> &[u8] {
    let option = &reply[reply.len() - 28..];
    assert_eq!(option[..4], [0, 10, 0, 24]);
    &option[4..]
}

#[test]
fn a_flood_is_limited_to_the_rate_and_real_clients_are_answered() {
    let scene = serving(1);
    let client_cookie = [&[0, 10, 0, 8][..], &[9; 8]].concat();
    // The names are random, but each is answered by the same wildcard.
    let replies = scene.flood(300, |n| query(&format!("n{n}.wild.limit.test"), &client_cookie));
    let (_, withheld, slipped) = scene.counted();
    assert_eq!(replies.len() as u64, 300 - withheld);
    assert!(withheld >= 100 && slipped.abs_diff(withheld) <= 20, "withheld {withheld}, slipped {slipped}");
    assert_eq!(replies.iter().filter(|reply| is_truncated(reply)).count() as u64, slipped);
    let truncated = replies.iter().find(|reply| is_truncated(reply)).unwrap();
    assert_eq!(truncated[4..12], [0, 1, 0, 0, 0, 0, 0, 1], "a question, no record, OPT");

    let mut connection = TcpStream::connect(scene.address()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = query("x.wild.limit.test", &[]);
    for _ in 0..20 {
        connection.write_all(&[&[0, question.len() as u8], &question[..]].concat()).unwrap();
        let mut length = [0; 2];
        connection.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        connection.read_exact(&mut reply).unwrap();
        assert_eq!((is_truncated(&reply), reply[7]), (false, 1), "over TCP");
    }

    let proof = [&[0, 10, 0, 24][..], cookies(truncated)].concat();
    let with_proof = scene.flood(100, |n| query(&format!("p{n}.wild.limit.test"), &proof));
    assert!(with_proof.len() == 100 && with_proof.iter().all(|reply| !is_truncated(reply)), "with a cookie of ours");

    let other = scene.flood(1, |_| query("ns1.limit.test", &[]));
    assert!(!is_truncated(&other[0]), "another answer has an account of its own");
    scene.runtime.block_on(scene.server.stop());
}

#[test]
fn a_changed_limit_counts_at_once_and_the_default_is_none() {
    let scene = serving(0);
    let ask = |n: u64| query(&format!("gone{n}.limit.test"), &[]);
    assert_eq!(scene.flood(200, ask).len(), 200);
    let mut limited = Snapshot::clone(&scene.snapshots.load());
    let rate_limit = RateLimit { rate: 1, ..RateLimit::default() };
    limited.identity = Arc::new(Identity { rate_limit, ..identity(1) });
    scene.snapshots.store(Arc::new(limited));
    let replies = scene.flood(200, ask);
    let truncated = replies.iter().filter(|reply| is_truncated(reply)).count();
    assert_eq!(replies.len(), 200, "by default a reply over the limit is truncated, and none is withheld");
    assert!(truncated >= 50, "names that don't exist are one answer: {truncated}");
    scene.runtime.block_on(scene.server.stop());
}
