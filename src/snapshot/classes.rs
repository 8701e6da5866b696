//! The classes of clients that one policy distinguishes. A model may have thousands of classes; a policy looks at the
//! region, or at a few selectors. Classes that are equal in what a policy looks at are one *local* class of it.
//! Policies that look at the same share their local classes and the tables from an address to a local class. In these
//! tables neighbours of one local class are one range, so that a scope is the shortest that is true for the policy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{ClassId, ClientClass, Model, PolicyId, Selector, SelectorId};
use crate::placing::ClientTable;
use crate::snapshot::KnownBy;
use crate::steering::{self, Interest};

/// Clients that one policy does not distinguish. Meaningful only with that policy, or one of the same [`ClassGroup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LocalClass(pub u16);

/// Policies that look at the same in clients and have the same cut-off for ECS: they give every client the same class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClassGroup(u32);

/// The local classes of every policy.
#[derive(Debug)]
pub(crate) struct PolicyClasses {
    groups: Vec<GroupClasses>,
    /// By policy.
    of_policy: Vec<ClassGroup>,
    /// The classes of the model themselves, for explanations.
    whole: ClientTable,
}

/// The clients of one group of policies.
#[derive(Debug)]
struct GroupClasses {
    locals: Arc<LocalClasses>,
    /// `None` where there is only one local class.
    tables: Option<GroupTables>,
}

/// By how the client's address is known.
#[derive(Debug)]
struct GroupTables {
    whole: Arc<ClientTable>,
    by_ecs: Arc<ClientTable>,
}

/// The local classes of one interest.
#[derive(Debug)]
pub(crate) struct LocalClasses {
    /// For each local class, the first class of the model that belongs to it; at least one.
    first: Vec<ClassId>,
    /// The label of each, the same in every generation: equal labels mean the same clients, as far as files define
    /// them.
    pub(crate) labels: Vec<Arc<str>>,
    /// The local class of each class of the model.
    projection: Vec<ClassId>,
}

impl PolicyClasses {
    /// Finds the local classes of every policy.
    pub(crate) fn of(model: &Model) -> PolicyClasses {
        let mut builder = Builder { model, locals: HashMap::new(), tables: HashMap::new() };
        let (mut groups, mut known) = (Vec::new(), HashMap::new());
        let policies = (0..model.policies.len() as u32).map(PolicyId);
        let of_policy = policies.map(|policy| {
            let ecs = model.zone(model.policy(policy).zone).ecs;
            let cutoff = ecs.enabled.then_some((ecs.v4, ecs.v6));
            let interest = steering::interest(model, policy);
            *known.entry((interest.clone(), cutoff)).or_insert_with(|| {
                groups.push(builder.group_classes(interest, cutoff));
                ClassGroup(groups.len() as u32 - 1)
            })
        });
        let of_policy = of_policy.collect();
        PolicyClasses { groups, of_policy, whole: ClientTable::compile(&model.clients, None, None) }
    }

    pub(crate) fn group(&self, policy: PolicyId) -> ClassGroup {
        self.of_policy[policy.0 as usize]
    }

    pub(crate) fn locals(&self, policy: PolicyId) -> &LocalClasses {
        &self.of_group(self.group(policy)).locals
    }

    /// The local class of `ip`, and the shortest prefix length around it whose addresses all have it.
    pub(crate) fn place(&self, ip: IpAddr, group: ClassGroup, by: KnownBy) -> (LocalClass, u8) {
        match (&self.of_group(group).tables, by) {
            (None, KnownBy::Address | KnownBy::Ecs) => (LocalClass(0), 0),
            (Some(tables), KnownBy::Address) => local(tables.whole.lookup(ip)),
            (Some(tables), KnownBy::Ecs) => local(tables.by_ecs.lookup(ip)),
        }
    }

    /// The class of `ip`, seen whole, and the shortest prefix length around it whose addresses are all of it.
    pub(crate) fn class(&self, ip: IpAddr) -> (ClassId, u8) {
        self.whole.lookup(ip)
    }

    fn of_group(&self, group: ClassGroup) -> &GroupClasses {
        &self.groups[group.0 as usize]
    }
}

fn local((class, scope): (ClassId, u8)) -> (LocalClass, u8) {
    (LocalClass(class.0), scope)
}

/// Nets that are cut for clients known by ECS: no longer than this in IPv4 and IPv6.
type Cutoff = Option<(u8, u8)>;

/// Builds what several policies share, once.
struct Builder<'m> {
    model: &'m Model,
    locals: HashMap<Interest, Arc<LocalClasses>>,
    tables: HashMap<(Interest, Cutoff), Arc<ClientTable>>,
}

