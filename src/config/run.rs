//! `[run]` of `portolan.toml`: the rights of the process.

use crate::config::keys::{boolean, keys, text};

/// Longest name of a user (`LOGIN_NAME_MAX` of Linux).
const MAX_USER: usize = 255;

keys! {
    /// `[run]`.
    RunKeys in Settings {
        /// the user that the server becomes when root starts it, a name or a number: see
        /// [operating](../docs/operating.md#users-and-capabilities). `"root"` stays root
        user: String = text("\"portolan\"").sized(1..=MAX_USER), note "the owner of `state.dir`, or else `nobody`";
        /// whether the kernel restricts which files the server uses: see
        /// [operating](../docs/operating.md#file-rules)
        file_rules: bool = boolean(), default true;
    }
}
