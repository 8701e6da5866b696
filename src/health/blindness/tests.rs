//! The rule of blindness in small worlds. A world is a text: each part is a region, each letter a host. The letters:
//! `+` healthy; `-` silent, and still Up in its detector; `x` silent, and judged Down just now; `.` not probed since;
//! `!` judged Down by answers (a refusal, a status); `?` failing by answers, and still Up; `d` Down for long and
//! silent; `t` Down for long and answering; `e` judged Down by the exit code of a program.

use super::*;
use crate::model::Health;

const MS: Duration = Duration::from_millis(1);

pub(super) fn at(ms: u32) -> Moment {
    Moment::START + ms * MS
}

/// When the first failures of the hosts that are newly Down ended.
const SINCE: u32 = 10_000;

fn path(letter: char) -> PathState {
    let mut path = PathState::default();
    let silence = PathEvidence::Silence { answered: None };
    path.update(PathEvidence::Success, at(1));
    match letter {
        '+' => path.update(PathEvidence::Success, at(SINCE + 1000)),
        '.' => path.update(PathEvidence::Success, at(SINCE - 500)),
        '-' | 'x' => path.update(silence, at(SINCE)),
        '!' | '?' | 't' => path.update(PathEvidence::Answer, at(SINCE + 1000)),
        'd' => path.update(silence, at(2)),
        'e' => path.update(PathEvidence::Inconclusive, at(SINCE)),
        other => panic!("no host is {other}"),
    }
    path
}

fn world(regions: &str) -> Vec<ExaminedCheck> {
    let mut checks = Vec::new();
    for (region, hosts) in regions.split_whitespace().enumerate() {
        for letter in hosts.chars() {
            let (reported, judged) = match letter {
                'x' | '!' | 'e' => (Health::Up, Health::Down),
                'd' | 't' => (Health::Down, Health::Down),
                _ => (Health::Up, Health::Up),
            };
            let probed = Some(at(if letter == '.' { SINCE - 500 } else { SINCE + 1000 }));
            checks.push(ExaminedCheck { region, host: checks.len(), reported, judged, probed, path: path(letter) });
        }
    }
    checks
}

/// Control targets: `+` answers, `-` silent, `.` not tried since.
fn controls(targets: &str) -> Vec<ExaminedControl> {
    let since = |is_so| Some(at(if is_so { SINCE + 1000 } else { SINCE - 500 }));
    targets
        .chars()
        .map(|letter| ExaminedControl { probed: since(letter != '.'), answered: since(letter == '+') })
        .collect()
}

/// `+`: verdicts are reported. `blind`, and the silent regions. `probe`, and how many checks are probed first (`c`: and
/// the control targets).
fn result(regions: &str, control: &str) -> String {
    let (mut blindness, checks) = (Blindness::default(), world(regions));
    let limits = blindness.examine(&checks, &controls(control), at(SINCE + 1000));
    if blindness.is_examining() {
        return format!("probe {}{}", limits.probe_now.len(), if limits.probe_controls { "c" } else { "" });
    }
    for check in checks.iter().filter(|check| check.is_newly_down()) {
        let must_wait = limits.silent.contains(&check.region) && !check.path.is_proven();
        assert_eq!(limits.allow(check), !must_wait, "{regions}: {check:?}");
    }
    match blindness.why() {
        None => "+".to_owned(),
        Some(_) => format!("blind {:?}", limits.silent),
    }
}

fn check(what: &str, regions: &str, control: &str, expected: &str) {
    assert_eq!(result(regions, control), expected, "{what}: {regions} / {control}");
}

/// A rule that knows nothing yet, and what it decides about this world at `now`, without control targets.
fn examined(checks: &[ExaminedCheck], now: Moment) -> (Blindness, ReportLimits) {
    let mut blindness = Blindness::default();
    let limits = blindness.examine(checks, &[], now);
    (blindness, limits)
}

#[test]
fn the_vantage_is_blind_if_most_regions_are_silent() {
    check("one endpoint", "x+++ ++++ ++++", "", "+");
    check("one region of three", "xxxx ++++ ++++", "", "+");
    check("two regions of three, whole", "x--- ---- ++++", "", "blind [0, 1]");
    check("all of three", "x--- ---- ----", "", "blind [0, 1, 2]");
    check("one region of two is not most", "xx-- ++++", "", "+");
    check("two of two", "xx-- --", "", "blind [0, 1]");
    check("hosts that are down for long do not matter", "xddd dddd ++++", "", "+");
    check("and do not count as the world", "x-dd --dd ++dd", "", "blind [0, 1]");
}

