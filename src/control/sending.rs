//! Commands on their way from the API to the steering task, and why there may be nobody who executes them.

use axum::http::StatusCode;

use crate::control::command::Command;
use crate::control::problem::problem;
use crate::control::request::{ErrorResponse, stopping};
use crate::control::state::ApiState;

/// Why nobody executes a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    /// This node is a vantage.
    Vantage,
    /// The steering task no longer accepts commands.
    Stopping,
}

impl NotSent {
    /// The reason as text.
    pub(super) fn text(self) -> &'static str {
        match self {
            NotSent::Vantage => "this node is a vantage and has no zones: send this to a server of the fleet",
            NotSent::Stopping => "the server is stopping",
        }
    }
}

impl From<NotSent> for ErrorResponse {
    fn from(not_sent: NotSent) -> ErrorResponse {
        match not_sent {
            NotSent::Vantage => Box::new(problem(StatusCode::CONFLICT, not_sent.text())),
            NotSent::Stopping => stopping(),
        }
    }
}

impl ApiState {
    /// Sends a command to the steering task.
    pub(super) async fn send(&self, command: Command) -> Result<(), NotSent> {
        let commands = self.controls.commands.as_ref().ok_or(NotSent::Vantage)?;
        commands.send(command).await.map_err(|_| NotSent::Stopping)
    }
}
