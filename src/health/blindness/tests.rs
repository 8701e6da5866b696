//! Worlds told as hosts: a word a region, a letter a host. `+` well, `-` failing and still Up in its detector, `x` judged Down
//! just now, `d` Down for long, `.` not heard of since.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn at(ms: u32) -> Moment {
    Moment::START + ms * MS
}

/// When the first failures of those that are lost ended.
const SINCE: u32 = 10_000;

fn world(words: &str) -> Vec<Look> {
    let mut looks = Vec::new();
    for (region, word) in words.split_whitespace().enumerate() {
        for letter in word.chars() {
            let (believed, judged) = match letter {
                'x' => (Health::Up, Health::Down),
                'd' => (Health::Down, Health::Down),
                _ => (Health::Up, Health::Up),
            };
            let failing_since = match letter {
                'x' | '-' => Some(at(SINCE)),
                'd' => Some(at(1)),
                _ => None,
            };
            let heard = Some(at(if letter == '.' { SINCE - 500 } else { SINCE + 1000 }));
            looks.push(Look { region, host: looks.len(), believed, judged, heard, failing_since });
        }
    }
    looks
}

fn controls(word: &str) -> Vec<Control> {
    let heard = |letter| Some(at(if letter == '.' { SINCE - 500 } else { SINCE + 1000 }));
    word.chars().map(|letter| Control { heard: heard(letter), is_failing: letter == '-' }).collect()
}

/// `+`: verdicts go out, `blind`, or how many are asked.
fn found(words: &str, control: &str) -> String {
    match Blindness::default().look(&world(words), &controls(control), at(SINCE + 1000)) {
        Sight::Clear => "+".to_owned(),
        Sight::Blind => "blind".to_owned(),
        Sight::Looking { ask, ask_controls, .. } => format!("ask {}{}", ask.len(), if ask_controls { "c" } else { "" }),
        Sight::Thawed => "thawed".to_owned(),
    }
}

fn check(what: &str, words: &str, control: &str, expected: &str) {
    assert_eq!(found(words, control), expected, "{what}: {words} / {control}");
}

#[test]
fn most_hosts_in_most_regions_make_blindness() {
    check("one endpoint", "x+++ ++++ ++++", "", "+");
    check("one region of three", "xxxx ++++ ++++", "", "+");
    check("two regions of three, whole", "x--- ---- ++++", "", "blind");
    check("most of most regions", "x--+ --+- ++++", "", "blind");
    check("half of them is not most", "x-++ --++ ++++", "", "+");
    check("one region of two is not most", "xx-- ++++", "", "+");
    check("two of two", "xx-- --", "", "blind");
    check("what is down for long is nobody's news", "xddd dddd ++++", "", "+");
    check("and does not count as the world", "x-dd --dd ++dd", "", "blind");
}

#[test]
fn small_worlds_fail_over() {
    check("one endpoint", "x", "", "+");
    check("with its twin", "xx", "", "+");
    check("one region alone", "xxxxxxxxxx", "", "+");
    check("one in each of three regions", "x x x", "", "+");
    check("two pairs are a world", "xx xx", "", "blind");
    let mut hosts = world("xxx xxx");
    for look in &mut hosts {
        look.host = look.region;
    }
    let sight = Blindness::default().look(&hosts, &[], at(SINCE + 1000));
    assert_eq!(sight, Sight::Clear, "six services of two hosts are two");
}

#[test]
fn control_targets_decide_where_there_are_any() {
    check("they answer: it is the world", "xxxx xxxx", "+", "+");
    check("most answer", "xxxx xxxx", "++-", "+");
    check("they fail as well", "xxxx xxxx", "-", "blind");
    check("most fail", "xxxx xxxx", "--+", "blind");
    check("half is not most", "xxxx xxxx", "-+", "+");
    check("a world of one is enough then", "x", "-", "blind");
    check("but one endpoint of many is its own", "x+++ ++++", "-", "+");
    check("not heard of: asked", "xxxx xxxx", ".", "ask 0c");
}

