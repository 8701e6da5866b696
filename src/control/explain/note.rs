//! What a decision knows of a stage as a whole, as text.

use crate::control::explain::reason::Renderer;
use crate::model::{MAX_ANSWERS, MemberRef, OnEmpty};
use crate::steering::why::{Change, Changing, Despite, Fallback, TtlBound};
use crate::steering::{Note, PromotionBlock};

impl Renderer<'_> {
    /// The note of a stage.
    pub(crate) fn note(&self, note: &Note) -> String {
        match note {
            Note::NoCandidate => "no endpoint has a record of this type: the answer is empty".to_owned(),
            Note::NothingForClient => {
                "nothing with a record of this type is for this client: the answer is empty".to_owned()
            }
            Note::ActiveHasNone if self.block == Some(PromotionBlock::ActiveUnknown) => {
                "which endpoint is active is not known yet, as the store of leases was not reached: the answer is empty"
                    .to_owned()
            }
            Note::ActiveHasNone => {
                "the active endpoint has no such record for this client: the answer is empty".to_owned()
            }
            Note::AllInside => format!("everything is inside \"{}\"", self.fence()),
            Note::FenceNotApplied => format!("\"{}\" does not apply to this client", self.fence()),
            Note::FenceApplied => format!("\"{}\" applies to this client", self.fence()),
            Note::OwnMonitor => {
                let name = self.policy.monitor.as_ref().map_or("", |own| &own.name);
                format!("by the monitor of the name, \"{name}\"")
            }
            Note::OnEmpty { some_eligible, skipped, gives } => self.on_empty(*some_eligible, *skipped, *gives),
            Note::KindByNet => "a CNAME or addresses by the client's net, for every type the same".to_owned(),
            Note::KindOf(first) => {
                let name = self.name(MemberRef::Endpoint(*first));
                match self.is_cname(*first) {
                    true => format!("a CNAME for every type: \"{name}\" comes first"),
                    false => format!("addresses, no CNAME for any type: \"{name}\" comes first"),
                }
            }
            Note::ByNet(net) => format!("by the client's net (/{}; IPv6 /{})", net.v4, net.v6),
            Note::NotPicked => "SRV: nothing is drawn, the client chooses by priority and weight".to_owned(),
            Note::Limit(1) => "one record in a reply".to_owned(),
            Note::Limit(most) => format!("up to {most} records in a reply"),
            Note::OneDraw => format!(
                "one draw for a reply; a pool that steers all gives all that it has, up to {MAX_ANSWERS} records"
            ),
            Note::Ttl(bound) => self.ttl(*bound),
        }
    }

    fn on_empty(&self, some_eligible: bool, skipped: usize, gives: Fallback) -> String {
        let what = if some_eligible { "what is eligible is for other clients" } else { "nothing is eligible" };
        if self.policy.exclusive.is_some() {
            let text = match gives == Fallback::NothingLeft {
                true => "the active endpoint may not be given: the answer is empty",
                false => "the active endpoint is not up; it is answered all the same, because no other is active",
            };
            return format!("{text}{}", self.block.map(promotion_block_text).unwrap_or_default());
        }
        if gives == Fallback::NothingLeft {
            return format!("{what}, and nothing is left: all of it is forced down, disabled or outside the fence");
        }
        let skipped = self.policy.on_empty.iter().take(skipped);
        let skipped: String =
            skipped.map(|entry| format!("{}, of which nothing is up; then ", self.entry(*entry))).collect();
        format!("{what}; on_empty = {skipped}{}", self.fallback(gives))
    }

    /// An entry of `on_empty` as the policy file writes it.
    fn entry(&self, entry: OnEmpty) -> String {
        match entry {
            OnEmpty::LastGood => "last_good".to_owned(),
            OnEmpty::All => "all".to_owned(),
            OnEmpty::Static => "static".to_owned(),
            OnEmpty::Nodata => "nodata".to_owned(),
            OnEmpty::Other(other) => format!("\"{}\"", self.name(other)),
        }
    }

    fn fallback(&self, gives: Fallback) -> String {
        match gives {
            Fallback::Nodata => "nodata: the answer is empty".to_owned(),
            Fallback::NothingLeft => "nothing".to_owned(),
            Fallback::All => "all: every endpoint of the pool".to_owned(),
            Fallback::LastGood => "last_good: what was given while something was last up".to_owned(),
            Fallback::NeverGood => "last_good: there was no good answer yet, so every endpoint of the pool".to_owned(),
            Fallback::Static => "static: the zone file's records of this name".to_owned(),
            Fallback::StaticOutsideFence => {
                let fence = self.fence();
                format!("static, but it is not known whether the zone file's records are inside \"{fence}\": nodata")
            }
            Fallback::StaticIsAlias => {
                "static, but the zone file has a CNAME, which can't have other records next to it: nodata".to_owned()
            }
            Fallback::Other(other, despite) => {
                let despite = match despite {
                    Despite::Nothing => "",
                    Despite::Drain => ", drained or not",
                    Despite::Health => ", up or not",
                };
                format!("\"{}\"{despite}", self.name(other))
            }
            Fallback::OtherWithout(other) => format!("\"{}\", where nothing may be given: nodata", self.name(other)),
        }
    }

    fn ttl(&self, bound: TtlBound) -> String {
        let ttl = self.decision.ttl;
        match bound {
            TtlBound::NoChange => format!("{ttl} s: nothing that is considered can change, so ttl.max"),
            TtlBound::Max => format!("{ttl} s: nothing could change sooner, so ttl.max"),
            TtlBound::Min(change) => format!("{ttl} s: {}, under ttl.min", self.change(change)),
            TtlBound::Change(change) => format!("{ttl} s: {}", self.change(change)),
        }
    }

    fn change(&self, Change { of, in_tenths }: Change) -> String {
        let name = |endpoint| self.name(MemberRef::Endpoint(endpoint));
        let what = match of {
            Changing::Health(endpoint) => format!("\"{}\" could change", name(endpoint)),
            Changing::Pool(pool) => format!("pool \"{}\" may choose other members", self.pool(pool)),
            Changing::Ramp(endpoint) => format!("the weight of \"{}\" grows", name(endpoint)),
            Changing::Override(endpoint) => format!("the override of \"{}\" ends", name(endpoint)),
            Changing::Lease => return "which endpoint is active may become known at any time".to_owned(),
        };
        format!("{what} in {:.1} s", in_tenths as f64 / 10.0)
    }
}

/// Why nobody is promoted, as the end of a sentence.
fn promotion_block_text(block: PromotionBlock) -> String {
    match block {
        PromotionBlock::ActiveUnknown => "; which endpoint is active is not known yet".to_owned(),
        PromotionBlock::NoStore => {
            "; nobody can be promoted: the store of leases is away or can't be written".to_owned()
        }
        PromotionBlock::TooFewVotes { votes, known } => format!(
            "; nobody is promoted: {votes} of {known} known vantages have a vote, and more than half are needed"
        ),
    }
}
