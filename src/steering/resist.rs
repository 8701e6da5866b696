//! Choices that resist change. A pool's incumbents stay while all of them are there; who would take their place has to
//! have been the better choice for a while, without a break, or for ever.

use std::time::Duration;

use crate::model::{MemberRef, Moment, PoolId};
use crate::steering::{Challenger, Standing};

/// The standing of `pool` at `now`, where `wanted` would be chosen if nothing resisted. `old` is the standing before,
/// `None` where there was none or one of its incumbents is out: then nothing resists. `hold` is how long a challenger
/// has to be wanted; `None`: until an incumbent is out.
pub(super) fn resist(
    pool: PoolId,
    old: Option<&Standing>,
    wanted: Vec<MemberRef>,
    hold: Option<Duration>,
    now: Moment,
) -> Standing {
    let Some(old) = old.filter(|old| old.incumbents != wanted) else {
        return Standing { pool, incumbents: wanted, challenger: None };
    };
    let challenger = old.challenger.as_ref().filter(|challenger| challenger.members == wanted);
    let since = challenger.map_or(now, |challenger| challenger.since.min(now));
    let due = hold.map(|hold| since + hold);
    if due.is_some_and(|due| due <= now) {
        return Standing { pool, incumbents: wanted, challenger: None };
    }
    let challenger = Some(Challenger { members: wanted, since, due });
    Standing { pool, incumbents: old.incumbents.clone(), challenger }
}
