//! `portolan completions` and `portolan man`: what shells and manuals need to know of the command line, made from it.

use std::path::PathBuf;

use clap::{CommandFactory, ValueEnum};

use crate::cli::{CommandLine, Failure, text};
use crate::source::reason;

/// A shell that completes commands.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// bash, with the package bash-completion
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan completions bash >/etc/bash_completion.d/portolan
  portolan completions zsh >/usr/local/share/zsh/site-functions/_portolan
  portolan completions fish >~/.config/fish/completions/portolan.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the manual pages of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portolan man --out /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// The directory for portolan.1, portolan-serve.1 and so on; without it, portolan.1 goes to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "portolan", &mut script);
    // It comes from this program alone, and a shell needs it as it is.
    text::write_all(std::io::stdout(), &script);
    Ok(())
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let command = CommandLine::command();
    match &args.out {
        Some(dir) => {
            let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
            written.map_err(|error| Failure(format!("can't write to {}: {}", dir.display(), reason(&error))))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            text::write_all(std::io::stdout(), &page);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_that_is_not_hidden_is_completed_and_has_a_page() {
        let command = CommandLine::command();
        let names: Vec<String> =
            command.get_subcommands().filter(|of| !of.is_hide_set()).map(|of| of.get_name().to_owned()).collect();
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "portolan", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(names.iter().all(|name| script.contains(name.as_str())), "{shell}");
        }
        let dir = tempfile::tempdir().unwrap();
        man(&ManArgs { out: Some(dir.path().to_owned()) }).unwrap_or_else(|failure| panic!("{}", failure.0));
        for name in names {
            assert!(dir.path().join(format!("portolan-{name}.1")).exists(), "{name}");
        }
    }
}
