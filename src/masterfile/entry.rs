//! Cuts a master file into entries (RFC 1035, 5.1). An entry is one directive or record: its tokens with their places,
//! on all lines that its parentheses span. This module does not know what tokens mean. It exists because the scanner of
//! the `domain` crate stops at the first error and does not report on which line a record is.

/// Most tokens of an entry: a TXT record of 65,535 octets has half as many texts (RFC 1035, 3.3.14).
const MAX_TOKENS: usize = 1 << 16;
/// Most octets of the tokens of an entry: content of 65,535 octets, each written as `\DDD`, and a name.
const MAX_OCTETS: usize = 300_000;

/// A token, its quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// Byte offset of its first character.
    pub(super) start: usize,
    /// Byte offset after its last character.
    pub(super) end: usize,
}

/// One entry; it has at least one token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MasterEntry {
    /// Whether it begins with white space: then its owner is that of the previous entry.
    pub(super) indented: bool,
    /// Its tokens.
    pub(super) tokens: Vec<Token>,
}

/// Text that is not an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Byte offset of the error.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) message: &'static str,
    /// What to do.
    pub(super) hint: &'static str,
}

/// The entries of a text, in order. After an error, reading continues with the next line.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the first NUL is, if there is one: then the file is not text.
    nul: Option<usize>,
}

/// How a token ended.
enum Ended {
    /// Before white space, a comment, a quote or a parenthesis; or with its closing quote.
    Complete,
    /// Its quote is not closed on its line.
    Unclosed,
}

