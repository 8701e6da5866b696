//! Who may change something, and where that is kept: `[api]` of `portolan.toml` with the file of tokens that it names,
//! and `[state]`. A secret is forgotten as soon as it is read: what is kept is its digest, and no message shows either.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::config::fields::Fields;
use crate::config::files;
use crate::config::problem::{Problems, SideFile, did_you_mean, reason};
use crate::config::source::{At, Place, Source, without_mark};

/// `[api]` and `[state]`.
#[derive(Debug, Clone, Default)]
pub struct Operators {
    /// Who may ask and change; without, every call that changes something is off.
    pub tokens: Option<Arc<Tokens>>,
    /// Where `tokens` are read from, whether or not the file is there; for those who watch files.
    pub token_file: Option<PathBuf>,
    /// Where what is to survive a restart is kept; the directory need not be there. `None` without a settings file.
    pub state_dir: Option<PathBuf>,
}

/// What the holder of a token may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Change.
    Operate,
}

impl Role {
    /// The word for it in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
        }
    }
}

/// Everyone who has a token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokens {
    holders: Vec<Holder>,
}

/// One who has a token.
#[derive(Clone, PartialEq)]
pub struct Holder {
    /// The name that changes are logged under.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// Of the secret: all have one length, so comparing them tells nothing of the secret's.
    digest: [u8; SHA256_OUTPUT_LEN],
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role.as_str())
    }
}

impl Tokens {
    /// Who holds the token `secret`. Takes the same time for every secret of one length, whoever it belongs to.
    pub fn holder(&self, secret: &[u8]) -> Option<&Holder> {
        let shown = digested(secret);
        let mut found = u32::MAX;
        for (at, holder) in (0..).zip(&self.holders) {
            found.conditional_assign(&at, holder.digest.ct_eq(&shown));
        }
        self.holders.get(found as usize)
    }
}

/// Octets of a token file that are read (judgment: [`MAX_TOKENS`] lines with room for comments).
const MAX_FILE: u64 = 1 << 20;
/// More tokens than people and scripts of one site (judgment); each call is compared with all.
const MAX_TOKENS: usize = 1000;
/// Longest name: it goes into every log line of a change (judgment).
const MAX_NAME: usize = 64;
/// Longest secret, so that it fits a request's head (judgment).
const MAX_SECRET: usize = 1024;
/// Shorter secrets can be guessed: 16 letters and digits are 80 bits and more (judgment).
const GOOD_SECRET: usize = 16;

const LINE: &str = "write NAME ROLE SECRET: `alice operate` and what `openssl rand -hex 16` prints";

/// Reads both tables. Paths are relative to `base` unless a flag named them; without a settings file nothing is taken
/// for granted.
pub(super) fn read(top: &mut Fields, base: Option<&Path>, problems: &mut Problems) -> Operators {
    let mut text = |table, key, example| {
        let mut fields = top.table(table, problems)?;
        let written = fields.text(key, example, problems);
        fields.finish(&[], problems);
        written
    };
    let dir = text("state", "dir", "\"state\"");
    let file = text("api", "token_file", "\"tokens\"");
    let below = |written: &Option<At<String>>, default: &str| match (written, base) {
        (Some(At { value, place }), _) if place.file.to_string_lossy().starts_with("flag ") => Some(value.into()),
        (Some(At { value, .. }), base) => Some(base.unwrap_or(Path::new("")).join(value)),
        (None, Some(base)) => Some(base.join(default)),
        (None, None) => None,
    };
    let shown: Option<PathBuf> = below(&file, "tokens");
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let read = |problems: &mut Problems| shown.as_deref().and_then(|shown| tokens(shown, file.as_ref(), problems));
    let tokens = problems.in_side_file(SideFile::Tokens, read).filter(|_| !problems.is_bad(SideFile::Tokens));
    Operators {
        tokens: tokens.map(Arc::new),
        token_file: shown.map(absolute),
        state_dir: below(&dir, "state").map(absolute),
    }
}

/// The file's tokens; `None` where there is no file.
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

/// Takes the token of a line, which begins at octet `start`.
fn holder(
    source: &Source<'_>,
    line: &[u8],
    start: usize,
    (tokens, places): (&mut Tokens, &mut Vec<Place>),
    problems: &mut Problems,
) {
    let words: Vec<(usize, &[u8])> = words(line).collect();
    let ([(at, name), (role_at, role), (secret_at, secret)], rest) = match &words[..] {
        [] => return,
        [(_, word), ..] if word.starts_with(b"#") => return,
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
            // What stands here may be a secret whose role was forgotten: it isn't shown.
            let problem = problems.error(&source.place(start + role_at), "the second word is not a role");
            problem.hint(hint.unwrap_or_else(|| LINE.to_owned()));
            Role::Read
        }
    };
    let secret_place = source.place(start + secret_at);
    // RFC 6750, 2.1: what else is in it can't be sent.
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

/// The words of a line, each with the octet where it begins.
fn words(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    line.split(|byte| byte.is_ascii_whitespace()).filter_map(move |word| {
        let begins = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((begins, word))
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
        let told = problems.into_sorted();
        assert!(told.iter().all(|problem| !format!("{problem:?}").contains(ALICE)), "a secret is told: {told:?}");
        (tokens, told.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect())
    }

    #[test]
    fn a_secret_tells_who_holds_it_and_nothing_else_does() {
        let (tokens, told) = parsed(&format!("# who\n\n alice operate {ALICE}\r\nbob\tread {BOB}"));
        assert_eq!(told, Vec::<String>::new());
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
    fn what_is_wrong_with_a_file_is_told_with_its_place() {
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
            let told: Vec<String> = loaded.warnings.into_iter().map(|w| w.message).collect();
            (loaded.settings.operators, told.into_iter().filter(|m| !m.contains("no zones")).collect::<Vec<_>>())
        };
        let (operators, told) = read("");
        assert!(operators.tokens.is_none() && told.is_empty(), "no file, and none named: {told:?}");
        assert_eq!(operators.state_dir, Some(dir.path().join("state")));
        let (operators, told) = read("[api]\ntoken_file = \"tokens\"\n");
        assert!(
            operators.tokens.is_none() && told[0].ends_with("every call that changes something is off"),
            "{told:?}"
        );
        std::fs::write(&file, format!("alice operate {ALICE}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let (operators, told) = read("");
        assert!(operators.tokens.is_some(), "the file beside the settings is taken");
        assert_eq!(told, ["other users than the owner can read or change this file of secrets"]);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read("[state]\ndir = \"kept\"\n").1, Vec::<String>::new());
    }
}
