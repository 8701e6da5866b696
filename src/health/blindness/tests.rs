//! Worlds as words: a word a region, a letter a host. `+` well, `-` silent and still Up in its detector, `x` silent
//! and judged Down just now, `.` not probed since; `!` judged Down by answers (a refusal, a status), `?` failing by
//! answers and still Up; `d` Down for long and silent, `t` Down for long and answering; `e` judged Down by a
//! program's exit code.

use super::*;

const MS: Duration = Duration::from_millis(1);

pub(super) fn at(ms: u32) -> Moment {
    Moment::START + ms * MS
}

/// When the first failures of those that are lost ended.
const SINCE: u32 = 10_000;

fn contact(letter: char) -> Contact {
    let mut contact = Contact::default();
    let silence = Found::Silence { answered: None };
    contact.note(Found::Success, at(1));
    match letter {
        '+' => contact.note(Found::Success, at(SINCE + 1000)),
        '.' => contact.note(Found::Success, at(SINCE - 500)),
        '-' | 'x' => contact.note(silence, at(SINCE)),
        '!' | '?' | 't' => contact.note(Found::Answer, at(SINCE + 1000)),
        'd' => contact.note(silence, at(2)),
        'e' => contact.note(Found::Inconclusive, at(SINCE)),
        other => panic!("no host is {other}"),
    }
    contact
}

fn world(words: &str) -> Vec<Look> {
    let mut looks = Vec::new();
    for (region, word) in words.split_whitespace().enumerate() {
        for letter in word.chars() {
            let (believed, judged) = match letter {
                'x' | '!' | 'e' => (Health::Up, Health::Down),
                'd' | 't' => (Health::Down, Health::Down),
                _ => (Health::Up, Health::Up),
            };
            let probed = Some(at(if letter == '.' { SINCE - 500 } else { SINCE + 1000 }));
            looks.push(Look { region, host: looks.len(), believed, judged, probed, contact: contact(letter) });
        }
    }
    looks
}

/// `+` answers, `-` silent, `.` not tried since.
fn controls(word: &str) -> Vec<Control> {
    let since = |is_so| Some(at(if is_so { SINCE + 1000 } else { SINCE - 500 }));
    word.chars().map(|letter| Control { probed: since(letter != '.'), answered: since(letter == '+') }).collect()
}

/// `+`: verdicts are reported; `blind` and the regions that are silent; or how many are probed first.
fn found(words: &str, control: &str) -> String {
    let (mut blindness, looks) = (Blindness::default(), world(words));
    let sight = blindness.look(&looks, &controls(control), at(SINCE + 1000));
    if blindness.is_looking() {
        return format!("ask {}{}", sight.ask.len(), if sight.ask_controls { "c" } else { "" });
    }
    for look in looks.iter().filter(|look| look.is_lost()) {
        let is_held = sight.silent.contains(&look.region) && !look.contact.is_proven();
        assert_eq!(sight.lets_pass(look), !is_held, "{words}: {look:?}");
    }
    match blindness.why() {
        None => "+".to_owned(),
        Some(_) => format!("blind {:?}", sight.silent),
    }
}

fn check(what: &str, words: &str, control: &str, expected: &str) {
    assert_eq!(found(words, control), expected, "{what}: {words} / {control}");
}

#[test]
fn most_regions_in_silence_make_blindness() {
    check("one endpoint", "x+++ ++++ ++++", "", "+");
    check("one region of three", "xxxx ++++ ++++", "", "+");
    check("two regions of three, whole", "x--- ---- ++++", "", "blind [0, 1]");
    check("all of three", "x--- ---- ----", "", "blind [0, 1, 2]");
    check("one region of two is not most", "xx-- ++++", "", "+");
    check("two of two", "xx-- --", "", "blind [0, 1]");
    check("what is down for long is nobody's news", "xddd dddd ++++", "", "+");
    check("and does not count as the world", "x-dd --dd ++dd", "", "blind [0, 1]");
}

