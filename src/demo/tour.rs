//! What the demo does by itself on a terminal: it takes one region down, once, and brings it back. It does nothing where
//! the user was faster. Pure: the caller says what time it is and does what is wanted.

use std::time::Duration;

/// How long the region stays down: long enough to read what happened, and that answers went on.
pub(crate) const TOUR_PAUSE: Duration = Duration::from_secs(10);

/// How far the tour is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tour {
    /// It was not wanted, or the user did something first.
    Off,
    /// It begins this long after the start.
    Begins(Duration),
    /// The region is down.
    Down,
    /// It is over.
    Over,
}

/// What the tour looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Since the start.
    pub(crate) elapsed: Duration,
    /// Whether the process of every region runs.
    pub(crate) do_all_run: bool,
    /// Whether every region's client is answered, and the region of the tour is in the answers of its own clients.
    pub(crate) is_back: bool,
}

impl Tour {
    /// Takes the time and the state of the regions; whether the region is to be taken down now.
    pub(crate) fn step(&mut self, seen: Seen) -> bool {
        match *self {
            Tour::Begins(_) if !seen.do_all_run => *self = Tour::Off,
            Tour::Begins(at) if seen.elapsed >= at => {
                *self = Tour::Down;
                return true;
            }
            Tour::Down if seen.do_all_run && seen.is_back => *self = Tour::Over,
            Tour::Off | Tour::Begins(_) | Tour::Down | Tour::Over => {}
        }
        false
    }

    /// The user has changed something: the tour doesn't interfere.
    pub(crate) fn leave_out(&mut self) {
        if matches!(self, Tour::Begins(_)) {
            *self = Tour::Off;
        }
    }

    /// What it will do next, for the terminal.
    pub(crate) fn announcement(self, region: &str, elapsed: Duration) -> String {
        match self {
            Tour::Off => "Now try it yourself: kill PID, kill -STOP PID, or a command.".into(),
            Tour::Begins(at) => format!(
                "In {} s the demo kills {region} once, and starts it again. (--no-tour: never)",
                at.saturating_sub(elapsed).as_secs_f64().ceil()
            ),
            Tour::Down => format!("{region} was killed. Its client is now sent to the next nearest region."),
            Tour::Over => format!("{region} is back. Now try it yourself: kill PID, kill -STOP PID, or a command."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(secs: u64, do_all_run: bool, is_back: bool) -> Seen {
        Seen { elapsed: Duration::from_secs(secs), do_all_run, is_back }
    }

    #[test]
    fn it_takes_the_region_down_once() {
        let mut tour = Tour::Begins(Duration::from_secs(15));
        assert!(!tour.step(seen(14, true, true)));
        assert!(tour.step(seen(15, true, true)));
        assert!(!tour.step(seen(15, false, true)) && tour == Tour::Down);
        assert!(!tour.step(seen(25, true, false)) && tour == Tour::Down);
        assert!(!tour.step(seen(27, true, true)) && tour == Tour::Over);
        assert!(!tour.step(seen(100, true, true)) && tour == Tour::Over);
    }

    #[test]
    fn it_leaves_the_stage_to_the_user() {
        let mut killed = Tour::Begins(Duration::from_secs(15));
        assert!(!killed.step(seen(5, false, false)) && killed == Tour::Off);
        let mut drained = Tour::Begins(Duration::from_secs(15));
        drained.leave_out();
        assert!(!drained.step(seen(20, true, true)) && drained == Tour::Off);
    }
}
