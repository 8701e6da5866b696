//! What holds of any master file and any policy file: it is refused with a reason, or it can be served.

use std::fs;

use portolan::answer::{RawQuery, Transport};
use portolan::config::{Flags, load};
use portolan::model::Health;
use portolan::source::{to_human, to_json};
use portolan::wire::Name;
use tempfile::TempDir;

use super::message::holds;
use super::world::compiled;

const SETTINGS: &str = include_str!("../world/portolan.toml");
const MASTER: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.99\n";
const ORIGIN: &str = "svc.example.";
/// How many words of a file are queried as names: the first ones, so few that the run stays fast.
const QUERIED: usize = 24;
/// A, NS, SOA, TXT, DS and ANY.
const TYPES: [u16; 6] = [1, 2, 6, 16, 43, 255];

thread_local! {
    static DIR: TempDir = made();
}

fn made() -> TempDir {
    // In memory where that is to be had.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory for files");
    fs::create_dir(dir.path().join("zones")).expect("a directory for zones");
    fs::write(dir.path().join("portolan.toml"), SETTINGS).expect("settings");
    dir
}

/// `data` as the master file of a static zone.
pub fn zone_file(data: &[u8]) {
    served(data, &[("svc.example.zone", data)]);
}

/// `data` as the policy file next to a small master file.
pub fn policy_file(data: &[u8]) {
    served(data, &[("svc.example.zone", MASTER.as_bytes()), ("svc.example.policy.toml", data)]);
}

fn served(data: &[u8], files: &[(&str, &[u8])]) {
    let loaded = DIR.with(|dir| {
        for (name, text) in files {
            fs::write(dir.path().join("zones").join(name), text).expect("a file");
        }
        let loaded = load(Some(&dir.path().join("portolan.toml")), &Flags::default());
        for (name, _) in files {
            fs::remove_file(dir.path().join("zones").join(name)).expect("a file that was there");
        }
        loaded
    });
    match loaded {
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            assert!(!to_human(&problems).is_empty() && !to_json(&problems).to_string().is_empty());
        }
        Ok(loaded) => {
            let _ = to_human(&loaded.warnings);
            let snapshot = compiled(loaded.model, &|check| if check % 2 == 0 { Health::Up } else { Health::Down });
            for name in names_in(data) {
                for rtype in TYPES {
                    ask(&snapshot, &name, rtype);
                }
            }
        }
    }
}

/// The zone's apex, and every word of the file that can be a name.
fn names_in(data: &[u8]) -> Vec<Name> {
    let origin = Name::parse(ORIGIN).expect("a name");
    let text = String::from_utf8_lossy(data);
    let words = text.split(|c: char| c.is_whitespace() || "\"[]".contains(c)).filter(|word| !word.is_empty());
    let names =
        words.take(QUERIED).filter_map(|word| Name::parse_under(word.trim_start_matches("name."), &origin).ok());
    std::iter::once(origin.clone()).chain(names).collect()
}

fn ask(snapshot: &portolan::snapshot::Snapshot, name: &Name, rtype: u16) {
    let mut packet = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name.as_wire());
    packet.extend(rtype.to_be_bytes());
    packet.extend([0, 1]);
    for transport in [Transport::Udp, Transport::Tcp] {
        let source = ([198, 51, 100, 7], 4000).into();
        holds(snapshot, &RawQuery { packet: &packet, source, transport, entropy: 7, unix_secs: 1_800_000_000 });
    }
}
