//! `[api]` of `portolan.toml` with its file of tokens: who may change something over the API. Also `[state]`: the state
//! directory. Only the digest of a secret stays in memory, and no message shows either.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use serde_json::json;

use crate::config::keys::{Table, keys, text};
use crate::source::{
    At, ManualSection, Place, Problems, SideFile, Source, did_you_mean,
    files::{self, absolute, path_of},
    reason, without_mark,
};

/// `[api]` and `[state]`.
#[derive(Debug, Clone, Default)]
pub struct Operators {
    /// The tokens; without them every call that changes something is refused.
    pub tokens: Option<Arc<Tokens>>,
    /// The file of the tokens, to watch. It need not exist.
    pub token_file: Option<PathBuf>,
    /// The directory of what outlives a restart. It need not exist. `None` without a settings file.
    pub state_dir: Option<PathBuf>,
}

/// What the holder of a token may do. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read the state.
    Read,
    /// Change something.
    Operate,
}

impl Role {
    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
        }
    }
}

/// The holders of all tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokens {
    holders: Vec<Holder>,
}

/// The holder of a token.
#[derive(Clone, PartialEq)]
pub struct Holder {
    /// The name in the log of a change.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The digest of the secret. All digests have the same length, so a comparison does not reveal that of the secret.
    digest: [u8; SHA256_OUTPUT_LEN],
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role.as_str())
    }
}

impl Tokens {
    /// The holder of the token `secret`. The time depends only on the length of the secret.
    pub fn holder(&self, secret: &[u8]) -> Option<&Holder> {
        let shown = digested(secret);
        let mut found = u32::MAX;
        for (at, holder) in (0..).zip(&self.holders) {
            found.conditional_assign(&at, holder.digest.ct_eq(&shown));
        }
        self.holders.get(found as usize)
    }
}

/// Largest token file, in octets (judgment: [`MAX_TOKENS`] lines with room for comments).
const MAX_FILE: u64 = 1 << 20;
/// Most tokens (judgment: more than the people and scripts of one site; each call is compared with all).
const MAX_TOKENS: usize = 1000;
/// Longest name: it is in every log line of a change (judgment).
const MAX_NAME: usize = 64;
/// Longest secret: it must fit into the head of a request (judgment).
const MAX_SECRET: usize = 1024;
/// Length from which a secret can't be guessed: 16 letters and digits have at least 80 bits (judgment).
const GOOD_SECRET: usize = 16;

const LINE: &str = "write NAME ROLE SECRET: `alice operate` and what `openssl rand -hex 16` prints";

keys! {
    /// `[api]`.
    ApiKeys {
        /// the file of tokens for the API calls that change something: see [below](#operators-api-and-state). Without
        /// the file these calls are refused
        token_file: String = text("\"tokens\""), inherits json!("tokens");
    }
}

impl Table for ApiKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Operators);
}

keys! {
    /// `[state]`.
    StateKeys {
        /// the directory for what outlives a restart: overrides, the choices of `failback`, the last known health and
        /// more, see [below](#what-outlives-a-restart). It is created at the start
        dir: String = text("\"state\""), inherits json!("state");
    }
}

impl Table for StateKeys {
    const SECTION: Option<ManualSection> = Some(ManualSection::Operators);
}

/// Reads the file of tokens. Paths are relative to `base` unless a flag names them. Without a settings file there is no
/// `base`, and the defaults don't apply.
pub(super) fn read(
    api: Option<ApiKeys>,
    state: Option<StateKeys>,
    base: Option<&Path>,
    problems: &mut Problems,
) -> Operators {
    let path = |written: Option<&At<String>>, default: &str| match (written, base) {
        (Some(written), base) => Some(path_of(written, base.unwrap_or(Path::new("")))),
        (None, base) => base.map(|base| base.join(default)),
    };
    let file = api.and_then(|keys| keys.token_file);
    let shown = path(file.as_ref(), "tokens");
    let read = |problems: &mut Problems| shown.as_deref().and_then(|shown| tokens(shown, file.as_ref(), problems));
    let tokens = problems.in_side_file(SideFile::Tokens, read).filter(|_| !problems.is_bad(SideFile::Tokens));
    Operators {
        tokens: tokens.map(Arc::new),
        token_file: shown.as_deref().map(absolute),
        state_dir: path(state.and_then(|keys| keys.dir).as_ref(), "state").as_deref().map(absolute),
    }
}

