//! Overrides in the simulated fleet: operators change targets at any server, the servers share them through a bucket
//! with compare-and-set, and afterwards all servers have the newest change of each target.
//!
//! The bucket is of NATS, whose clock is another one than those of the nodes. A server that is cut off from the store
//! neither reads nor writes.

use std::time::Duration;

use portolan::fleet::overrides::{
    FleetOverride, OverrideEffect, OverrideMerge, OverrideRead, OverrideWrite, SavedMerge, StoredAt, WriteEnd,
    millis_of,
};
use portolan::model::{Moment, OverrideState};

use crate::bug::Bug;
use crate::chance::Chance;
use crate::node::Clock;
use crate::world::{SERVERS, STEP, World, steps};

/// The targets of all commands: few, so that commands meet.
const TARGETS: [&str; 3] = ["a", "b", "region:eu"];
/// One command in so many steps.
const COMMAND_EVERY: u64 = 60;
/// Commands that were made within this time of each other may win in either order, in steps: the way to the store and
/// back, and clocks that run at different speeds.
const SAME_TIME: u64 = steps(3);
/// A server reads all of the bucket from time to time.
const READ_EVERY: u64 = steps(2);

/// A command, as it was made.
#[derive(Debug, Clone, Copy)]
struct Command {
    id: u64,
    target: usize,
    at: u64,
    is_clear: bool,
    /// The step at which it ends by itself.
    ends: Option<u64>,
}

/// What is under way between a server and the bucket.
enum Letter {
    Write(usize, u64, OverrideWrite),
    Written(usize, u64, OverrideWrite, WriteEnd),
    /// A revision that a watch reports: to a process, its key, and its place in the history.
    Read(usize, u64, usize),
}

/// A server's part.
struct Member {
    merge: OverrideMerge,
    /// What its disk has, with the step at which it was written.
    disk: SavedMerge,
    disk_at: u64,
    process: u64,
    read_at: Option<u64>,
}

/// All of it.
pub(crate) struct SharedOverrides {
    members: Vec<Member>,
    /// Every revision: its key, its value, and the step at which it was stored.
    history: Vec<(String, Option<String>, u64)>,
    letters: Vec<(u64, Letter)>,
    commands: Vec<Command>,
    /// The clock of NATS.
    nats: Clock,
    /// Its own, so that the rest of a world does not depend on it.
    chance: Chance,
}

fn merge() -> OverrideMerge {
    let mut merge = OverrideMerge::new(str::to_owned);
    merge.bucket_is("bucket");
    merge
}

impl SharedOverrides {
    pub(crate) fn new(seed: u64) -> SharedOverrides {
        let mut chance = Chance::of(seed ^ 0x0123_4567_89ab_cdef);
        let nats = Clock { offset: Duration::from_secs(chance.below(100_000)), speed: 1_000_000 };
        let member = || Member { merge: merge(), disk: SavedMerge::default(), disk_at: 0, process: 0, read_at: None };
        let members = (0..SERVERS).map(|_| member()).collect();
        SharedOverrides { members, history: Vec::new(), letters: Vec::new(), commands: Vec::new(), nats, chance }
    }

    /// The newest revision of a key, from 1; 0 without one.
    fn newest(&self, key: &str) -> u64 {
        self.history.iter().rposition(|(of, ..)| of == key).map_or(0, |at| at as u64 + 1)
    }

    fn nats_millis(&self, step: u64) -> i64 {
        millis_of(self.nats.at(STEP * step as u32))
    }
}

impl World {
    /// One step of the overrides, after that of the world.
    pub(crate) fn share_overrides(&mut self) {
        self.deliver_letters();
        for at in 0..SERVERS {
            let node = &self.nodes[at];
            if self.now < node.paused_until || self.now < node.dead_until {
                continue;
            }
            let now = self.clock(at);
            if self.shared.members[at].process != node.instance {
                self.start_member(at, now);
            }
            if self.has_faults && self.shared.chance.one_in(COMMAND_EVERY) {
                self.command(at, now);
            }
            if !self.is_store_away(at) {
                self.synchronise(at, now);
            }
            let member = &mut self.shared.members[at];
            member.disk = member.merge.saved(millis_of(now));
            member.disk_at = self.now;
        }
    }

