//! Bounds that all zones of a load share. Where they are exceeded, the zone that takes the most is left out, then the
//! next one, until the others fit. So the author of one zone can't use up what the zones of others need. A zone that is
//! left out counts as wrong: its last good version is served, which is not counted here.
//!
//! Candidates are counted in the order of their names, each after all its files are read. So the same files have the
//! same result on every server.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::path::Path;

use foldhash::fast::FixedState;

use crate::config::net_files::NetFiles;
use crate::config::spec::{PolicySpec, SelectorSpec};
use crate::config::validate::{MAX_EXCLUSIVE, MAX_SELECTORS};
use crate::config::zones::candidate::{Candidate, Content};
use crate::source::{MAX_LOAD, Place, files};

/// Most selectors of one zone, of those of all zones together. Judgment: an eighth is left for the others. The last
/// good version of a zone takes its selectors too, so without this bound one zone could have all of them.
const MAX_SELECTORS_OF_ZONE: usize = MAX_SELECTORS / 8 * 7;

/// The octets of the candidates that are not left out.
#[derive(Debug, Default)]
pub(super) struct ReadOctets {
    all: u64,
    /// Those of each candidate, with its position.
    of_each: BTreeSet<(u64, usize)>,
}

impl ReadOctets {
    fn add(&mut self, octets: u64, at: usize) {
        self.all += octets;
        self.of_each.insert((octets, at));
    }

    fn remove(&mut self, octets: u64, at: usize) {
        if self.of_each.remove(&(octets, at)) {
            self.all -= octets;
        }
    }
}

/// Leaves out the largest candidates until the octets and the nets of all are within their bounds. It is called after
/// each candidate, which is the last one, so that never more than one of them is in memory beyond the bounds.
pub(super) fn settle_read(candidates: &mut [Candidate], read: &mut ReadOctets, nets: &mut NetFiles) {
    if let Some((at, last)) = candidates.iter().enumerate().next_back() {
        read.add(last.octets, at);
    }
    while read.all > MAX_LOAD {
        let Some((octets, at)) = read.of_each.last().copied() else { return };
        read.remove(octets, at);
        let (has, most) = (files::octets(octets), files::octets(MAX_LOAD));
        let message =
            format!("the files of this zone have {has}, the most of all zones, which together have over {most}");
        leave_out(candidates, at, nets, None, (message, "split it, or remove records that nobody needs"));
    }
    while nets.is_over() {
        let counted = |candidate: &Candidate| nets.count_of(&candidate.net_files) as u64;
        let Some(at) = largest(candidates, counted) else { return };
        let (has, most) = (counted(&candidates[at]), NetFiles::MOST);
        let message =
            format!("the files of this zone have {has} nets, the most of all zones, which together have over {most}");
        let place = policy(&candidates[at]).and_then(|spec| spec.net_file()).cloned();
        read.remove(candidates[at].octets, at);
        leave_out(candidates, at, nets, place, (message, "name larger nets"));
    }
}

