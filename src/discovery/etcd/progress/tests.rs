//! A list and a watch of a simulated etcd, with its history, compactions, lost connections and lost data.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::discovery::etcd::message::WatchEvent;

/// An etcd with one range of keys. Revision 1 is the empty store.
#[derive(Debug, Clone, Default)]
struct Store {
    /// Key, value (`None`: deleted), revision.
    history: Vec<(u8, Option<u8>, u64)>,
    revision: u64,
    compacted: u64,
    cluster: u64,
}

impl Store {
    fn put(&mut self, key: u8, value: u8) {
        self.revision += 1;
        self.history.push((key, Some(value), self.revision));
    }

    fn delete(&mut self, key: u8) {
        if self.at(self.revision).contains_key(&key) {
            self.revision += 1;
            self.history.push((key, None, self.revision));
        }
    }

    /// The keys at a revision, with the revision of their last change.
    fn at(&self, revision: u64) -> BTreeMap<u8, (u8, u64)> {
        let mut keys = BTreeMap::new();
        for (key, value, at) in self.history.iter().filter(|(_, _, at)| *at <= revision) {
            match value {
                Some(value) => drop(keys.insert(*key, (*value, *at))),
                None => drop(keys.remove(key)),
            }
        }
        keys
    }

    fn header(&self) -> ReplyHeader {
        ReplyHeader { cluster_id: self.cluster.to_string(), revision: self.revision }
    }

    /// A page of two keys; `None`: compacted.
    fn page(&self, range: &KeyRange, revision: Option<u64>) -> Option<RangeReply> {
        let at = revision.unwrap_or(self.revision);
        if at < self.compacted {
            return None;
        }
        let keys = self.at(at);
        let wanted = |key: &u8| vec![*key] >= range.start;
        let kv = |(key, (value, at)): (u8, (u8, u64))| kv(key, value, at);
        let mut kvs: Vec<KeyValue> = keys.clone().into_iter().filter(|(key, _)| wanted(key)).map(kv).collect();
        let (more, count) = (kvs.len() > 2, kvs.len() as u64);
        kvs.truncate(2);
        Some(RangeReply { header: self.header(), kvs, more, count })
    }

    fn newest(&self) -> RangeReply {
        let keys = self.at(self.revision);
        let last = keys.iter().max_by_key(|(_, (_, at))| *at).map(|(key, (_, at))| kv(*key, 0, *at));
        RangeReply { header: self.header(), kvs: last.into_iter().collect(), more: true, count: keys.len() as u64 }
    }

    /// All changes from a revision on, each in a message of its own, after the one that creates the watch.
    fn watch(&self, from: u64) -> Vec<WatchReply> {
        let created = WatchReply { header: self.header(), created: true, ..WatchReply::default() };
        if from <= self.compacted {
            let header = ReplyHeader { revision: 0, ..self.header() };
            let canceled =
                WatchReply { header, canceled: true, compact_revision: self.compacted, ..WatchReply::default() };
            return vec![created, canceled];
        }
        let events = self.history.iter().filter(|(_, _, at)| *at >= from);
        let message = |(key, value, at): &(u8, Option<u8>, u64)| {
            let kind = if value.is_some() { EventType::Put } else { EventType::Delete };
            let events = vec![WatchEvent { kind, kv: kv(*key, value.unwrap_or(0), *at) }];
            WatchReply { header: self.header(), events, ..WatchReply::default() }
        };
        [created].into_iter().chain(events.map(message)).collect()
    }
}

fn kv(key: u8, value: u8, mod_revision: u64) -> KeyValue {
    KeyValue { key: vec![key], value: vec![value], mod_revision }
}

/// What follows a store: the progress, and the keys as a driver has them.
struct Client {
    progress: KeyProgress,
    keys: BTreeMap<u8, u8>,
    lists: usize,
}

impl Client {
    fn new(most: usize) -> Client {
        let range = KeyRange { start: vec![0], end: vec![0] };
        Client { progress: KeyProgress::new(range, most), keys: BTreeMap::new(), lists: 0 }
    }

