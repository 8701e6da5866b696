//! What `portolan top` knows of the server, and what the person looks at. ServerNews and keys change it. Pure.

use std::collections::VecDeque;

use super::digest::Digest;
use crate::control::JournalEvent;
use crate::control::history::HistoryReport;
use crate::control::names::NameReport;
use crate::control::status::Status;
use crate::fleet::events::EventKind;
use crate::model::Moment;

/// Most events in memory: an incident of a large fleet (judgment).
pub(super) const MAX_EVENTS: usize = 1000;

/// Longest filter in characters: a name has no more (RFC 1035, 3.1).
const MAX_FILTER: usize = 253;

/// Lines that a page key moves (judgment: most of a small window).
const PAGE: usize = 10;

/// A part of the picture that fills the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopView {
    Names,
    Map,
    Matrix,
    Timeline,
    Charts,
    Sources,
}

/// How many views there are.
const VIEWS: usize = 6;

impl TopView {
    pub(super) const ALL: [TopView; VIEWS] =
        [TopView::Names, TopView::Map, TopView::Matrix, TopView::Timeline, TopView::Charts, TopView::Sources];

    pub(super) fn title(self) -> &'static str {
        match self {
            TopView::Names => "Names",
            TopView::Map => "Map",
            TopView::Matrix => "Matrix",
            TopView::Timeline => "Timeline",
            TopView::Charts => "Charts",
            TopView::Sources => "Sources",
        }
    }

    fn position(self) -> usize {
        TopView::ALL.iter().position(|view| *view == self).unwrap_or(0)
    }
}

/// A key, as the terminal reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopKey {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Next,
    Previous,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-L.
    Redraw,
    /// Ctrl-Z.
    Suspend,
}

/// What a key makes the loop do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyEffect {
    /// Draw the picture.
    Draw,
    /// Draw it, and read the names that the filter selects.
    Search,
    /// Draw everything anew, because something else has written to the terminal.
    Redraw,
    /// Stop the process until the shell continues it.
    Suspend,
    /// End.
    Quit,
}

/// What was read of the server at one moment. All its texts are printable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Readout {
    pub(super) status: Status,
    /// The names that the filter selects; those that are not as preferred come first.
    pub(super) names: Vec<NameReport>,
    /// All names that are not as preferred, as far as the limit allows.
    pub(super) away: Vec<NameReport>,
}

/// What the reader of the API reports.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ServerNews {
    Answer(Box<Readout>),
    History(Box<HistoryReport>),
    /// The server does not answer, and why.
    Away(String),
    /// Events of the server; some may be known.
    Events(Vec<JournalEvent>),
    /// Events are missing, in a sentence.
    Gap(String),
    /// The server numbers its events anew. The text is its sentence.
    Restart(String),
    /// Whether the stream of events is open.
    Stream(bool),
}

/// Everything that the picture is made of.
#[derive(Debug)]
pub(super) struct TopState {
    /// The URL of the server.
    pub(super) server: String,
    pub(super) has_colour: bool,
    pub(super) readout: Option<Readout>,
    /// What follows from the last answer.
    pub(super) digest: Digest,
    pub(super) history: Option<HistoryReport>,
    /// The newest first.
    pub(super) events: VecDeque<JournalEvent>,
    pub(super) answered_at: Option<Moment>,
    /// Why the server does not answer; `None` while it does.
    pub(super) away: Option<String>,
    pub(super) is_streaming: bool,
    pub(super) view: TopView,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) has_help: bool,
    /// The chosen line of each view.
    selected: [usize; VIEWS],
    /// How many lines each view had in the last picture.
    lines: [usize; VIEWS],
    gaps: u64,
}

impl TopState {
    pub(super) fn new(server: String, has_colour: bool) -> TopState {
        TopState {
            server,
            has_colour,
            readout: None,
            digest: Digest::default(),
            history: None,
            events: VecDeque::new(),
            answered_at: None,
            away: None,
            is_streaming: false,
            view: TopView::Names,
            filter: String::new(),
            is_typing: false,
            has_help: false,
            selected: [0; VIEWS],
            lines: [0; VIEWS],
            gaps: 0,
        }
    }

    /// Takes what was read at `now`.
    pub(super) fn take(&mut self, news: ServerNews, now: Moment) {
        match news {
            ServerNews::Answer(readout) => {
                self.digest = Digest::of(&readout.status, &readout.away);
                self.readout = Some(*readout);
                self.answered_at = Some(now);
                self.away = None;
            }
            ServerNews::History(history) => self.history = Some(*history),
            ServerNews::Away(why) => self.away = Some(why),
            ServerNews::Events(events) => self.add_events(events),
            ServerNews::Gap(why) => self.add_gap(why, now),
            ServerNews::Restart(why) => {
                // The numbers come again, for other events.
                self.events.iter_mut().for_each(|event| event.id.push_str(" before the restart"));
                self.add_gap(why, now);
            }
            ServerNews::Stream(is_open) => self.is_streaming = is_open,
        }
    }

