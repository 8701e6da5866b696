//! The command `portolan`.

use tikv_jemallocator::Jemalloc;

/// Gives memory back to the system after a reload, which the system's allocator does not. `.cargo/config.toml` has its
/// options.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> std::process::ExitCode {
    portolan::cli::run()
}
