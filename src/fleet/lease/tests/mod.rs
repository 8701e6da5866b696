//! Tests of the lease: single steps here, whole fleets in simulated time in `simulation`.

mod replies;
mod simulation;
mod steps;
mod world;

use std::sync::Arc;
use std::time::Duration;

use crate::fleet::lease::{LeaseSituation, MemberState, MemberVerdict};
use crate::model::{Failback, Moment};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Moment {
    Moment::from_start(Duration::from_secs(100) + Duration::from_millis(ms))
}

fn situation(at: Moment, failback: Failback, verdicts: &[(&str, MemberVerdict)]) -> LeaseSituation {
    let member =
        |(endpoint, verdict): &(&str, MemberVerdict)| MemberState { endpoint: Arc::from(*endpoint), verdict: *verdict };
    LeaseSituation { at, members: verdicts.iter().map(member).collect(), failback }
}
