//! Names of hosts that clients are sent to by a CNAME.

use std::net::{IpAddr, SocketAddr};

use crate::wire::Name;

/// The name of a host; an error says why the text is none, and what to write in a policy file. A name without its
/// final dot is the same name.
pub fn host_name(text: &str) -> Result<Name, (String, String)> {
    if let Some(why) = another_form(text) {
        return Err(why);
    }
    let reason = match Name::parse(text) {
        Ok(name) if name != Name::root() && !name.is_wildcard() => return Ok(name),
        Ok(_) => "nothing can be reached there".to_owned(),
        Err(error) => error.to_string(),
    };
    let hint = "write `cname = \"fra1.hosting.example.\"`";
    Err((format!("\"{text}\" is not a name to send clients to: {reason}"), hint.to_owned()))
}

/// Why a text is no name of a host, although it may be a name of the DNS, and what to write; `None` if it may be one.
fn another_form(value: &str) -> Option<(String, String)> {
    let bare = value.strip_suffix('.').unwrap_or(value);
    let address = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let address = match (address, bare.parse::<SocketAddr>()) {
        (Ok(address), _) => Some((address, "")),
        (Err(_), Ok(socket)) => Some((socket.ip(), ": the port belongs to the monitor")),
        (Err(_), Err(_)) => None,
    };
    if let Some((address, of_port)) = address {
        let hint = format!("write `addresses = [\"{address}\"]` instead of `cname`{of_port}");
        return Some((format!("\"{value}\" is an address, and no name to send clients to"), hint));
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    if let Some((host, _)) = bare.rsplit_once(':').filter(|(_, port)| is_number(port)) {
        let message = format!("\"{value}\" is not a name to send clients to: a name has no port");
        let host = host.trim_end_matches('.');
        return Some((message, format!("write `cname = \"{host}.\"`: the port belongs to the monitor")));
    }
    // No name of a host ends with a number, so that none looks like an address (RFC 1123, 2.1).
    let last = bare.rsplit('.').next().unwrap_or_default();
    is_number(last).then(|| {
        let message = format!("\"{value}\" is not a name to send clients to: no name of a host ends with a number");
        (message, "write `cname = \"fra1.hosting.example.\"`, or an address into `addresses`".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_host_is_no_address_and_has_no_port() {
        for text in ["lb.example.com", "LB.example.com.", "localhost", "_a.example.", "1.example."] {
            assert!(host_name(text).is_ok(), "{text}");
        }
        for (text, part) in [
            ("192.0.2.1", "is an address"),
            ("[2001:db8::1]:80", "is an address"),
            ("lb.example:80", "a name has no port"),
            ("lb.1", "ends with a number"),
            (".", "nothing can be reached there"),
            ("*.example.", "nothing can be reached there"),
            ("", "not a name to send clients to"),
            ("a..example", "not a name to send clients to"),
        ] {
            let (message, _) = host_name(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
