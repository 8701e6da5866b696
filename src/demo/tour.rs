//! The tour: on a terminal, the demo kills one region once and starts it again, unless the user has done something
//! first. Pure: time and state are arguments, and the caller kills the region.

use std::time::Duration;

/// How long the region stays down (judgment: long enough to read what happened, and that there still are answers).
pub(crate) const TOUR_PAUSE: Duration = Duration::from_secs(10);

/// The state of the tour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tour {
    /// There is no tour, or the user did something first.
    Off,
    /// It begins this long after the start.
    Begins(Duration),
    /// The region is down.
    Down,
    /// It is over.
    Over,
}

/// The input of the tour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TourInput {
    /// Time since the start.
    pub(crate) elapsed: Duration,
    /// Whether the process of every region runs.
    pub(crate) do_all_run: bool,
    /// Whether the answers to the client in the tour's region are again those from before the tour.
    pub(crate) is_back: bool,
}

impl Tour {
    /// The next step. Returns whether the region must be killed now.
    pub(crate) fn step(&mut self, input: TourInput) -> bool {
        match *self {
            Tour::Begins(_) if !input.do_all_run => *self = Tour::Off,
            Tour::Begins(at) if input.elapsed >= at => {
                *self = Tour::Down;
                return true;
            }
            Tour::Down if input.do_all_run && input.is_back => *self = Tour::Over,
            Tour::Off | Tour::Begins(_) | Tour::Down | Tour::Over => {}
        }
        false
    }

    /// Cancels the tour, if it has not begun: the user has changed something.
    pub(crate) fn cancel(&mut self) {
        if matches!(self, Tour::Begins(_)) {
            *self = Tour::Off;
        }
    }

    /// The next step as a sentence for the terminal.
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

    fn input(secs: u64, do_all_run: bool, is_back: bool) -> TourInput {
        TourInput { elapsed: Duration::from_secs(secs), do_all_run, is_back }
    }

    #[test]
    fn it_takes_the_region_down_once() {
        let mut tour = Tour::Begins(Duration::from_secs(15));
        assert!(!tour.step(input(14, true, true)));
        assert!(tour.step(input(15, true, true)));
        assert!(!tour.step(input(15, false, true)) && tour == Tour::Down);
        assert!(!tour.step(input(25, true, false)) && tour == Tour::Down);
        assert!(!tour.step(input(27, true, true)) && tour == Tour::Over);
        assert!(!tour.step(input(100, true, true)) && tour == Tour::Over);
    }

    #[test]
    fn an_action_of_the_user_cancels_it() {
        let mut killed = Tour::Begins(Duration::from_secs(15));
        assert!(!killed.step(input(5, false, false)) && killed == Tour::Off);
        let mut drained = Tour::Begins(Duration::from_secs(15));
        drained.cancel();
        assert!(!drained.step(input(20, true, true)) && drained == Tour::Off);
    }
}