impl<'a> Entries<'a> {
    /// The entries of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Entries<'a> {
        Entries { bytes, at: 0, nul: bytes.iter().position(|byte| *byte == 0) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Moves to the line feed, or to the end.
    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// Reads one token that begins here.
    fn token(&mut self) -> (Token, Ended) {
        let start = self.at;
        let quoted = self.peek() == Some(b'"');
        self.at += usize::from(quoted);
        while let Some(byte) = self.peek() {
            match byte {
                b'"' if quoted => {
                    self.at += 1;
                    return (Token { start, end: self.at }, Ended::Complete);
                }
                b'\n' if quoted => return (Token { start, end: self.at }, Ended::Unclosed),
                b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'(' | b')' | b';' if !quoted => break,
                b'\\' if self.bytes.get(self.at + 1).is_some_and(|next| *next != b'\n') => self.at += 2,
                _ => self.at += 1,
            }
        }
        let ended = if quoted { Ended::Unclosed } else { Ended::Complete };
        (Token { start, end: self.at }, ended)
    }

    /// Whether the carriage return here belongs to the end of a line or of the file.
    fn is_line_end(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        rest.iter().find(|byte| **byte != b'\r').is_none_or(|byte| *byte == b'\n')
    }

    /// Reports an error in this entry and moves to the next line.
    fn broken(&mut self, at: usize, message: &'static str, hint: &'static str) -> Option<Result<MasterEntry, Broken>> {
        self.skip_line();
        Some(Err(Broken { at, message, hint }))
    }
}

/// How a zone in BIND's raw format begins: the number of the format. Secondaries have their zones in it.
const RAW: [u8; 4] = [0, 0, 0, 2];

impl Iterator for Entries<'_> {
    type Item = Result<MasterEntry, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(at) = self.nul.take() {
            self.at = self.bytes.len();
            let (message, hint) = match self.bytes.starts_with(&RAW) {
                true => (
                    "this is a zone in BIND's raw format, which is no text",
                    "write it as text: `named-compilezone -f raw -F text -o NEW ZONE FILE`",
                ),
                false => (
                    "this is a NUL octet, which no master file has",
                    "the file is damaged, or not in UTF-8 (UTF-16?); in a text this octet is written `\\000`",
                ),
            };
            return Some(Err(Broken { at, message, hint }));
        }
        let mut open = Vec::new();
        let mut entry = MasterEntry { indented: false, tokens: Vec::new() };
        let mut line_start = true;
        let mut octets = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => {
                    self.at += 1;
                    if open.is_empty() && !entry.tokens.is_empty() {
                        return Some(Ok(entry));
                    }
                    if open.is_empty() {
                        (line_start, entry.indented) = (true, false);
                    }
                    continue;
                }
                b'\r' if !self.is_line_end() => {
                    let hint = "end each line with a line feed, or with a carriage return and a line feed";
                    return self.broken(self.at, "this is a carriage return without a line feed", hint);
                }
                b' ' | b'\t' | b'\r' => {
                    entry.indented |= line_start && byte != b'\r';
                    self.at += 1;
                }
                b';' => self.skip_line(),
                b'(' => {
                    open.push(self.at);
                    self.at += 1;
                }
                b')' => {
                    if open.pop().is_none() {
                        let hint = "remove it, or write a `(` before it; in a text, put quotes around";
                        return self.broken(self.at, "this `)` closes nothing", hint);
                    }
                    self.at += 1;
                }
                _ => match self.token() {
                    (token, Ended::Complete) => {
                        octets += token.end - token.start;
                        if entry.tokens.len() >= MAX_TOKENS || octets > MAX_OCTETS {
                            let hint = "a record has 65535 octets at most; is a `(` or a line end missing before it?";
                            return self.broken(token.start, "this entry is longer than any record", hint);
                        }
                        entry.tokens.push(token);
                    }
                    (token, Ended::Unclosed) => {
                        let hint = "end the text with `\"` on the same line; a quote within it is written `\\\"`";
                        return self.broken(token.start, "this quote is not closed on its line", hint);
                    }
                },
            }
            line_start = false;
        }
        match open.first() {
            Some(&at) => self.broken(at, "this `(` is never closed", "write a `)` where the record ends"),
            None => (!entry.tokens.is_empty()).then_some(Ok(entry)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let show = |entry: MasterEntry| {
            let tokens: Vec<&str> = entry.tokens.iter().map(|t| &text[t.start..t.end]).collect();
            format!("{}{}", if entry.indented { "_ " } else { "" }, tokens.join("|"))
        };
        let line = |item: Result<MasterEntry, Broken>| match item {
            Ok(entry) => show(entry),
            Err(broken) => format!("{}: {}", broken.at, broken.message),
        };
        Entries::new(text.as_bytes()).map(line).collect()
    }

    #[test]
    fn parentheses_comments_quotes_and_escapes() {
        let text = "a SOA ( 1 ; one\n 2 )\n\n  \tTXT \"x ; y\\\" (\"z ; c\nb A\\;\\(";
        assert_eq!(read(text), ["a|SOA|1|2", "_ TXT|\"x ; y\\\" (\"|z", "b|A\\;\\("]);
    }

    #[test]
    fn line_ends_are_line_feeds_and_a_text_has_no_nul() {
        assert_eq!(read("a A\r\nb A\r\r\nc A\r"), ["a|A", "b|A", "c|A"]);
        assert_eq!(read("a A\rb A\nc A"), ["3: this is a carriage return without a line feed", "c|A"]);
        assert_eq!(read("a A\nb\0\nc A"), ["5: this is a NUL octet, which no master file has"]);
    }

    #[test]
    fn an_entry_is_no_longer_than_a_record_can_be() {
        let last = |text: &str| Entries::new(text.as_bytes()).last().unwrap();
        for text in ["a ".repeat(MAX_TOKENS), format!("a TXT {}", "b".repeat(MAX_OCTETS - 4))] {
            assert!(last(&text).is_ok());
            assert_eq!(last(&format!("{text} c")).unwrap_err().message, "this entry is longer than any record");
            assert_eq!(read(&format!("{text} c\nd A")).last().unwrap(), "d|A", "the next line is read");
        }
    }

    #[test]
    fn what_is_broken_does_not_hide_what_follows() {
        assert_eq!(
            read("a TXT \"x\nb )\nc A\n( d"),
            [
                "6: this quote is not closed on its line",
                "11: this `)` closes nothing",
                "c|A",
                "17: this `(` is never closed"
            ]
        );
    }
}