    /// A process starts with what its disk has. Its own clock shows how long it was off.
    fn start_member(&mut self, at: usize, now: Moment) {
        let clock = self.nodes[at].clock;
        let member = &mut self.shared.members[at];
        let written = millis_of(clock.at(STEP * member.disk_at as u32));
        let mut restored = OverrideMerge::new(str::to_owned);
        restored.restore(member.disk.clone(), millis_of(now) - written, millis_of(now)).expect("its own rows");
        (member.merge, member.process, member.read_at) = (restored, self.nodes[at].instance, None);
    }

    fn command(&mut self, at: usize, now: Moment) {
        let (id, target) = (self.shared.chance.number(), self.shared.chance.below(TARGETS.len() as u64) as usize);
        let is_clear = self.shared.chance.one_in(3);
        let lasts = (!is_clear && self.shared.chance.one_in(3)).then(|| steps(1) + self.shared.chance.below(steps(60)));
        let effect = if is_clear { OverrideEffect::Clear } else { OverrideEffect::Set(OverrideState::Drain) };
        let change = FleetOverride {
            id,
            target: TARGETS[target].into(),
            zones: None,
            effect,
            who: "alice".into(),
            why: "test".into(),
            node: format!("ns{at}"),
        };
        let end = lasts.map(|lasts| millis_of(now + STEP * lasts as u32));
        self.shared.members[at].merge.change(change, end, millis_of(now));
        let ends = lasts.map(|lasts| self.now + lasts);
        self.shared.commands.push(Command { id, target, at: self.now, is_clear, ends });
    }

    /// Reads the bucket where that is due, and writes what is pending.
    fn synchronise(&mut self, at: usize, now: Moment) {
        let is_due = self.shared.members[at].read_at.is_none_or(|read| self.now - read >= READ_EVERY);
        if is_due {
            let newest = (0..self.shared.history.len())
                .filter(|nth| self.shared.newest(&self.shared.history[*nth].0) == *nth as u64 + 1)
                .collect::<Vec<_>>();
            for nth in newest {
                self.read_revision(at, nth, now);
            }
            let member = &mut self.shared.members[at];
            member.merge.complete(millis_of(now), Some(millis_of(now)), None);
            member.read_at = Some(self.now);
        }
        let process = self.nodes[at].instance;
        for write in self.shared.members[at].merge.writes(8, millis_of(now)) {
            let arrival = self.now + 1 + self.shared.chance.below(5);
            self.shared.letters.push((arrival, Letter::Write(at, process, write)));
        }
    }

    fn read_revision(&mut self, at: usize, nth: usize, now: Moment) {
        let shared = &mut self.shared;
        let (key, value, stored) = shared.history[nth].clone();
        let (stamp, present) = (shared.nats_millis(stored), shared.nats_millis(self.now));
        let age = if self.bug == Some(Bug::TrustForeignOverrideClock) {
            // By the clock of the reader, which is another one.
            Duration::from_millis(millis_of(now).saturating_sub(stamp).max(0).unsigned_abs())
        } else {
            Duration::from_millis((present - stamp).unsigned_abs())
        };
        let place = StoredAt { revision: nth as u64 + 1, age: Some(age), stamp };
        let merge = &mut shared.members[at].merge;
        let result = merge.read(&key, value.as_deref().map(str::as_bytes), place, millis_of(now));
        if self.bug == Some(Bug::ApplyOldOverride) && result == OverrideRead::Nothing {
            // What arrives is taken in as if it were the newest of all.
            let place = StoredAt { revision: shared.history.len() as u64, ..place };
            merge.read(&key, value.as_deref().map(str::as_bytes), place, millis_of(now));
        }
    }

