//! Bugs that a simulation may have on purpose: each makes a server do with its input or output what a wrong server
//! would. A simulation that does not notice them proves nothing.

use portolan::fleet::lease::{HookResult, LeaseWrite};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The votes of vantages that are silent for long count.
    CountStaleVotes,
    /// The votes of blind vantages count.
    CountBlindVotes,
    /// The time of a message is that of its sender's clock.
    TrustForeignClock,
    /// A message that was received before is taken in again.
    ApplyOldReport,
    /// A server believes its own vantage alone.
    TrustOneVantage,
    /// A server promotes without the lease.
    SkipLeaseCheck,
    /// A promotion does not raise the epoch.
    ForgetEpoch,
    /// An epoch that a broken promotion used is used again.
    ReuseEpoch,
    /// A promotion goes on after its hook failed.
    IgnoreHook,
    /// A server answers with the last revision that it received, though a newer one came before.
    ServeOldRevision,
    /// An override that arrives late again replaces a newer one.
    ApplyOldOverride,
    /// A server writes its override over a newer one that it has not read.
    OverwriteOverride,
    /// The age of an override is counted by the clock of another host.
    TrustForeignOverrideClock,
    /// The goodbye of an earlier process ends the present one.
    ObeyForeignGoodbye,
    /// A vantage that has stopped in order counts as known.
    IgnoreGoodbye,
}

impl Bug {
    pub(crate) const ALL: [Bug; 15] = [
        Bug::CountStaleVotes,
        Bug::CountBlindVotes,
        Bug::TrustForeignClock,
        Bug::ApplyOldReport,
        Bug::TrustOneVantage,
        Bug::SkipLeaseCheck,
        Bug::ForgetEpoch,
        Bug::ReuseEpoch,
        Bug::IgnoreHook,
        Bug::ServeOldRevision,
        Bug::ApplyOldOverride,
        Bug::OverwriteOverride,
        Bug::TrustForeignOverrideClock,
        Bug::ObeyForeignGoodbye,
        Bug::IgnoreGoodbye,
    ];

    /// What a server with this bug writes instead of `write`, where `known` is the epoch of the newest lease.
    pub(crate) fn in_write(bug: Option<Bug>, mut write: LeaseWrite, known: Option<u64>) -> LeaseWrite {
        let active = &mut write.lease.active;
        match (bug, known) {
            (Some(Bug::ForgetEpoch), Some(known)) => active.epoch = known,
            (Some(Bug::ReuseEpoch), Some(_)) if write.lease.promoting.is_none() => active.highest = active.epoch,
            _ => {}
        }
        write
    }

    pub(crate) fn in_hook(bug: Option<Bug>, result: HookResult) -> HookResult {
        if bug == Some(Bug::IgnoreHook) { HookResult::Done } else { result }
    }
}
