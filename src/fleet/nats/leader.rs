//! The leader of the store of leases: who it is, and how it becomes another one.

use serde_json::{Value as Json, json};

use crate::fleet::lease::{LeaderMove, Leadership};
use crate::fleet::nats::LeaseStore;

impl LeaseStore {
    /// The servers of the store; `None` where it has no leader now or is not a cluster. The text says why it is not
    /// known.
    pub async fn leadership(&self) -> Result<Option<Leadership>, String> {
        let info = self.bucket.api("STREAM.INFO", &json!({})).await.map_err(|error| error.why)?;
        Ok(leadership(&info["cluster"], self.bucket.nats.server_name()))
    }

    /// Asks the leader to hand over. NATS servers before 2.11 can't be asked for a certain one, and refuse that.
    pub async fn move_leader(&self, to: &LeaderMove) -> Result<(), String> {
        let content = match to {
            LeaderMove::Here(server) => json!({ "placement": { "preferred": server } }),
            LeaderMove::Away => json!({}),
        };
        let reply = self.bucket.api("STREAM.LEADER.STEPDOWN", &content).await;
        reply.map(|_| ()).map_err(|error| error.why)
    }
}

fn leadership(cluster: &Json, own: String) -> Option<Leadership> {
    let leader = cluster["leader"].as_str().filter(|leader| !leader.is_empty())?.to_owned();
    let followers = cluster["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_there = |of: &Json| of["current"] == true && of["offline"] != true;
    Some(Leadership {
        own,
        leader,
        is_healthy: followers.iter().all(is_there),
        followers: followers.iter().filter_map(|of| of["name"].as_str()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_read_from_the_description_of_the_stream() {
        let of = |text: &str| leadership(&serde_json::from_str(text).unwrap(), "n2".to_owned());
        let read = |state: &str| {
            let replicas = format!(r#"[{{"name":"n2","current":true}},{{"name":"n3",{state}}}]"#);
            of(&format!(r#"{{"name":"c","leader":"n1","replicas":{replicas}}}"#)).unwrap()
        };
        let whole = read(r#""current":true,"active":1"#);
        assert_eq!(
            (whole.leader.as_str(), &whole.followers[..], whole.is_healthy),
            ("n1", &["n2".to_owned(), "n3".to_owned()][..], true)
        );
        assert!(!read(r#""current":false"#).is_healthy && !read(r#""current":true,"offline":true"#).is_healthy);
        assert!(of(r#"{"name":"c","leader":"","replicas":[]}"#).is_none() && of("null").is_none());
        assert_eq!(of(r#"{"leader":"n1"}"#).unwrap().followers.len(), 0);
    }
}
