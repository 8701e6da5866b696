//! What an unknown name probably means. Comparing names takes long, so a load compares a limited number: in a file of a
//! hundred thousand wrong names each would be compared with a hundred thousand. For the same reason the known names are
//! an iterator: after the limit no further name is taken from it.

use std::cell::Cell;
use std::collections::HashSet;

use crate::source::listed;

/// What other products call a key or a value: their word, and ours. It goes before a similar word of ours: `fallback`
/// means `on_empty`, and is more like `failback`.
const WORDS_OF_OTHERS: [(&str, &str); 26] = [
    ("fallback", "on_empty"),
    ("fallback_ip", "on_empty"),
    ("fallback_pool", "on_empty"),
    ("up_thresh", "min_up"),
    ("minimum_origins", "min_up"),
    ("enabled", "state"),
    ("disabled", "state"),
    ("health_check", "monitor"),
    ("healthcheck", "monitor"),
    ("service_types", "monitor"),
    ("url_path", "path"),
    ("origins", "members"),
    ("ip", "addresses"),
    ("address", "addresses"),
    ("addrs", "addresses"),
    ("roundrobin", "weighted"),
    ("round-robin", "weighted"),
    ("round_robin", "weighted"),
    ("ratio", "weighted"),
    ("random", "weighted"),
    ("topology", "geo"),
    ("geoip", "geo"),
    ("proximity", "nearest"),
    ("multivalue", "all"),
    ("hash", "affinity"),
    ("sticky", "affinity"),
];

/// How much one load compares, in pairs of octets. Judgment: about a tenth of a second in a release build, and enough
/// for ten thousand pairs of names with 20 octets each; whoever has more wrong names looks at the first ones.
const MOST_COMPARED: usize = 4_000_000;

thread_local! {
    /// How many pairs of octets this thread may still compare; without a limit where it doesn't load files.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Limits the comparisons of the load that begins now on this thread.
pub(crate) fn limit_comparisons() {
    LEFT.set(MOST_COMPARED);
}

/// Makes no further comparison on this thread.
#[cfg(test)]
pub(crate) fn no_more_comparisons() {
    LEFT.set(0);
}

/// The hint for an unknown name: that of [`similar`], else all of `known` if they are few.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Most names that are listed (judgment).
    const LISTED: usize = 12;
    if LEFT.get() == 0 {
        return None;
    }
    let mut first = Vec::new();
    let near =
        similar(written, known.into_iter().inspect(|name| first.extend((first.len() <= LISTED).then_some(*name))));
    // Where the comparisons ran out, there are more than these.
    let is_whole = LEFT.get() > 0 && (1..=LISTED).contains(&first.len());
    // Zones may have endpoints of one name.
    let mut seen = HashSet::new();
    first.retain(|name| seen.insert(*name));
    near.or_else(|| is_whole.then(|| format!("there is {}", listed(&first))))
}

/// ``did you mean `x`?`` if one of `known` is similar to the name.
pub(crate) fn similar<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Least similarity of two names of which one is a typing error of the other (Jaro-Winkler; judgment).
    const NEAR: f64 = 0.85;
    /// Longest name that is compared, in octets: that of a domain. Comparing takes the product of two lengths.
    const LONGEST: usize = 255;
    let meant = WORDS_OF_OTHERS.iter().find(|(word, _)| word.eq_ignore_ascii_case(written)).map(|(_, ours)| *ours);
    let near = |name: &&str| {
        if meant == Some(*name) {
            return 3.0;
        }
        let (a, b) = (written.to_lowercase(), name.to_lowercase());
        match strsim::damerau_levenshtein(&a, &b) {
            // Only the case differs.
            0 => 2.0,
            1 => 1.0,
            _ => strsim::jaro_winkler(&a, &b),
        }
    };
    let is_short = |name: &str| name.len() <= LONGEST && written.len() <= LONGEST;
    // A name that is too long costs a look.
    let pairs = |name: &str| if is_short(name) { (written.len() + 1) * (name.len() + 1) } else { 1 };
    let best = known
        .into_iter()
        .take_while(|name| may_compare(pairs(name)))
        .filter(|name| is_short(name))
        .map(|name| (near(&name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(nearness, _)| *nearness >= NEAR).map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Counts the comparison of two names, which takes the product of their lengths; whether this thread may make it.
fn may_compare(pairs: usize) -> bool {
    let left = LEFT.get();
    LEFT.set(if left == usize::MAX { left } else { left.saturating_sub(pairs) });
    left > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::problem::bounds::MOST_HELD_OF_A_FILE;
    use crate::source::{Place, Problems};

    #[test]
    fn a_load_compares_a_limited_number_of_names_and_none_that_are_very_long() {
        let loading = std::thread::spawn(|| {
            limit_comparisons();
            assert_eq!(LEFT.get(), MOST_COMPARED);
            LEFT.set(2 * (7 * 7 + 7 * 6));
            [(), (), ()].map(|()| similar("wieght", ["weight", "state"]).is_some())
        });
        assert_eq!(loading.join().unwrap(), [true, true, false]);
        // However long they are.
        let loading = std::thread::spawn(|| {
            limit_comparisons();
            let name = "a".repeat(255);
            (0..).take_while(|_| similar(&name, ["b"; 100]).is_none() && LEFT.get() > 0).count()
        });
        assert_eq!(loading.join().unwrap(), MOST_COMPARED / (256 * 2 * 100));
        assert_eq!(similar("fallback", ["failback", "on_empty"]).as_deref(), Some("did you mean `on_empty`?"));
        assert_eq!(similar("fallback", ["failback"]).as_deref(), Some("did you mean `failback`?"));
        assert_eq!(similar("Round-Robin", ["weighted", "latency"]).as_deref(), Some("did you mean `weighted`?"));
        assert_eq!(did_you_mean("x", ["One", "two", "One", "two"]).as_deref(), Some("there is `One` and `two`"));
        assert_eq!(did_you_mean("wieght", ["weight"]).as_deref(), Some("did you mean `weight`?"), "another thread");
        let long = "a".repeat(1 << 20);
        assert_eq!((similar(&long, ["weight"]), similar("weight", [&*long])), (None, None));
    }

    #[test]
    fn known_names_are_taken_only_while_they_may_be_compared_however_long_the_names_are() {
        let long = "a".repeat(300);
        for (written, known) in [("wieght", "weight"), (&*long, "weight"), ("weight", &long), (&long, &long)] {
            let (written, known) = (written.to_owned(), known.to_owned());
            let loading = std::thread::spawn(move || {
                limit_comparisons();
                let taken = Cell::new(0_usize);
                let endless = || std::iter::repeat(&*known).inspect(|_| taken.set(taken.get() + 1));
                let _ = similar(&written, endless());
                let first = taken.get();
                for _ in 0..100 {
                    let _ = (did_you_mean(&written, endless()), similar(&written, endless()));
                }
                (first, taken.get() - first)
            });
            let (first, later) = loading.join().unwrap();
            assert!(first <= MOST_COMPARED + 1 && later <= 100, "{first} and then {later}");
        }
    }

    #[test]
    fn a_problem_that_is_only_counted_gets_no_hint() {
        let (mut problems, mut taken) = (Problems::default(), 0);
        let place = Place::start_of(std::path::Path::new("f"));
        for _ in 0..5000 {
            let known = ["weight"].into_iter().inspect(|_| taken += 1);
            problems.error(&place, "no such name").suggest("wieght", known);
        }
        assert_eq!(taken, MOST_HELD_OF_A_FILE);
    }
}
