//! Which of the servers of the store leads the leases. Nothing is written while they elect another leader, which takes
//! NATS 4 to 20 s. So the leader should not be in the region of the active endpoint: when that region is lost, the
//! promotion would wait for the election.

/// The servers of the store, as one of them describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The server that this node is connected to: it is in the node's own region.
    pub own: String,
    /// The leader.
    pub leader: String,
    /// The servers with copies, without the leader.
    pub followers: Vec<String>,
    /// Whether all copies are complete and there.
    pub is_healthy: bool,
}

/// How the leader is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderMove {
    /// To the server that this node is connected to.
    Here(String),
    /// To another server.
    Away,
}

impl Leadership {
    /// What the holder of the lease should change; `None`: nothing. `is_active_here`: the active endpoint is in the
    /// region of this node. Nothing is changed while a copy is missing, as it may be the only one that can lead.
    pub fn wanted_move(&self, is_active_here: bool) -> Option<LeaderMove> {
        if !self.is_healthy || self.followers.is_empty() {
            return None;
        }
        match (is_active_here, self.leader == self.own) {
            (true, true) => Some(LeaderMove::Away),
            (false, false) if self.followers.contains(&self.own) => Some(LeaderMove::Here(self.own.clone())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_stays_out_of_the_region_of_the_active_endpoint() {
        let led_by = |leader: &str| Leadership {
            own: "n-eu".to_owned(),
            leader: leader.to_owned(),
            followers: ["n-eu", "n-us", "n-ap"].iter().filter(|of| **of != leader).map(|of| (*of).to_owned()).collect(),
            is_healthy: true,
        };
        let here = || Some(LeaderMove::Here("n-eu".to_owned()));
        assert_eq!(led_by("n-eu").wanted_move(true), Some(LeaderMove::Away));
        assert_eq!(led_by("n-us").wanted_move(true), None);
        assert_eq!(led_by("n-eu").wanted_move(false), None);
        assert_eq!(led_by("n-us").wanted_move(false), here(), "it may be in the region of the active endpoint");
        assert_eq!(Leadership { is_healthy: false, ..led_by("n-us") }.wanted_move(false), None);
        assert_eq!(Leadership { followers: Vec::new(), ..led_by("n-eu") }.wanted_move(true), None, "it has one copy");
        assert_eq!(Leadership { own: "other".to_owned(), ..led_by("n-us") }.wanted_move(false), None, "no copy there");
    }
}
