//! Capabilities (capabilities(7)): the two that a server may need while it runs, and how the others are dropped.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
    set_no_new_privs,
};

/// What a server may need: `icmp` monitors open raw sockets, and the ports of DNS are below 1024.
const NEEDED: [(CapabilitySet, &str); 2] =
    [(CapabilitySet::NET_BIND_SERVICE, "cap_net_bind_service"), (CapabilitySet::NET_RAW, "cap_net_raw")];

/// A capability is one bit of 64.
const BITS: u32 = u64::BITS;

/// Drops all capabilities but those that are needed and there, and forbids to get new ones. Programs that are started
/// later have none. Returns what is left in words. What the system refuses is logged.
pub(super) fn reduce() -> String {
    if let Ok(sets) = capabilities(None) {
        // A process that became another user may use none of them before this.
        let _ = set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets });
    }
    drop_for_programs();
    let mut left: Vec<&str> = Vec::new();
    match capabilities(None) {
        Ok(sets) => {
            let allowed = NEEDED.iter().filter(|(capability, _)| sets.permitted.contains(*capability));
            left.extend(allowed.clone().map(|(_, name)| *name));
            let rest: CapabilitySet = allowed.map(|(capability, _)| *capability).collect();
            let next = CapabilitySets { effective: rest, permitted: rest, inheritable: CapabilitySet::empty() };
            if let Err(error) = set_capabilities(None, next) {
                tracing::warn!(%error, "the system does not let this process drop its capabilities");
            }
        }
        Err(error) => tracing::warn!(%error, "the system does not report the capabilities of this process"),
    }
    if let Err(error) = set_no_new_privs(true) {
        tracing::warn!(%error, "the system does not let this process give up new privileges (no_new_privs)");
    }
    match &left[..] {
        [] => "no capability".to_owned(),
        some => some.join(" and "),
    }
}

/// Programs that this process starts get no capability: not by being root, not by their files, not by inheritance.
/// Each step needs a capability that a process may not have; without it the program gets none either, unless it is
/// root's. So a refusal is no error.
fn drop_for_programs() {
    for bit in 0..BITS {
        // Refused: there are no more capabilities in this kernel, or this process may not drop any.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) == Err(Errno::INVAL) {
            break;
        }
    }
    if let Ok(bits) = capabilities_secure_bits() {
        let _ = set_capabilities_secure_bits(bits | CapabilitiesSecureBits::NO_ROOT);
    }
    let _ = clear_ambient_capability_set();
}

/// Calls `check` as root with the capabilities of [`reduce`], and restores the others. An error says that the system
/// does not let them be dropped: `check` was not called then, because it would have run with all rights.
pub(super) fn without_others<T>(check: impl FnOnce() -> T) -> Result<T, Errno> {
    with_needed(|| capabilities(None), |sets| set_capabilities(None, sets), check)
}

/// The same with these ways to `get` and to `set` the capabilities of the thread.
fn with_needed<T>(
    get: impl FnOnce() -> Result<CapabilitySets, Errno>,
    set: impl Fn(CapabilitySets) -> Result<(), Errno>,
    check: impl FnOnce() -> T,
) -> Result<T, Errno> {
    let before = get()?;
    let needed: CapabilitySet = NEEDED.into_iter().map(|(capability, _)| capability).collect();
    set(CapabilitySets { effective: before.permitted & needed, ..before })?;
    let result = check();
    if let Err(error) = set(before) {
        tracing::warn!(%error, "the system does not give back the capabilities that were dropped for a check of files");
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const BEFORE: CapabilitySets = CapabilitySets {
        effective: CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::NET_RAW),
        permitted: CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::NET_RAW),
        inheritable: CapabilitySet::empty(),
    };

    fn never() -> u8 {
        unreachable!("it would run with all rights")
    }

    #[test]
    fn a_check_runs_without_other_capabilities_or_not_at_all() {
        let set = RefCell::new(Vec::new());
        let note = |sets: CapabilitySets| {
            set.borrow_mut().push(sets.effective);
            Ok(())
        };
        let at_check = with_needed(|| Ok(BEFORE), note, || set.borrow().clone());
        assert_eq!(at_check, Ok(vec![CapabilitySet::NET_RAW]));
        assert_eq!(*set.borrow(), [CapabilitySet::NET_RAW, BEFORE.effective], "restored after it");

        assert_eq!(with_needed(|| Err(Errno::INVAL), note, never), Err(Errno::INVAL));
        assert_eq!(with_needed(|| Ok(BEFORE), |_| Err(Errno::PERM), never), Err(Errno::PERM));
        assert_eq!(set.borrow().len(), 2, "nothing is restored that was not dropped");
    }

    #[test]
    fn what_was_checked_counts_also_where_the_others_are_not_given_back() {
        let calls = Cell::new(0);
        let refuse_second = |_: CapabilitySets| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { Ok(()) } else { Err(Errno::PERM) }
        };
        assert_eq!(with_needed(|| Ok(BEFORE), refuse_second, || "checked"), Ok("checked"));
        assert_eq!(calls.get(), 2);
    }
}
