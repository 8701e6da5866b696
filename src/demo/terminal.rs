//! The terminal of the demo: lines that stay, and a block below them that is redrawn. The terminal is restored when
//! this is dropped. The alternate screen is not used, so that the lines can be scrolled back to.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// Lines that are drawn again after the size of the window has changed; more don't fit a window (judgment).
const MAX_LINES: usize = 200;

/// The size if the terminal does not report one.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// A part of a line of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// The style of a part of the block, if there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Changed,
}

/// A line of the block.
pub(crate) type ScreenLine = Vec<Span>;

/// A key that the demo knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DemoKey {
    /// `d`: print the commands to try.
    Commands,
    /// `q`: end.
    Quit,
}

/// The terminal while the demo runs on it.
pub(crate) struct Terminal {
    /// The modes to restore; `None` if keys are not read.
    before: Option<Termios>,
    has_colour: bool,
    /// Whether writing has failed: the terminal is gone.
    is_gone: bool,
    size: (usize, usize),
    lines: VecDeque<String>,
    block: Vec<ScreenLine>,
    /// Rows that the block takes on the screen.
    drawn: usize,
}

impl Terminal {
    /// The terminal on standard output; `None` if there is none, if it can't move its cursor, or if another job has it.
    pub(crate) fn open() -> Option<Terminal> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if !std::io::stdout().is_terminal() || is_dumb || !is_ours() {
            return None;
        }
        let has_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut terminal = Terminal {
            before: None,
            has_colour,
            is_gone: false,
            size: size(),
            lines: VecDeque::new(),
            block: Vec::new(),
            drawn: 0,
        };
        terminal.enter();
        Some(terminal)
    }

    /// Whether keys are read: standard input is the terminal as well.
    pub(crate) fn has_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Whether the terminal has been closed.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Prints a line above the block.
    pub(crate) fn print(&mut self, line: &str) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
        let text = format!("{}{line}\n{}", erase(self.drawn), self.rendered());
        self.write(&text);
    }

    /// Draws the block if it has changed, and everything if the size of the window has changed.
    pub(crate) fn draw(&mut self, block: Vec<ScreenLine>) {
        let now = size();
        let is_other_size = now != self.size;
        if block == self.block && !is_other_size {
            return;
        }
        (self.size, self.block) = (now, block);
        let rendered = self.rendered();
        let text = match is_other_size {
            // The terminal may have wrapped lines differently, so their positions are unknown.
            true => format!("\x1b[H\x1b[2J{}{rendered}", self.last_lines()),
            false => format!("{}{rendered}", erase(self.drawn)),
        };
        self.drawn = self.block.len();
        self.write(&text);
    }

    /// The first known key that was pressed since the last call. Does not wait.
    pub(crate) fn key(&mut self) -> Option<DemoKey> {
        // Reading in the background would stop the process.
        if !self.has_keys() || !is_ours() {
            return None;
        }
        let mut typed = [0; 64];
        let len = rustix::io::read(rustix::stdio::stdin(), &mut typed).unwrap_or(0);
        typed.get(..len)?.iter().find_map(|byte| match byte {
            b'd' | b'D' | b'h' | b'?' => Some(DemoKey::Commands),
            b'q' | b'Q' => Some(DemoKey::Quit),
            0..=u8::MAX => None,
        })
    }

    /// Stops the process, which is the default action of Ctrl-Z, after restoring the terminal.
    pub(crate) fn suspend(&mut self) {
        self.leave();
        // The process continues here after `fg` or `bg`.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        self.enter();
        self.drawn = 0;
        let text = self.rendered();
        self.drawn = self.block.len();
        self.write(&text);
    }

    /// Turns off line buffering and echo of keys, and hides the cursor.
    fn enter(&mut self) {
        self.before = unbuffered();
        self.write("\x1b[?25l");
    }

    fn leave(&mut self) {
        self.write("\x1b[?25h");
        if let Some(before) = self.before.take().filter(|_| is_ours()) {
            // An error means that the terminal is gone.
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
        }
    }

    fn rendered(&self) -> String {
        let width = self.size.0.saturating_sub(1);
        self.block.iter().map(|line| render(line, width, self.has_colour)).collect()
    }

    /// As many of the printed lines as fit above the block.
    fn last_lines(&self) -> String {
        let (columns, rows) = (self.size.0.max(1), self.size.1);
        let mut room = rows.saturating_sub(self.block.len() + 1);
        let mut shown = Vec::new();
        for line in self.lines.iter().rev() {
            let takes = line.chars().count().div_ceil(columns).max(1);
            let Some(left) = room.checked_sub(takes) else { break };
            room = left;
            shown.push(format!("{line}\n"));
        }
        shown.into_iter().rev().collect()
    }

    fn write(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.is_gone |= written.is_err();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether this process is in the foreground of the terminal on standard output. It always is if the terminal has no
/// job control.
fn is_ours() -> bool {
    let foreground = rustix::termios::tcgetpgrp(rustix::stdio::stdout());
    foreground.map_or(true, |group| group == rustix::process::getpgrp())
}

/// Sets standard input so that a read returns at once with the keys pressed so far. Returns the modes from before.
fn unbuffered() -> Option<Termios> {
    if !is_ours() {
        return None;
    }
    let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok()?;
    let mut modes = before.clone();
    modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    modes.special_codes[SpecialCodeIndex::VMIN] = 0;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &modes).ok()?;
    Some(before)
}

fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    match size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row))) {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
        Ok(_) | Err(_) => USUAL_SIZE,
    }
}

/// Moves to the beginning of a block of `rows` rows, and clears everything from there.
fn erase(rows: usize) -> String {
    match rows {
        0 => "\r\x1b[J".to_owned(),
        rows => format!("\r\x1b[{rows}A\x1b[J"),
    }
}

/// A line of at most `width` characters, so that it never takes two rows.
fn render(line: &ScreenLine, width: usize, has_colour: bool) -> String {
    let mut text = String::new();
    let mut room = width;
    for span in line {
        let part: String = span.text.chars().take(room).collect();
        room -= part.chars().count();
        match code(span.style).filter(|_| has_colour && !part.is_empty()) {
            Some(code) => text.push_str(&format!("\x1b[{code}m{part}\x1b[0m")),
            None => text.push_str(&part),
        }
    }
    text.push('\n');
    text
}

fn code(style: Style) -> Option<&'static str> {
    match style {
        Style::Plain => None,
        Style::Bold => Some("1"),
        Style::Dim => Some("2"),
        Style::Good => Some("32"),
        Style::Bad => Some("31"),
        Style::Changed => Some("1;33"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, style: Style) -> Span {
        Span { text: text.to_owned(), style }
    }

    #[test]
    fn a_line_never_takes_two_rows() {
        let line = vec![span("eu-west ", Style::Plain), span("127.2.0.10", Style::Good)];
        assert_eq!(render(&line, 80, false), "eu-west 127.2.0.10\n");
        assert_eq!(render(&line, 12, false), "eu-west 127.\n");
        assert_eq!(render(&line, 12, true), "eu-west \x1b[32m127.\x1b[0m\n");
        assert_eq!(render(&line, 3, true), "eu-\n");
        assert_eq!(render(&line, 0, true), "\n");
    }
}
