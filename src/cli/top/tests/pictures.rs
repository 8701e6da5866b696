//! Pictures of views, sizes, and everything that can be wrong.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::scene::{AT, NOW, endpoint, event, name, picture, picture_at, readout, state, status};
use crate::cli::top::state::{ServerNews, TopKey, TopState, TopView};

/// Compares a picture with its file.
fn compare(file: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/top/tests/pictures").join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} differs; found:\n{found}");
}

#[test]
fn each_view_is_as_its_file() {
    for (key, view) in ["1", "2", "3", "4", "5", "6"].into_iter().zip(TopView::ALL) {
        for (columns, rows) in [(80, 24), (200, 60), (20, 5)] {
            let mut state = state();
            state.press(TopKey::Char(key.chars().next().unwrap()));
            assert_eq!(state.view, view);
            let name = format!("{}_{columns}x{rows}.txt", view.title().to_lowercase());
            compare(&name, &picture(&mut state, (columns, rows)));
        }
    }
}

#[test]
fn no_size_and_no_content_breaks_the_picture() {
    let empty = TopState::new("http://127.0.0.1:8053".to_owned(), false);
    let mut bare = TopState::new("http://127.0.0.1:8053".to_owned(), false);
    let nothing = json!({ "generation": 1, "zones": [], "vantages": [], "regions": [],
                          "reload": { "ok": true, "at": 0.0, "problems": [] } });
    bare.take(readout(&nothing, &[]), NOW);
    let mut odd = state();
    let mut far = status();
    far["regions"][0]["location"] = json!([1e9, -1e300]);
    far["regions"][1]["location"] = json!([90.0, 180.0]);
    far["regions"][2]["location"] = json!([-90.0, -180.0]);
    far["server"]["traffic"]["recent"] = json!([1e38, -5.0, 0.0]);
    odd.take(readout(&far, &[]), NOW);
    for mut state in [empty, bare, odd, state()] {
        for key in ['1', '2', '3', '4', '5', '6', '?'] {
            state.press(TopKey::Char(key));
            let small = (0..30).flat_map(|columns| (0..14).map(move |rows| (columns, rows)));
            for size in small.chain([(80, 24), (149, 40), (150, 40), (300, 60), (700, 150)]) {
                assert_eq!(picture(&mut state, size).lines().count(), usize::from(size.1));
            }
        }
    }
}

#[test]
fn a_server_that_is_away_leaves_an_old_picture() {
    for size in [(80, 24), (20, 5)] {
        let mut state = state();
        state.take(ServerNews::Away("connection refused".to_owned()), NOW);
        let text = picture_at(&mut state, size, NOW + Duration::from_secs(12));
        assert!(text.contains("NO ANSWER, what"), "{text}");
        assert!(size.0 < 80 || text.contains("what is shown is 12 s old: connection refused"), "{text}");
        assert!(text.contains("www") && !text.contains("live"), "the last picture stays: {text}");
        state.take(readout(&status(), &[]), NOW + Duration::from_secs(13));
        assert!(!picture_at(&mut state, size, NOW + Duration::from_secs(13)).contains("NO ANSWER"));
    }
    let mut new = TopState::new("http://127.0.0.1:1".to_owned(), true);
    assert!(picture(&mut new, (80, 24)).contains("Waiting for http://127.0.0.1:1"));
    new.take(ServerNews::Away("no server".to_owned()), NOW);
    assert!(picture(&mut new, (80, 24)).contains("NO ANSWER: no server"));
    // A call that takes long is no answer either.
    let late = picture_at(&mut state(), (80, 24), NOW + Duration::from_secs(7));
    assert!(late.contains("NO ANSWER YET, what is shown is 7.0 s old") && !late.contains("live"), "{late}");
}

#[test]
fn a_thousand_endpoints_are_shown_around_the_chosen_one() {
    let mut status = status();
    let all: Vec<_> = (0..1000)
        .map(|number| {
            let region = ["us-east", "eu-west", "ap-south"][number % 3];
            let health = if number == 700 { "down" } else { "up" };
            endpoint(&format!("endpoint-{number:04}"), region, &format!("192.0.2.{}", number % 256), health)
        })
        .collect();
    status["zones"][0]["endpoints"] = json!(all);
    let mut state = state();
    state.take(readout(&status, &[]), NOW);
    state.press(TopKey::Char('3'));
    let first = picture(&mut state, (80, 24));
    assert!(first.contains("999 of 1000 up") && first.contains("> endpoint-0700"), "problems first:\n{first}");
    state.press(TopKey::Last);
    let last = picture(&mut state, (80, 24));
    assert!(last.contains("> endpoint-0998") && !last.contains("endpoint-0700"), "{last}");
    "/endpoint-0500".chars().for_each(|c| _ = state.press(TopKey::Char(c)));
    let found = picture(&mut state, (80, 24));
    assert_eq!(
        found.lines().filter(|line| line.contains("endpoint-0") && line.contains("210.5 ms")).count(),
        1,
        "{found}"
    );
    let began = crate::clock::now();
    state.press(TopKey::Escape);
    for _ in 0..20 {
        state.press(TopKey::PageDown);
        picture(&mut state, (200, 60));
    }
    let took = crate::clock::now().since(began);
    assert!(took < Duration::from_secs(10), "20 pictures of 1000 endpoints took {took:?}");
}

