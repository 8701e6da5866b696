//! The command `portolan`.

fn main() {}
