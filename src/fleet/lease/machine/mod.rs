//! One server's part in the lease of one name: a value that learns what happened, and says in [`LeaseMachine::poll`]
//! what to do about it. It never waits, and reads no clock.

mod acting;
mod ending;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::fleet::lease::promotion::MemberMemory;
use crate::fleet::lease::value::UnreadableLease;
use crate::fleet::lease::{
    HookResult, HookRun, Lease, LeaseAction, LeaseEvent, LeaseSettings, LeaseSituation, MARGIN_PART, ORDER_PATIENCE,
    READ_EVERY, RENEWALS, RETRY_WRITE, RETRY_WRITE_LONGEST, STALLED_AFTER, StoredLease, WRITE_TIMEOUT, WriteResult,
    doubled,
};
use crate::model::{ActiveEndpoint, Moment};

/// The bits of the instance from which a machine numbers its writes. JSON has such numbers without loss.
const FIRST_WRITE: u64 = (1 << 40) - 1;

/// One server's part in the lease of one name.
#[derive(Debug, Clone)]
pub struct LeaseMachine {
    settings: LeaseSettings,
    /// What is served: the highest epoch that this server knows.
    active: Option<ActiveEndpoint>,
    /// The store was read and had no lease: until there is one, the first member is active everywhere.
    was_free: bool,
    members: MemberMemory,
    /// `Some` while the watch is live.
    store: Option<KnownRevision>,
    /// The watch was lost before, and no newer revision has come since it is live again: the store may only be read.
    is_doubtful: bool,
    /// This server wrote the newest revision that it knows.
    tenure: Option<Tenure>,
    /// The write whose result is awaited.
    write: Option<PendingWrite>,
    /// The last write whose result was lost: a revision may show that it was stored.
    lost: Option<PendingWrite>,
    /// The newest revision may be another than the known one: it is read, and nothing is written until it is known.
    reading: Option<Reading>,
    /// Writes in a row that were not stored; the next one is not before `write_after`.
    failures: u32,
    write_after: Moment,
    promotion: Option<Promotion>,
    order: Option<Order>,
    /// It has given the lease up, because its server stops.
    resigned: bool,
    writes: u64,
    actions: VecDeque<LeaseAction>,
}

/// The newest revision that the store is known to have.
#[derive(Debug, Clone)]
struct KnownRevision {
    number: u64,
    content: StoredLease,
    /// When it was received, or the watch became live.
    since: Moment,
}

#[derive(Debug, Clone)]
struct Tenure {
    /// When the newest revision was sent.
    sent_at: Moment,
    /// Until then no other server takes the lease over, and a hook may run.
    until: Moment,
}

#[derive(Debug, Clone)]
struct PendingWrite {
    id: u64,
    lease: Lease,
    sent_at: Moment,
}

#[derive(Debug, Clone)]
struct Reading {
    /// When to read, again if the last one had no result.
    due: Moment,
    /// The newest revision that was known at the last read.
    known: u64,
}

/// A promotion at this server.
#[derive(Debug, Clone)]
struct Promotion {
    run: HookRun,
    why: Arc<str>,
    order: Option<Order>,
    stage: PromotionStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PromotionStage {
    /// The CAS with `promoting` is under way; without a hook that with the endpoint.
    Announcing,
    /// The hook runs, until this time at most.
    Running(Moment),
    /// The hook has done its work: the endpoint is to be written.
    Finishing,
}

/// A failback that an operator wants.
#[derive(Debug, Clone)]
struct Order {
    number: u64,
    who: Arc<str>,
    until: Moment,
}

impl LeaseMachine {
    /// A machine that serves `restored`, what this server knew last, until it knows more.
    pub fn new(settings: LeaseSettings, restored: Option<ActiveEndpoint>) -> LeaseMachine {
        LeaseMachine {
            // The result of a write of an earlier machine of the name must not be taken for one of this machine.
            writes: settings.instance & FIRST_WRITE,
            settings,
            active: restored,
            was_free: false,
            members: MemberMemory::default(),
            store: None,
            is_doubtful: false,
            tenure: None,
            write: None,
            lost: None,
            reading: None,
            failures: 0,
            write_after: Moment::START,
            promotion: None,
            order: None,
            resigned: false,
            actions: VecDeque::new(),
        }
    }