#[test]
fn strange_texts_are_cut_and_escaped() {
    let long = "\u{6771}\u{4eac}".repeat(80);
    let mut status = status();
    status["zones"][0]["endpoints"][1]["name"] = json!(long);
    status["zones"][0]["endpoints"][2]["name"] = json!("e\u{301}\u{1b}[2J\u{202e}x");
    status["vantages"][2]["why"] = json!("a\nb\u{7}");
    status["server"]["node"] = json!("\u{1b}]0;title\u{7}");
    let mut state = state();
    let names = [name(&long, &[(&long, &long, 1.0)], false, &[&long]), name("\u{1f600}\u{200d}", &[], true, &[])];
    state.take(readout(&status, &names), NOW);
    for key in ['1', '2', '3', '4', '5', '6'] {
        state.press(TopKey::Char(key));
        for size in [(80, 24), (200, 60), (20, 5), (7, 7)] {
            let text = picture(&mut state, size);
            assert!(!text.chars().any(|c| c != '\n' && crate::printable::is_unprintable(c)), "{text:?}");
        }
    }
    state.press(TopKey::Char('3'));
    let text = picture(&mut state, (120, 24));
    assert!(text.contains("e\u{301}\\u{1b}[2J") && text.contains('\u{2026}'), "{text}");
}

#[test]
fn conditions_are_words_and_not_colours_alone() {
    let mut state = state();
    state.has_colour = false;
    for (key, words) in [
        (
            '1',
            &[
                "Bad: vantage ns3 (ap-south) is blind",
                "Bad: region us-east is down",
                "Override: db-eu is drained",
                "3 of 4 up",
                "no",
            ][..],
        ),
        ('2', &["down", "1 of 1 up", "drained", "x down"]),
        ('3', &["down: connection refused", "up, drained"]),
        ('4', &["up -> down"]),
    ] {
        state.press(TopKey::Char(key));
        let text = picture(&mut state, (160, 30));
        words.iter().for_each(|word| assert!(text.contains(word), "{word}:\n{text}"));
    }
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| crate::cli::top::draw::draw(&mut state, frame.area(), frame.buffer_mut(), NOW)).unwrap();
    let is_plain = |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Reset && cell.bg == cell.fg;
    assert!(terminal.backend().buffer().content.iter().all(is_plain));
}

#[test]
fn a_source_with_a_problem_comes_first_and_is_among_the_problems() {
    let mut status = status();
    let well = status["sources"][0].clone();
    status["sources"] = json!([well, { "name": "discover.db", "zone": "demo.example.", "type": "etcd", "state": "away",
        "age_ms": 12_000, "endpoints": 2, "problem": "connection refused: start it" }]);
    let mut state = state();
    state.take(readout(&status, &[]), NOW);
    let text = picture(&mut state, (160, 30));
    assert!(text.contains("Note: discover.db is away, so its last list stays: connection refused"), "{text}");
    state.press(TopKey::Char('6'));
    let text = picture(&mut state, (160, 30));
    for words in ["> discover.db", "away, its list is 12 s old", "2 endpoints", "none since the start", "start it"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert!(text.find("discover.db").unwrap() < text.find("discover.web").unwrap(), "{text}");
    "/sink".chars().for_each(|c| _ = state.press(TopKey::Char(c)));
    let text = picture(&mut state, (160, 30));
    assert!(text.contains("9 events delivered") && !text.contains("discover.web"), "{text}");
}

#[test]
fn a_drill_is_marked_everywhere() {
    let mut status = status();
    status["drill"] = json!({ "id": 1, "drill": "lose-region", "target": "us-east", "who": "alice", "phase": "lost",
                              "injected_at": AT - 10.0, "ends_at": AT + 50.0 });
    let mut state = state();
    state.take(readout(&status, &[]), NOW);
    for key in ['1', '2', '3', '4', '5', '6'] {
        state.press(TopKey::Char(key));
        let text = picture(&mut state, (80, 24));
        assert!(text.contains("DRILL lose-region us-east by alice: lost, at most 50 s more"), "{text}");
    }
}

#[test]
fn the_answer_of_a_server_shows_the_event_at_once() {
    let mut state = state();
    state.press(TopKey::Char('4'));
    state.take(ServerNews::Events(vec![event(3, AT - 1.0, "www-ap", "down")]), NOW);
    let text = picture(&mut state, (80, 24));
    let place = |word: &str| text.find(word).unwrap();
    assert!(place("www-ap") < place("www-us"), "the newest first:\n{text}");
}