#[test]
fn a_region_from_which_anything_comes_is_not_silent() {
    check("one host of each answers", "x--+ --+- ++++", "", "+");
    check("half of them", "x-++ --++ ++++", "", "+");
    check("one of many", "xxxxxxxxxxxxxxx+ ---------------+ +", "", "+");
    check("one refuses", "xxx! xxx! xxx!", "", "+");
    check("one is down and answers", "xxxt xxxt xxxx", "", "+");
    check("one fails by an answer and is not down yet", "xxx? xxx? xxxx", "", "+");
    check("it is one region of three that is silent", "xxxx !!!! ++++", "", "+");
    check("two are silent, the third refuses", "xxxx xxxx !!!!", "", "blind [0, 1]");
}

#[test]
fn answers_are_no_silence() {
    check("all of two regions refuse", "!!!! !!!! ++++", "", "+");
    check("and of all three", "!! !! !!", "", "+");
    check("with control targets that are silent", "!! !!", "--", "+");
    let checks = world("!x !x ..");
    let (_, limits) = examined(&checks, at(SINCE + 1000));
    assert!(limits.allow(&checks[0]) && limits.allow(&checks[2]), "they do not wait: {limits:?}");
}

#[test]
fn the_exit_code_of_a_program_is_neither_silence_nor_an_answer() {
    check("all programs fail", "ee ee ee", "", "+");
    check("they don't prove the path", "exxx exxx +", "", "blind [0, 1]");
    check("nor that there is none", "eee- eee+ +", "", "+");
}

#[test]
fn small_worlds_fail_over() {
    check("one endpoint", "x", "", "+");
    check("with its twin", "xx", "", "+");
    check("one region alone", "xxxxxxxxxx", "", "+");
    check("one in each of three regions", "x x x", "", "+");
    check("two pairs are a world", "xx xx", "", "blind [0, 1]");
    let mut hosts = world("xxx xxx");
    for check in &mut hosts {
        check.host = check.region;
    }
    let (blindness, _) = examined(&hosts, at(SINCE + 1000));
    assert_eq!(blindness.why(), None, "six services of two hosts count as two");
}

#[test]
fn control_targets_decide_where_there_are_any() {
    check("they answer: it is the world", "xxxx xxxx", "+", "+");
    check("most answer", "xxxx xxxx", "++-", "+");
    check("they are silent as well", "xxxx xxxx", "-", "blind [0, 1]");
    check("most are silent", "xxxx xxxx", "--+", "blind [0, 1]");
    check("half is not most", "xxxx xxxx", "-+", "+");
    check("a world of one host is enough then", "x", "-", "blind [0]");
    check("but one endpoint of many fails by itself", "x+++ ++++", "-", "+");
    check("not tried since: they are tried", "xxxx xxxx", ".", "probe 0c");
}

#[test]
fn hosts_that_were_not_probed_since_are_probed_but_no_more_than_needed() {
    check("a few of each region", "x......... .......... ..........", "", "probe 15");
    check("one region answered: the others decide", "x+++ .... ....", "", "probe 8");
    check("enough regions answered", "x+++ ++++ ....", "", "+");
    check("one of each answered", "x..+...... .+........ ..........", "", "+");
    check("the rest may still answer", "x---. ----- +++++", "", "probe 1");
    check("also what is down and answered before", "xdt -d ++", "", "+");
    let (_, limits) = examined(&world("x................... ++++ ...."), at(SINCE + 1000));
    let of_first = limits.probe_now.iter().filter(|at| **at < 20).copied().collect::<Vec<_>>();
    assert!(of_first.len() == 5 && of_first.windows(2).all(|two| two[1] - two[0] >= 3), "spread: {of_first:?}");
}

#[test]
fn an_examination_ends_and_then_hosts_without_a_result_count_as_silent() {
    let checks = world("x... .... ++");
    let (mut blindness, limits) = examined(&checks, at(SINCE));
    let expected = (None, vec![1, 2, 3, 4, 5, 6, 7], false);
    assert_eq!((limits.examined_until, limits.probe_now, limits.probe_controls), expected);
    assert!(blindness.is_examining() && blindness.why().is_none());
    let end = at(SINCE) + MAX_EXAMINATION;
    assert_eq!(blindness.deadline(), Some(end));
    assert!(!blindness.examine(&checks, &[], end - MS).allow(&checks[0]) && blindness.is_examining(), "not yet");
    let limits = blindness.examine(&checks, &[], end);
    assert_eq!(limits.silent, [0, 1]);
    assert_eq!(
        blindness.why(),
        Some("nothing answers from 2 of 3 regions (10 hosts were up), they failed at once"),
        "the text is for operators"
    );
}

