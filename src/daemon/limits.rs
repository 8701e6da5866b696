//! How many file descriptors the process may use, and for what. They are reserved at the start, so that they are not
//! exhausted in the middle of an outage.

/// More descriptors than this are of no use to one node: judgment, 10,000 probes at a time with all their attempts.
const ENOUGH_DESCRIPTORS: u64 = 65_536;

/// Left for listening, streams, the API and files.
const OTHER_DESCRIPTORS: u64 = 512;

/// One in so many of the rest is for held connections. Judgment: probes give more evidence, and need more descriptors
/// where nothing answers.
const HELD_PARTS: u64 = 4;

/// A probe that nothing answers holds a socket for each of its attempts, eight at most; one over a path that loses
/// packets twelve, and over TLS half as many again, but hardly ever all of them.
const DESCRIPTORS_A_PROBE: u64 = 12;

/// Fewer probes at a time than this would starve the schedule, whatever the limit.
const FEWEST_PROBES: u64 = 16;

/// More than this would only send more at once.
const MOST_PROBES: u64 = 4096;

/// Raises the limit of open files as far as the system allows and as we need; gives the limit.
pub(crate) fn raise_descriptors() -> u64 {
    rlimit::increase_nofile_limit(ENOUGH_DESCRIPTORS).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files can't be raised");
        rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft)
    })
}

/// How many probes `vantages` may each have under way, so that the worst outage leaves descriptors for answering.
pub(crate) fn probes_in_flight(descriptors: u64, vantages: usize) -> usize {
    let left = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let share = (left - left / HELD_PARTS) / DESCRIPTORS_A_PROBE / vantages.max(1) as u64;
    share.clamp(FEWEST_PROBES, MOST_PROBES) as usize
}

/// How many connections each of `vantages` may hold, in addition to its probes.
pub(crate) fn held_connections(descriptors: u64, vantages: usize) -> usize {
    (descriptors.saturating_sub(OTHER_DESCRIPTORS) / HELD_PARTS / vantages.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_leaves_descriptors_for_answering() {
        for (descriptors, vantages) in [(1024, 1), (4096, 3), (65_536, 1), (1_048_576, 3)] {
            let probes = probes_in_flight(descriptors, vantages) as u64 * DESCRIPTORS_A_PROBE;
            let most = (probes + held_connections(descriptors, vantages) as u64) * vantages as u64;
            assert!(most + OTHER_DESCRIPTORS <= descriptors, "{descriptors} descriptors, {vantages} vantages: {most}");
        }
        assert_eq!(held_connections(65_536, 1), 16_256, "ten thousand endpoints and more");
        assert_eq!(held_connections(64, 1), 0, "none rather than no probes");
        assert_eq!(probes_in_flight(64, 1), FEWEST_PROBES as usize, "some probes in any case");
        assert_eq!(probes_in_flight(u64::MAX, 1), MOST_PROBES as usize);
    }
}
