//! `answer()` allocates no memory: an allocator counts allocations during ten thousand answers of every kind.
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one counts and passes on")]

#[path = "bench/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use portolan::answer::{MAX_UDP_REPLY, Outcome, RawQuery, Transport, answer};
use portolan::snapshot::Snapshot;
use world::{A, AAAA, Edns, query};

thread_local! {
    /// Allocations of this thread. Those of other threads of the test harness don't count.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the allocator of the system with the same arguments; counting changes a plain cell only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How a query was answered, to check that each case takes the intended path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Answers(u16),
    Silent,
    Says(u16),
}

fn way(outcome: Outcome, out: &[u8]) -> Way {
    match outcome {
        Outcome::Silence(_) => Way::Silent,
        Outcome::Reply(reply) if reply.rcode == 0 => Way::Answers(u16::from_be_bytes([out[6], out[7]])),
        Outcome::Reply(reply) => Way::Says(reply.rcode),
    }
}

const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const BADVERS: u16 = 16;
const ANY: u16 = 255;
const SRV: u16 = 33;
const HTTPS: u16 = 65;

fn cases() -> Vec<(&'static str, Vec<u8>, Way)> {
    let with = |mut packet: Vec<u8>, at: usize, value: u8| {
        packet[at] = value;
        packet
    };
    let (host, weighted, region) = ("h007.svc.example.test", "w007.gslb.example.test", "g007.gslb.example.test");
    let opt_at = query(host, A, Edns::None).len();
    vec![
        ("static", query(host, A, Edns::None), Way::Answers(1)),
        ("static with EDNS", query(host, AAAA, Edns::Plain), Way::Answers(1)),
        ("with a cookie", query(host, A, Edns::Cookie), Way::Answers(1)),
        ("upper case", query(&host.to_uppercase(), A, Edns::Plain), Way::Answers(1)),
        ("alias followed", query("alias.svc.example.test", A, Edns::Plain), Way::Answers(2)),
        ("delegation", query("www.cut.svc.example.test", A, Edns::Plain), Way::Answers(0)),
        ("no such type", query(host, 16, Edns::Plain), Way::Answers(0)),
        ("no such name", query("none.svc.example.test", A, Edns::Plain), Way::Says(NXDOMAIN)),
        ("another's name", query("www.example.org", A, Edns::Plain), Way::Says(REFUSED)),
        ("any", query(host, ANY, Edns::Plain), Way::Answers(1)),
        ("weighted", query(weighted, A, Edns::Plain), Way::Answers(1)),
        ("weighted, IPv6", query(weighted, AAAA, Edns::None), Way::Answers(1)),
        ("by region, client's own address", query(region, A, Edns::Plain), Way::Answers(1)),
        ("by region, client subnet", query(region, A, Edns::Subnet(9)), Way::Answers(1)),
        (
            "services by region, with their addresses",
            query("_srv._tcp.gslb.example.test", SRV, Edns::Plain),
            Way::Answers(3),
        ),
        ("a service", query("web.gslb.example.test", HTTPS, Edns::Plain), Way::Answers(1)),
        ("by net, several records", query("both.gslb.example.test", A, Edns::Subnet(9)), Way::Answers(2)),
        ("by net, many endpoints", query("many.gslb.example.test", A, Edns::Subnet(9)), Way::Answers(3)),
        ("steered, no such type", query(region, 16, Edns::Plain), Way::Answers(0)),
        ("no such name beside steered ones", query("x.gslb.example.test", A, Edns::Subnet(1)), Way::Says(NXDOMAIN)),
        ("a bad subnet", with(query(region, A, Edns::Subnet(9)), opt_at + 16, 250), Way::Says(FORMERR)),
        ("EDNS of the future", with(query(host, A, Edns::Plain), opt_at + 6, 1), Way::Says(BADVERS)),
        ("cut short", query(host, A, Edns::None)[..20].to_vec(), Way::Says(FORMERR)),
        ("an update", with(query(host, A, Edns::None), 2, 5 << 3), Way::Says(REFUSED)),
        ("a status query", with(query(host, A, Edns::None), 2, 2 << 3), Way::Says(NOTIMP)),
        ("a response", with(query(host, A, Edns::None), 2, 0x80), Way::Silent),
        ("next to nothing", vec![1, 2, 3], Way::Silent),
    ]
}

/// Every name of the benchmark: no name may need an allocation at its first query.
fn bench_cases() -> Vec<(&'static str, Vec<u8>, Way)> {
    [
        ("static", Way::Answers(1)),
        ("cookie", Way::Answers(1)),
        ("weighted", Way::Answers(1)),
        ("region", Way::Answers(1)),
        ("affinity", Way::Answers(1)),
    ]
    .into_iter()
    .chain([("nxdomain", Way::Says(NXDOMAIN)), ("garbage", Way::Says(FORMERR))])
    .flat_map(|(kind, way)| {
        let queries = world::queries(kind).expect("a kind of the bench");
        assert_eq!(queries.len(), world::NAMES);
        queries.into_iter().map(move |packet| (kind, packet, way))
    })
    .collect()
}

fn ask_all(snapshot: &Snapshot, cases: &[(&str, Vec<u8>, Way)], rounds: u64, mut seen: impl FnMut(usize, Way)) {
    let mut out = [0; MAX_UDP_REPLY];
    let sources = [SocketAddr::from(([5, 6, 7, 8], 4242)), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4242))];
    for round in 0..rounds {
        for (at, (_, packet, _)) in cases.iter().enumerate() {
            let transport = if round % 7 == 0 { Transport::Tcp } else { Transport::Udp };
            let entropy = round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let source = sources[round as usize % sources.len()];
            let ask = RawQuery { packet, source, transport, entropy, unix_secs: 1_800_000_000 };
            let outcome = answer(snapshot, &ask, &mut out);
            seen(at, way(outcome, &out));
        }
    }
}

#[test]
fn ten_thousand_answers_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = world::snapshot(dir.path());
    let cases = [cases(), bench_cases()].concat();
    let mut ways = vec![None; cases.len()];
    ask_all(&snapshot, &cases, 1, |at, way| ways[at] = Some(way));
    for ((what, _, expected), way) in cases.iter().zip(&ways) {
        assert_eq!(*way, Some(*expected), "{what}");
    }

    let rounds = 10_000_u64.div_ceil(cases.len() as u64);
    let mut answered = 0;
    let before = TAKEN.get();
    ask_all(&snapshot, &cases, rounds, |_, _| answered += 1);
    let taken = TAKEN.get() - before;
    assert!(answered >= 10_000);
    assert_eq!(taken, 0, "allocations in {answered} answers");

    // The counter works: an allocation is counted.
    let before = TAKEN.get();
    drop(std::hint::black_box(Box::new(0)));
    assert_eq!(TAKEN.get() - before, 2);
}
