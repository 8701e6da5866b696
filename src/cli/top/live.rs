//! The loop of `portolan top`: it passes news of the server and keys to the state, and draws the picture.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::feed::ApiFeed;
use super::screen::{self, Input, TopScreen};
use super::state::{KeyEffect, ServerNews, TopState};
use crate::cli::Failure;
use crate::cli::client::ApiServer;
use crate::clock;
use crate::daemon::{command_runtime, stop_signal};

/// Ages on the screen grow by seconds.
const TICK: Duration = Duration::from_secs(1);

/// News and keys that wait: a slow terminal makes the readers wait, and no memory grows.
const WAITING: usize = 64;

/// How long a terminal that takes nothing may hold up the end after a signal (judgment).
const LAST_DRAW: Duration = Duration::from_secs(2);

/// Shows the picture of a server until the person or a signal ends it.
pub(super) fn run(server: ApiServer) -> Result<(), Failure> {
    let runtime = command_runtime()?;
    let mut state = TopState::new(server.to_string(), screen::has_colour());
    let (news, mut from_server) = mpsc::channel(WAITING);
    let (input, mut from_terminal) = mpsc::channel(WAITING);
    let (filter, of_names) = watch::channel(String::new());
    let wake = Arc::new(Notify::new());
    let feed = ApiFeed { server, news, wake: wake.clone(), filter: of_names };
    let mut screen = TopScreen::open()?;
    // They end with the process: a read of the terminal can't be interrupted.
    std::thread::spawn(move || screen::read_keys(&input));
    end_after_signal()?;
    runtime.block_on(async {
        tokio::spawn(feed.clone().refresh());
        tokio::spawn(feed.clone().history());
        tokio::spawn(feed.events());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
        let stop = stop_signal();
        tokio::pin!(stop);
        loop {
            screen.draw(&mut state)?;
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                Some(()) = continued.recv() => screen.resume()?,
                next = from_terminal.recv() => match next {
                    Some(Input::Key(key)) => match state.press(key) {
                        KeyEffect::Draw => {}
                        KeyEffect::Search => {
                            filter.send_replace(state.filter.clone());
                            wake.notify_one();
                        }
                        KeyEffect::Redraw => screen.clear()?,
                        KeyEffect::Suspend => screen.suspend()?,
                        KeyEffect::Quit => return Ok(()),
                    },
                    Some(Input::Resize) => {}
                    Some(Input::Gone(why)) => return Err(Failure(format!("the terminal can't be read: {why}"))),
                    None => return Ok(()),
                },
                Some(next) = from_server.recv() => take(&mut state, next, &mut from_server),
                _ = ticks.tick() => {}
            }
        }
    })
}

/// Takes all news that wait, so that a storm of events is one picture.
fn take(state: &mut TopState, first: ServerNews, more: &mut mpsc::Receiver<ServerNews>) {
    let now = clock::now();
    state.take(first, now);
    for _ in 1..WAITING {
        let Ok(next) = more.try_recv() else { return };
        state.take(next, now);
    }
}

/// Ends the process some time after a signal, also while a terminal that takes nothing holds up the loop.
fn end_after_signal() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            stop_signal().await;
            tokio::time::sleep(LAST_DRAW).await;
        });
        let _ = ratatui::crossterm::terminal::disable_raw_mode();
        std::process::exit(1);
    });
    Ok(())
}
