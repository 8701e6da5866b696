//! The drivers of `type = "etcd"`: follow the keys of instances, and those that state overrides, by the JSON gateway of
//! etcd v3. Each lists its keys once and watches them from that revision on.

mod follower;
mod message;
mod progress;
mod server;
mod statements;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::discovery::http_client::BaseUrl;
use crate::discovery::instance::bounded;
use crate::discovery::{InstanceChanges, InstanceList, RefusedInstances, Trouble, Update, UpdateSender};
use crate::model::{EtcdSource, Mappings};
use follower::{Follower, KeyNews};
use message::KeyRange;
use statements::{StatementBook, TargetPattern};
use value::instance_of;

pub use statements::{MAX_STATEMENTS, Statement, Statements, TargetStatement};

/// Most keys of the range in which keys that state overrides are: others may be there too (judgment: some megabytes).
const MAX_KEYS: usize = 50_000;

/// Follows the instances of a source until `stop`. `max`: the most that are wanted.
pub async fn run(source: EtcdSource, mappings: Mappings, max: usize, updates: UpdateSender, stop: CancellationToken) {
    let Some(prefix) = source.prefix.clone() else {
        // It lists nothing, which is known.
        updates.send(Update::Whole(InstanceList::new(max))).await;
        return stop.cancelled().await;
    };
    let servers = match servers_of(&source) {
        Ok(servers) => servers,
        Err(trouble) => {
            updates.send(Update::Away(trouble)).await;
            return stop.cancelled().await;
        }
    };
    let statements = source.overrides.as_deref().and_then(TargetPattern::parse);
    let mut keys = InstanceKeys { prefix: prefix.clone(), mappings, statements, refused: BTreeMap::new() };
    let mut follower = Follower::new(Arc::new(source), servers, KeyRange::of_prefix(&prefix), max);
    let mut list = InstanceList::new(max);
    loop {
        let news = tokio::select! {
            () = stop.cancelled() => return,
            () = updates.relist_wanted() => {
                follower.begin_anew();
                continue;
            }
            news = follower.next() => news,
        };
        let update = match news {
            KeyNews::ListBegins => {
                list = InstanceList::new(max);
                keys.refused.clear();
                continue;
            }
            KeyNews::Page(page) => {
                page.iter().for_each(|kv| keys.add(&mut list, &kv.key, &kv.value));
                continue;
            }
            KeyNews::Listed => {
                list.refusals = keys.refusals();
                Update::Whole(std::mem::replace(&mut list, InstanceList::new(max)))
            }
            KeyNews::TooMany(count) => Update::Whole(InstanceList::unread(count)),
            KeyNews::Changed(changed) => {
                let mut changes = InstanceChanges::default();
                changed.iter().for_each(|of| keys.change(&mut changes, &of.key, of.value.as_deref()));
                if changes.by_key.is_empty() {
                    continue;
                }
                changes.refusals = keys.refusals();
                Update::Changes(changes)
            }
            KeyNews::Failed(trouble) => Update::Away(trouble),
            KeyNews::Back => Update::Back,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = updates.send(update) => {}
        }
    }
}

/// Makes instances of keys.
struct InstanceKeys {
    prefix: String,
    mappings: Mappings,
    /// Keys that state overrides are no instances.
    statements: Option<TargetPattern>,
    /// Keys whose value can't be read, and why.
    refused: BTreeMap<String, String>,
}

impl InstanceKeys {
    /// The name of an instance by its key: the rest after the prefix. `None`: it is none.
    fn name(&self, key: &[u8]) -> Option<String> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?;
        let is_statement = self.statements.as_ref().is_some_and(|pattern| pattern.target(key).is_some());
        (!rest.is_empty() && !is_statement).then(|| String::from_utf8_lossy(rest).into_owned())
    }

    /// All that is refused now.
    fn refusals(&self) -> RefusedInstances {
        let mut refusals = RefusedInstances::default();
        self.refused.iter().for_each(|(name, why)| refusals.add(name, why));
        refusals
    }

    fn add(&mut self, list: &mut InstanceList, key: &[u8], value: &[u8]) {
        let Some(name) = self.name(key) else { return };
        match instance_of(&name, value, &self.mappings) {
            Ok(instance) => list.push(instance),
            Err(why) => drop(self.refused.insert(name, bounded(&why))),
        }
    }

    fn change(&mut self, changes: &mut InstanceChanges, key: &[u8], value: Option<&[u8]>) {
        let Some(name) = self.name(key) else { return };
        self.refused.remove(&name);
        match value.map(|value| instance_of(&name, value, &self.mappings)) {
            Some(Ok(instance)) => changes.set(instance),
            Some(Err(why)) => {
                changes.remove(&name);
                self.refused.insert(name, bounded(&why));
            }
            None => changes.remove(&name),
        }
    }
}

/// What the keys of a source state about targets, and whether they can be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatedOverrides {
    /// `None`: they were not read since the start.
    pub statements: Option<Statements>,
    /// Why they can't be read now. The statements stay.
    pub trouble: Option<Trouble>,
}

/// Follows the keys of a source that state overrides, until `stop`. A source without such keys states nothing.
pub async fn run_overrides(source: EtcdSource, stated: watch::Sender<StatedOverrides>, stop: CancellationToken) {
    let Some(pattern) = source.overrides.as_deref().and_then(TargetPattern::parse) else {
        return stop.cancelled().await;
    };
    let servers = match servers_of(&source) {
        Ok(servers) => servers,
        Err(trouble) => {
            stated.send_modify(|stated| stated.trouble = Some(trouble));
            return stop.cancelled().await;
        }
    };
    let mut follower = Follower::new(Arc::new(source), servers, pattern.range(), MAX_KEYS);
    let prefix = pattern.prefix().to_owned();
    let mut book = StatementBook::new(pattern);
    loop {
        let news = tokio::select! {
            () = stop.cancelled() => return,
            news = follower.next() => news,
        };
        match news {
            KeyNews::ListBegins => book.clear(),
            KeyNews::Page(page) => book.add(&page),
            KeyNews::Listed => state(&stated, &book),
            KeyNews::Changed(changed) => {
                let is_ours =
                    changed.iter().filter(|of| book.set(&of.key, of.value.as_deref(), of.revision)).count() > 0;
                if is_ours {
                    state(&stated, &book);
                }
            }
            KeyNews::TooMany(count) => {
                let why = format!("there are {count} keys below `{prefix}`, over {MAX_KEYS}: use a prefix of its own");
                stated.send_modify(|stated| stated.trouble = Some(Trouble::bad(why)));
            }
            KeyNews::Failed(trouble) => stated.send_modify(|stated| stated.trouble = Some(trouble)),
            KeyNews::Back => stated.send_modify(|stated| stated.trouble = None),
        }
    }
}

fn state(stated: &watch::Sender<StatedOverrides>, book: &StatementBook) {
    let now = StatedOverrides { statements: Some(book.statements()), trouble: None };
    stated.send_if_modified(|before| {
        let is_change = *before != now;
        *before = now;
        is_change
    });
}

/// The servers of a source; `check` refuses wrong URLs before.
fn servers_of(source: &EtcdSource) -> Result<Vec<BaseUrl>, Trouble> {
    let parsed: Result<Vec<BaseUrl>, String> = source.endpoints.iter().map(|url| url.parse()).collect();
    match parsed {
        Ok(servers) if servers.is_empty() => Err(Trouble::bad("`endpoints` is empty: write one URL at least")),
        Ok(servers) => Ok(servers),
        Err(problem) => Err(Trouble::bad(format!("endpoints: {problem}"))),
    }
}

#[cfg(test)]
mod tests;
