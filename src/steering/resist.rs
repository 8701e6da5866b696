//! Choices that resist change. The incumbents of a pool stay while all of them are up. Members that would replace them
//! have to be the better choice for some time without a break, or wait until an incumbent is down.

use std::time::Duration;

use crate::model::{MemberRef, Moment, PoolId};
use crate::steering::{Challenger, Standing};

/// The standing of `pool` at `now`, where `wanted` would be chosen if nothing resisted. `old` is the standing before;
/// `None`: there was none, or an incumbent is down, so nothing resists. A challenger has to be wanted for `hold_down`;
/// `None`: until an incumbent is down.
pub(super) fn resist(
    pool: PoolId,
    old: Option<&Standing>,
    wanted: Vec<MemberRef>,
    hold_down: Option<Duration>,
    now: Moment,
) -> Standing {
    let Some(old) = old.filter(|old| old.incumbents != wanted) else {
        return Standing { pool, incumbents: wanted, challenger: None, waiting: Vec::new() };
    };
    let challenger = old.challenger.as_ref().filter(|challenger| challenger.members == wanted);
    let since = challenger.map_or(now, |challenger| challenger.since.min(now));
    let due = hold_down.map(|time| since + time);
    if due.is_some_and(|due| due <= now) {
        return Standing { pool, incumbents: wanted, challenger: None, waiting: Vec::new() };
    }
    let challenger = Some(Challenger { members: wanted, since, due });
    Standing { pool, incumbents: old.incumbents.clone(), challenger, waiting: Vec::new() }
}
