//! Pools that rank their members by distance. Members at one distance are one tier; in a latency pool with a `band`
//! those within it are, and the leading ones stay for a moment after others come to be better.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Band, MemberRef, Pool, PoolId, Steering};
use crate::steering::pool::{Chooser, Up};
use crate::steering::ramp::Part;
use crate::steering::rank::{self, Distance, Place};
use crate::steering::resist::resist;
use crate::steering::why::{InBand, Ranked, Turn, rounded};
use crate::steering::{Reason, Tier, Why};

/// How long a new leading set has to be the same before it replaces the incumbents. Judgment, because: a smoothed RTT
/// settles within about five probes of a change, which are a second apart unless told otherwise; and no resolver keeps
/// an answer for less than this unless `ttl.min` is set lower than its default, 5 s too.
pub(crate) const HOLD_DOWN: Duration = Duration::from_secs(5);

/// A member with its distance.
struct Placed {
    listed: usize,
    place: Place,
    up: Up,
    band: Option<InBand>,
    turn: Option<Turn>,
}

impl<'a> Chooser<'a> {
    /// Members by distance, those that are equal together.
    pub(super) fn ranked(&mut self, id: PoolId, ups: Vec<Up>) -> Vec<Tier> {
        self.looks_at_client |= ups.len() > 1;
        let pool = self.scene.model.pool(id);
        let places = rank::places(&self.scene, pool.steering, &ups);
        let placed = places.into_iter().zip(ups).enumerate();
        let placed = placed.map(|(listed, (place, up))| Placed { listed, place, up, band: None, turn: None }).collect();
        let mut tiers = Vec::new();
        let mut rank = 1;
        for level in self.levels(id, pool, placed) {
            for Placed { place, up, band, turn, .. } in &level {
                let (pool, nearness, band) = (self.within(id), place.why.clone(), band.clone());
                let ranked = Arc::new(Ranked { rank, pool, nearness, band, turn: *turn });
                let reason = |endpoint| Reason::new(endpoint, Why::Ranked(ranked.clone()));
                self.ranks.extend(up.tiers.iter().flat_map(Tier::endpoints).map(reason));
            }
            rank += level.len();
            let parts: Vec<Part<'_>> = level.iter().map(|placed| placed.up.parts()).collect();
            tiers.extend(self.side_by_side(id, &parts));
        }
        tiers
    }

    /// Members that are equal, best first.
    fn levels(&mut self, id: PoolId, pool: &Pool, placed: Vec<Placed>) -> Vec<Vec<Placed>> {
        let Some(band) = pool.band.filter(|_| pool.steering == Steering::Latency) else {
            return level(placed, None);
        };
        let mut levels = level(placed, Some(band));
        let leading = levels.first().map(|level| members(level)).unwrap_or_default();
        let old = self.scene.standing(id);
        let is_measured = levels.iter().flatten().any(|placed| placed.place.distance.is_known());
        // Listed order for want of an RTT is no choice that should outlast the first measurement.
        if old.is_some() || is_measured || levels.len() == 1 {
            let is_there = |to: &MemberRef| levels.iter().flatten().any(|placed| placed.up.to == *to);
            let old = old.filter(|old| old.incumbents.iter().all(is_there));
            let standing = resist(id, old, leading.clone(), Some(HOLD_DOWN), self.scene.view.at);
            if standing.challenger.is_some() {
                levels = hold(levels, &leading, &standing.incumbents, band);
            }
            self.stand(standing);
        }
        levels.iter_mut().for_each(|level| note_band(level, band));
        levels
    }
}

/// The incumbents first, then the rest as they come.
fn hold(levels: Vec<Vec<Placed>>, leading: &[MemberRef], incumbents: &[MemberRef], band: Band) -> Vec<Vec<Placed>> {
    let is_incumbent = |placed: &Placed| incumbents.contains(&placed.up.to);
    let (mut stay, mut rest): (Vec<Placed>, Vec<Placed>) = levels.into_iter().flatten().partition(is_incumbent);
    for placed in stay.iter_mut().filter(|placed| !leading.contains(&placed.up.to)) {
        placed.turn = Some(Turn::Stays);
    }
    for placed in rest.iter_mut().filter(|placed| leading.contains(&placed.up.to)) {
        placed.turn = Some(Turn::Waits);
    }
    stay.sort_by_key(|placed| placed.listed);
    rest.sort_by_key(|placed| placed.listed);
    std::iter::once(stay).chain(level(rest, Some(band))).collect()
}

fn members(level: &[Placed]) -> Vec<MemberRef> {
    level.iter().map(|placed| placed.up.to).collect()
}

/// Members that are equal, in listed order; best first. With a band those are equal that are over the best of them by
/// no more than it.
fn level(mut placed: Vec<Placed>, band: Option<Band>) -> Vec<Vec<Placed>> {
    placed.sort_by_key(|placed| placed.place.distance);
    let mut levels: Vec<Vec<Placed>> = Vec::new();
    let mut reached = None;
    for placed in placed {
        let distance = placed.place.distance;
        match levels.last_mut() {
            Some(level) if Some(distance) <= reached => level.push(placed),
            Some(_) | None => {
                reached = Some(reach(distance, band));
                levels.push(vec![placed]);
            }
        }
    }
    levels.iter_mut().for_each(|level| level.sort_by_key(|placed| placed.listed));
    levels
}

/// Notes why members of one level are equal.
fn note_band(level: &mut [Placed], band: Band) {
    let nanos = |placed: &Placed| match placed.place.distance {
        Distance::Known(nanos) => Some(nanos),
        Distance::Listed(_) => None,
    };
    let Some(best) = level.iter().filter_map(nanos).min().filter(|_| level.len() > 1) else { return };
    let shown = InBand { best: rounded(duration(best)), width: rounded(duration(width(best, band))) };
    for placed in level.iter_mut().filter(|placed| nanos(placed).is_some_and(|n| n <= best + width(best, band))) {
        placed.band = Some(shown.clone());
    }
}

/// The farthest that is still equal to `best`.
fn reach(best: Distance, band: Option<Band>) -> Distance {
    match (best, band) {
        (Distance::Known(best), Some(band)) => Distance::Known(best.saturating_add(width(best, band))),
        (Distance::Known(_) | Distance::Listed(_), _) => best,
    }
}

/// Nanoseconds.
fn width(best: u128, band: Band) -> u128 {
    band.over.as_nanos().max(best.saturating_mul(band.percent.into()) / 100)
}

fn duration(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
