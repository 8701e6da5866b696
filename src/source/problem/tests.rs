//! Hints, how problems are shown, their order, and their number.

use std::path::Path;

use super::bounds::{MOST_HELD, MOST_LISTED, MOST_OF_A_FILE};
use super::*;

#[test]
fn a_typing_error_gets_a_suggestion_and_another_name_does_not() {
    for (written, known, expected) in [
        ("wieght", &["weight", "state"][..], Some("did you mean `weight`?")),
        ("fra11", &["fra1", "ams"], Some("did you mean `fra1`?")),
        ("zebra", &["weight", "state"], Some("there is `weight` and `state`")),
        ("x", &[], None),
    ] {
        assert_eq!(did_you_mean(written, known.iter().copied()).as_deref(), expected, "{written}");
    }
}

#[test]
fn problems_are_sorted_and_shown_with_their_place() {
    let start = Place::start_of(Path::new("a.toml"));
    let mut problems = Problems::default();
    problems.warning(&Place { line: 9, column: 2, ..start.clone() }, "late");
    problems.error(&Place { line: 2, ..start }, "early").hint("write y");
    let sorted = problems.into_sorted();
    let files = "[see zones/README.md#zones-the-files-you-write]";
    assert_eq!(
        to_human(&sorted),
        format!("a.toml:2:1: error: early (hint: write y) {files}\na.toml:9:2: warning: late {files}\n")
    );
    let json = to_json(&sorted);
    assert_eq!((&json["ok"], &json["problems"][1]["severity"]), (&false.into(), &"warning".into()));
}

#[test]
fn other_places_and_the_section_of_the_reader_are_in_the_same_line() {
    let place = Place::start_of(Path::new("a.toml"));
    let mut problems = Problems::default();
    problems.about(ManualSection::Pool, |problems| {
        problems.error(&place, "wrong").label(&Place { line: 7, ..place.clone() }, "first here").hint("write y");
    });
    problems.error(&Place { line: 3, ..place.clone() }, "too");
    let text = to_human(&problems.into_sorted());
    let pool = "zones/README.md#poolname-a-steered-group";
    assert!(
        text.starts_with(&format!("a.toml:1:1: error: wrong (hint: write y) [see a.toml:7:1: first here; {pool}]")),
        "{text}"
    );
    assert_eq!((text.lines().count(), text.matches(pool).count()), (2, 1), "one line each: {text}");
}

#[test]
fn an_excerpt_has_a_caret_under_each_character_that_is_wrong() {
    let text = "first\n\tß = [\"x\x07\"]\n";
    let at = |line, column, end: Option<(u32, u32)>| {
        let end = end.and_then(|(line, column)| Some((std::num::NonZeroU32::new(line)?, column)));
        let place = Place { line, column, end, ..Place::start_of(Path::new("f")) };
        Problem::at(&place, Severity::Error, String::new())
    };
    let red = |carets: &str| format!("\x1b[31m{carets}\x1b[0m");
    let line = "     ß = [\"x\u{fffd}\"]\n";
    for (problem, expected) in [
        (at(2, 7, Some((2, 10))), Some(format!("{line}          {}\n", red("^^^")))),
        (at(2, 2, None), Some(format!("{line}     {}\n", red("^")))),
        (at(2, 6, Some((3, 1))), Some(format!("{line}         {}\n", red("^^^^^^")))),
        (at(2, 99, None), Some(format!("    \n{}{}\n", " ".repeat(64), red("^")))),
        (at(9, 1, None), None),
        (Problem { is_secret: true, ..at(1, 1, None) }, None),
    ] {
        assert_eq!(problem.excerpt(text), expected, "{}:{}", problem.line, problem.column);
    }
}

#[test]
fn a_file_with_an_error_in_each_line_is_not_listed_whole() {
    let mut problems = Problems::default();
    for line in 1..=5000 {
        let place = Place { line, ..Place::start_of(Path::new("a.zone")) };
        problems.error(&place, "no record");
        problems.warning(&Place { line, ..Place::start_of(Path::new("b.zone")) }, "odd");
    }
    problems.error(&Place::start_of(Path::new("c.zone")), "no SOA");
    let listed: Vec<String> = problems.into_sorted().iter().map(Problem::to_string).collect();
    assert_eq!(listed.len(), 2 * (MOST_OF_A_FILE + 1) + 1);
    assert_eq!(listed[MOST_OF_A_FILE], "a.zone:5000:1: error: and 4900 more errors before this line");
    assert_eq!(listed[2 * MOST_OF_A_FILE + 1], "b.zone:5000:1: warning: and 4900 more warnings before this line");
    assert!(listed[2 * MOST_OF_A_FILE + 2].starts_with("c.zone:1:1: error: no SOA"));
}

#[test]
fn a_message_is_not_as_long_as_a_file() {
    let mut problems = Problems::default();
    let long = "ß".repeat(1 << 20);
    let place = Place::start_of(Path::new("a.toml"));
    problems.error(&place, format!("no {long}")).label(&place, long.clone()).hint(long);
    let shown = problems.into_sorted()[0].to_string();
    assert!(shown.len() < 4000 && shown.contains("no ßß") && shown.contains("ß..."), "{}", shown.len());
}

#[test]
fn problems_of_very_many_files_are_bounded_while_they_are_found_and_when_they_are_listed() {
    let mut problems = Problems::default();
    for file in 0..3000 {
        let place = Place::start_of(Path::new(&format!("{file:04}.zone")));
        let mut own = problems.separate();
        for line in 1..=1100 {
            own.warning(&Place { line, ..place.clone() }, "odd").hint("mend it");
        }
        problems.extend(own);
    }
    let place = Place::start_of(Path::new("z.zone"));
    problems.error(&place, "no SOA");
    assert_eq!((problems.found.len(), problems.errors()), (MOST_HELD, 1));
    let listed = problems.into_sorted();
    assert_eq!(listed.len(), MOST_LISTED + 1);
    assert_eq!(
        listed[MOST_OF_A_FILE].to_string(),
        "0000.zone:1100:1: warning: and 1000 more warnings before this line"
    );
    let last = &listed[MOST_LISTED];
    assert_eq!(last.severity, Severity::Error, "an error is among the rest");
    assert!(last.message.contains("in this file and 2981 others"), "{}", last.message);
}