/// The same for exclusive names and selectors. It is called once, after all candidates are read.
pub(super) fn settle_policies(candidates: &mut [Candidate], nets: &mut NetFiles) {
    let exclusive = |candidate: &Candidate| policy(candidate).map_or(0, |spec| spec.exclusive_names().count());
    let mut all_exclusive: usize = candidates.iter().map(exclusive).sum();
    if all_exclusive > MAX_EXCLUSIVE {
        let mut most_first: Vec<(usize, usize)> =
            candidates.iter().map(exclusive).zip(0..).filter(|(count, _)| *count > 0).collect();
        // Of equal ones the last goes first.
        most_first.sort_unstable_by(|a, b| b.cmp(a));
        for (count, at) in most_first {
            if all_exclusive <= MAX_EXCLUSIVE {
                break;
            }
            all_exclusive -= count;
            leave_out_exclusive(candidates, (at, count), nets);
        }
    }
    if candidates.iter().filter_map(policy).map(|spec| spec.clients().count()).sum::<usize>() <= MAX_SELECTORS_OF_ZONE {
        return;
    }
    let mut selectors: Vec<HashSet<u64>> = candidates.iter().enumerate().map(selectors_of).collect();
    loop {
        let all = || selectors.iter().flatten().collect::<HashSet<_>>().len();
        let has = |at: usize| selectors[at].len();
        let Some(at) = (0..selectors.len()).max_by_key(|at| has(*at)).filter(|at| has(*at) > 0) else { return };
        let message = if has(at) > MAX_SELECTORS_OF_ZONE {
            format!("{} different `when` and `clients`: a zone may have {MAX_SELECTORS_OF_ZONE}", has(at))
        } else if all() > MAX_SELECTORS {
            let has = has(at);
            format!(
                "{has} different `when` and `clients`, the most of all zones, which together have over {MAX_SELECTORS}"
            )
        } else {
            return;
        };
        let place = policy(&candidates[at]).and_then(|spec| spec.clients().next()).map(|of| of.name.place.clone());
        leave_out(candidates, at, nets, place, (message, "let names share pools and fences"));
        selectors[at].clear();
    }
}

/// Leaves out the candidate at this position, which has so many exclusive names.
fn leave_out_exclusive(candidates: &mut [Candidate], (at, count): (usize, usize), nets: &mut NetFiles) {
    let message = format!(
        "{count} names of this zone are exclusive, the most of all zones, which together have over {MAX_EXCLUSIVE}"
    );
    let place = policy(&candidates[at]).and_then(|spec| spec.exclusive_names().next()).cloned();
    let hint = "let names that move together be CNAMEs of one exclusive name";
    leave_out(candidates, at, nets, place, (message, hint));
}

fn policy(candidate: &Candidate) -> Option<&PolicySpec> {
    match &candidate.content {
        Content::Policy(spec, _) => Some(spec),
        Content::Static(_) | Content::Nothing => None,
    }
}

/// The candidate with the most of something; of equal ones the last. `None`: no candidate has any of it.
fn largest(candidates: &[Candidate], share: impl Fn(&Candidate) -> u64) -> Option<usize> {
    let at = (0..candidates.len()).max_by_key(|at| share(&candidates[*at]))?;
    (share(&candidates[at]) > 0).then_some(at)
}

/// Takes the content of a candidate away, which is an error at `place`, or else where its zone is named.
fn leave_out(
    candidates: &mut [Candidate],
    at: usize,
    nets: &mut NetFiles,
    place: Option<Place>,
    (message, hint): (String, &str),
) {
    let candidate = &mut candidates[at];
    let place = place.unwrap_or_else(|| candidate.place.clone());
    candidate.problems.error(&place, message).hint(hint);
    candidate.content = Content::Nothing;
    candidate.octets = 0;
    candidate.read.texts.clear();
    let given_up = std::mem::take(&mut candidate.net_files);
    let is_used = |path: &Path| candidates.iter().any(|candidate| candidate.net_files.contains(path));
    let unused = given_up.into_iter().filter(|path| !is_used(path));
    nets.forget(unused.collect());
}

