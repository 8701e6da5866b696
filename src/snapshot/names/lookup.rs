//! Looks a name up: the node of the name or of its closest ancestor, and what that means for the name (RFC 1034, 4.3.2;
//! RFC 4592; RFC 6672).

use super::{Below, LookupResult, NONE, NodeKind, NodeRef, ZoneTable, hash_of};
use crate::model::ZoneId;
use crate::wire::NameBuf;

/// Room for the places where the labels of a name begin: a name of 255 octets has 127 labels and the root.
const MOST_LABELS: usize = 128;

impl ZoneTable {
    /// The node of `name`, or of its closest ancestor that has one, and whether it is the name's.
    pub(super) fn closest(&self, name: &NameBuf) -> Option<(u32, bool)> {
        // Nearly every name exists, or its parent does.
        if let Some(node) = self.lookup(name.as_wire()) {
            return Some((node, true));
        }
        let parent = name.parent()?;
        let found = self.lookup(parent).or_else(|| self.closest_above(parent, None));
        found.map(|node| (node, false))
    }

    /// The node of the closest ancestor of `name`, which has none itself. `top`: the node of an ancestor, and how many
    /// octets of `name` are before that; `None`: the root's. By bisection over the places where labels begin, which are
    /// read once.
    #[inline(never)]
    pub(super) fn closest_above(&self, name: &[u8], top: Option<(u32, usize)>) -> Option<u32> {
        let (mut found, end) = match top {
            Some(top) => top,
            None => (self.lookup(&[0])?, name.len() - 1),
        };
        let before = name.get(..end)?;
        let mut starts = [0_u8; MOST_LABELS];
        let (mut at, mut there) = (0, 0);
        for start in &mut starts {
            let Some(&len) = before.get(at) else { break };
            *start = at as u8;
            at += 1 + usize::from(len);
            there += 1;
        }
        let mut missing = 0;
        while there - missing > 1 {
            let middle = usize::midpoint(missing, there);
            match self.lookup(name.get(starts[middle % MOST_LABELS].into()..)?) {
                Some(node) => (there, found) = (middle, node),
                None => missing = middle,
            }
        }
        Some(found)
    }

    pub(super) fn lookup(&self, name: &[u8]) -> Option<u32> {
        self.index.find(hash_of(name), |node| self.name_of(node) == name)
    }

    /// The result for a name whose closest existing ancestor is the node `at`, or whose own it is.
    pub(super) fn classify(&self, at: u32, is_exact: bool, for_ds: bool) -> LookupResult<'_> {
        let node = &self.nodes[at as usize];
        let found = NodeRef { table: self, at };
        match node.kind {
            NodeKind::Void => LookupResult::Outside,
            NodeKind::Apex if for_ds && is_exact && node.link != NONE => self.classify(node.link, true, true),
            NodeKind::Apex | NodeKind::Plain if is_exact => LookupResult::Exact(found),
            NodeKind::Apex | NodeKind::Plain if node.below == Below::Redirected => LookupResult::Redirected(found),
            NodeKind::Apex | NodeKind::Plain if node.wildcard != NONE => {
                LookupResult::Wildcard(NodeRef { table: self, at: node.wildcard })
            }
            NodeKind::Apex | NodeKind::Plain => LookupResult::Missing(ZoneId(node.zone)),
            NodeKind::Cut if for_ds && is_exact => LookupResult::Exact(found),
            NodeKind::Cut => LookupResult::Referral(found),
            NodeKind::Hidden => {
                let cover = NodeRef { table: self, at: node.link };
                match self.nodes[node.link as usize].kind {
                    NodeKind::Cut => LookupResult::Referral(cover),
                    _ => LookupResult::Redirected(cover),
                }
            }
        }
    }
}
