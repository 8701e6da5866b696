//! Joins what was read of several datacenters to updates of one source. Pure.
//!
//! A datacenter that can't be read keeps its instances. Until each one was read once, those that were are passed on as
//! changes, so that the instances of the others stay that are known from before a restart. What has disappeared from
//! one that was read is removed.

use std::collections::BTreeSet;

use crate::discovery::consul::News;
use crate::discovery::{InstanceChanges, InstanceList, Trouble, Update};

/// See the comment of this file.
#[derive(Debug)]
pub(super) struct Datacenters {
    max: usize,
    each: Vec<Datacenter>,
}

#[derive(Debug, Clone, Default)]
struct Datacenter {
    list: Option<InstanceList>,
    /// The keys that were passed on and have not gone since.
    passed: BTreeSet<String>,
    trouble: Option<Trouble>,
}

impl Datacenter {
    /// Takes a list; returns the keys that have gone. `max`: of the source.
    fn take(&mut self, list: InstanceList, max: usize) -> Vec<String> {
        let keys = list.instances().iter().map(|instance| instance.key.clone());
        let gone = if list.instances().len() < list.total() {
            // The rest of the list is not known, and any instance may be in it.
            self.passed.extend(keys);
            while self.passed.len() > 2 * max {
                self.passed.pop_last();
            }
            Vec::new()
        } else {
            let before = std::mem::replace(&mut self.passed, keys.collect());
            before.difference(&self.passed).cloned().collect()
        };
        (self.list, self.trouble) = (Some(list), None);
        gone
    }
}

impl Datacenters {
    pub(super) fn new(count: usize, max: usize) -> Datacenters {
        Datacenters { max, each: vec![Datacenter::default(); count] }
    }

    /// Takes news of the datacenter of this index.
    pub(super) fn take(&mut self, at: usize, news: News) -> Vec<Update> {
        let Some(datacenter) = self.each.get_mut(at) else { return Vec::new() };
        let gone = match news {
            News::Listed(list) => datacenter.take(list, self.max),
            News::Failed(trouble) => {
                datacenter.trouble = Some(trouble);
                return self.trouble().into_iter().collect();
            }
            News::Back => {
                datacenter.trouble = None;
                return vec![self.trouble().unwrap_or(Update::Back)];
            }
        };
        let whole = self.whole();
        if !whole.is_empty() {
            return whole;
        }
        let mut changes = InstanceChanges::default();
        let is_listed = |key: &String| self.each.iter().any(|of| of.passed.contains(key));
        changes.by_key.extend(gone.into_iter().filter(|key| !is_listed(key)).map(|key| (key, None)));
        if let Some(list) = self.each.get(at).and_then(|of| of.list.as_ref()) {
            list.instances().iter().cloned().for_each(|instance| changes.set(instance));
        }
        let read = self.each.iter().filter_map(|of| of.list.as_ref());
        read.for_each(|list| changes.refusals.extend(&list.refusals));
        [Update::Changes(changes)].into_iter().chain(self.trouble()).collect()
    }

    /// All instances, and what is wrong with some; empty until each datacenter was read once.
    pub(super) fn whole(&self) -> Vec<Update> {
        let mut all = InstanceList::new(self.max);
        for datacenter in &self.each {
            let Some(list) = &datacenter.list else { return Vec::new() };
            all.refusals.extend(&list.refusals);
            list.instances().iter().cloned().for_each(|instance| all.push(instance));
            // A list that was cut has filled `all` already: the rest is only counted.
            (list.instances().len()..list.total()).for_each(|_| all.push(Default::default()));
        }
        [Update::Whole(all)].into_iter().chain(self.trouble()).collect()
    }