    /// Lists the store. `between` happens after the first page.
    fn list(&mut self, store: &mut Store, mut between: impl FnMut(&mut Store)) -> bool {
        let mut keys = BTreeMap::new();
        self.lists += 1;
        loop {
            let (range, revision) = self.progress.next_page();
            let Some(reply) = store.page(&range, revision) else {
                self.progress.begin_anew();
                return false;
            };
            let (page, is_last) = match self.progress.page(reply) {
                Page::More(page) => (page, false),
                Page::Last(page) => (page, true),
                Page::TooMany(_) => return false,
            };
            keys.extend(page.into_iter().map(|kv| (kv.key[0], kv.value[0])));
            if is_last {
                self.keys = keys;
                return true;
            }
            between(store);
        }
    }

    /// Takes the first `most` messages of a new watch; `false`: the keys have to be listed again.
    fn watch(&mut self, store: &Store, most: usize) -> bool {
        for message in store.watch(self.progress.resume_at()).into_iter().take(most) {
            match self.progress.watched(message) {
                WatchStep::Changes(changes) => {
                    for KeyChange { key, value, .. } in changes {
                        match value {
                            Some(value) => drop(self.keys.insert(key[0], value[0])),
                            None => drop(self.keys.remove(&key[0])),
                        }
                    }
                }
                WatchStep::ListAgain(_) => return false,
                WatchStep::Refused(why) => panic!("{why}"),
            }
        }
        true
    }

    /// Watches, and lists where that is needed, until everything is known.
    fn settle(&mut self, store: &mut Store) {
        for _ in 0..10 {
            let is_whole = (self.progress.is_listed() || self.list(store, |_| ())) && self.watch(store, usize::MAX);
            if is_whole && self.progress.compare(&store.newest()).is_none() && self.knows(store) {
                return;
            }
        }
        panic!("{:?} is not {:?}", self.keys, store.at(store.revision));
    }

    fn knows(&self, store: &Store) -> bool {
        let keys: BTreeMap<u8, u8> =
            store.at(store.revision).into_iter().map(|(key, (value, _))| (key, value)).collect();
        keys == self.keys
    }
}

fn store(keys: u8) -> Store {
    let mut store = Store { revision: 1, cluster: 7, ..Store::default() };
    (1..=keys).for_each(|key| store.put(key, key));
    store
}

#[test]
fn a_list_is_of_one_revision_and_the_watch_brings_what_changed_meanwhile() {
    let (mut store, mut client) = (store(5), Client::new(100));
    assert!(client.list(&mut store, |store| store.put(4, 99)));
    assert_eq!(client.keys.get(&4), Some(&4), "the page after the change is of the revision before it");
    assert!(client.watch(&store, usize::MAX));
    assert!(client.knows(&store) && client.lists == 1);
}

#[test]
fn a_lost_connection_costs_no_list_and_nothing_comes_twice() {
    let (mut store, mut client) = (store(3), Client::new(100));
    client.settle(&mut store);
    (10..30).for_each(|key| store.put(key, key));
    for messages in [0, 1, 5, 2] {
        assert!(client.watch(&store, messages));
    }
    client.settle(&mut store);
    assert_eq!(client.lists, 1);
    let again = store.watch(1).into_iter().map(|message| client.progress.watched(message));
    assert!(again.into_iter().all(|watched| watched == WatchStep::Changes(Vec::new())));
}

#[test]
fn a_compacted_revision_and_other_data_are_listed_again() {
    let (mut old, mut client) = (store(3), Client::new(100));
    client.settle(&mut old);
    (10..13).for_each(|key| old.put(key, key));
    old.compacted = old.revision;
    assert!(!client.watch(&old, usize::MAX), "compacted");
    client.settle(&mut old);
    let mut wiped = store(1);
    assert!(!client.watch(&wiped, usize::MAX), "the revision is lower");
    client.settle(&mut wiped);
    let mut other = Store { cluster: 8, ..store(20) };
    assert!(!client.watch(&other, usize::MAX), "another cluster");
    client.settle(&mut other);
    assert_eq!(client.lists, 4);
}

#[test]
fn a_resume_point_follows_the_revision_while_no_key_of_the_range_changes() {
    let (mut store, mut client) = (store(3), Client::new(100));
    client.settle(&mut store);
    // Keys of other ranges.
    store.revision += 1000;
    assert_eq!(client.progress.compare(&store.newest()), None);
    assert_eq!(client.progress.resume_at(), store.revision + 1);
    store.revision += 1000;
    let progress = WatchReply { header: store.header(), ..WatchReply::default() };
    assert_eq!(client.progress.watched(progress), WatchStep::Changes(Vec::new()));
    store.compacted = store.revision;
    store.put(1, 9);
    client.settle(&mut store);
    assert_eq!(client.lists, 1, "compactions of what was passed harm nothing");
}