#[test]
fn who_was_not_heard_of_is_asked_and_no_more_than_needed() {
    check("a few of each region", "x......... .......... ..........", "", "ask 15");
    check("one region answered: the others decide", "x+++ .... ....", "", "ask 8");
    check("enough regions answered", "x+++ ++++ ....", "", "+");
    check("enough of each answered", "x..+++++.. .+++.++... ..........", "", "+");
    check("the sample stands for the rest", "x....----- -----..... ++++++++++", "", "blind");
    check("and those that are lost for themselves alone", "xxx..-++++ xxx..-++++ ++++++++++", "", "+");
}

#[test]
fn a_look_ends_and_the_silent_count_as_failing() {
    let mut blindness = Blindness::default();
    let looks = world("x... .... ++");
    let Sight::Looking { settled: None, ask, ask_controls: false } = blindness.look(&looks, &[], at(SINCE)) else {
        panic!("nothing is known of most")
    };
    assert_eq!(ask, [1, 2, 3, 4, 5, 6, 7]);
    assert!(blindness.is_looking() && blindness.why().is_none());
    let end = at(SINCE) + MAX_LOOK;
    assert_eq!(blindness.deadline(), Some(end));
    assert!(matches!(blindness.look(&looks, &[], end - MS), Sight::Looking { .. }), "not yet");
    assert_eq!(blindness.look(&looks, &[], end), Sight::Blind);
    assert_eq!(
        blindness.why(),
        Some("most endpoints of 2 of 3 regions (10 hosts were up) failed at once"),
        "in words that a person reads"
    );
}

#[test]
fn what_fails_while_one_is_looking_is_looked_into_by_itself() {
    let mut blindness = Blindness::default();
    let mut looks = world("x... .... ....");
    assert!(matches!(blindness.look(&looks, &[], at(SINCE)), Sight::Looking { settled: None, .. }));
    // The witnesses answer; meanwhile everything fails.
    for look in &mut looks[1..] {
        look.heard = Some(at(SINCE + 20));
    }
    looks[5] =
        Look { judged: Health::Down, failing_since: Some(at(SINCE + 50)), heard: Some(at(SINCE + 60)), ..looks[5] };
    let sight = blindness.look(&looks, &[], at(SINCE + 60));
    let Sight::Looking { settled, ask, .. } = sight else { panic!("{sight:?}") };
    assert_eq!(settled, Some(at(SINCE)), "the first was looked into");
    assert_eq!(ask.len(), 3 + 3 + 4, "nothing was heard since the second began");
}

#[test]
fn it_thaws_when_most_regions_answer_again_or_the_controls_do() {
    let blind = |control: &str| {
        let mut blindness = Blindness::default();
        assert_eq!(blindness.look(&world("xx-- --- ---"), &controls(control), at(SINCE + 1000)), Sight::Blind);
        blindness
    };
    let later = |words: &str| {
        let mut looks = world(words);
        for look in looks.iter_mut().filter(|look| look.heard >= Some(at(SINCE))) {
            look.heard = Some(at(SINCE + 9000));
        }
        looks
    };
    let now = at(SINCE + 9500);
    assert_eq!(blind("").look(&later("xxxx xxx xxx"), &[], now), Sight::Blind);
    assert_eq!(blind("").look(&later("++++ xxx xxx"), &[], now), Sight::Blind, "one region of three");
    assert_eq!(blind("").look(&later("++++ ... ..."), &[], now), Sight::Blind, "nothing was heard of the others");
    assert_eq!(blind("").look(&later("++xx ++x xxx"), &[], now), Sight::Thawed, "two of three");
    let mut answering = controls("+");
    answering[0].heard = Some(now);
    assert_eq!(blind("-").look(&later("xxxx xxx xxx"), &answering, now), Sight::Thawed, "it is the world after all");

    let mut blindness = blind("");
    blindness.look(&later("++xx ++x xxx"), &[], now);
    assert_eq!(blindness.why(), None);
    assert_eq!(blindness.look(&later("++++ +++ ---"), &[], now), Sight::Clear, "and sees");
}
