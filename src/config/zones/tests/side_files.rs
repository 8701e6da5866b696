//! The files of tokens and cookie secrets are used, or refused, by themselves, whatever else is wrong.

use std::path::Path;

use super::{SETTINGS, Server, refusals};
use crate::config::Loaded;

const ALICE: &str = "alice operate 0123456789abcdef0123456789abcdef\n";
const BOB: &str = "bob operate 89abcdef0123456789abcdef01234567\n";
const EVE: &str = "eve operate 456789abcdef0123456789abcdef0123\n";
const COOKIES: &str = "[cookies]\nsecret_file = \"cookie\"\n";

/// Whose tokens are valid; `None`: there is no file of tokens.
fn holders(loaded: &Loaded) -> Option<Vec<&'static str>> {
    let tokens = loaded.settings.operators.tokens.as_ref()?;
    let all = [ALICE, BOB, EVE];
    let is_valid = |line: &&str| tokens.holder(line.trim_end().rsplit_once(' ').unwrap().1.as_bytes()).is_some();
    Some(all.into_iter().filter(is_valid).map(|line| line.split_once(' ').unwrap().0).collect())
}

/// A server with the tokens of Alice and Bob and a cookie secret.
fn server(more: &str) -> (Server, String) {
    let mut server = Server::usual();
    let settings = format!("{SETTINGS}{COOKIES}{more}");
    server.write("../portolan.toml", &settings);
    server.write("../tokens", &format!("{ALICE}{BOB}"));
    server.write("../cookie", &"a".repeat(32));
    let (_, loaded) = server.take(false);
    assert_eq!((refusals(&loaded), holders(&loaded)), (String::new(), Some(vec!["alice", "bob"])));
    (server, settings)
}

/// What makes settings bad: texts that replace them.
fn bad(settings: &str) -> Vec<String> {
    vec![
        "no TOML".to_owned(),
        format!("typo = 1\n{settings}"),
        format!("{settings}[sink.ops]\nurl = \"https://hook.example/\"\nsecret_file = \"none\"\n"),
        format!("{settings}[api]\ntoken_file = \"other\"\nhosts = [\"*\"]\n"),
        // The last good version of each zone needs this region.
        settings.replace("[regions.there]\n", ""),
    ]
}

#[test]
fn tokens_are_withdrawn_and_added_while_the_settings_are_bad() {
    for key in ["", "[api]\ntoken_file = \"./tokens\"\n"] {
        for bad in bad(&server(key).1) {
            let (mut server, _) = server(key);
            server.write("a.policy.toml", "[[[");
            server.write("../portolan.toml", &bad);
            server.write("../tokens", &format!("{ALICE}{EVE}"));
            let (_, changed) = server.take(false);
            assert!(!changed.refused.is_empty() && changed.is_news, "{bad}");
            assert_eq!(holders(&changed), Some(vec!["alice", "eve"]), "{bad}");
            server.remove("../tokens");
            let (_, removed) = server.take(false);
            assert_eq!((holders(&removed), removed.is_news), (None, true), "{bad}");
            let warns = removed.warnings.iter().any(|warning| warning.message.contains("every call that changes"));
            assert_eq!(warns, !key.is_empty(), "{bad}: {:?}", removed.warnings);
            assert!(!server.load(false).unwrap().is_news, "{bad}: nothing has changed since");
        }
    }
}

#[test]
fn a_bad_file_of_tokens_or_cookie_secrets_changes_nothing_while_the_settings_are_bad() {
    for bad in bad(&server("").1) {
        let (mut server, _) = server("");
        server.write("a.policy.toml", "[[[");
        server.write("../portolan.toml", &bad);
        server.write("../tokens", "alice\n");
        server.write("../cookie", &"b".repeat(32));
        let (_, loaded) = server.take(false);
        assert_eq!(holders(&loaded), Some(vec!["alice", "bob"]), "{bad}");
        assert_eq!(loaded.settings.guard.cookies.map(|cookies| cookies.current), Some([0xbb; 16]), "{bad}");
        let of_tokens = loaded.refused.iter().filter(|problem| problem.file.ends_with(Path::new("tokens")));
        assert_eq!(of_tokens.count(), 1, "{bad}: {}", refusals(&loaded));
    }
}

#[test]
fn a_server_without_zones_withdraws_tokens_too() {
    let mut server = Server::with(&[]);
    server.write("../tokens", ALICE);
    assert_eq!(holders(&server.take(false).1), Some(vec!["alice"]));
    server.write("../portolan.toml", "no TOML");
    server.write("../tokens", BOB);
    let (zones, loaded) = server.take(false);
    assert_eq!((zones.len(), holders(&loaded)), (0, Some(vec!["bob"])));
}
