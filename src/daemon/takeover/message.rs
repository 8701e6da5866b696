//! The messages of a takeover: a length in four octets, then JSON. Fields that a version does not know are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PROTOCOL, state_files};
use crate::printable::escaped;

/// Longest message in octets. The longest names 64 sockets, with less than 100 octets for each.
pub(super) const MAX_OCTETS: usize = 64 << 10;
/// Octets of the length before a message.
pub(super) const HEAD: usize = 4;
/// Most descriptors with one message. The kernel allows 253 (`SCM_MAX_FD`).
pub(super) const MAX_DESCRIPTORS: usize = 64;
/// Most sockets in all. Judgment: sixteen addresses with 64 workers each.
pub(super) const MAX_SOCKETS: usize = 1024;
/// Longest reason of a refusal that is shown, in characters.
const MAX_WHY: usize = 500;
/// Longest version of a program or name of a file that is shown, in characters (judgment: real ones are shorter).
const MAX_SHOWN: usize = 64;

/// A message of either side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum TakeoverMessage {
    /// The new process introduces itself.
    Hello(ProgramVersions),
    /// So does the running server.
    Welcome {
        #[serde(flatten)]
        versions: ProgramVersions,
        /// How many sockets follow.
        sockets: usize,
        /// The secret of its cookies in hexadecimal, where the settings have none.
        cookies: String,
    },
    /// Descriptors come with this message, one for each use, in order.
    Sockets { uses: Vec<String> },
    /// The new process is about to load the state.
    Freeze,
    /// The state is on the disk.
    Frozen,
    /// The new process answers.
    Serving,
    /// The running server has answered everything, and ends.
    Done,
    /// Nothing is taken over.
    Refused { why: String },
}

/// What decides whether two processes fit together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ProgramVersions {
    /// The version of the messages.
    pub(super) protocol: u32,
    /// The version of the program, for people.
    pub(super) version: String,
    /// The process id.
    pub(super) process: u32,
    /// The version of each state file.
    #[serde(default)]
    pub(super) files: BTreeMap<String, u32>,
}

impl ProgramVersions {
    /// Those of this program.
    pub(super) fn own() -> ProgramVersions {
        ProgramVersions {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            files: state_files().into_iter().map(|file| (file.name.to_owned(), file.version)).collect(),
        }
    }

    /// Whether this program can go on from what `running` has; otherwise why not.
    pub(super) fn check(&self, running: &ProgramVersions) -> Result<(), String> {
        if self.protocol != running.protocol {
            return Err(format!(
                "it takes over by version {} of the messages, and this program by version {}",
                running.protocol, self.protocol
            ));
        }
        for (file, written) in &running.files {
            match self.files.get(file) {
                Some(read) if read == written => {}
                Some(read) => {
                    return Err(format!(
                        "it writes version {written} of {}, and this program reads version {read}",
                        shortened(file, MAX_SHOWN)
                    ));
                }
                None => {
                    let file = shortened(file, MAX_SHOWN);
                    return Err(format!("it has a state file that this program does not know: {file}"));
                }
            }
        }
        Ok(())
    }

    /// The program for people: `version 0.1.0, process 12`.
    pub(super) fn shown(&self) -> String {
        format!("version {}, process {}", shortened(&self.version, MAX_SHOWN), self.process)
    }
}

/// The first characters of a text of the other process, with escapes.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let first: String = text.chars().take(most).collect();
    let cut = if first.len() < text.len() { "..." } else { "" };
    format!("{}{cut}", escaped(&first))
}

impl TakeoverMessage {
    /// A refusal.
    pub(super) fn refused(why: impl Into<String>) -> TakeoverMessage {
        TakeoverMessage::Refused { why: why.into().chars().take(MAX_WHY).collect() }
    }

    /// The octets, with their length.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Plain data can't fail to serialise.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut octets = (body.len() as u32).to_be_bytes().to_vec();
        octets.extend(body);
        octets
    }

    /// The length that a head announces; an error says what is wrong with it.
    pub(super) fn length(head: [u8; HEAD]) -> Result<usize, String> {
        match u32::from_be_bytes(head) as usize {
            length if (1..=MAX_OCTETS).contains(&length) => Ok(length),
            length => Err(format!("a message of {length} octets")),
        }
    }

    /// The message of a body; an error says what is wrong with it.
    pub(super) fn decode(body: &[u8]) -> Result<TakeoverMessage, String> {
        serde_json::from_slice(body).map_err(|error| format!("a message that can't be read ({error})"))
    }

    /// Its name in errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            TakeoverMessage::Hello(_) => "hello",
            TakeoverMessage::Welcome { .. } => "welcome",
            TakeoverMessage::Sockets { .. } => "sockets",
            TakeoverMessage::Freeze => "freeze",
            TakeoverMessage::Frozen => "frozen",
            TakeoverMessage::Serving => "serving",
            TakeoverMessage::Done => "done",
            TakeoverMessage::Refused { .. } => "refused",
        }
    }
}