impl Builder<'_> {
    fn group_classes(&mut self, interest: Interest, cutoff: Cutoff) -> GroupClasses {
        let made = || Arc::new(LocalClasses::of(self.model, &interest));
        let locals = self.locals.entry(interest.clone()).or_insert_with(made).clone();
        let mut table = |cutoff: Cutoff| {
            let made = || Arc::new(ClientTable::compile(&self.model.clients, Some(&locals.projection), cutoff));
            self.tables.entry((interest.clone(), cutoff)).or_insert_with(made).clone()
        };
        // Where a zone does not use ECS no client is known by it, and no table is compiled for it.
        let tables = (locals.first.len() > 1).then(|| GroupTables { whole: table(None), by_ecs: table(cutoff) });
        GroupClasses { locals, tables }
    }
}

impl LocalClasses {
    fn of(model: &Model, interest: &Interest) -> LocalClasses {
        let (mut first, mut known) = (Vec::new(), HashMap::new());
        let projection = model.clients.classes.iter().zip(0..).map(|(class, at)| {
            let seen = ClientClass {
                region: class.region.filter(|_| interest.region),
                selectors: interest.selectors.iter().copied().filter(|id| class.is_selected(*id)).collect(),
            };
            *known.entry(seen).or_insert_with(|| {
                first.push(ClassId(at));
                ClassId(first.len() as u16 - 1)
            })
        });
        let projection = projection.collect();
        let selectors: Vec<Arc<str>> = interest.selectors.iter().map(|id| selector_label(model, *id)).collect();
        let of = |class: &ClassId| &model.clients.classes[usize::from(class.0)];
        let labels = first.iter().map(|class| label(model, interest, &selectors, of(class))).collect();
        LocalClasses { first, labels, projection }
    }

    /// The first class of the model in each local class, in their order.
    pub(crate) fn classes<'m>(&'m self, model: &'m Model) -> impl ExactSizeIterator<Item = &'m ClientClass> {
        self.first.iter().map(|class| &model.clients.classes[usize::from(class.0)])
    }

    /// The first class of the model in `class`, which represents all of them.
    pub(crate) fn first_class(&self, class: LocalClass) -> ClassId {
        self.first[usize::from(class.0)]
    }

    /// The local class of a class of the model.
    pub(crate) fn local(&self, class: ClassId) -> LocalClass {
        LocalClass(self.projection.get(usize::from(class.0)).map_or(0, |local| local.0))
    }

    /// The local class with this label.
    pub(crate) fn with_label(&self, label: &str) -> Option<LocalClass> {
        self.labels.iter().position(|own| **own == *label).map(|at| LocalClass(at as u16))
    }
}

/// The label of a class for an interest: `region=eu-west`, `+asns=64496 -unknown`; empty where the policy looks at
/// nothing.
fn label(model: &Model, interest: &Interest, selectors: &[Arc<str>], class: &ClientClass) -> Arc<str> {
    let region = interest.region.then(|| match class.region {
        Some(id) => format!("region={}", model.region(id).name),
        None => "region".to_owned(),
    });
    let selectors = interest.selectors.iter().zip(selectors).map(|(id, label)| {
        let sign = if class.is_selected(*id) { '+' } else { '-' };
        format!("{sign}{label}")
    });
    // Ids follow the order of the files; labels must not depend on that.
    let mut selectors: Vec<String> = selectors.collect();
    selectors.sort();
    region.into_iter().chain(selectors).collect::<Vec<_>>().join(" ").into()
}

/// The label of a selector: its content, or for a long list the hash of its content.
fn selector_label(model: &Model, id: SelectorId) -> Arc<str> {
    /// Judgment: a longer text is not readable in a message.
    const SHOWN: usize = 80;
    let Some(selector) = model.clients.selectors.get(usize::from(id.0)) else {
        return format!("selector={}", id.0).into();
    };
    let Selector { groups: _, regions, nets, asns, countries, continents, unknown } = selector;
    let joined = |key: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{key}={}", items.join(",")));
    let parts = [
        joined("regions", regions.iter().map(|id| model.region(*id).name.clone()).collect()),
        joined("nets", nets.iter().map(ToString::to_string).collect()),
        joined("asns", asns.iter().map(ToString::to_string).collect()),
        joined("countries", countries.iter().map(|country| country.to_string()).collect()),
        joined("continents", continents.iter().map(|continent| continent.as_str().to_owned()).collect()),
        unknown.then(|| "unknown".to_owned()),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(";");
    match text.len() > SHOWN {
        true => format!("{:016x}", siphasher::sip::SipHasher13::new().hash(text.as_bytes())).into(),
        false => text.into(),
    }
}
