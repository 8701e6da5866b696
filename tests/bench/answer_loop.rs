//! Calls `answer()` in a loop, for a profiler or to count instructions: `answer_loop KIND COUNT`. KIND is static,
//! weighted, region, affinity, nxdomain or garbage. Prints the number of replies. `bench.py instructions` runs it.

#[path = "world.rs"]
mod world;

use std::net::SocketAddr;
use std::process::ExitCode;

use portolan::answer::{MAX_UDP_REPLY, Outcome, RawQuery, Transport, answer};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let queries = args.next().and_then(|kind| world::queries(&kind));
    let count = args.next().and_then(|count| count.parse::<usize>().ok());
    let (Some(queries), Some(count)) = (queries, count) else {
        eprintln!("usage: answer_loop static|weighted|region|affinity|nxdomain|garbage COUNT");
        return ExitCode::from(2);
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshot = world::snapshot(dir.path());
    let source = SocketAddr::from(([127, 0, 0, 1], 4242));
    let mut out = [0; MAX_UDP_REPLY];
    let mut replies = 0;
    for (packet, turn) in queries.iter().cycle().zip(0..count as u64) {
        // A multiple of the golden ratio: spread over all 64 bits, the same in each run.
        let entropy = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let ask = RawQuery { packet, source, transport: Transport::Udp, entropy, unix_secs: 1_800_000_000 };
        match answer(&snapshot, &ask, &mut out) {
            Outcome::Reply(reply) => replies += usize::from(reply.len > 0),
            Outcome::Silence(_) => {}
        }
    }
    println!("{replies} replies to {count} queries");
    ExitCode::SUCCESS
}
