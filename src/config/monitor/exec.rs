//! `exec`: a program.

use crate::config::keys::{KeyGroup as _, KeyKind as _, keys, text, texts};
use crate::config::monitor::probing::{Probing, body};
use crate::config::monitor::{Definition, Group};
use crate::model::monitor::bounds::{MAX_ARG, MAX_ARGS};
use crate::model::{ExecCommand, ExecSpec, ProbeKind};
use crate::source::{At, Problems};

const EXAMPLE: &str = "\"/usr/local/bin/check\"";

keys! {
    /// The keys of a program.
    Program {
        /// an absolute path, `"/usr/local/bin/check"`
        program: String = text(EXAMPLE).matching("^/").then(program), required &format!("write `program = {EXAMPLE}`");
        /// the arguments, `["--db", "main"]`; no shell changes them
        args: Vec<At<String>> = texts("[\"--fast\"]").sized(0..=MAX_ARGS).then(args);
    }
}

pub(super) const EXEC: Definition =
    Definition::probe(&[Group::of::<Probing>(), Group::of::<Program>()], |fields, problems| {
        let Program { program, args, .. } = Program::take(fields, problems);
        let args = args.map_or_else(Vec::new, |args| args.value.into_iter().map(|arg| arg.value).collect());
        let exec = program.map(|program| {
            let command = ExecCommand { program: program.value, args }.into();
            ExecSpec { command, endpoint: String::new() }
        });
        body(fields, exec.map(ProbeKind::Exec), problems)
    });

fn program(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    if !value.starts_with('/') || value.contains('\0') || value.len() > MAX_ARG {
        let problem = problems.error(&place, format!("\"{value}\" is not an absolute path"));
        problem.hint(format!("write `program = {EXAMPLE}`: no shell looks for it, and arguments go into `args`"));
    }
    Some(value)
}

fn args(list: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<At<String>>> {
    let args = list.value;
    if let Some(first) = args.get(MAX_ARGS) {
        problems.error(&first.place, format!("more than {MAX_ARGS} arguments")).hint("let the program read a file");
    }
    if let Some(wrong) = args.iter().find(|arg| arg.value.contains('\0') || arg.value.len() > MAX_ARG) {
        let message = format!("an argument must be {MAX_ARG} octets at most, without NUL");
        problems.error(&wrong.place, message).hint("shorten it, or let the program read a file");
    }
    Some(args)
}
