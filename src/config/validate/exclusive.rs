//! Names with `failover = "exclusive"`: what they need, and what has no meaning for them.

use crate::config::spec::{Failover, NameSpec};
use crate::config::validate::context::NameContext;
use crate::masterfile::type_name;
use crate::model::{AdminState, Exclusive, Facet, Failback, MemberRef};
use crate::source::{ManualSection, Problems};
use crate::wire::Name;

/// The most exclusive names of all zones, without last good versions that are served in place of wrong files. Judgment:
/// the holder of all their leases writes each once a second.
pub(in crate::config) const MAX_EXCLUSIVE: usize = 1000;

impl NameSpec {
    /// Whether its active endpoint is that of a lease.
    pub(in crate::config) fn is_exclusive(&self) -> bool {
        self.failover.as_ref().is_some_and(|at| at.value == Failover::Exclusive)
    }

    /// The owner of the TXT record with its epoch; `None`: it would be longer than a name may be.
    fn epoch_owner(&self) -> Option<Name> {
        let wire = [b"\x06_epoch", self.owner.as_wire()].concat();
        Name::from_wire(&wire)
    }
}

impl NameContext<'_> {
    /// What makes the name exclusive; `None`: it is not, or it can't be, which is a problem.
    pub(super) fn exclusive(&self, root: MemberRef, problems: &mut Problems) -> Option<Exclusive> {
        let written = self.name.failover.as_ref().filter(|_| self.name.is_exclusive())?;
        let label = &self.name.name.value;
        let place = &written.place;
        let errors = problems.errors();
        if !self.zone.has_fleet {
            let message = "`failover = \"exclusive\"` needs a fleet: its lease is in NATS";
            problems.error(place, message).see(ManualSection::Name).hint(
                "write `[fleet]` with `nats` and `cluster` in portolan.toml, which takes a restart; or let each node \
                 decide: `failover = \"shared\"`",
            );
        }
        if self.name.owner.is_wildcard() {
            let message = format!("`{label}` can't be exclusive: a lease is for one name");
            problems.error(place, message).hint("write each name, as `[name.NAME]`");
        }
        self.check_pool(root, problems);
        self.check_keys(problems);
        let owner = self.check_epoch(problems);
        let owner = owner.filter(|_| problems.errors() == errors)?;
        let failback = self.name.failback.as_ref().map_or(Failback::Manual, |at| at.value);
        Some(Exclusive { owner: self.name.owner.clone(), epoch_owner: owner, failback })
    }

    /// The pool must be a list of endpoints of one kind, in the order of preference.
    fn check_pool(&self, root: MemberRef, problems: &mut Problems) {
        let Some(written) = &self.name.pool else { return };
        let hint = "write a pool with `steer = \"failover\"`, whose members are endpoints, first the preferred one";
        let members = match root {
            MemberRef::Endpoint(_) => 1,
            MemberRef::Pool(id) => {
                let pool = self.model.pool(id);
                if !pool.steering.has_failback() {
                    let message =
                        format!("an exclusive name needs a pool that steers by failover, and `{}` does not", pool.name);
                    problems.error(&written.place, message).hint(hint);
                    return;
                }
                if pool.members.iter().any(|member| matches!(member.to, MemberRef::Pool(_))) {
                    let message =
                        format!("`{}` has pools as members: an exclusive name has one active endpoint", pool.name);
                    problems.error(&written.place, message).hint(hint);
                    return;
                }
                pool.members.len()
            }
        };
        if members < 2 {
            let message = "an exclusive name needs two endpoints: there is nothing to move to";
            problems.error(&written.place, message).hint(hint);
        }
        let has = |alias: bool| {
            self.endpoints().any(|of| of.answerables.iter().any(|side| (side.facet == Facet::Alias) == alias))
        };
        if has(true) && has(false) {
            let message = "the endpoints of an exclusive name must all have addresses, or all be cnames";
            problems.error(&written.place, message).hint("give them addresses, or a cname each");
        }
        for endpoint in self.endpoints().filter(|of| of.state == AdminState::Disabled) {
            let problem =
                problems.warning(&written.place, format!("`{}` is disabled: it is never promoted", endpoint.name));
            self.point_at(problem, &endpoint.name);
            problem.hint("take it out of the pool until it is enabled");
        }
        if self.name.monitor.is_some() {
            return;
        }
        let enabled = self.endpoints().filter(|of| of.state != AdminState::Disabled);
        for endpoint in enabled.filter(|of| of.answerables.iter().all(|side| side.check.is_none())) {
            let message =
                format!("`{}` has no monitor, so it always counts as up and is never replaced", endpoint.name);
            let problem = problems.warning(&written.place, message);
            self.point_at(problem, &endpoint.name);
            problem.hint("write `monitor = \"NAME\"` in that endpoint, or in this name");
        }
    }

    /// Keys that would give more than the active endpoint.
    fn check_keys(&self, problems: &mut Problems) {
        if let Some(answers) = self.name.own.answers.as_ref().filter(|at| at.value > 1) {
            let message = "an exclusive name has one active endpoint, so `answers` must be 1";
            problems.error(&answers.place, message).hint("leave `answers` out");
        }
        if let Some(on_empty) = self.name.own.on_empty.as_ref() {
            let message = "`on_empty` does nothing for an exclusive name: its active endpoint is answered, up or down";
            problems.error(&on_empty.place, message).hint("leave `on_empty` out");
        }
    }

    /// The name of the record with the epoch must be free.
    fn check_epoch(&self, problems: &mut Problems) -> Option<Name> {
        let place = &self.name.name.place;
        let Some(owner) = self.name.epoch_owner() else {
            let message = "this name is too long to be exclusive: `_epoch` in front of it makes more than 255 octets";
            problems.error(place, message).hint("choose a shorter name");
            return None;
        };
        if let Some((set, at)) = self.file.at(&owner).next() {
            let message = format!(
                "{owner} has the epoch of this name, and the zone file has a {} record there",
                type_name(set.rtype)
            );
            problems.error(place, message).label(at, "this record").hint("remove that record");
        }
        if let Some(other) = self.spec.steered(&owner) {
            let message = format!("{owner} has the epoch of this name, and is steered itself");
            problems.error(place, message).label(&other.name.place, "steered here").hint("rename that name");
        }
        Some(owner)
    }
}