    /// Whether nobody has promoted an endpoint of the name yet, so that the first member listed is active.
    pub fn is_free(&self) -> bool {
        self.active.is_none() && self.was_free
    }

    /// The endpoint to answer with; `None`: no lease is known.
    pub fn active(&self) -> Option<&ActiveEndpoint> {
        self.active.as_ref()
    }

    /// Whether this server holds the lease at `now`, as far as it knows: only an operator's order takes a lease away
    /// that is renewed.
    pub fn is_holder(&self, now: Moment) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| now < tenure.until)
    }

    /// Whether the watch of the store is live.
    pub fn is_connected(&self) -> bool {
        self.store.is_some()
    }

    /// The newest lease of the store, while its watch is live.
    pub fn lease(&self) -> Option<&Lease> {
        self.store.as_ref().and_then(|known| match &known.content {
            StoredLease::Lease(lease) => Some(lease),
            StoredLease::Nothing | StoredLease::Unreadable(_) => None,
        })
    }

    /// Whether the store can be read, and no server was able to write the lease for too long: nobody can promote.
    pub fn is_stalled(&self, now: Moment) -> bool {
        self.stalls_at().is_some_and(|at| at <= now)
    }

    /// The newest lease, if a server was able to write it lately: its holder can promote.
    pub fn written_lease(&self, now: Moment) -> Option<&Lease> {
        self.lease().filter(|_| !self.is_doubtful && !self.is_stalled(now))
    }

    /// When the lease counts as stalled, unless it is written before.
    fn stalls_at(&self) -> Option<Moment> {
        let known = self.store.as_ref()?;
        Some(known.since + self.lease()?.duration * STALLED_AFTER)
    }

    /// The watch of the store is live, and this is the newest revision of the name; 0 with nothing if there never was
    /// one. Expiry is judged from now on.
    pub fn store_live(&mut self, number: u64, content: StoredLease, now: Moment) {
        self.store_lost();
        let was_lost = std::mem::take(&mut self.is_doubtful);
        self.seen(number, content, now);
        self.is_doubtful = was_lost;
    }

    /// The watch of the store is not live any more: nothing is known of newer revisions.
    pub fn store_lost(&mut self) {
        self.is_doubtful |= self.store.is_some();
        self.store = None;
        self.reading = None;
    }

    /// A revision of the name, by the watch. One that is not newer than the newest known is ignored.
    pub fn seen(&mut self, number: u64, content: StoredLease, now: Moment) {
        if self.store.as_ref().is_none_or(|known| number > known.number) {
            self.receive(number, content, now);
        }
    }

    /// The result of a read: the newest revision, 0 with nothing if there never was one.
    pub fn read(&mut self, number: u64, content: StoredLease, now: Moment) {
        let Some(known) = &self.store else { return };
        let Some(reading) = self.reading.take() else { return self.seen(number, content, now) };
        // A lower number, and nothing newer since the question: the store was made anew.
        if number > known.number || (number < known.number && reading.known == known.number) {
            self.receive(number, content, now);
        }
    }

    /// The result of a write.
    pub fn written(&mut self, id: u64, result: WriteResult, now: Moment) {
        let pending = self.write.take_if(|write| write.id == id);
        let Some(write) = pending.or_else(|| self.lost.take_if(|write| write.id == id)) else { return };
        match result {
            WriteResult::Stored(number) => {
                // After a break of the watch nothing is known, and the next one gives this revision or a newer one.
                if self.store.as_ref().is_some_and(|known| number > known.number) {
                    self.stored(number, write, now);
                }
            }
            WriteResult::Conflict => self.not_stored(now),
            WriteResult::Unknown => {
                self.lost = Some(write);
                self.not_stored(now);
            }
        }
    }

    /// New verdicts on the members.
    pub fn learn(&mut self, situation: LeaseSituation) {
        self.members.learn(situation);
    }

    /// An operator wants the first member that is up to be active. [`LeaseEvent::OrderEnded`] reports the end.
    pub fn hand_back(&mut self, number: u64, who: Arc<str>, now: Moment) {
        let order = Order { number, who, until: now + ORDER_PATIENCE };
        if let Some(before) = self.order.replace(order) {
            self.end_order(&before, Err("another failback of the same name came after it".to_owned()));
        }
    }

    /// The hook of an epoch has ended.
    pub fn hook_ended(&mut self, epoch: u64, result: HookResult, now: Moment) {
        let Some(promotion) = self.promotion.as_mut().filter(|of| of.run.epoch == epoch) else { return };
        match (promotion.stage, result) {
            (PromotionStage::Running(_), HookResult::Done) => promotion.stage = PromotionStage::Finishing,
            (PromotionStage::Running(_), HookResult::Failed(why)) => self.fail(&format!("its hook failed: {why}"), now),
            (PromotionStage::Announcing | PromotionStage::Finishing, _) => {}
        }
    }

    /// Gives the lease up, because the server stops. Another one may take it over soon.
    pub fn resign(&mut self, now: Moment) {
        self.break_off("this server stops");
        if let Some(order) = self.order.take() {
            self.end_order(&order, Err("this server stops".to_owned()));
        }
        self.give_up(now);
        self.resigned = true;
        self.tenure = None;
    }

    /// What to do now: call it after everything that happened, and at [`LeaseMachine::deadline`].
    pub fn poll(&mut self, now: Moment) -> Vec<LeaseAction> {
        if let Some(write) = self.write.take_if(|write| write.sent_at + WRITE_TIMEOUT <= now) {
            self.lost = Some(write);
            self.not_stored(now);
        }
        if self.tenure.as_ref().is_some_and(|tenure| tenure.until <= now) {
            self.break_off("the lease could not be renewed in time");
        }
        if let Some(Promotion { stage: PromotionStage::Running(until), .. }) = &self.promotion
            && *until <= now
        {
            self.fail("its hook took too long", now);
        }
        if self.promotion.is_none()
            && let Some(order) = self.order.take_if(|order| order.until <= now)
        {
            self.give_up_order(&order);
        }
        let known = self.store.as_ref().map(|known| known.number);
        match (&mut self.reading, known) {
            (Some(reading), Some(known)) if reading.due <= now => {
                *reading = Reading { due: now + READ_EVERY, known };
                self.actions.push_back(LeaseAction::Read);
            }
            (Some(_), _) | (None, None) => {}
            (None, Some(_)) => {
                if self.write.is_none() && !self.resigned && self.write_after <= now {
                    self.act(now);
                }
            }
        }
        self.actions.drain(..).collect()
    }

    /// When [`LeaseMachine::poll`] has something to do by time alone.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        let tenure = self.tenure.as_ref();
        let could_write = self.store.is_some() && self.write.is_none() && self.reading.is_none() && !self.resigned;
        let may_write = could_write && self.write_after <= now;
        let running = self.promotion.as_ref().and_then(|promotion| match promotion.stage {
            PromotionStage::Running(until) => Some(until),
            PromotionStage::Announcing | PromotionStage::Finishing => None,
        });
        let expiry = self.store.as_ref().and_then(|known| Some(known.since + self.lease()?.duration));
        [
            self.write.as_ref().map(|write| write.sent_at + WRITE_TIMEOUT),
            self.reading.as_ref().filter(|_| self.store.is_some()).map(|reading| reading.due),
            (could_write && !may_write).then_some(self.write_after),
            tenure.filter(|_| self.promotion.is_some()).map(|tenure| tenure.until),
            running,
            tenure.filter(|_| may_write).map(|tenure| self.renewal(tenure)),
            expiry.filter(|_| may_write && tenure.is_none()),
            self.order.as_ref().filter(|_| self.promotion.is_none()).map(|order| order.until),
            self.stalls_at().filter(|at| *at > now),
            tenure.filter(|_| may_write).and_then(|_| self.members.deadline(now)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes over a revision that is the newest now.
    fn receive(&mut self, number: u64, content: StoredLease, now: Moment) {
        self.reading = None;
        // A write whose result is still to come, or was lost.
        let is_that = |write: &mut PendingWrite| matches!(&content, StoredLease::Lease(lease) if *lease == write.lease);
        let own = self.write.take_if(is_that).or_else(|| self.lost.take_if(is_that));
        match own {
            Some(write) => self.stored(number, write, now),
            None => self.adopt(number, content, now),
        }
    }

    /// A write of this server is the newest revision.
    fn stored(&mut self, number: u64, write: PendingWrite, now: Moment) {
        let PendingWrite { lease, sent_at, .. } = write;
        let before = self.lease().map(|before| before.holder.clone());
        let until = sent_at + lease.duration.saturating_sub(lease.duration / MARGIN_PART);
        if !self.resigned && self.tenure.replace(Tenure { sent_at, until }).is_none() {
            self.actions.push_back(LeaseAction::Report(LeaseEvent::Taken { from: before }));
        }
        (self.reading, self.failures, self.is_doubtful) = (None, 0, false);
        self.store = Some(KnownRevision { number, content: StoredLease::Lease(lease.clone()), since: now });
        self.follow(&lease);
        self.advance(&lease, until, now);
    }

    /// A revision that this server did not write, or wrote without noticing.
    fn adopt(&mut self, number: u64, content: StoredLease, now: Moment) {
        let is_own = match &content {
            StoredLease::Lease(lease) => lease.instance == self.settings.instance && lease.holder == self.settings.node,
            StoredLease::Nothing | StoredLease::Unreadable(_) => false,
        };
        if !is_own && self.tenure.take().is_some() {
            self.break_off("the lease is not this server's any more");
            self.actions.push_back(LeaseAction::Report(LeaseEvent::Lost));
        }
        match &content {
            StoredLease::Lease(lease) => self.follow(lease),
            StoredLease::Unreadable(UnreadableLease(why)) => {
                self.actions.push_back(LeaseAction::Report(LeaseEvent::Unreadable(why.clone())));
            }
            StoredLease::Nothing => self.was_free = true,
        }
        self.is_doubtful = false;
        self.store = Some(KnownRevision { number, content, since: now });
    }

    /// Serves what a lease says, unless a higher epoch is known.
    fn follow(&mut self, lease: &Lease) {
        let before = self.active.clone();
        if before.as_ref().is_some_and(|before| before.epoch > lease.active.epoch) {
            return;
        }
        let highest = before.as_ref().map_or(0, |before| before.highest).max(lease.active.highest);
        self.active = Some(ActiveEndpoint { highest, ..lease.active.clone() });
        if let Some(before) = before.filter(|before| before.endpoint != lease.active.endpoint) {
            self.actions.push_back(LeaseAction::Report(LeaseEvent::Moved {
                from: before.endpoint,
                to: lease.active.clone(),
                holder: lease.holder.clone(),
                why: lease.why.clone(),
            }));
        }
    }

    /// Another revision may be newer, or the store refuses writes. The first retry comes at once.
    fn not_stored(&mut self, now: Moment) {
        let wait = self.failures.checked_sub(1).map(|earlier| doubled(RETRY_WRITE, earlier, RETRY_WRITE_LONGEST));
        self.write_after = now + wait.unwrap_or_default();
        self.failures = self.failures.saturating_add(1);
        if let (None, Some(known)) = (&self.reading, &self.store) {
            self.reading = Some(Reading { due: now, known: known.number });
        }
    }

    fn renewal(&self, tenure: &Tenure) -> Moment {
        tenure.sent_at + self.settings.duration / RENEWALS
    }
}