#[test]
fn what_fails_during_an_examination_is_examined_next() {
    let mut checks = world("x... .... ....");
    let (mut blindness, first) = examined(&checks, at(SINCE));
    assert!(blindness.is_examining() && first.examined_until.is_none());
    // The witnesses answer. Then another host fails.
    for check in &mut checks[1..] {
        check.path.update(PathEvidence::Success, at(SINCE + 20));
        check.probed = Some(at(SINCE + 20));
    }
    checks[5].judged = Health::Down;
    checks[5].path.update(PathEvidence::Silence { answered: None }, at(SINCE + 50));
    checks[5].probed = Some(at(SINCE + 60));
    let limits = blindness.examine(&checks, &[], at(SINCE + 60));
    assert!(blindness.is_examining());
    assert_eq!(limits.examined_until, Some(at(SINCE)), "the first was examined");
    assert!(limits.allow(&checks[0]) && !limits.allow(&checks[5]));
    assert_eq!(limits.probe_now.len(), 3 + 3 + 4, "nothing came since the second began");
}

/// A rule that is blind since a second after [`SINCE`].
fn blind(control: &str) -> Blindness {
    let mut blindness = Blindness::default();
    let limits = blindness.examine(&world("xx-- --- ---"), &controls(control), at(SINCE + 1000));
    assert_eq!(limits.silent, [0, 1, 2]);
    blindness
}

/// As [`world`], with probes eight seconds later.
fn later(regions: &str) -> Vec<ExaminedCheck> {
    let mut checks = world(regions);
    for check in checks.iter_mut().filter(|check| check.probed >= Some(at(SINCE))) {
        check.probed = Some(at(SINCE + 9000));
        if check.path.has_answered_since(at(SINCE)) {
            let is_up = check.judged == Health::Up;
            let evidence = if is_up { PathEvidence::Success } else { PathEvidence::Answer };
            check.path.update(evidence, at(SINCE + 9000));
        }
    }
    checks
}

#[test]
fn the_first_answer_from_a_region_ends_its_silence() {
    let now = at(SINCE + 9500);
    let examine = |regions: &str| {
        let mut blindness = blind("");
        let limits = blindness.examine(&later(regions), &[], now);
        (blindness.why().is_some(), limits.silent, limits.reopened)
    };
    assert_eq!(examine("xxxx xxx xxx"), (true, vec![0, 1, 2], vec![]));
    assert_eq!(examine("+xxx xxx xxx"), (true, vec![1, 2], vec![0]), "one region of three answers");
    assert_eq!(examine("!xxx xxx xxx"), (true, vec![1, 2], vec![0]), "though it refuses");
    assert_eq!(examine("++++ ... ..."), (true, vec![1, 2], vec![0]), "nothing is known about the others");
    assert_eq!(examine("+xxx xx+ xxx"), (false, vec![], vec![0, 1, 2]), "two of three: it sees, and all begin anew");
    assert_eq!(examine("!xxx xx! xxx"), (false, vec![], vec![0, 1, 2]));
}

#[test]
fn a_failure_in_a_region_that_answers_is_reported_while_others_are_silent() {
    let mut blindness = blind("");
    let now = at(SINCE + 9500);
    blindness.examine(&later("++++ xxx xxx"), &[], now);
    let checks = later("+!++ xxx xxx");
    let limits = blindness.examine(&checks, &[], now + MS);
    assert_eq!(limits.silent, [1, 2]);
    assert!(limits.allow(&checks[1]) && !limits.allow(&checks[4]));
    // The whole region is silent again.
    let mut checks = later("++++ xxx xxx");
    for check in &mut checks[..4] {
        check.path.update(PathEvidence::Silence { answered: None }, now + 100 * MS);
        check.probed = Some(now + 100 * MS);
    }
    checks[3].judged = Health::Down;
    let limits = blindness.examine(&checks, &[], now + 200 * MS);
    assert_eq!((limits.silent, limits.reopened), (vec![0, 1, 2], vec![]));
}

#[test]
fn control_targets_that_answer_end_blindness() {
    let now = at(SINCE + 9500);
    let mut blindness = blind("-");
    let answering = [ExaminedControl { probed: Some(now), answered: Some(now) }];
    let limits = blindness.examine(&later("xxxx xxx xxx"), &answering, now);
    assert_eq!((blindness.why(), limits.reopened), (None, vec![0, 1, 2]), "the endpoints have failed");
}

#[test]
fn a_region_that_is_no_longer_in_the_plan_is_not_silent() {
    let mut blindness = blind("");
    let limits = blindness.examine(&later("xxxx xxx"), &[], at(SINCE + 9500));
    assert_eq!((limits.silent, limits.reopened), (vec![0, 1], vec![2]));
    let limits = blindness.examine(&[], &[], at(SINCE + 9600));
    assert_eq!((blindness.why(), limits.reopened), (None, vec![0, 1]));
}