#[test]
fn a_region_from_which_anything_comes_is_not_silent() {
    check("one host of each answers", "x--+ --+- ++++", "", "+");
    check("half of them", "x-++ --++ ++++", "", "+");
    check("one of many", "xxxxxxxxxxxxxxx+ ---------------+ +", "", "+");
    check("one refuses", "xxx! xxx! xxx!", "", "+");
    check("one is down and says so", "xxxt xxxt xxxx", "", "+");
    check("one fails by an answer and is not down yet", "xxx? xxx? xxxx", "", "+");
    check("it is one region of three that is silent", "xxxx !!!! ++++", "", "+");
    check("two are silent, the third refuses", "xxxx xxxx !!!!", "", "blind [0, 1]");
}

#[test]
fn answers_are_no_silence() {
    check("all of two regions refuse", "!!!! !!!! ++++", "", "+");
    check("and of all three", "!! !! !!", "", "+");
    check("with control targets that are silent", "!! !!", "--", "+");
    let mut blindness = Blindness::default();
    let looks = world("!x !x ..");
    let sight = blindness.look(&looks, &[], at(SINCE + 1000));
    assert!(sight.lets_pass(&looks[0]) && sight.lets_pass(&looks[2]), "they wait for nobody: {sight:?}");
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
    for look in &mut hosts {
        look.host = look.region;
    }
    let mut blindness = Blindness::default();
    blindness.look(&hosts, &[], at(SINCE + 1000));
    assert_eq!(blindness.why(), None, "six services of two hosts are two");
}

#[test]
fn control_targets_decide_where_there_are_any() {
    check("they answer: it is the world", "xxxx xxxx", "+", "+");
    check("most answer", "xxxx xxxx", "++-", "+");
    check("they are silent as well", "xxxx xxxx", "-", "blind [0, 1]");
    check("most are silent", "xxxx xxxx", "--+", "blind [0, 1]");
    check("half is not most", "xxxx xxxx", "-+", "+");
    check("a world of one is enough then", "x", "-", "blind [0]");
    check("but one endpoint of many is its own", "x+++ ++++", "-", "+");
    check("not tried since: they are", "xxxx xxxx", ".", "ask 0c");
}

#[test]
fn who_was_not_probed_since_is_probed_and_no_more_than_needed() {
    check("a few of each region", "x......... .......... ..........", "", "ask 15");
    check("one region answered: the others decide", "x+++ .... ....", "", "ask 8");
    check("enough regions answered", "x+++ ++++ ....", "", "+");
    check("one of each answered", "x..+...... .+........ ..........", "", "+");
    check("the rest may still answer", "x---. ----- +++++", "", "ask 1");
    check("and what is down and answered before", "xdt -d ++", "", "+");
    let looks = world("x................... ++++ ....");
    let sight = Blindness::default().look(&looks, &[], at(SINCE + 1000));
    let of_first = sight.ask.iter().filter(|at| **at < 20).copied().collect::<Vec<_>>();
    assert!(of_first.len() == 5 && of_first.windows(2).all(|two| two[1] - two[0] >= 3), "spread: {of_first:?}");
}

#[test]
fn a_look_ends_and_those_of_which_nothing_is_known_count_as_silent() {
    let mut blindness = Blindness::default();
    let looks = world("x... .... ++");
    let sight = blindness.look(&looks, &[], at(SINCE));
    assert_eq!((sight.settled, sight.ask, sight.ask_controls), (None, vec![1, 2, 3, 4, 5, 6, 7], false));
    assert!(blindness.is_looking() && blindness.why().is_none());
    let end = at(SINCE) + MAX_LOOK;
    assert_eq!(blindness.deadline(), Some(end));
    assert!(!blindness.look(&looks, &[], end - MS).lets_pass(&looks[0]) && blindness.is_looking(), "not yet");
    let sight = blindness.look(&looks, &[], end);
    assert_eq!(sight.silent, [0, 1]);
    assert_eq!(
        blindness.why(),
        Some("nothing answers from 2 of 3 regions (10 hosts were up), they failed at once"),
        "in words that a person reads"
    );
}