/// The tokens of the file; `None` if there is no file.
fn tokens(shown: &Path, named: Option<&At<String>>, problems: &mut Problems) -> Option<Tokens> {
    let whole = Place::start_of(shown);
    let error = match open(shown) {
        Ok((text, mode)) => {
            if mode & 0o077 != 0 {
                problems
                    .warning(&whole, "other users than the owner can read or change this file of secrets")
                    .hint(format!("chmod 600 {}", shown.display()));
            }
            return Some(parse(&Source::secret(shown, &text), &text, problems));
        }
        Err(error) => error,
    };
    let message = format!("can't read {}: {}", shown.display(), reason(&error));
    match (error.kind() == std::io::ErrorKind::NotFound, named) {
        (true, None) => {}
        (true, Some(At { place, .. })) => {
            let problem = problems.warning(place, format!("{message}; every call that changes something is off"));
            problem.hint(LINE);
        }
        (false, named) => {
            problems.error(named.map_or(&whole, |named| &named.place), message);
        }
    }
    None
}

fn open(path: &Path) -> std::io::Result<(Vec<u8>, u32)> {
    let (file, found) = files::open(path)?;
    let mode = found.permissions().mode();
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    Ok((without_mark(&text).to_vec(), mode))
}

fn parse(source: &Source<'_>, text: &[u8], problems: &mut Problems) -> Tokens {
    let (mut tokens, mut places, before) = (Tokens::default(), Vec::new(), problems.errors());
    let mut start = 0;
    for line in text.split(|byte| *byte == b'\n') {
        holder(source, line, start, (&mut tokens, &mut places), problems);
        start += line.len() + 1;
    }
    if tokens.holders.is_empty() && problems.errors() == before {
        let message = "there is no token in this file: every call that changes something is off";
        problems.warning(&source.place(0), message).hint(LINE);
    }
    if tokens.holders.len() > MAX_TOKENS || text.len() as u64 > MAX_FILE {
        let message = format!("a file of tokens has at most {MAX_TOKENS} of them and {MAX_FILE} octets");
        problems.error(&source.place(0), message);
    }
    tokens
}

/// Reads the token in a line that begins at octet `start`.
fn holder(
    source: &Source<'_>,
    line: &[u8],
    start: usize,
    (tokens, places): (&mut Tokens, &mut Vec<Place>),
    problems: &mut Problems,
) {
    let fields: Vec<(usize, &[u8])> = fields(line).collect();
    let ([(at, name), (role_at, role), (secret_at, secret)], rest) = match &fields[..] {
        [] => return,
        [(_, first), ..] if first.starts_with(b"#") => return,
        [a, b, c, rest @ ..] => ([*a, *b, *c], rest),
        [(at, _), ..] => {
            problems.error(&source.place(start + at), "a token has three words").hint(LINE);
            return;
        }
    };
    if let Some((more, _)) = rest.first() {
        problems.error(&source.place(start + more), "a token has three words, and here is a fourth").hint(LINE);
    }
    let name = String::from_utf8_lossy(name);
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    let place = source.place(start + at);
    if !is_plain || name.len() > MAX_NAME {
        let problem = problems.error(&place, format!("a name has 1 to {MAX_NAME} letters, digits, `-`, `_`, `.`, `@`"));
        problem.hint(LINE);
    }
    let role = match role {
        b"read" => Role::Read,
        b"operate" => Role::Operate,
        other => {
            let other = String::from_utf8_lossy(&other[..other.len().min(MAX_NAME)]);
            let hint = did_you_mean(&other, ["read", "operate"]);
            // This may be a secret, if the role is missing: it is not shown.
            let problem = problems.error(&source.place(start + role_at), "the second word is not a role");
            problem.hint(hint.unwrap_or_else(|| LINE.to_owned()));
            Role::Read
        }
    };
    let secret_place = source.place(start + secret_at);
    // RFC 6750, 2.1: no other octets can be sent.
    let can_be_sent = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if secret.len() > MAX_SECRET || !secret.iter().all(can_be_sent) {
        let message = format!("a secret has up to {MAX_SECRET} letters, digits and `-`, `.`, `_`, `~`, `+`, `/`, `=`");
        problems.error(&secret_place, message).hint("make one with `openssl rand -hex 16`");
    } else if secret.len() < GOOD_SECRET {
        let message = format!("a secret of fewer than {GOOD_SECRET} characters can be guessed");
        problems.warning(&secret_place, message).hint("make one with `openssl rand -hex 16`");
    }
    let digest = digested(secret);
    for (earlier, at) in tokens.holders.iter().zip(places.iter()) {
        let label = format!("the token of `{}`", earlier.name);
        if *earlier.name == *name {
            let problem = problems.error(&place, format!("`{name}` has a token already")).label(at, label);
            problem.hint("each name has one: remove one of them, or give it another name");
        } else if bool::from(earlier.digest.ct_eq(&digest)) {
            let message = format!("this is the secret of `{}` too", earlier.name);
            let problem = problems.error(&secret_place, message).label(at, label);
            problem.hint("each has its own: make one with `openssl rand -hex 16`");
        }
    }
    places.push(place);
    tokens.holders.push(Holder { name: name.into(), role, digest });
}

