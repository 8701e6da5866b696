//! How texts look. Each tone has a word next to it in the picture, so that nothing depends on colour.

use ratatui::style::{Color, Modifier, Style};

use crate::cli::top::digest::Condition;

/// What a text expresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// A heading.
    Strong,
    /// Less important.
    Soft,
    Good,
    Warning,
    Bad,
    /// An operator wants it so.
    Operator,
    /// It must be noticed, whatever else is on the screen.
    Alarm,
}

impl Tone {
    pub(super) fn of(condition: Condition) -> Tone {
        match condition {
            Condition::Down => Tone::Bad,
            Condition::Unknown | Condition::Partly | Condition::LastKnown => Tone::Warning,
            Condition::Drained => Tone::Operator,
            Condition::Up => Tone::Good,
        }
    }

    /// The tone of a health, or of the state of a vantage.
    pub(super) fn of_health(health: &str) -> Tone {
        match health {
            "up" => Tone::Good,
            "down" => Tone::Bad,
            _ => Tone::Warning,
        }
    }
}

/// The styles of one terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub(super) has_colour: bool,
}

impl Palette {
    pub(super) fn style(self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Plain | Tone::Good => Style::new(),
            Tone::Soft => Style::new().add_modifier(Modifier::DIM),
            Tone::Strong | Tone::Warning | Tone::Bad | Tone::Operator => Style::new().add_modifier(Modifier::BOLD),
            Tone::Alarm => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        };
        match tone {
            _ if !self.has_colour => style,
            Tone::Plain | Tone::Strong | Tone::Soft => style,
            Tone::Good => style.fg(Color::Green),
            Tone::Warning => style.fg(Color::Yellow),
            Tone::Bad | Tone::Alarm => style.fg(Color::Red),
            Tone::Operator => style.fg(Color::Cyan),
        }
    }

    /// The colour of the land on the map.
    pub(super) fn land(self) -> Color {
        if self.has_colour { Color::DarkGray } else { Color::Reset }
    }
}
