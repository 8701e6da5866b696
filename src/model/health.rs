//! Health: what is known of a check, or of what it stands for.

/// Health of a check, and of what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Health {
    /// Answering as expected.
    Up,
    /// Not answering as expected.
    Down,
    /// Not known: counts as down once probes could have found out, as up before.
    #[default]
    Unknown,
}

impl Health {
    /// Its name in files, JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Down => "down",
            Health::Unknown => "unknown",
        }
    }
}