    fn add_gap(&mut self, why: String, now: Moment) {
        self.gaps += 1;
        let id = format!("gap {}", self.gaps);
        let event = JournalEvent { id, at: self.server_time(now), kind: EventKind::Lost, why, ..Default::default() };
        self.add_events(vec![event]);
    }

    fn add_events(&mut self, events: Vec<JournalEvent>) {
        for event in events {
            // One without a number comes again with it.
            if event.id.is_empty() || self.events.iter().any(|known| known.id == event.id) {
                continue;
            }
            let at = self.events.iter().position(|known| known.at <= event.at).unwrap_or(self.events.len());
            self.events.insert(at, event);
            self.events.truncate(MAX_EVENTS);
        }
    }

    /// The time of the server at `now`, in Unix seconds; 0 before its first answer.
    pub(super) fn server_time(&self, now: Moment) -> f64 {
        let server = self.readout.as_ref().and_then(|readout| readout.status.server.as_ref());
        server.map_or(0.0, |server| server.at + self.age(now).as_secs_f64())
    }

    /// How old the picture is.
    pub(super) fn age(&self, now: Moment) -> std::time::Duration {
        self.answered_at.map_or_else(Default::default, |at| now.since(at))
    }

    /// Obeys a key.
    pub(super) fn press(&mut self, key: TopKey) -> KeyEffect {
        match key {
            TopKey::Interrupt => return KeyEffect::Quit,
            TopKey::Redraw => return KeyEffect::Redraw,
            TopKey::Suspend => return KeyEffect::Suspend,
            _ if self.is_typing => return self.press_typing(key),
            TopKey::Char('q' | 'Q') => return KeyEffect::Quit,
            TopKey::Char('?' | 'h') => self.has_help = !self.has_help,
            TopKey::Char('/') => {
                self.is_typing = true;
                self.has_help = false;
            }
            TopKey::Char(digit @ '1'..='6') => {
                let at = digit.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.open(TopView::ALL[at]);
            }
            TopKey::Escape if self.has_help => self.has_help = false,
            TopKey::Escape if !self.filter.is_empty() => {
                self.filter.clear();
                return KeyEffect::Search;
            }
            TopKey::Next => self.turn(1),
            TopKey::Previous => self.turn(TopView::ALL.len() - 1),
            TopKey::Up | TopKey::Char('k') => self.choose(|at, _| at.saturating_sub(1)),
            TopKey::Down | TopKey::Char('j') => self.choose(|at, _| at + 1),
            TopKey::PageUp => self.choose(|at, _| at.saturating_sub(PAGE)),
            TopKey::PageDown => self.choose(|at, _| at + PAGE),
            TopKey::First => self.choose(|_, _| 0),
            TopKey::Last => self.choose(|_, lines| lines),
            TopKey::Char(_) | TopKey::Enter | TopKey::Escape | TopKey::Backspace => {}
        }
        KeyEffect::Draw
    }

    fn press_typing(&mut self, key: TopKey) -> KeyEffect {
        match key {
            TopKey::Char(typed) if self.filter.chars().count() < MAX_FILTER => self.filter.push(typed),
            TopKey::Backspace => drop(self.filter.pop()),
            TopKey::Escape => {
                self.filter.clear();
                self.is_typing = false;
            }
            TopKey::Enter => {
                self.is_typing = false;
                return KeyEffect::Draw;
            }
            TopKey::Char(_)
            | TopKey::Next
            | TopKey::Previous
            | TopKey::Up
            | TopKey::Down
            | TopKey::PageUp
            | TopKey::PageDown
            | TopKey::First
            | TopKey::Last
            | TopKey::Interrupt
            | TopKey::Redraw
            | TopKey::Suspend => return KeyEffect::Draw,
        }
        self.selected = [0; VIEWS];
        KeyEffect::Search
    }

    fn open(&mut self, view: TopView) {
        self.view = view;
        self.has_help = false;
    }

    fn turn(&mut self, by: usize) {
        self.open(TopView::ALL[(self.view.position() + by) % TopView::ALL.len()]);
    }

    fn choose(&mut self, to: impl Fn(usize, usize) -> usize) {
        let at = self.view.position();
        let last = self.lines[at].saturating_sub(1);
        self.selected[at] = to(self.selected[at].min(last), last).min(last);
    }

    /// The chosen line of a view that has so many lines now.
    pub(super) fn selected(&mut self, view: TopView, lines: usize) -> usize {
        let at = view.position();
        self.lines[at] = lines;
        self.selected[at].min(lines.saturating_sub(1))
    }

    /// Whether a text passes the filter.
    pub(super) fn passes<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let wanted = self.filter.trim().to_lowercase();
        wanted.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&wanted))
    }
}
