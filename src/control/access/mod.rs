//! Who may call the API, under which host, and how often. Plain values and counters; time is an argument. `gate` and
//! `caller` apply them to requests.

mod host;
mod rate;
mod refusal;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::config::{Settings, Tokens};

pub use host::HostNames;
pub(in crate::control) use host::host_of;
pub(in crate::control) use rate::{CallCost, CallRates, WrongTokenLine, WrongTokens};
pub use refusal::{Refusal, RefusalCounters};

/// The rules in force, and what was counted by them.
#[derive(Debug, Default)]
pub struct ApiAccess {
    /// `None` turns off the calls that need a token.
    pub(in crate::control) tokens: ArcSwapOption<Tokens>,
    pub(in crate::control) hosts: ArcSwap<HostNames>,
    pub(in crate::control) rates: CallRates,
    pub(in crate::control) wrong_tokens: WrongTokens,
    /// What was refused.
    pub refusals: RefusalCounters,
}

impl ApiAccess {
    /// The rules of the settings.
    pub fn of(settings: &Settings) -> Arc<ApiAccess> {
        let access = ApiAccess::default();
        access.adopt(settings);
        Arc::new(access)
    }

    /// Replaces the tokens and the names of hosts by those of new settings.
    pub fn adopt(&self, settings: &Settings) {
        self.tokens.store(settings.operators.tokens.clone());
        self.hosts.store(Arc::new(HostNames::of(settings)));
    }
}
