//! The copies of a stream, as the NATS server that leads it describes them. `cluster` is that part of its reply; a
//! server without a cluster has none. Its `replicas` are the copies that the leader does not have itself.

use serde_json::Value as Json;

const NANOSECONDS: u64 = 1_000_000_000;
/// A copy of a stream that its leader has not reached for so long is lost. Judgment: ten heartbeats of NATS.
const LOST_AFTER_SECS: u64 = 10;
/// A copy that has replied to its leader within this time follows it. Judgment: three heartbeats of NATS.
const IN_STEP_SECS: u64 = 3;

/// Why a stream is not used, where it has none.
pub(super) const NO_QUORUM: &str = "the stream has lost its quorum";

/// Whether a stream has a leader that reaches a majority of its copies. Without that nothing is stored, and a server of
/// NATS can describe the stream all the same.
pub(super) fn has_quorum(cluster: &Json) -> bool {
    reaches_majority(cluster, LOST_AFTER_SECS)
}

/// Whether a majority has replied to the leader a moment ago. Then what the leader took before that is stored. Without
/// a majority the leader can still take a write, which becomes visible when the majority is back.
pub(super) fn is_in_step(cluster: &Json) -> bool {
    reaches_majority(cluster, IN_STEP_SECS)
}

fn reaches_majority(cluster: &Json, within_secs: u64) -> bool {
    if cluster.is_null() {
        return true;
    }
    // Between a lost leader and the next election, a follower answers.
    if cluster["leader"].as_str().is_none_or(str::is_empty) {
        return false;
    }
    let others = cluster["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_lost = |copy: &&Json| {
        let unreached = copy["active"].as_u64().unwrap_or_default();
        copy["offline"].as_bool() == Some(true) || unreached > within_secs * NANOSECONDS
    };
    let (copies, lost) = (others.len() + 1, others.iter().filter(is_lost).count());
    2 * (copies - lost) > copies
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn copy(secs: u64, offline: bool) -> Json {
        json!({ "name": "n", "active": secs * NANOSECONDS, "offline": offline })
    }

    #[test]
    fn a_stream_has_a_quorum_while_it_has_a_leader_that_reaches_a_majority() {
        for cluster in [json!({}), json!({ "leader": "" }), json!({ "replicas": [copy(0, false), copy(1, false)] })] {
            assert!(!has_quorum(&cluster), "{cluster}");
        }
        assert!(has_quorum(&json!(null)), "no cluster");
        for (others, expected) in [
            (json!(null), true),
            (json!([]), true),
            (json!([copy(0, false), copy(1, false)]), true),
            (json!([copy(0, false), copy(60, false)]), true),
            (json!([copy(11, false), copy(60, false)]), false),
            (json!([copy(0, true), copy(60, false)]), false),
            (json!([copy(0, true)]), false),
            (json!([{ "name": "n" }, copy(0, true)]), true),
        ] {
            let cluster = json!({ "name": "c", "leader": "n1", "replicas": others });
            assert_eq!(has_quorum(&cluster), expected, "{cluster}");
        }
    }

    #[test]
    fn copies_are_in_step_only_where_a_majority_has_replied_a_moment_ago() {
        for (others, expected) in [
            (json!([copy(1, false), copy(9, false)]), true),
            (json!([copy(4, false), copy(9, false)]), false),
            (json!([copy(4, false)]), false),
        ] {
            let cluster = json!({ "leader": "n1", "replicas": others });
            assert_eq!((is_in_step(&cluster), has_quorum(&cluster)), (expected, true), "{cluster}");
        }
    }
}
