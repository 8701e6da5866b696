//! What keys and news change.

use super::scene::{AT, NOW, event, picture, state};
use crate::cli::top::state::{KeyEffect, MAX_EVENTS, ServerNews, TopKey, TopView};

#[test]
fn keys_turn_the_views_in_a_circle() {
    let mut state = state();
    for expected in
        [TopView::Map, TopView::Matrix, TopView::Timeline, TopView::Charts, TopView::Sources, TopView::Names]
    {
        assert_eq!(state.press(TopKey::Next), KeyEffect::Draw);
        assert_eq!(state.view, expected);
    }
    state.press(TopKey::Previous);
    assert_eq!(state.view, TopView::Sources);
    state.press(TopKey::Char('9'));
    assert_eq!(state.view, TopView::Sources);
}

#[test]
fn the_filter_takes_all_keys_until_enter() {
    let mut state = state();
    assert_eq!(state.press(TopKey::Char('/')), KeyEffect::Draw);
    for typed in "q3x".chars() {
        assert_eq!(state.press(TopKey::Char(typed)), KeyEffect::Search);
    }
    state.press(TopKey::Backspace);
    assert_eq!((state.filter.as_str(), state.view), ("q3", TopView::Names));
    assert!(picture(&mut state, (80, 24)).contains("/q3_"));
    state.press(TopKey::Enter);
    assert!(picture(&mut state, (80, 24)).contains("only with `q3`"));
    assert_eq!(state.press(TopKey::Escape), KeyEffect::Search);
    assert_eq!(state.filter, "");
    assert_eq!(state.press(TopKey::Char('q')), KeyEffect::Quit);
    state.press(TopKey::Char('/'));
    (0..1000).for_each(|_| _ = state.press(TopKey::Char('x')));
    assert_eq!(state.filter.len(), 253);
    assert_eq!(state.press(TopKey::Interrupt), KeyEffect::Quit, "also while typing");
}

#[test]
fn the_filter_selects_names_endpoints_and_events() {
    let mut state = state();
    "/ap".chars().for_each(|c| _ = state.press(TopKey::Char(c)));
    state.press(TopKey::Enter);
    state.press(TopKey::Char('3'));
    let text = picture(&mut state, (80, 24));
    assert!(text.contains("www-ap") && !text.contains("www-us"), "{text}");
    state.press(TopKey::Char('4'));
    assert!(picture(&mut state, (80, 24)).contains("No event has this text."));
}

#[test]
fn the_chosen_line_stays_in_the_view() {
    let mut state = state();
    state.press(TopKey::Char('3'));
    picture(&mut state, (80, 24));
    (0..50).for_each(|_| _ = state.press(TopKey::Down));
    assert!(picture(&mut state, (80, 24)).contains("> www-ap"));
    state.press(TopKey::First);
    assert!(picture(&mut state, (80, 24)).contains("> www-us"));
    state.press(TopKey::Char('?'));
    assert!(picture(&mut state, (80, 24)).contains("the next view"));
    state.press(TopKey::Escape);
    assert!(picture(&mut state, (80, 24)).contains("> www-us"));
}

#[test]
fn events_are_counted_once_and_bounded() {
    let mut state = state();
    let before = state.events.len();
    state.take(ServerNews::Events(vec![event(2, AT - 3.0, "www-us", "down")]), NOW);
    assert_eq!(state.events.len(), before);
    // After a restart the numbers come again.
    state.take(ServerNews::Restart("the server has started anew".to_owned()), NOW);
    state.take(ServerNews::Events(vec![event(2, AT + 1.0, "www-eu", "down")]), NOW);
    assert_eq!(state.events.len(), before + 2);
    assert_eq!(state.events[0].endpoint, "www-eu");
    let storm = (10..5000).map(|number| event(number, AT + number as f64, "www-eu", "down"));
    state.take(ServerNews::Events(storm.collect()), NOW);
    assert_eq!(state.events.len(), MAX_EVENTS);
    assert_eq!(state.events[0].id, "ns1/4999");
}
