//! The terminal of `portolan top`: the other screen, without echo and line buffering. It is restored when this is
//! dropped, and before the message of a panic.

use std::io::{IsTerminal, Stdout, Write, stdin, stdout};
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::{Position, Rect};
use tokio::sync::mpsc;

use super::draw::draw;
use super::state::{TopKey, TopState};
use crate::cli::Failure;
use crate::clock;

/// Fails if there is no terminal that can draw.
pub(super) fn check() -> Result<(), Failure> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let what = match (stdin().is_terminal() && stdout().is_terminal(), is_dumb) {
        (true, false) => return Ok(()),
        (false, _) => "standard input and output are not a terminal",
        (true, true) => "this terminal can't move its cursor (TERM)",
    };
    Err(Failure(format!("{what}, and `portolan top` needs one; `portolan status` prints the same once")))
}

/// Whether the terminal gets colours.
pub(super) fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The terminal while the picture is on it.
pub(super) struct TopScreen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl TopScreen {
    pub(super) fn open() -> Result<TopScreen, Failure> {
        restore_on_panic();
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()));
        terminal.map(|terminal| TopScreen { terminal }).map_err(|error| {
            leave();
            error.into()
        })
    }

    /// Draws what has changed since the last picture.
    pub(super) fn draw(&mut self, state: &mut TopState) -> Result<(), Failure> {
        self.terminal.draw(|frame| {
            let area = frame.area();
            draw(state, area, frame.buffer_mut(), clock::now());
        })?;
        Ok(())
    }

    /// Makes the next picture a whole one. It never asks the terminal where its cursor is, as `Terminal::clear` does:
    /// the thread that reads keys would take the reply.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        let area = Rect::from((Position::ORIGIN, self.terminal.size()?));
        Ok(self.terminal.resize(area)?)
    }

    /// Stops the process group, as the terminal's own Ctrl-Z does, after restoring the terminal.
    pub(super) fn suspend(&mut self) -> Result<(), Failure> {
        leave();
        // The process continues here after `fg`. It does not stop where no shell could continue it.
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
        self.resume()
    }

    /// Takes the terminal again after the process was stopped: the shell may have changed the modes since then.
    pub(super) fn resume(&mut self) -> Result<(), Failure> {
        let _ = disable_raw_mode();
        enter()?;
        self.clear()
    }
}

impl Drop for TopScreen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> std::io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, cursor::Hide).inspect_err(|_| leave())
}

/// Restores the terminal. A failure means that it is gone.
pub(super) fn leave() {
    let _ = execute!(stdout(), cursor::Show, LeaveAlternateScreen);
    let _ = stdout().flush();
    let _ = disable_raw_mode();
}

/// A panic restores the terminal first, so that its message can be read.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            before(info);
        }));
    });
}

/// What the terminal sends.
#[derive(Debug)]
pub(super) enum Input {
    Key(TopKey),
    /// The window has another size.
    Resize,
    /// It can't be read any more.
    Gone(String),
}

/// Reads keys until nobody receives them. Blocks: it needs a thread of its own.
pub(super) fn read_keys(input: &mpsc::Sender<Input>) {
    loop {
        let next = match ratatui::crossterm::event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => key_of(key).map(Input::Key),
            Ok(Event::Resize(..)) => Some(Input::Resize),
            Ok(_) => None,
            Err(error) => Some(Input::Gone(error.to_string())),
        };
        let is_gone = matches!(next, Some(Input::Gone(_)));
        if next.is_some_and(|next| input.blocking_send(next).is_err()) || is_gone {
            return;
        }
    }
}

fn key_of(key: KeyEvent) -> Option<TopKey> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => TopKey::Interrupt,
        KeyCode::Char('l') if is_control => TopKey::Redraw,
        KeyCode::Char('z') if is_control => TopKey::Suspend,
        KeyCode::Char(_) if is_control || key.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(typed) => TopKey::Char(typed),
        KeyCode::Enter => TopKey::Enter,
        KeyCode::Esc => TopKey::Escape,
        KeyCode::Backspace => TopKey::Backspace,
        KeyCode::Tab | KeyCode::Right => TopKey::Next,
        KeyCode::BackTab | KeyCode::Left => TopKey::Previous,
        KeyCode::Up => TopKey::Up,
        KeyCode::Down => TopKey::Down,
        KeyCode::PageUp => TopKey::PageUp,
        KeyCode::PageDown => TopKey::PageDown,
        KeyCode::Home => TopKey::First,
        KeyCode::End => TopKey::Last,
        _ => return None,
    })
}
