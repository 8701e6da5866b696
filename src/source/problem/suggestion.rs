//! What an unknown name probably means. Comparing names takes long, so a load compares a limited number: in a file of a
//! hundred thousand wrong names each would be compared with a hundred thousand.

use std::cell::Cell;

use crate::source::listed;

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

/// The hint for an unknown name: that of [`similar`], else all of `known` if they are few.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Most names that are listed (judgment).
    const LISTED: usize = 12;
    if LEFT.get() == 0 {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let is_listed = (1..=LISTED).contains(&known.len());
    similar(written, known.iter().copied()).or_else(|| is_listed.then(|| format!("there is {}", listed(&known))))
}

/// ``did you mean `x`?`` if one of `known` is similar to the name.
pub(crate) fn similar<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Least similarity of two names of which one is a typing error of the other (Jaro-Winkler; judgment).
    const NEAR: f64 = 0.85;
    /// Longest name that is compared, in octets: that of a domain. Comparing takes the product of two lengths.
    const LONGEST: usize = 255;
    let near = |name: &&str| {
        let (a, b) = (written.to_lowercase(), name.to_lowercase());
        match strsim::damerau_levenshtein(&a, &b) {
            // Only the case differs.
            0 => 2.0,
            1 => 1.0,
            _ => strsim::jaro_winkler(&a, &b),
        }
    };
    let known = known.into_iter().filter(|name| name.len() <= LONGEST && written.len() <= LONGEST);
    let best = known
        .take_while(|name| may_compare(written, name))
        .map(|name| (near(&name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(nearness, _)| *nearness >= NEAR).map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Counts the comparison of two names, which takes the product of their lengths; whether this thread may make it.
fn may_compare(a: &str, b: &str) -> bool {
    let left = LEFT.get();
    let pairs = (a.len() + 1) * (b.len() + 1);
    LEFT.set(if left == usize::MAX { left } else { left.saturating_sub(pairs) });
    left > 0
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(did_you_mean("wieght", ["weight"]).as_deref(), Some("did you mean `weight`?"), "another thread");
        let long = "a".repeat(1 << 20);
        assert_eq!((similar(&long, ["weight"]), similar("weight", [&*long])), (None, None));
    }
}