    fn deliver_letters(&mut self) {
        let due = self.now;
        let letters: Vec<(u64, Letter)> = self.shared.letters.extract_if(.., |(arrival, _)| *arrival <= due).collect();
        for (_, letter) in letters {
            match letter {
                Letter::Write(at, process, write) => self.store_override(at, process, write),
                Letter::Written(at, process, write, end) => {
                    if self.nodes[at].instance == process && self.shared.members[at].process == process {
                        let now = millis_of(self.clock(at));
                        self.shared.members[at].merge.written(&write, end, now);
                    }
                }
                Letter::Read(at, process, nth) => {
                    let is_here = self.nodes[at].instance == process && self.shared.members[at].process == process;
                    if is_here && !self.is_store_away(at) && self.now >= self.nodes[at].paused_until {
                        self.read_revision(at, nth, self.clock(at));
                    }
                }
            }
        }
    }

    /// A write reaches the store, or is lost with its connection; its result may be lost too.
    fn store_override(&mut self, at: usize, process: u64, write: OverrideWrite) {
        let mut end = WriteEnd::Failed;
        let is_overwriting = self.bug == Some(Bug::OverwriteOverride);
        if !self.is_store_away(at) && (is_overwriting || write.expected == self.shared.newest(&write.key)) {
            self.shared.history.push((write.key.clone(), write.value.clone(), self.now));
            let revision = self.shared.history.len();
            end = WriteEnd::Stored(revision as u64);
            for server in 0..SERVERS {
                let copies = if self.has_faults { 1 + self.shared.chance.below(2) } else { 1 };
                for copy in 0..copies {
                    let arrival =
                        self.now + 1 + self.shared.chance.below(4) + copy * self.shared.chance.below(steps(20));
                    let to = self.nodes[server].instance;
                    self.shared.letters.push((arrival, Letter::Read(server, to, revision - 1)));
                }
            }
        }
        if self.has_faults && self.shared.chance.one_in(10) {
            end = WriteEnd::Failed;
        }
        let arrival = self.now + 1 + self.shared.chance.below(5);
        self.shared.letters.push((arrival, Letter::Written(at, process, write, end)));
    }

    /// All servers have the same overrides, and no older change has replaced a newer one.
    pub(crate) fn check_overrides(&self) {
        let in_force = |at: usize| {
            let now = millis_of(self.clock(at));
            let all = self.shared.members[at].merge.in_force(now);
            all.into_iter().map(|(_, timed)| timed.change.id).collect::<Vec<u64>>()
        };
        let first = in_force(0);
        for at in 0..SERVERS {
            let merge = &self.shared.members[at].merge;
            assert_eq!(merge.pending(), 0, "server {at} has pending changes");
            // What ends just now may have ended on one of them only.
            let is_near = |id: &u64| {
                let command = self.shared.commands.iter().find(|command| command.id == *id);
                command.and_then(|command| command.ends).is_some_and(|ends| ends.abs_diff(self.now) <= steps(1))
            };
            let without = |ids: Vec<u64>| ids.into_iter().filter(|id| !is_near(id)).collect::<Vec<u64>>();
            assert_eq!(without(in_force(at)), without(first.clone()), "server {at} has other overrides");
        }
        for (nth, target) in TARGETS.into_iter().enumerate() {
            let of_target = || self.shared.commands.iter().filter(|command| command.target == nth);
            let Some(last) = of_target().map(|command| command.at).max() else { continue };
            let key = self.shared.members[0].merge.key_of(target, None);
            let winner = self.shared.members[0].merge.last_of(&key).expect("a change that was made").change.id;
            let winner = of_target().find(|command| command.id == winner).expect("a command");
            assert!(
                winner.at + SAME_TIME >= last,
                "{target}: the change of step {} is in force, and one of step {last} was made",
                winner.at
            );
            if let (Some(ends), false) = (winner.ends, winner.is_clear) {
                let (is_on, tolerance) = (first.contains(&winner.id), steps(1));
                assert!(!(is_on && self.now > ends + tolerance), "it should have ended");
                assert!(is_on || self.now + tolerance > ends, "it has ended too early");
            }
        }
    }
}