    /// What is wrong with the first datacenter that is in trouble.
    fn trouble(&self) -> Option<Update> {
        self.each.iter().find_map(|datacenter| datacenter.trouble.clone()).map(Update::Away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{Instance, SourceSet};
    use crate::model::Moment;

    fn list(keys: &[&str]) -> InstanceList {
        let mut list = InstanceList::new(3);
        keys.iter().for_each(|key| list.push(Instance::new(key, [], None)));
        list
    }

    /// The keys of updates, and their problems.
    fn shown(updates: &[Update]) -> Vec<String> {
        let of = |update: &Update| match update {
            Update::Whole(list) => {
                let keys: Vec<&str> = list.instances().iter().map(|instance| &*instance.key).collect();
                format!("all of {}: {}", list.total(), keys.join(" "))
            }
            Update::Changes(changes) => {
                let sign = |instance: &Option<Instance>| if instance.is_some() { "" } else { "-" };
                let changes = changes.by_key.iter().map(|(key, instance)| format!("{}{key}", sign(instance)));
                let mut keys: Vec<String> = changes.collect();
                keys.sort_unstable();
                format!("changed: {}", keys.join(" "))
            }
            Update::Away(trouble) => format!("away: {}", trouble.problem),
            Update::Back => "back".to_owned(),
        };
        updates.iter().map(of).collect()
    }

    #[test]
    fn a_datacenter_that_was_never_read_hides_no_other_and_ends_none_of_its_instances() {
        let mut datacenters = Datacenters::new(2, 3);
        assert_eq!(shown(&datacenters.take(0, News::Listed(list(&["a"])))), ["changed: a"]);
        assert_eq!(shown(&datacenters.take(1, News::Failed(Trouble::away("no path")))), ["away: no path"]);
        assert_eq!(shown(&datacenters.take(0, News::Listed(list(&["a", "b"])))), ["changed: a b", "away: no path"]);
        assert_eq!(shown(&datacenters.take(1, News::Listed(list(&["c"])))), ["all of 3: a b c"]);
        assert_eq!(shown(&datacenters.take(1, News::Failed(Trouble::away("no path")))), ["away: no path"]);
        assert_eq!(shown(&datacenters.take(0, News::Listed(list(&[])))), ["all of 1: c", "away: no path"]);
        assert_eq!(shown(&datacenters.take(1, News::Back)), ["back"]);
        assert_eq!(shown(&datacenters.take(7, News::Back)), [""; 0]);
    }

    #[test]
    fn what_a_datacenter_no_longer_lists_is_removed_while_another_was_never_read() {
        let mut datacenters = Datacenters::new(2, 3);
        let mut set = SourceSet::new(10, 0.0);
        let now = Moment::from_start(std::time::Duration::from_secs(1));
        set.restore(["of-b", "old"].map(|key| Instance::new(key, [], None)), now, now);
        datacenters.take(1, News::Failed(Trouble::away("no path")));
        for (listed, passed, keys) in [
            (list(&["old", "a"]), "changed: a old", "a of-b old"),
            (list(&["a"]), "changed: -old a", "a of-b"),
            // Longer than the limit: what is not among the first ones may be among the others.
            (list(&["c", "d", "e", "f"]), "changed: c d e", "a c d e of-b"),
            (list(&["c"]), "changed: -a -d -e c", "c of-b"),
            (list(&[]), "changed: -c", "of-b"),
        ] {
            let updates = datacenters.take(0, News::Listed(listed));
            assert_eq!(shown(&updates), [passed, "away: no path"]);
            updates.into_iter().for_each(|update| _ = set.apply(update, now));
            assert_eq!(set.instances().map(|of| &*of.key).collect::<Vec<_>>().join(" "), keys);
        }
    }

    #[test]
    fn what_a_list_has_over_the_limit_is_counted() {
        let mut datacenters = Datacenters::new(2, 3);
        datacenters.take(0, News::Listed(list(&["a", "b", "c", "d", "e"])));
        assert_eq!(shown(&datacenters.take(1, News::Listed(list(&["f"])))), ["all of 6: a b c"]);
    }
}
