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

/// Calls `check` as root with the capabilities of [`reduce`], and restores the others.
pub(super) fn without_others<T>(check: impl FnOnce() -> T) -> T {
    let before = capabilities(None).ok();
    if let Some(sets) = before {
        let effective = NEEDED.into_iter().map(|(capability, _)| capability).collect();
        let _ = set_capabilities(None, CapabilitySets { effective: sets.permitted & effective, ..sets });
    }
    let result = check();
    if let Some(sets) = before {
        let _ = set_capabilities(None, sets);
    }
    result
}
