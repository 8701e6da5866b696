//! The command `portolan`.

fn main() -> std::process::ExitCode {
    portolan::cli::run()
}
