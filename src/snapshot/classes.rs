//! The classes of clients that one policy distinguishes. A model may have thousands of classes; a policy looks at the
//! region, or at a few selectors. Classes that are equal in what a policy looks at are one *local* class of it.
//! Policies that look at the same share their local classes and the tables from an address to a local class. In these
//! tables neighbours of one local class are one range, so that a scope is the shortest that is true for the policy.
//!
//! Where the region matters only for endpoints that are out of reach, most regions have the same answer most of the
//! time. [`PolicyClasses::tables`] gives tables in which these are one, so that no scope is longer than necessary.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// Tables in which regions with the same answer are one, as long as a cell needs them.
    merged: Mutex<HashMap<MergedKey, Weak<ClassTables>>>,
}

/// The classes of a group, each with the first class that has the same answer.
type MergedKey = (ClassGroup, Box<[LocalClass]>);

/// Most ranges of merged tables together: at 22 octets for a range of IPv6, 46 MiB. Judgment: a city database has
/// 300,000 ranges for a policy that looks at all of it, and few sets of regions are cut off from an endpoint at one
/// time. Beyond that the scopes are those of the classes: longer, and true.
const MAX_MERGED_RANGES: usize = 1 << 21;

/// The clients of one group of policies.
#[derive(Debug)]
struct GroupClasses {
    locals: Arc<LocalClasses>,
    /// `None` where there is only one local class.
    tables: Option<Arc<ClassTables>>,
    cutoff: Cutoff,
}

/// From an address to a local class, by how the address is known.
#[derive(Debug)]
pub(crate) struct ClassTables {
    whole: Arc<ClientTable>,
    by_ecs: Arc<ClientTable>,
}

impl ClassTables {
    /// The local class of `ip`, and the shortest prefix length around it whose addresses all have it.
    pub(crate) fn place(&self, ip: IpAddr, by: KnownBy) -> (LocalClass, u8) {
        let (class, scope) = match by {
            KnownBy::Address => self.whole.lookup(ip),
            KnownBy::Ecs => self.by_ecs.lookup(ip),
        };
        (LocalClass(class.0), scope)
    }

    fn ranges(&self) -> usize {
        self.whole.ranges() + self.by_ecs.ranges()
    }
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
    /// By local class: the first one that differs from it only in a region that matters by reach alone.
    pub(crate) but_for_reach: Vec<LocalClass>,
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
        let whole = ClientTable::compile(&model.clients, None, None);
        PolicyClasses { groups, of_policy, whole, merged: Mutex::default() }
    }

    pub(crate) fn group(&self, policy: PolicyId) -> ClassGroup {
        self.of_policy[policy.0 as usize]
    }

    pub(crate) fn locals(&self, policy: PolicyId) -> &LocalClasses {
        &self.of_group(self.group(policy)).locals
    }

    /// The local class of `ip`, and the shortest prefix length around it whose addresses all have it.
    pub(crate) fn place(&self, ip: IpAddr, group: ClassGroup, by: KnownBy) -> (LocalClass, u8) {
        self.of_group(group).tables.as_ref().map_or((LocalClass(0), 0), |tables| tables.place(ip, by))
    }

    /// The tables in which some local classes of `policy` are one: `first` is for each of them the first one that is
    /// one with it, and that is what the tables give. `None` where there is only one local class. Takes some
    /// milliseconds with a city database, unless another policy has such tables already.
    pub(crate) fn tables(&self, model: &Model, policy: PolicyId, first: &[LocalClass]) -> Option<Arc<ClassTables>> {
        let group = self.group(policy);
        let GroupClasses { locals, tables, cutoff } = self.of_group(group);
        let own = tables.as_ref()?;
        if first.iter().zip(0..).all(|(first, at)| first.0 == at) {
            return Some(own.clone());
        }
        let key: MergedKey = (group, first.into());
        {
            let mut merged = self.merged();
            if let Some(known) = merged.get(&key).and_then(Weak::upgrade) {
                return Some(known);
            }
            merged.retain(|_, tables| tables.strong_count() > 0);
            let ranges: usize = merged.values().filter_map(Weak::upgrade).map(|tables| tables.ranges()).sum();
            if ranges >= MAX_MERGED_RANGES {
                return Some(own.clone());
            }
        }
        // Without the lock: a simulation must not hold up the steering task.
        let first_of = |local: &ClassId| first.get(usize::from(local.0)).map_or(*local, |first| ClassId(first.0));
        let projection: Vec<ClassId> = locals.projection.iter().map(first_of).collect();
        let table = |cutoff: Cutoff| Arc::new(ClientTable::compile(&model.clients, Some(&projection), cutoff));
        let whole = table(None);
        let by_ecs = if cutoff.is_some() { table(*cutoff) } else { whole.clone() };
        let tables = Arc::new(ClassTables { whole, by_ecs });
        self.merged().insert(key, Arc::downgrade(&tables));
        Some(tables)
    }

    fn merged(&self) -> MutexGuard<'_, HashMap<MergedKey, Weak<ClassTables>>> {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The class of `ip`, seen whole, and the shortest prefix length around it whose addresses are all of it.
    pub(crate) fn class(&self, ip: IpAddr) -> (ClassId, u8) {
        self.whole.lookup(ip)
    }

    fn of_group(&self, group: ClassGroup) -> &GroupClasses {
        &self.groups[group.0 as usize]
    }
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
        let mut tables = || Arc::new(ClassTables { whole: table(None), by_ecs: table(cutoff) });
        GroupClasses { tables: (locals.first.len() > 1).then(&mut tables), locals: locals.clone(), cutoff }
    }
}

impl LocalClasses {
    fn of(model: &Model, interest: &Interest) -> LocalClasses {
        let seen = |class: &ClientClass, with_region: bool| ClientClass {
            region: class.region.filter(|_| with_region),
            selectors: interest.selectors.iter().copied().filter(|id| class.is_selected(*id)).collect(),
        };
        let (mut first, mut known) = (Vec::new(), HashMap::new());
        let projection = model.clients.classes.iter().zip(0..).map(|(class, at)| {
            *known.entry(seen(class, interest.region)).or_insert_with(|| {
                first.push(ClassId(at));
                ClassId(first.len() as u16 - 1)
            })
        });
        let projection = projection.collect();
        let mut alike: HashMap<ClientClass, LocalClass> = HashMap::new();
        let of = |class: &ClassId| &model.clients.classes[usize::from(class.0)];
        let but_for_reach = first.iter().zip(0..).map(|(class, at)| {
            let seen = seen(of(class), interest.region && !interest.is_by_reach);
            *alike.entry(seen).or_insert(LocalClass(at))
        });
        let but_for_reach = but_for_reach.collect();
        let selectors: Vec<Arc<str>> = interest.selectors.iter().map(|id| selector_label(model, *id)).collect();
        let labels = first.iter().map(|class| label(model, interest, &selectors, of(class))).collect();
        LocalClasses { first, labels, projection, but_for_reach }
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
