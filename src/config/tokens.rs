//! The file of tokens: who may change something over the API. Only the digest of a secret stays in memory, and no
//! message shows either.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::config::secret_file::{self, NamedFile, SecretText};
use crate::config::token_scope::{self, Rights, WrittenScope};
use crate::source::{Place, Problems, Source, reason, without_mark};

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
    pub rights: Rights,
    /// Whether its secret is so long that nobody can guess it.
    pub is_unguessable: bool,
    /// The digest of the secret. All digests have the same length, so a comparison does not reveal that of the secret.
    digest: [u8; SHA256_OUTPUT_LEN],
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.rights.role().as_str())
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

/// What a file of tokens has.
#[derive(Debug, Default)]
pub(super) struct ReadTokens {
    pub(super) tokens: Option<Tokens>,
    /// What the tokens name, with places.
    pub(super) scopes: Vec<WrittenScope>,
}

/// Reads the file. `None` if there is none.
pub(super) fn read(NamedFile { shown, place }: &NamedFile, problems: &mut Problems) -> Option<ReadTokens> {
    let whole = Place::start_of(shown);
    let error = match secret_file::read(shown, MAX_FILE) {
        Ok(SecretText { text, mode }) => {
            if mode & 0o077 != 0 {
                problems
                    .warning(&whole, "other users than the owner can read or change this file of secrets")
                    .hint(format!("chmod 600 {}", shown.display()));
            }
            let text = without_mark(&text);
            return Some(parse(&Source::secret(shown, text), text, problems));
        }
        Err(error) => error,
    };
    let message = format!("can't read {}: {}", shown.display(), reason(&error));
    match (error.kind() == std::io::ErrorKind::NotFound, place) {
        (true, None) => {}
        (true, Some(place)) => {
            let problem = problems.warning(place, format!("{message}; every call that changes something is off"));
            problem.hint(LINE);
        }
        (false, place) => {
            problems.error(place.as_ref().unwrap_or(&whole), message);
        }
    }
    None
}

fn parse(source: &Source<'_>, text: &[u8], problems: &mut Problems) -> ReadTokens {
    let (mut tokens, mut places, before) = (Tokens::default(), Vec::new(), problems.errors());
    let mut scopes = Vec::new();
    let mut start = 0;
    for line in text.split(|byte| *byte == b'\n') {
        holder(source, line, start, (&mut tokens, &mut places, &mut scopes), problems);
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
    ReadTokens { tokens: Some(tokens), scopes }
}

/// Reads the token in a line that begins at octet `start`.
fn holder(
    source: &Source<'_>,
    line: &[u8],
    start: usize,
    (tokens, places, scopes): (&mut Tokens, &mut Vec<Place>, &mut Vec<WrittenScope>),
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
    let rights = token_scope::rights(source, role, start + role_at, scopes, problems);
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
    let is_unguessable = secret.len() >= GOOD_SECRET;
    tokens.holders.push(Holder { name: name.into(), rights, is_unguessable, digest });
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
    use crate::config::token_scope::Role;

    const ALICE: &str = "0123456789abcdef0123456789abcdef";
    const BOB: &str = "fedcba9876543210fedcba9876543210";

    fn parsed(text: &str) -> (Tokens, Vec<String>) {
        let mut problems = Problems::default();
        let ReadTokens { tokens, scopes: _ } =
            parse(&Source::new(std::path::Path::new("f"), text.as_bytes()), text.as_bytes(), &mut problems);
        let found = problems.into_sorted();
        assert!(found.iter().all(|problem| !format!("{problem:?}").contains(ALICE)), "a secret is shown: {found:?}");
        (tokens.unwrap(), found.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect())
    }

    #[test]
    fn a_token_has_a_holder_and_no_other_text_has_one() {
        let (tokens, found) = parsed(&format!("# who\n\n alice operate {ALICE}\r\nbob\tread {BOB}"));
        assert_eq!(found, Vec::<String>::new());
        let who = |secret: &str| tokens.holder(secret.as_bytes()).map(|holder| (&*holder.name, holder.rights.role()));
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
}
