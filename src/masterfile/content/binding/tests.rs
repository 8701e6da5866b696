//! RFC 9460's own test vectors, and what else parameters can be and can't.

use crate::masterfile::content::{Wrong, fault, octets};

/// The names of the vectors in wire form.
const COM: &str = "03666f6f076578616d706c6503636f6d00";
const ORG: &str = "03666f6f076578616d706c65036f726700";

fn fields(text: &str) -> Vec<&[u8]> {
    let (mut fields, mut start, mut quoted) = (Vec::new(), 0, false);
    let bytes = text.as_bytes();
    for at in 0..=bytes.len() {
        match bytes.get(at) {
            Some(b'"') if at == 0 || bytes[at - 1] != b'\\' => quoted = !quoted,
            Some(b' ') | None if !quoted => {
                fields.extend(Some(&bytes[start..at]).filter(|field| !field.is_empty()));
                start = at + 1;
            }
            Some(_) | None => {}
        }
    }
    fields
}

fn read(text: &str) -> Result<String, Wrong> {
    let read = octets("SVCB", &fields(text), b"\x06origin\x00").unwrap();
    read.map(|octets| octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

#[test]
fn the_test_vectors_of_rfc_9460_are_read() {
    for (text, hex) in [
        // D.1 and D.2
        ("0 foo.example.com.", format!("0000{COM}")),
        ("1 .", "000100".to_owned()),
        ("16 foo.example.com. port=53", format!("0010{COM}000300020035")),
        ("1 foo.example.com. key667=hello", format!("0001{COM}029b000568656c6c6f")),
        (r#"1 foo.example.com. key667="hello\210qoo""#, format!("0001{COM}029b000968656c6c6fd2716f6f")),
        (
            r#"1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1""#,
            format!("0001{COM}0006002020010db800000000000000000000000120010db8000000000000000000530001"),
        ),
        (
            r#"1 foo.example.com. ipv6hint="2001:db8:122:344::192.0.2.33""#,
            format!("0001{COM}0006001020010db80122034400000000c0000221"),
        ),
        (
            "16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
            format!("0010{ORG}0000000400010004000100090268320568332d313900040004c0000201"),
        ),
        (r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#, format!("0010{ORG}0001000c08665c6f6f2c626172026832")),
        (r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2", format!("0010{ORG}0001000c08665c6f6f2c626172026832")),
    ] {
        assert_eq!(read(text), Ok(hex), "{text}");
    }
}

#[test]
fn the_failure_cases_of_rfc_9460_are_refused() {
    for text in [
        // D.3
        "key123=abc key123=def",
        "mandatory",
        "alpn",
        "port",
        "ipv4hint",
        "ipv6hint",
        "no-default-alpn=abc",
        "mandatory=key123",
        "mandatory=mandatory",
        "mandatory=key123,key123 key123=abc",
        // 2.1, 2.2, 7 and 8
        "no-default-alpn",
        "key2",
        "alpn=h2,,h3",
        "alpn=h2,",
        "alpn=\"\"",
        "alpn=h2 key1=\\002h2",
        "key1=h2",
        "key1=\\000",
        "key1",
        "key2=x alpn=h2",
        "key0=\\000\\003",
        "key0=\\000\\004\\000\\003 port=1 ipv4hint=192.0.2.1",
        "key0=\\000\\000",
        "key3=\\001",
        "key4=\\192\\000\\002",
        "key4=192.0.2.1",
        "key6=\\000",
        "key5",
        "ech=*",
        "port=65536",
        "port=-1",
        "port=+1",
        "port=1,2",
        "port=\\052",
        "ipv4hint=192.0.2",
        "ipv4hint=192.0.2.1,",
        "ipv6hint=192.0.2.1",
        "dohpath=/dns-query",
        "dohpath=dns-query{?dns}",
        "ohttp=1",
        "key00400=x",
        "key65536=x",
        "key=x",
        "keyx",
        "ALPN=h2",
        "=x",
        "a\\046=x",
        "\"alpn=h2\"",
        "alpn=\"h2\"port=1",
        "key9x=a\\25",
    ] {
        assert!(read(&format!("1 foo.example.com. {text}")).is_err(), "{text}");
    }
}

#[test]
fn known_keys_may_be_written_as_numbers() {
    for (numbered, named) in [
        ("key0=\\000\\003 port=443", "mandatory=port port=443"),
        ("key1=\\002h2", "alpn=h2"),
        ("key1=\\002h2\\002h3", "alpn=\"h2,h3\""),
        ("key2 alpn=h2", "no-default-alpn= alpn=h2"),
        ("key3=\\001\\187", "port=443"),
        ("key4=\\192\\000\\002\\001", "ipv4hint=192.0.2.1"),
        ("key5=\\001\\002\\003", "ech=AQID"),
        (
            "key6=\\032\\001\\013\\184\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\001",
            "ipv6hint=2001:db8::1",
        ),
        ("key7=/q{?dns}", "dohpath=\"/q{?dns}\""),
        ("key8", "ohttp"),
    ] {
        let read = |params: &str| read(&format!("1 . {params}"));
        assert!(read(named).is_ok(), "{named}");
        assert_eq!(read(numbered), read(named), "{numbered}");
    }
}

#[test]
fn an_error_is_shown_at_its_field() {
    for (text, at, reason) in [
        ("1 . port=1 no-default-alpn", 3, super::NEEDS_ALPN),
        ("1 . mandatory=alpn port=1", 2, super::NOT_THERE),
        ("1 . port=1 port=2", 3, super::TWICE),
        ("1 . port=1 alpn=h2,,h3", 3, "expected ALPN ids, none of them empty, such as `alpn=h2,h3`"),
        ("1 . x", 2, super::NO_KEY),
    ] {
        assert_eq!(read(text), Err(Wrong { at, reason }), "{text}");
    }
}

#[test]
fn octets_are_judged_as_text_is() {
    const HTTPS: u16 = 65;
    for (params, is_fine) in [
        (&b""[..], true),
        (b"\0\x01\0\x03\x02h2", true),
        (b"\0\x02\0\0", false),
        (b"\0\x01\0\x04\x02h2\0", false),
        (b"\0\x03\0\x02\x01\xbb\0\x01\0\x03\x02h2", false),
        (b"\0\x03\0\x02\x01", false),
        (b"\0\x03\0", false),
        (b"\0\0\0\x02\0\x03", false),
        (b"\xff\x78\0\x01x", true),
    ] {
        for target in [&b"\0"[..], b"\x03www\0"] {
            let rdata = [b"\0\x01", target, params].concat();
            assert_eq!(fault(HTTPS, &rdata).is_none(), is_fine, "{}", params.escape_ascii());
        }
    }
}
