//! Which clients a policy tells apart. A model may have thousands of classes; a policy asks about a region, or about a
//! few selectors, and classes that agree on what it asks are one *local* class to it. Policies that ask the same share
//! the local classes, and the tables that place an address among them: there neighbours of one local class are one range,
//! so that a scope is the shortest that is true for this policy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{ClassId, ClientClass, Model, PolicyId, Selector, SelectorId};
use crate::placing::ClientTable;
use crate::snapshot::KnownBy;
use crate::steering::{self, Interest};

/// Clients that one policy doesn't tell apart. Means something only with the policy, or with one of the same [`Group`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LocalClass(pub u16);

/// Policies that ask the same of clients and cut nets known by ECS alike: they place every client alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group(u32);

/// The local classes of every policy.
#[derive(Debug)]
pub(crate) struct Placing {
    groups: Vec<Placed>,
    /// By policy.
    of_policy: Vec<Group>,
    /// For people: the classes of the model themselves.
    whole: ClientTable,
}

/// The clients of one group of policies.
#[derive(Debug)]
struct Placed {
    locals: Arc<Locals>,
    /// None where there is but one local class.
    tables: Option<Tables>,
}

/// By how the client's address is known.
#[derive(Debug)]
struct Tables {
    whole: Arc<ClientTable>,
    by_ecs: Arc<ClientTable>,
}

/// The local classes of one interest.
#[derive(Debug)]
pub(crate) struct Locals {
    /// A class of the model for each that stands for all that are alike; at least one.
    first: Vec<ClassId>,
    /// What each is called in every generation: equal words mean the same clients, as far as the files tell.
    pub(crate) words: Vec<Arc<str>>,
    /// By class of the model, the local one.
    projection: Vec<ClassId>,
}

impl Placing {
    /// Works out what every policy tells apart.
    pub(crate) fn of(model: &Model) -> Placing {
        let mut maker = Maker { model, locals: HashMap::new(), tables: HashMap::new() };
        let (mut groups, mut known) = (Vec::new(), HashMap::new());
        let policies = (0..model.policies.len() as u32).map(PolicyId);
        let of_policy = policies.map(|policy| {
            let ecs = model.zone(model.policy(policy).zone).ecs;
            let cutoff = ecs.enabled.then_some((ecs.v4, ecs.v6));
            let interest = steering::interest(model, policy);
            *known.entry((interest.clone(), cutoff)).or_insert_with(|| {
                groups.push(maker.placed(interest, cutoff));
                Group(groups.len() as u32 - 1)
            })
        });
        let of_policy = of_policy.collect();
        Placing { groups, of_policy, whole: ClientTable::compile(&model.clients, None, None) }
    }

    pub(crate) fn group(&self, policy: PolicyId) -> Group {
        self.of_policy[policy.0 as usize]
    }

    pub(crate) fn locals(&self, policy: PolicyId) -> &Locals {
        &self.placed(self.group(policy)).locals
    }

    /// The local class of `ip`, and the shortest prefix length around it whose addresses all have it.
    pub(crate) fn place(&self, ip: IpAddr, group: Group, by: KnownBy) -> (LocalClass, u8) {
        match (&self.placed(group).tables, by) {
            (None, KnownBy::Address | KnownBy::Ecs) => (LocalClass(0), 0),
            (Some(tables), KnownBy::Address) => told(tables.whole.lookup(ip)),
            (Some(tables), KnownBy::Ecs) => told(tables.by_ecs.lookup(ip)),
        }
    }

    /// The class of `ip`, seen whole, and the shortest prefix length around it whose addresses are all of it.
    pub(crate) fn class(&self, ip: IpAddr) -> (ClassId, u8) {
        self.whole.lookup(ip)
    }

    fn placed(&self, group: Group) -> &Placed {
        &self.groups[group.0 as usize]
    }
}

fn told((class, scope): (ClassId, u8)) -> (LocalClass, u8) {
    (LocalClass(class.0), scope)
}

/// Nets that are cut for clients known by ECS: no longer than this in IPv4 and IPv6.
type Cutoff = Option<(u8, u8)>;

/// Makes what several policies share once.
struct Maker<'m> {
    model: &'m Model,
    locals: HashMap<Interest, Arc<Locals>>,
    tables: HashMap<(Interest, Cutoff), Arc<ClientTable>>,
}

impl Maker<'_> {
    fn placed(&mut self, interest: Interest, cutoff: Cutoff) -> Placed {
        let made = || Arc::new(Locals::of(self.model, &interest));
        let locals = self.locals.entry(interest.clone()).or_insert_with(made).clone();
        let mut table = |cutoff: Cutoff| {
            let made = || Arc::new(ClientTable::compile(&self.model.clients, Some(&locals.projection), cutoff));
            self.tables.entry((interest.clone(), cutoff)).or_insert_with(made).clone()
        };
        // Where a zone doesn't use ECS nobody is known by it, and no table is made for it.
        let tables = (locals.first.len() > 1).then(|| Tables { whole: table(None), by_ecs: table(cutoff) });
        Placed { locals, tables }
    }
}

impl Locals {
    fn of(model: &Model, interest: &Interest) -> Locals {
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
        let asked: Vec<Arc<str>> = interest.selectors.iter().map(|id| words_of(model, *id)).collect();
        let of = |class: &ClassId| &model.clients.classes[usize::from(class.0)];
        let words = first.iter().map(|class| words(model, interest, &asked, of(class))).collect();
        Locals { first, words, projection }
    }

    /// The class that stands for each, in their order.
    pub(crate) fn classes<'m>(&'m self, model: &'m Model) -> impl ExactSizeIterator<Item = &'m ClientClass> {
        self.first.iter().map(|class| &model.clients.classes[usize::from(class.0)])
    }

    /// The class of the model that stands for `class`.
    pub(crate) fn standing_for(&self, class: LocalClass) -> ClassId {
        self.first[usize::from(class.0)]
    }

    /// The local class of a class of the model.
    pub(crate) fn local(&self, class: ClassId) -> LocalClass {
        LocalClass(self.projection.get(usize::from(class.0)).map_or(0, |local| local.0))
    }

    /// The local class that has these words.
    pub(crate) fn called(&self, words: &str) -> Option<LocalClass> {
        self.words.iter().position(|own| **own == *words).map(|at| LocalClass(at as u16))
    }
}

/// A class as an interest sees it, in words: `region=eu-west`, `+asns=64496 -unknown`; empty where nothing is asked.
fn words(model: &Model, interest: &Interest, asked: &[Arc<str>], class: &ClientClass) -> Arc<str> {
    let region = interest.region.then(|| match class.region {
        Some(id) => format!("region={}", model.region(id).name),
        None => "region".to_owned(),
    });
    let selectors = interest.selectors.iter().zip(asked).map(|(id, words)| {
        let sign = if class.is_selected(*id) { '+' } else { '-' };
        format!("{sign}{words}")
    });
    // Ids are given in the order of the files; the words must not depend on that.
    let mut selectors: Vec<String> = selectors.collect();
    selectors.sort();
    region.into_iter().chain(selectors).collect::<Vec<_>>().join(" ").into()
}

/// Words of a selector's content; a long list is told by its hash.
fn words_of(model: &Model, id: SelectorId) -> Arc<str> {
    /// More is no longer read by anyone (judgment).
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
