//! Server cookies that all servers with the same secret can check (RFC 7873, RFC 9018): made and checked from the
//! secret, the client's cookie, its address and the time. Stores nothing of any client.

use std::fmt;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::wire::edns::Cookie;

/// Octets of a secret: SipHash's key (RFC 9018, 4.4).
pub const SECRET_LEN: usize = 16;

/// Octets of a server cookie, and of the option with both cookies.
const SERVER_LEN: usize = 16;
/// See [`SERVER_LEN`].
pub const COOKIES_LEN: usize = 8 + SERVER_LEN;

/// The only version (RFC 9018, 4.1).
const VERSION: u8 = 1;

/// How old a cookie may be, in seconds, and how far in the future (RFC 9018, 4.3).
const OLDEST_SECS: i32 = 3600;
/// See [`OLDEST_SECS`].
const AHEAD_SECS: i32 = 300;

/// The secrets of a server, or of all servers that share an address or a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CookieSecrets {
    /// New cookies are made with it.
    pub current: [u8; SECRET_LEN],
    /// Cookies made with it are valid too: the previous secret, or the next one, during a change on all servers.
    pub other: Option<[u8; SECRET_LEN]>,
}

/// Secrets are not written to logs.
impl fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.other.is_some() { "CookieSecrets(2)" } else { "CookieSecrets(1)" })
    }
}

impl CookieSecrets {
    /// The option's data for a reply to a client at `ip`: its cookie, and ours made at `unix_secs`, seconds since 1970
    /// modulo 2^32.
    pub fn issue(&self, client: [u8; 8], ip: IpAddr, unix_secs: u32) -> [u8; COOKIES_LEN] {
        let mut head = [VERSION, 0, 0, 0, 0, 0, 0, 0];
        head[4..].copy_from_slice(&unix_secs.to_be_bytes());
        let mut data = [0; COOKIES_LEN];
        data[..8].copy_from_slice(&client);
        data[8..16].copy_from_slice(&head);
        data[16..].copy_from_slice(&hash(&self.current, client, head, ip));
        data
    }

    /// Whether the client at `ip` has a recent server cookie that was made with one of the secrets.
    pub fn accepts(&self, cookie: &Cookie<'_>, ip: IpAddr, unix_secs: u32) -> bool {
        let Some((head, tag)) = cookie.server.split_first_chunk::<8>() else { return false };
        let [version, _, _, _, written @ ..] = *head;
        // Serial numbers (RFC 1982): right across the wrap in 2106.
        let age = unix_secs.wrapping_sub(u32::from_be_bytes(written)) as i32;
        if version != VERSION || !(-AHEAD_SECS..=OLDEST_SECS).contains(&age) {
            return false;
        }
        // The reserved octets are hashed as received (RFC 9018, 4.2).
        let is_ours = |secret: &[u8; SECRET_LEN]| hash(secret, cookie.client, *head, ip) == tag;
        is_ours(&self.current) || self.other.as_ref().is_some_and(is_ours)
    }
}

/// SipHash-2-4 of client cookie, the server cookie's first half and the address (RFC 9018, 4.4).
fn hash(secret: &[u8; SECRET_LEN], client: [u8; 8], head: [u8; 8], ip: IpAddr) -> [u8; 8] {
    let mut input = [0; 32];
    input[..8].copy_from_slice(&client);
    input[8..16].copy_from_slice(&head);
    let len = match ip {
        IpAddr::V4(ip) => {
            input[16..20].copy_from_slice(&ip.octets());
            20
        }
        IpAddr::V6(ip) => {
            input[16..].copy_from_slice(&ip.octets());
            32
        }
    };
    SipHasher24::new_with_key(secret).hash(&input[..len]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
    }

    fn secrets(current: &str, other: Option<&str>) -> CookieSecrets {
        CookieSecrets { current: hex(current), other: other.map(hex) }
    }

    fn accepts(secrets: &CookieSecrets, cookies: &[u8], ip: &str, unix_secs: u32) -> bool {
        secrets.accepts(&Cookie::parse(cookies).unwrap(), ip.parse().unwrap(), unix_secs)
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    /// A client's cookie option: its cookie and the server's, made with a secret for an address.
    #[test]
    fn the_cookies_of_rfc_9018_appendix_a_are_made() {
        let [old, new] = ["dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962"];
        let v6 = "2001:db8:220:1:59de:d0f4:8769:82b8";
        for (secret, ip, unix_secs, cookies) in [
            (SECRET, "198.51.100.100", 1_559_731_985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"),
            (SECRET, "198.51.100.100", 1_559_734_385, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"),
            (SECRET, "203.0.113.203", 1_559_734_700, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"),
            (old, v6, 1_559_741_817, "22681ab97d52c298010000005cf7c57926556bd0934c72f8"),
            (new, v6, 1_559_741_961, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"),
        ] {
            let expected: [u8; COOKIES_LEN] = hex(cookies);
            let client = *expected.first_chunk().unwrap();
            assert_eq!(secrets(secret, None).issue(client, ip.parse().unwrap(), unix_secs), expected, "{cookies}");
            assert!(accepts(&secrets(secret, None), &expected, ip, unix_secs));
        }
        // A.4: the server has a new secret, and still knows the old one.
        let sent: [u8; COOKIES_LEN] = hex("22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        assert!(accepts(&secrets(new, Some(old)), &sent, v6, 1_559_741_961));
        assert!(!accepts(&secrets(new, None), &sent, v6, 1_559_741_961));
        // A.3: reserved octets that are set count into the hash.
        let sent: [u8; COOKIES_LEN] = hex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        assert!(accepts(&secrets(SECRET, None), &sent, "203.0.113.203", 1_559_727_985));
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_and_survives_the_wrap_of_time() {
        let (ip, secrets) = ("192.0.2.1", secrets(SECRET, None));
        for made in [0_u32, 1_800_000_000, u32::MAX - 10] {
            let cookies = secrets.issue([7; 8], ip.parse().unwrap(), made);
            for (age, good) in [(-301, false), (-300, true), (0, true), (3600, true), (3601, false), (1 << 30, false)] {
                assert_eq!(accepts(&secrets, &cookies, ip, made.wrapping_add_signed(age)), good, "{made} {age}");
            }
        }
    }

    #[test]
    fn every_part_of_a_cookie_counts() {
        let (ip, secrets) = ("192.0.2.1", secrets(SECRET, None));
        let good = secrets.issue([7; 8], ip.parse().unwrap(), 1000);
        assert!(accepts(&secrets, &good, ip, 1000));
        assert!(!accepts(&secrets, &good, "192.0.2.2", 1000));
        for at in 0..COOKIES_LEN {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(!accepts(&secrets, &bad, ip, 1000), "octet {at}");
        }
        for server in [0, 8, 15, 17, 32] {
            let mut other = good.to_vec();
            other.resize(8 + server, 0);
            assert!(!accepts(&secrets, &other, ip, 1000), "{server} octets");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", secrets(SECRET, Some(SECRET))), "CookieSecrets(2)");
    }
}
