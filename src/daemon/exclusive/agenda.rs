//! Which names the task of the leases looks at in a round: those to which something happened, and those that are due.
//! With a thousand names and as many events a second, it must not look at every name for each event. Now and then it
//! looks at all, for what no deadline announces. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::Moment;

/// All names are looked at this often (judgment: what no deadline announces may wait so long).
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(1);

/// The names that are to be looked at, by their keys.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    touched: BTreeSet<String>,
    dues: BTreeSet<(Moment, String)>,
    due_of: BTreeMap<String, Moment>,
    /// When all are to be looked at; `None`: now.
    all_at: Option<Moment>,
}

impl Agenda {
    /// Something happened to a name.
    pub(super) fn touch(&mut self, key: &str) {
        if !self.touched.contains(key) {
            self.touched.insert(key.to_owned());
        }
    }

    /// Something happened that concerns all.
    pub(super) fn touch_all(&mut self) {
        self.all_at = None;
    }

    /// The names to look at now, each once; `all` are the names that there are.
    pub(super) fn take<'a>(&mut self, now: Moment, all: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        let mut taken = std::mem::take(&mut self.touched);
        if self.all_at.is_none_or(|at| at <= now) {
            self.all_at = Some(now + LOOK_AT_ALL_EVERY);
            taken.extend(all.cloned());
        }
        let due = self.dues.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone());
        taken.extend(due);
        taken
    }

    /// A name was looked at, and is due next at this time; `None`: by no time alone.
    pub(super) fn set_due(&mut self, key: &str, due: Option<Moment>) {
        if self.due_of.get(key).copied() == due {
            return;
        }
        if let Some(before) = self.due_of.remove(key) {
            self.dues.remove(&(before, key.to_owned()));
        }
        if let Some(due) = due {
            self.due_of.insert(key.to_owned(), due);
            self.dues.insert((due, key.to_owned()));
        }
    }

    /// There is no such name any more.
    pub(super) fn forget(&mut self, key: &str) {
        self.set_due(key, None);
        self.touched.remove(key);
    }

    /// When there is something to look at next: not before `now`.
    pub(super) fn next(&self, now: Moment) -> Moment {
        let Some(all_at) = self.all_at.filter(|_| self.touched.is_empty()) else { return now };
        self.dues.first().map_or(all_at, |(due, _)| (*due).min(all_at)).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("n{number}")).collect()
    }

    fn taken(agenda: &mut Agenda, millis: u64, all: &[String]) -> Vec<String> {
        agenda.take(at(millis), all.iter()).into_iter().collect()
    }

    #[test]
    fn only_what_was_touched_or_is_due_is_looked_at_and_all_once_a_second() {
        let all = names(3);
        let mut agenda = Agenda::default();
        assert_eq!((agenda.next(at(0)), taken(&mut agenda, 0, &all)), (at(0), all.clone()));
        assert_eq!((agenda.next(at(0)), taken(&mut agenda, 10, &all)), (at(1000), vec![]));
        agenda.set_due("n1", Some(at(30)));
        agenda.set_due("n2", Some(at(20)));
        agenda.set_due("n2", Some(at(500)));
        assert_eq!((agenda.next(at(0)), agenda.next(at(40))), (at(30), at(40)));
        agenda.touch("n0");
        agenda.touch("n0");
        assert_eq!(agenda.next(at(7)), at(7));
        assert_eq!(taken(&mut agenda, 30, &all), ["n0", "n1"]);
        agenda.set_due("n1", None);
        assert_eq!((agenda.next(at(30)), taken(&mut agenda, 499, &all)), (at(500), vec![]));
        agenda.touch("n2");
        agenda.forget("n2");
        assert_eq!((agenda.next(at(500)), taken(&mut agenda, 999, &all)), (at(1000), vec![]));
        assert_eq!(taken(&mut agenda, 1000, &all), all);
        agenda.touch_all();
        assert_eq!((agenda.next(at(1001)), taken(&mut agenda, 1001, &all)), (at(1001), all.clone()));
    }

    #[test]
    fn the_work_is_that_of_the_events_and_not_of_names_times_events() {
        let all = names(1000);
        let mut agenda = Agenda::default();
        let mut looks = 0;
        // Each name has an event a second, and is due three times a second.
        for millis in 0..5000 {
            agenda.touch(&all[millis % all.len()]);
            for key in agenda.take(at(millis as u64), all.iter()) {
                looks += 1;
                agenda.set_due(&key, Some(at(millis as u64 + 333)));
            }
        }
        assert!(looks <= 5 * (1000 + 1000 + 3 * 1000 + 1000), "{looks}");
        assert!(looks >= 5 * 1000, "{looks}");
    }
}
