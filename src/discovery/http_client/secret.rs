//! Reads the file with a source's token or password. It is read again whenever it is used, so that a new one needs no
//! reload.

use std::path::Path;

use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use crate::source::{files, reason};

/// Longest secret in octets (judgment: tokens in the form of JWT have 2 KiB).
const MAX_SECRET: u64 = 16 << 10;

/// The text of the file, without white space at its ends. The error says what to do.
pub(crate) async fn secret_text(file: &Path) -> Result<Zeroizing<String>, String> {
    let path = file.to_path_buf();
    let read = tokio::task::spawn_blocking(move || files::read(&path, MAX_SECRET).map(Zeroizing::new)).await;
    let shown = file.display();
    let text = read.map_err(|error| error.to_string())?;
    let text = text.map_err(|error| format!("{shown} can't be read: {}", reason(&error)))?;
    let text = std::str::from_utf8(&text).map_err(|_| format!("{shown} is no text"))?.trim();
    match text.is_empty() {
        true => Err(format!("{shown} is empty: write the secret into it")),
        false => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// The text of the file as the value of a header field, after `before`. It is not shown by any log.
pub(crate) async fn secret_value(before: &str, file: &Path) -> Result<HeaderValue, String> {
    let text = secret_text(file).await?;
    field(before, &text).map_err(|why| format!("{} {why}", file.display()))
}

/// A bearer token as the value of the header field Authorization (RFC 6750, 2.1), without white space at its ends.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, String> {
    field("Bearer ", token.trim()).map_err(|why| format!("it {why}"))
}

fn field(before: &str, text: &str) -> Result<HeaderValue, &'static str> {
    let whole = Zeroizing::new(format!("{before}{text}"));
    let mut value = HeaderValue::from_str(&whole).map_err(|_| "has characters that no HTTP header field may have")?;
    value.set_sensitive(true);
    Ok(value)
}