/// The fields of a line, each with the octet where it begins.
fn fields(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    line.split(|byte| byte.is_ascii_whitespace()).filter_map(move |field| {
        let begins = at;
        at += field.len() + 1;
        (!field.is_empty()).then_some((begins, field))
    })
}

fn digested(secret: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut octets = [0; SHA256_OUTPUT_LEN];
    octets.copy_from_slice(digest(&SHA256, secret).as_ref());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "0123456789abcdef0123456789abcdef";
    const BOB: &str = "fedcba9876543210fedcba9876543210";

    fn parsed(text: &str) -> (Tokens, Vec<String>) {
        let mut problems = Problems::default();
        let tokens = parse(&Source::new(Path::new("f"), text.as_bytes()), text.as_bytes(), &mut problems);
        let found = problems.into_sorted();
        assert!(found.iter().all(|problem| !format!("{problem:?}").contains(ALICE)), "a secret is shown: {found:?}");
        (tokens, found.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect())
    }

    #[test]
    fn a_token_has_a_holder_and_no_other_text_has_one() {
        let (tokens, found) = parsed(&format!("# who\n\n alice operate {ALICE}\r\nbob\tread {BOB}"));
        assert_eq!(found, Vec::<String>::new());
        let who = |secret: &str| tokens.holder(secret.as_bytes()).map(|holder| (&*holder.name, holder.role));
        assert_eq!(who(ALICE), Some(("alice", Role::Operate)));
        assert_eq!(who(BOB), Some(("bob", Role::Read)));
        for wrong in ["", "alice", &ALICE[1..], &format!("{ALICE}0"), &ALICE.to_uppercase()] {
            assert_eq!(who(wrong), None, "{wrong}");
        }
        assert_eq!(Tokens::default().holder(ALICE.as_bytes()).map(|_| ()), None);
    }

    #[test]
    fn nothing_of_a_secret_is_in_debug_output() {
        let (tokens, _) = parsed(&format!("alice operate {ALICE}"));
        assert_eq!(format!("{tokens:?}"), "Tokens { holders: [alice (operate)] }");
    }

    #[test]
    fn an_error_in_a_file_has_its_place() {
        for (text, expected) in [
            ("alice operate".to_owned(), "1:1: a token has three words"),
            (format!("\n alice operate {ALICE} more"), "2:49: a token has three words, and here is a fourth"),
            (format!("al/ice operate {ALICE}"), "1:1: a name has 1 to 64 letters, digits, `-`, `_`, `.`, `@`"),
            (format!("alice {ALICE} operate-and-more"), "1:7: the second word is not a role"),
            (format!("alice operate {ALICE}\nalice read {BOB}"), "2:1: `alice` has a token already"),
            (format!("alice operate {ALICE}\nbob read {ALICE}"), "2:10: this is the secret of `alice` too"),
            ("alice operate short".to_owned(), "1:15: a secret of fewer than 16 characters can be guessed"),
            (
                "alice operate 0123456789abcde\u{e9}".to_owned(),
                "1:15: a secret has up to 1024 letters, digits and `-`, `.`, `_`, `~`, `+`, `/`, `=`",
            ),
        ] {
            assert_eq!(parsed(&text).1, [expected], "{text}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_and_one_that_is_named_but_missing_are_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        let read = |settings: &str| {
            let settings_file = dir.path().join("portolan.toml");
            std::fs::write(&settings_file, format!("region = \"here\"\n[zones]\ndir = \".\"\n{settings}")).unwrap();
            let loaded = crate::config::load(Some(&settings_file), &Default::default()).unwrap();
            let found = loaded.warnings.into_iter().map(|w| w.message);
            (loaded.settings.operators, found.filter(|m| !m.contains("no zones")).collect::<Vec<_>>())
        };
        let (operators, found) = read("");
        assert!(operators.tokens.is_none() && found.is_empty(), "no file, and none named: {found:?}");
        assert_eq!(operators.state_dir, Some(dir.path().join("state")));
        let (operators, found) = read("[api]\ntoken_file = \"tokens\"\n");
        assert!(
            operators.tokens.is_none() && found[0].ends_with("every call that changes something is off"),
            "{found:?}"
        );
        std::fs::write(&file, format!("alice operate {ALICE}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let (operators, found) = read("");
        assert!(operators.tokens.is_some(), "the file next to the settings is read");
        assert_eq!(found, ["other users than the owner can read or change this file of secrets"]);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read("[state]\ndir = \"kept\"\n").1, Vec::<String>::new());
    }
}
