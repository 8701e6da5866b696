//! Asks for what the options don't say. A wrong answer is asked for again, with the reason.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use super::EndpointAddress;
use crate::cli::{Failure, text};

/// Longest answer that is read, in octets.
const LONGEST_ANSWER: u64 = 4096;

/// The terminal, or the defaults where there is none.
pub(super) struct InitAsker {
    is_terminal: bool,
}

impl InitAsker {
    pub(super) fn new() -> InitAsker {
        InitAsker { is_terminal: io::stdin().is_terminal() && io::stderr().is_terminal() }
    }

    /// The option, else the answer, else the default.
    pub(super) fn choose<T: FromStr>(&self, option: Option<T>, question: &str, default: &str) -> Result<T, Failure>
    where
        T::Err: Display,
    {
        self.choose_if(option, question, default, |_| Ok(()))
    }

    /// The same for a value that must pass a check. An option or a default that does not is a failure.
    pub(super) fn choose_if<T: FromStr>(
        &self,
        option: Option<T>,
        question: &str,
        default: &str,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Result<T, Failure>
    where
        T::Err: Display,
    {
        if let Some(value) = option {
            return check(&value).map(|()| value).map_err(Failure);
        }
        loop {
            let answer = if self.is_terminal { line(question, default)? } else { String::new() };
            let answer = if answer.is_empty() { default } else { &answer };
            let value = answer.parse::<T>().map_err(|why| why.to_string());
            match value.and_then(|value| check(&value).map(|()| value)) {
                Ok(value) => return Ok(value),
                Err(why) if self.is_terminal => text::complain(&format!("  {why}")),
                Err(why) => return Err(Failure(format!("{question}: {why}"))),
            }
        }
    }

    /// Two endpoints; `check` says why one can't be added to those before it.
    pub(super) fn endpoints(
        &self,
        check: impl Fn(&[EndpointAddress], &EndpointAddress) -> Result<(), String>,
    ) -> Result<Vec<EndpointAddress>, Failure> {
        let mut all = Vec::new();
        for (question, default) in [
            ("First endpoint, with the address that www is answered with", "one=192.0.2.10"),
            ("Second endpoint", "two=192.0.2.11"),
        ] {
            let next = self.choose_if(None, question, default, |next| check(&all, next))?;
            all.push(next);
        }
        Ok(all)
    }
}

fn line(question: &str, default: &str) -> Result<String, Failure> {
    let mut terminal = io::stderr();
    write!(terminal, "{question} [{default}]: ")?;
    terminal.flush()?;
    let mut line = String::new();
    let read = io::BufRead::read_line(&mut io::Read::take(io::stdin().lock(), LONGEST_ANSWER), &mut line)?;
    if read == 0 {
        return Err(Failure("standard input ended: nothing was written".to_owned()));
    }
    Ok(line.trim().to_owned())
}