#[test]
fn what_fails_while_one_is_looking_is_looked_into_by_itself() {
    let mut blindness = Blindness::default();
    let mut looks = world("x... .... ....");
    let first = blindness.look(&looks, &[], at(SINCE));
    assert!(blindness.is_looking() && first.settled.is_none());
    // The witnesses answer; meanwhile everything fails.
    for look in &mut looks[1..] {
        look.contact.note(Found::Success, at(SINCE + 20));
        look.probed = Some(at(SINCE + 20));
    }
    looks[5].judged = Health::Down;
    looks[5].contact.note(Found::Silence { answered: None }, at(SINCE + 50));
    looks[5].probed = Some(at(SINCE + 60));
    let sight = blindness.look(&looks, &[], at(SINCE + 60));
    assert!(blindness.is_looking());
    assert_eq!(sight.settled, Some(at(SINCE)), "the first was looked into");
    assert!(sight.lets_pass(&looks[0]) && !sight.lets_pass(&looks[5]));
    assert_eq!(sight.ask.len(), 3 + 3 + 4, "nothing came since the second began");
}

/// Blind since a second after [`SINCE`].
fn blind(control: &str) -> Blindness {
    let mut blindness = Blindness::default();
    let sight = blindness.look(&world("xx-- --- ---"), &controls(control), at(SINCE + 1000));
    assert_eq!(sight.silent, [0, 1, 2]);
    blindness
}

/// The same world eight seconds later.
fn later(words: &str) -> Vec<Look> {
    let mut looks = world(words);
    for look in looks.iter_mut().filter(|look| look.probed >= Some(at(SINCE))) {
        look.probed = Some(at(SINCE + 9000));
        if look.contact.has_answered_since(at(SINCE)) {
            let found = if look.judged == Health::Up { Found::Success } else { Found::Answer };
            look.contact.note(found, at(SINCE + 9000));
        }
    }
    looks
}

#[test]
fn the_first_answer_from_a_region_ends_its_silence() {
    let now = at(SINCE + 9500);
    let look = |words: &str| {
        let mut blindness = blind("");
        let sight = blindness.look(&later(words), &[], now);
        (blindness.why().is_some(), sight.silent, sight.reopened)
    };
    assert_eq!(look("xxxx xxx xxx"), (true, vec![0, 1, 2], vec![]));
    assert_eq!(look("+xxx xxx xxx"), (true, vec![1, 2], vec![0]), "one region of three answers");
    assert_eq!(look("!xxx xxx xxx"), (true, vec![1, 2], vec![0]), "though it refuses");
    assert_eq!(look("++++ ... ..."), (true, vec![1, 2], vec![0]), "nothing is known of the others");
    assert_eq!(look("+xxx xx+ xxx"), (false, vec![], vec![0, 1, 2]), "two of three: it sees, and all begin afresh");
    assert_eq!(look("!xxx xx! xxx"), (false, vec![], vec![0, 1, 2]));
}

#[test]
fn what_fails_in_a_region_that_is_answering_is_reported_while_others_are_silent() {
    let mut blindness = blind("");
    let now = at(SINCE + 9500);
    blindness.look(&later("++++ xxx xxx"), &[], now);
    let looks = later("+!++ xxx xxx");
    let sight = blindness.look(&looks, &[], now + MS);
    assert_eq!(sight.silent, [1, 2]);
    assert!(sight.lets_pass(&looks[1]) && !sight.lets_pass(&looks[4]));
    // It falls silent again, as a whole.
    let mut looks = later("++++ xxx xxx");
    for look in &mut looks[..4] {
        look.contact.note(Found::Silence { answered: None }, now + 100 * MS);
        look.probed = Some(now + 100 * MS);
    }
    looks[3].judged = Health::Down;
    let sight = blindness.look(&looks, &[], now + 200 * MS);
    assert_eq!((sight.silent, sight.reopened), (vec![0, 1, 2], vec![]));
}

#[test]
fn control_targets_that_answer_end_it() {
    let now = at(SINCE + 9500);
    let mut blindness = blind("-");
    let answering = [Control { probed: Some(now), answered: Some(now) }];
    let sight = blindness.look(&later("xxxx xxx xxx"), &answering, now);
    assert_eq!((blindness.why(), sight.reopened), (None, vec![0, 1, 2]), "it is the world after all");
}

#[test]
fn regions_that_are_gone_from_the_plan_are_not_waited_for() {
    let mut blindness = blind("");
    let sight = blindness.look(&later("xxxx xxx"), &[], at(SINCE + 9500));
    assert_eq!((sight.silent, sight.reopened), (vec![0, 1], vec![2]));
    let sight = blindness.look(&[], &[], at(SINCE + 9600));
    assert_eq!((blindness.why(), sight.reopened), (None, vec![0, 1]));
}
