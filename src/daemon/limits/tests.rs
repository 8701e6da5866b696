//! Shares of descriptors and memory.

use super::*;

const WANTED: Limits = Limits { connections: 512, quic_connections: 512, api_connections: 256 };
const GIB: u64 = 1 << 30;

fn shares(descriptors: u64, memory: u64) -> Shares {
    System { descriptors, memory: Some(memory) }.share(WANTED, 8, 1)
}

#[test]
fn connections_of_clients_leave_descriptors_for_probes_and_files() {
    for (descriptors, vantages) in [(128, 1), (256, 1), (300, 3), (1024, 1), (4096, 3), (65_536, 1), (1_048_576, 3)] {
        let shares = System { descriptors, memory: Some(GIB) }.share(WANTED, 8, vantages);
        let Limits { connections, api_connections, .. } = shares.connections;
        let taken = (connections + api_connections) as u64;
        assert!(taken + shares.probe_descriptors + FILES + 8 <= descriptors, "{descriptors}: {shares:?}");
        let probes = probes_in_flight(shares.probe_descriptors, vantages) as u64;
        let held = held_connections(shares.probe_descriptors, vantages) as u64;
        let most = (probes * DESCRIPTORS_A_PROBE + held) * vantages as u64;
        let is_least = probes == FEWEST_PROBES;
        assert!(most <= shares.probe_descriptors || is_least, "{descriptors}, {vantages} vantages: {shares:?}");
        assert!(shares.probe_descriptors >= taken, "{descriptors}: {shares:?}");
    }
    assert_eq!(shares(65_536, GIB).connections, WANTED);
    assert!(held_connections(shares(65_536, GIB).probe_descriptors, 1) > 16_000, "ten thousand endpoints and more");
    assert_eq!(probes_in_flight(u64::MAX, 1), MOST_PROBES as usize);
    assert_eq!(probes_in_flight(0, 1), FEWEST_PROBES as usize, "some probes in any case");
}

#[test]
fn a_small_limit_of_open_files_is_warned_of_with_the_number_to_set() {
    let warning = shares(256, GIB).warning.unwrap();
    assert!(warning.contains("limit of 256 open files") && warning.contains("LimitNOFILE=1640"), "{warning}");
    assert_eq!(shares(1640, GIB).warning, None, "the number that is named is enough");
    assert_eq!(shares(1640, GIB).connections, WANTED);
    assert_eq!(shares(65_536, GIB).warning, None);
    let many = System { descriptors: 4096, memory: Some(64 * GIB) };
    let many = many.share(Limits { connections: 10_000, ..WANTED }, 8, 1);
    assert!(many.warning.unwrap().contains("LimitNOFILE=20616"));
}

#[test]
fn all_connections_at_their_worst_fit_the_memory() {
    for memory in [32 << 20, 64 << 20, 128 << 20, 256 << 20, GIB, 64 * GIB] {
        let shares = shares(65_536, memory);
        let Limits { connections, quic_connections, api_connections } = shares.connections;
        let all = (connections + quic_connections + api_connections) as u64;
        let most = all * CONNECTION_OCTETS + 2 * shares.waiting_octets as u64;
        assert!(most <= memory / 2, "{memory}: {shares:?}");
        assert!(connections >= 16 && quic_connections >= 16 && api_connections >= 8, "{memory}: {shares:?}");
        assert_eq!(shares.note.is_some(), memory <= 256 << 20, "{memory}: {shares:?}");
    }
    let unknown = System { descriptors: 65_536, memory: None }.share(WANTED, 8, 1);
    assert_eq!((unknown.connections, unknown.warning), (WANTED, None));
}

#[test]
fn nothing_overflows_and_everybody_gets_something() {
    for descriptors in [0, 1, 100, u64::MAX] {
        for memory in [0, 1, u64::MAX] {
            let most = Limits { connections: 100_000, quic_connections: 100_000, api_connections: 10_000 };
            let shares = System { descriptors, memory: Some(memory) }.share(most, 8, 3);
            let Limits { connections, quic_connections, api_connections } = shares.connections;
            assert!(connections > 0 && quic_connections > 0 && api_connections > 0, "{shares:?}");
        }
    }
}
