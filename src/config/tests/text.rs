//! What stands before and between the words of files: byte order marks, and what names an included file.

use super::*;

/// As some editors write it.
const MARK: &str = "\u{feff}";

#[test]
fn every_text_may_begin_with_a_byte_order_mark() {
    let texts = [
        (
            "portolan.toml",
            "region = \"here\"\n[zones]\ndir = \".\"\n[cookies]\nsecret_file = \"secret\"\n[regions.here]\n\
             nets = [\"file:nets\"]\n",
        ),
        ("svc.example.zone", "$TTL 300\n$INCLUDE apex.inc\nwww A 192.0.2.3\n"),
        ("apex.inc", "@ SOA ns1 hostmaster 1 2 3 4 5\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n"),
        (
            "svc.example.policy.toml",
            "zone = \"svc.example\"\n[endpoint.a]\naddresses = [\"192.0.2.10\"]\nregion = \"here\"\n[name.api]\n\
             pool = \"a\"\n",
        ),
        ("nets", "198.51.100.0/24\n"),
        ("tokens", "alice operate 0123456789abcdef0123456789abcdef\n"),
        ("secret", "0123456789abcdef0123456789abcdef\n"),
    ];
    let marked: Vec<(&str, String)> = texts.iter().map(|(name, text)| (*name, format!("{MARK}{text}"))).collect();
    let marked: Vec<(&str, &str)> = marked.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for files in [&texts[..], &marked] {
        let (_dir, settings, model, found) = load_files(files, &[], &Flags::default());
        // Whoever runs this may have any umask: the warning of a file of tokens that others may read is not the point.
        let found: Vec<String> =
            found.into_iter().filter(|problem| !problem.starts_with("tokens:1:1: warning")).collect();
        assert_eq!(found, Vec::<String>::new());
        let settings = settings.unwrap();
        assert!(settings.operators.tokens.is_some(), "tokens");
        let owners: Vec<String> = model.zones[0].rrsets.iter().map(|set| set.owner.to_string()).collect();
        assert!(owners.iter().all(|owner| !owner.contains("\\239")), "{owners:?}");
        assert!(owners.contains(&"www.svc.example.".to_owned()), "{owners:?}");
    }
}

#[test]
fn an_at_sign_is_the_origin_wherever_a_name_stands() {
    let zone = "$TTL 300\n@ IN SOA @ hostmaster 1 7200 900 1209600 30\n@ IN NS @\n@ IN NS ns2\n@ A 192.0.2.1\n\
     ns2 A 192.0.2.2\n\
        @ IN MX 10 @\nwww IN CNAME @\nsvc HTTPS 0 @\nodd CNAME \\@\n\\@ A 192.0.2.4\n$INCLUDE \"part.inc\" @\n\
         $ORIGIN sub\n$INCLUDE part.inc @\n$ORIGIN @\nx CNAME @\n";
    let files = [
        ("portolan.toml", "region = \"r\"\n[zones]\ndir = \".\"\n"),
        ("svc.example.zone", zone),
        ("part.inc", "alias CNAME @\n"),
    ];
    let (_dir, _, model, found) = load_files(&files, &[], &Flags::default());
    assert_eq!(found, Vec::<String>::new());
    let find = |owner: &str, rtype: u16| {
        let set = model.zones[0].rrsets.iter().find(|set| set.owner.to_string() == owner && set.rtype == rtype);
        set.map(|set| set.rdatas.iter().map(|rdata| rdata.escape_ascii().to_string()).collect::<Vec<_>>().join(" "))
    };
    let apex = "\\x03svc\\x07example\\x00";
    for (owner, rtype, rdata) in [
        ("svc.example.", 2, format!("{apex} \\x03ns2{apex}")),
        (
            "svc.example.",
            6,
            format!(
                "{apex}\\nhostmaster{apex}\
                 \\x00\\x00\\x00\\x01\\x00\\x00\\x1c \\x00\\x00\\x03\\x84\\x00\\x12u\\x00\\x00\\x00\\x00\\x1e"
            ),
        ),
        ("svc.example.", 15, format!("\\x00\\n{apex}")),
        ("www.svc.example.", 5, apex.to_owned()),
        ("svc.svc.example.", 65, format!("\\x00\\x00{apex}")),
        ("odd.svc.example.", 5, format!("\\x01@{apex}")),
        ("\\@.svc.example.", 1, "\\xc0\\x00\\x02\\x04".to_owned()),
        ("alias.svc.example.", 5, apex.to_owned()),
        ("alias.sub.svc.example.", 5, format!("\\x03sub{apex}")),
        ("x.sub.svc.example.", 5, format!("\\x03sub{apex}")),
    ] {
        assert_eq!(find(owner, rtype), Some(rdata), "{owner} {rtype}");
    }
}