#[test]
fn a_watch_that_misses_changes_in_silence_is_noticed_by_the_second_comparison() {
    for change in
        [|store: &mut Store| store.put(9, 9), |store: &mut Store| store.put(1, 9), |store: &mut Store| store.delete(1)]
    {
        let (mut store, mut client) = (store(3), Client::new(100));
        client.settle(&mut store);
        change(&mut store);
        assert_eq!(client.progress.compare(&store.newest()), None, "it may be on its way");
        assert!(client.progress.compare(&store.newest()).is_some());
        client.settle(&mut store);
        assert_eq!(client.lists, 2);
    }
}

#[test]
fn a_watch_that_is_behind_and_moves_is_not_given_up() {
    let (mut store, mut client) = (store(3), Client::new(1000));
    client.settle(&mut store);
    for round in 0..100 {
        (0..10).for_each(|_| store.put(round, round));
        assert!(client.watch(&store, 3));
        assert_eq!(client.progress.compare(&store.newest()), None, "round {round}");
    }
    client.settle(&mut store);
    assert_eq!(client.lists, 1);
}

#[test]
fn events_of_a_fragment_count_at_once_and_the_resume_point_only_after_the_last() {
    let (mut store, mut client) = (store(1), Client::new(100));
    client.settle(&mut store);
    let from = client.progress.resume_at();
    let event = |key, at| WatchEvent { kind: EventType::Put, kv: kv(key, 1, at) };
    let message =
        |events, fragment| WatchReply { header: ReplyHeader::default(), events, fragment, ..Default::default() };
    let first = client.progress.watched(message(vec![event(5, from), event(6, from)], true));
    assert!(matches!(first, WatchStep::Changes(changes) if changes.len() == 2));
    assert_eq!(client.progress.resume_at(), from);
    client.progress.watched(message(vec![event(7, from)], false));
    assert_eq!(client.progress.resume_at(), from + 1);
}

#[test]
fn too_many_keys_are_not_taken_over() {
    let (mut store, mut client) = (store(10), Client::new(9));
    assert!(!client.list(&mut store, |_| ()) && !client.progress.is_listed());
    assert_eq!(client.progress.page(store.page(&client.progress.range, None).unwrap()), Page::TooMany(10));
    store.delete(1);
    client.settle(&mut store);
    store.put(20, 1);
    assert!(!client.watch(&store, usize::MAX), "one more");
}

#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8),
    Delete(u8),
    Compact,
    Watch(usize),
    Compare,
    /// The data is that of an earlier moment, with a new history after it.
    Restore(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..12_u8, any::<u8>()).prop_map(|(key, value)| Act::Put(key, value)),
        3 => (1..12_u8).prop_map(Act::Delete),
        1 => Just(Act::Compact),
        3 => (0..6_usize).prop_map(Act::Watch),
        2 => Just(Act::Compare),
        1 => (0..4_u8).prop_map(Act::Restore),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_keys_are_those_of_the_server_in_the_end(acts in prop::collection::vec(act(), 0..60)) {
        let (mut store, mut client) = (store(4), Client::new(100));
        for act in acts {
            match act {
                Act::Put(key, value) => store.put(key, value),
                Act::Delete(key) => store.delete(key),
                Act::Compact => store.compacted = store.revision,
                Act::Watch(most) if client.progress.is_listed() => drop(client.watch(&store, most)),
                Act::Watch(_) => drop(client.list(&mut store, |_| ())),
                Act::Compare => drop(client.progress.compare(&store.newest())),
                Act::Restore(keys) => store = Store { compacted: 0, ..self::store(keys) },
            }
        }
        // A store that was restored and has grown past what was seen can't be recognized by its revision.
        for _ in 0..BUSY_DIFFERENCES {
            if client.progress.is_listed() {
                client.watch(&store, usize::MAX);
            }
            client.progress.compare(&store.newest());
        }
        if !client.progress.is_listed() {
            client.settle(&mut store);
        }
        prop_assert_eq!(client.progress.compare(&store.newest()), None);
    }
}