/// The different selectors of a candidate as numbers. Those that are written alike are one, except that groups of two
/// zones are never the same.
fn selectors_of((at, candidate): (usize, &Candidate)) -> HashSet<u64> {
    let number = |selector: &SelectorSpec| {
        let mut hasher = FixedState::default().build_hasher();
        let mut nets: Vec<_> = selector.nets.written.iter().map(|net| net.value).collect();
        nets.sort_unstable();
        let files: Vec<&str> = selector.nets.files.iter().map(|file| file.value.as_str()).collect();
        let asns: Vec<u32> = selector.asns.iter().map(|asn| asn.value).collect();
        let countries: Vec<_> = selector.countries.iter().map(|country| country.value).collect();
        let continents: Vec<_> = selector.continents.iter().map(|continent| continent.value).collect();
        let regions: Vec<&str> = selector.regions.iter().map(|region| region.value.as_str()).collect();
        let groups: Vec<&str> = selector.groups.iter().map(|group| group.value.as_str()).collect();
        (nets, files, asns, countries, continents, regions, *selector.unknown).hash(&mut hasher);
        (!groups.is_empty()).then_some((at, groups)).hash(&mut hasher);
        hasher.finish()
    };
    policy(candidate).into_iter().flat_map(PolicySpec::clients).map(number).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::zones::candidate::{Directory, NO_POLICIES};
    use crate::source::{Problems, Severity, Texts};

    const MASTER: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";

    /// The candidate of a policy for `zone`, with these further lines.
    fn candidate(zone: &str, lines: &str, nets: &mut NetFiles) -> Candidate {
        let dir = tempfile::tempdir().unwrap();
        let endpoints = "[endpoint.e]\naddresses = [\"192.0.2.1\"]\n[endpoint.f]\naddresses = [\"192.0.2.2\"]\n";
        std::fs::write(dir.path().join("p.policy.toml"), format!("zone = \"{zone}\"\n{endpoints}{lines}")).unwrap();
        std::fs::write(dir.path().join(format!("{zone}zone")), MASTER).unwrap();
        std::fs::write(dir.path().join("few"), "192.0.2.0/24\n198.51.100.0/24\n").unwrap();
        let shown = Path::new("z");
        let texts = Texts::of_directory(shown, dir.path());
        let found = Directory { shown, real: dir.path(), trials: &NO_POLICIES }.policy(
            "p.policy.toml",
            texts,
            nets,
            Problems::default(),
        );
        assert_eq!(found.problems.errors(), 0, "{zone}");
        found
    }

    fn left_out(candidates: Vec<Candidate>) -> Vec<(String, Vec<String>)> {
        let out = candidates.into_iter().filter(|candidate| matches!(candidate.content, Content::Nothing));
        let described = out.map(|candidate| {
            let problems = candidate.problems.into_sorted();
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
            let messages = errors.map(|problem| format!("{}: {}", problem.line, problem.message));
            (candidate.apex.unwrap().to_string(), messages.collect())
        });
        described.collect()
    }

    #[test]
    fn octets_are_charged_to_the_zones_that_take_most_in_whatever_order_they_are_read() {
        let mib = |number: u64| number << 20;
        for figures in [
            &[500, 400, 300][..],
            &[255, 254, 253, 252, 251, 3],
            &[1, 1024, 1023],
            &[700, 600, 300, 200, 100, 24],
            &[1024],
            &[1025, 1],
        ] {
            let mut sorted = figures.to_vec();
            sorted.sort_unstable();
            let mut sum = 0;
            let fits = |figure: &&u64| {
                sum += **figure;
                mib(sum) <= MAX_LOAD
            };
            let expected: BTreeSet<u64> = sorted.iter().take_while(fits).copied().collect();
            let mut orders = vec![figures.to_vec(), sorted.clone()];
            orders.push(figures.iter().rev().copied().collect());
            for order in orders {
                let (mut nets, mut candidates) = (NetFiles::default(), Vec::new());
                let mut read = ReadOctets::default();
                for figure in &order {
                    candidates
                        .push(Candidate { octets: mib(*figure), ..candidate(&format!("z{figure}."), "", &mut nets) });
                    settle_read(&mut candidates, &mut read, &mut nets);
                }
                let stay: BTreeSet<u64> = candidates.iter().map(|of| of.octets >> 20).filter(|of| *of > 0).collect();
                assert_eq!(stay, expected, "{order:?}");
                for (zone, problems) in left_out(candidates) {
                    let most = "the most of all zones, which together have over 1024 MiB";
                    assert_eq!(
                        problems,
                        [format!("1: the files of this zone have {} MiB, {most}", &zone[1..zone.len() - 1])]
                    );
                }
            }
        }
    }

    #[test]
    fn nets_are_charged_to_the_zone_that_names_most_and_files_of_others_stay() {
        let pool = "[pool.p]\nsteer = \"geo\"\nmembers = [{ to = \"e\", when = { nets = [\"file:few\"] } }, \"f\"]\n";
        let mut nets = NetFiles::default();
        let mut own = candidate("own.", pool, &mut nets);
        assert_eq!(nets.count_of(&own.net_files), 2);
        let (shared, large) = (PathBuf::from("/shared"), PathBuf::from("/large"));
        nets.put(&shared, 10);
        nets.put(&large, NetFiles::MOST - 11);
        own.net_files.insert(shared.clone());
        let mut big = candidate("big.", pool, &mut nets);
        big.net_files.extend([shared.clone(), large.clone()]);
        let few: Vec<PathBuf> = own.net_files.iter().chain(&big.net_files).cloned().collect();
        let mut candidates = vec![big, own];
        settle_read(&mut candidates, &mut ReadOctets::default(), &mut nets);
        assert!(!nets.is_over());
        assert_eq!(nets.count_of(&candidates[1].net_files), 12, "what another zone names stays");
        assert_eq!(nets.count_of(&BTreeSet::from([large])), 0);
        assert!(few.iter().all(|path| nets.has_seen(path)), "all are watched");
        let expected = format!(
            "8: the files of this zone have {} nets, the most of all zones, which together have over 4000000",
            NetFiles::MOST + 1
        );
        assert_eq!(left_out(candidates), [("big.".to_owned(), vec![expected])]);
    }

    #[test]
    fn exclusive_names_and_selectors_are_charged_to_the_zone_that_has_most() {
        let exclusive = |count: usize| {
            let name = |at| format!("[name.n{at}]\npool = \"p\"\nfailover = \"exclusive\"\n");
            let names: String = (0..count).map(name).collect();
            format!("[pool.p]\nsteer = \"failover\"\nmembers = [\"e\", \"f\"]\n{names}")
        };
        let mut nets = NetFiles::default();
        let mut some: Vec<Candidate> = [("a.", 1), ("b.", 600), ("c.", 399), ("d.", 3)]
            .map(|(zone, count)| candidate(zone, &exclusive(count), &mut nets))
            .into();
        settle_policies(&mut some, &mut nets);
        let expected = "11: 600 names of this zone are exclusive, the most of all zones, which together have over 1000";
        assert_eq!(left_out(some), [("b.".to_owned(), vec![expected.to_owned()])]);
        let whens = |first: usize, count: usize| {
            let when = |at| format!("{{ to = \"e\", when = {{ asns = [{at}] }} }},");
            let all: Vec<usize> = (first..first + count).collect();
            let pools = all.chunks(1000).enumerate().map(|(at, some)| {
                let members: String = some.iter().map(when).collect();
                format!("[pool.p{at}]\nsteer = \"geo\"\nmembers = [{members} \"f\"]\n")
            });
            pools.collect::<String>()
        };
        let mut some: Vec<Candidate> = [("a.", 1, 20_000), ("b.", 1, 20_000), ("c.", 30_000, 46_000), ("d.", 7, 2)]
            .map(|(zone, first, count)| candidate(zone, &whens(first, count), &mut nets))
            .into();
        settle_policies(&mut some, &mut nets);
        let names: Vec<String> = left_out(some).into_iter().map(|(zone, _)| zone).collect();
        assert_eq!(names, ["c."], "equal ones of two zones count once");
        let mut one = vec![candidate("a.", &whens(1, MAX_SELECTORS_OF_ZONE + 1), &mut nets)];
        settle_policies(&mut one, &mut nets);
        let expected = "8: 57345 different `when` and `clients`: a zone may have 57344";
        assert_eq!(left_out(one), [("a.".to_owned(), vec![expected.to_owned()])]);
    }
}
