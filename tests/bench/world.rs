//! A small world and queries for it: static names, weighted names, and names steered by the client's region or net. It
//! is loaded from files, as `serve` does. The bench loop uses it, and the test that answering allocates no memory.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use portolan::config::{self, Flags};
use portolan::model::{CheckView, WorldView};
use portolan::snapshot::compile::compile;
use portolan::snapshot::{Identity, Snapshot};
use portolan::source;
use portolan::wire::cookie::CookieSecrets;

/// The number of names of each kind.
pub(crate) const NAMES: usize = 100;

/// The secret of the cookies.
const SECRETS: CookieSecrets = CookieSecrets { current: [7; 16], other: None };

/// DNS record types that the queries ask for.
pub(crate) const A: u16 = 1;
/// See [`A`].
pub(crate) const AAAA: u16 = 28;

/// Writes the files into `dir`, loads and compiles them; every endpoint counts as up.
pub(crate) fn snapshot(dir: &Path) -> Snapshot {
    fs::create_dir(dir.join("zones")).expect("a new directory");
    for (file, text) in [
        ("portolan.toml", settings()),
        ("zones/svc.example.test.zone", static_zone()),
        ("zones/gslb.example.test.zone", zone_head()),
        ("zones/gslb.example.test.policy.toml", policy()),
    ] {
        fs::write(dir.join(file), text).expect("a file in a new directory");
    }
    let loaded = config::load(Some(&dir.join("portolan.toml")), &Flags::default())
        .unwrap_or_else(|problems| panic!("{}", source::to_human(&problems)));
    let checks = vec![CheckView::default(); loaded.model.checks.len()].into();
    let view = WorldView { checks, ..WorldView::default() };
    let identity = Identity { nsid: b"bench".to_vec(), cookies: Some(SECRETS), ..Identity::default() };
    compile(Arc::new(loaded.model), Arc::new(view), Arc::new(identity), 1, None)
}

fn settings() -> String {
    let mut text = String::from("region = \"dc0\"\nnode = \"bench\"\n[clients]\ndefault_region = \"dc0\"\n");
    for dc in 0..3 {
        let nets: Vec<String> = (1..120).filter(|n| n % 3 == dc).map(|n| format!("\"{n}.0.0.0/9\"")).collect();
        let _ = writeln!(text, "[regions.dc{dc}]\nlocation = [{}, 0]\nnets = [{}]", dc * 20, nets.join(", "));
    }
    text
}

fn zone_head() -> String {
    String::from(
        "$TTL 60\n@ 300 IN SOA ns1 hostmaster 1 3600 600 604800 60\n@ 300 IN NS ns1\nns1 300 IN A 127.0.0.1\n\
         alias 60 IN CNAME ns1\ncut 60 IN NS ns.cut\nns.cut 60 IN A 192.0.2.53\n",
    )
}

fn static_zone() -> String {
    (0..NAMES).fold(zone_head(), |mut text, n| {
        let _ = writeln!(text, "h{n:03} 60 IN A 192.0.2.{n}\nh{n:03} 60 IN AAAA 2001:db8::{n:x}");
        text
    })
}

fn policy() -> String {
    let mut text = String::from("zone = \"gslb.example.test.\"\n[ecs]\nuse = true\n");
    for n in 0..NAMES {
        for (kind, steer, net) in [('w', "weighted", 51), ('g', "nearest", 18), ('a', "affinity", 52)] {
            for dc in 0..3 {
                let weight = 10 * (dc + 1);
                let _ = writeln!(
                    text,
                    "[endpoint.{kind}{n}e{dc}]\naddresses = [\"198.{net}.{n}.{dc}\", \"2001:db8:{net}:{n}::{dc}\"]\n\
                     region = \"dc{dc}\"\nweight = {weight}"
                );
            }
            let members: Vec<String> = (0..3).map(|dc| format!("\"{kind}{n}e{dc}\"")).collect();
            let members = members.join(", ");
            let _ = writeln!(
                text,
                "[pool.{kind}{n}]\nsteer = \"{steer}\"\nmembers = [{members}]\n\
                 [name.{kind}{n:03}]\npool = \"{kind}{n}\""
            );
        }
    }
    text.push_str(
        "[name.\"_srv._tcp\"]\npool = \"g1\"\ntypes = [\"SRV\"]\nport = 80\n\
         [name.web]\npool = \"w1\"\ntypes = [\"A\", \"HTTPS\"]\nalpn = [\"h2\"]\n",
    );
    let many: Vec<String> = (0..NAMES).map(|n| format!("\"a{n}e0\"")).collect();
    let _ = writeln!(
        text,
        "[name.both]\npool = \"a0\"\nanswers = 2\n[pool.many]\nsteer = \"affinity\"\nmembers = [{}]\n\
         [name.many]\npool = \"many\"\nanswers = 3",
        many.join(", ")
    );
    text
}

/// What a query has besides its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edns {
    /// No OPT record.
    None,
    /// An OPT record without options.
    Plain,
    /// An OPT record with the client subnet 5.N.7.0/24.
    Subnet(u8),
    /// An OPT record with a client cookie and the server cookie of another server.
    Cookie,
}

/// A query in wire format.
pub(crate) fn query(name: &str, rtype: u16, edns: Edns) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns != Edns::None)];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&rtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    match edns {
        Edns::None => {}
        Edns::Plain => packet.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]),
        Edns::Subnet(n) => {
            packet.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 5, n, 7])
        }
        Edns::Cookie => {
            packet.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 28, 0, 10, 0, 24]);
            packet.extend_from_slice(&[7; 8]);
            packet.extend_from_slice(&[1, 0, 0, 0, 0x6B, 0x49, 0xD2, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
    }
    packet
}

/// The queries of one kind by its name; `None` for an unknown name.
pub(crate) fn queries(kind: &str) -> Option<Vec<Vec<u8>>> {
    let each = |make: &dyn Fn(usize) -> Vec<u8>| Some((0..NAMES).map(make).collect());
    match kind {
        "static" => each(&|n| query(&format!("h{n:03}.svc.example.test"), [A, AAAA][n % 2], Edns::Plain)),
        "cookie" => each(&|n| query(&format!("h{n:03}.svc.example.test"), [A, AAAA][n % 2], Edns::Cookie)),
        "weighted" => each(&|n| query(&format!("w{n:03}.gslb.example.test"), A, Edns::Plain)),
        "region" => each(&|n| query(&format!("g{n:03}.gslb.example.test"), A, Edns::Subnet(n as u8))),
        "affinity" => each(&|n| query(&format!("a{n:03}.gslb.example.test"), A, Edns::Subnet(n as u8))),
        "nxdomain" => each(&|n| query(&format!("none{n}.svc.example.test"), A, Edns::None)),
        "garbage" => each(&|n| query("h001.svc.example.test", A, Edns::Plain)[..12 + n % 20].to_vec()),
        _ => None,
    }
}
