//! The command line: parses, calls, prints, exits. Thin clients of `config` and `control`.
