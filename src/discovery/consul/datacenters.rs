//! Joins what was read of several datacenters to updates of one source. Pure.
//!
//! A datacenter that can't be read keeps its instances. Until each one was read once, those that were are passed on as
//! changes, so that the instances of the others stay that are known from before a restart.

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
    trouble: Option<Trouble>,
}

impl Datacenters {
    pub(super) fn new(count: usize, max: usize) -> Datacenters {
        Datacenters { max, each: vec![Datacenter::default(); count] }
    }

    /// Takes news of the datacenter of this index.
    pub(super) fn take(&mut self, at: usize, news: News) -> Vec<Update> {
        let Some(datacenter) = self.each.get_mut(at) else { return Vec::new() };
        match news {
            News::Listed(list) => *datacenter = Datacenter { list: Some(list), trouble: None },
            News::Failed(trouble) => {
                datacenter.trouble = Some(trouble);
                return self.trouble().into_iter().collect();
            }
            News::Back => {
                datacenter.trouble = None;
                return vec![self.trouble().unwrap_or(Update::Back)];
            }
        }
        let whole = self.whole();
        if !whole.is_empty() {
            return whole;
        }
        let mut changes = InstanceChanges::default();
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
    use crate::discovery::Instance;

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
                let mut keys: Vec<&str> = changes.by_key.keys().map(|key| &**key).collect();
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
    fn what_a_list_has_over_the_limit_is_counted() {
        let mut datacenters = Datacenters::new(2, 3);
        datacenters.take(0, News::Listed(list(&["a", "b", "c", "d", "e"])));
        assert_eq!(shown(&datacenters.take(1, News::Listed(list(&["f"])))), ["all of 6: a b c"]);
    }
}
