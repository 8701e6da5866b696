//! `[api]` of `portolan.toml`: the names of the API, and the file of its tokens. Also `[state]`: the state directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::config::keys::{WrongText, keys, text, texts, wrong};
use crate::config::secret_file::NamedFile;
use crate::config::token_scope::WrittenScope;
use crate::config::tokens::{self, ReadTokens, Tokens};
use crate::model::Model;
use crate::source::{
    At, ManualSection, Problems, SideFile,
    files::{absolute, path_of},
};

/// `[api]` and `[state]`.
#[derive(Debug, Clone, Default)]
pub struct Operators {
    /// The tokens; without them every call that changes something is refused.
    pub tokens: Option<Arc<Tokens>>,
    /// The file of the tokens, to watch. It need not exist.
    pub token_file: Option<PathBuf>,
    /// Further names under which the API may be called: lower case, without the final dot.
    pub hosts: Vec<String>,
    /// The directory of what outlives a restart. It need not exist. `None` without a settings file.
    pub state_dir: Option<PathBuf>,
    /// The endpoints and zones that the tokens name, with their places.
    pub(super) scopes: Arc<[WrittenScope]>,
    /// The file of the tokens, as messages show it.
    pub(super) tokens_from: Option<NamedFile>,
}

/// Most names of the API (judgment: each request is compared with all).
const MAX_HOSTS: usize = 256;
/// Longest name in octets (RFC 1035, 3.1: 255 octets in wire form).
const MAX_HOST: usize = 253;

keys! {
    /// `[api]`.
    ApiKeys in Operators {
        /// the file of tokens for the API calls that change something: see [below](#operators-api-and-state). Without
        /// the file these calls are refused
        token_file: String = text("\"tokens\""), inherits json!("tokens");
        /// `["ns1.example"]`: names under which browsers and programs call the API. Its addresses, `localhost`, `node`,
        /// the host's name and names without a dot need not be listed. Calls under other names are refused: see
        /// [below](#operators-api-and-state)
        hosts: Vec<At<String>> = texts("[\"ns1.example\"]").bounded(0..=MAX_HOSTS, "names").each(host),
            default Vec::new();
    }
}

keys! {
    /// `[state]`.
    StateKeys in Operators {
        /// the directory for what outlives a restart: overrides, the choices of `failback`, the last known health and
        /// more, see [below](#what-outlives-a-restart). It is created at the start
        dir: String = text("\"state\""), inherits json!("state");
    }
}

/// The settings without the tokens. Paths are relative to `base` unless a flag names them. Without a settings file
/// there is no `base`, and the defaults don't apply.
pub(super) fn read(api: Option<ApiKeys>, state: Option<StateKeys>, base: Option<&Path>) -> Operators {
    let path = |written: Option<&At<String>>, default: &str| match (written, base) {
        (Some(written), base) => Some(path_of(written, base.unwrap_or(Path::new("")))),
        (None, base) => base.map(|base| base.join(default)),
    };
    let (named, hosts) = api.map_or((None, Vec::new()), |keys| (keys.token_file, keys.hosts.value));
    let hosts = hosts.into_iter().map(|host| host.value).collect();
    let shown = path(named.as_ref(), "tokens");
    Operators {
        tokens: None,
        token_file: shown.as_deref().map(absolute),
        hosts,
        state_dir: path(state.and_then(|keys| keys.dir).as_ref(), "state").as_deref().map(absolute),
        scopes: Arc::default(),
        tokens_from: shown.map(|shown| NamedFile { shown, place: named.map(|named| named.place) }),
    }
}

impl Operators {
    /// These settings with the tokens that their file has now; without tokens if it has errors.
    pub(super) fn with_tokens(self, problems: &mut Problems) -> Operators {
        let file = self.tokens_from.as_ref();
        let read = |problems: &mut Problems| file.and_then(|file| tokens::read(file, problems));
        let read = problems.in_side_file(SideFile::Tokens, read).filter(|_| !problems.is_bad(SideFile::Tokens));
        let ReadTokens { tokens, scopes } = read.unwrap_or_default();
        Operators { tokens: tokens.map(Arc::new), scopes: scopes.into(), ..self }
    }

    /// These tokens, and all else of `rest`.
    pub fn with_rest_of(&self, rest: &Operators) -> Operators {
        Operators { tokens: self.tokens.clone(), scopes: self.scopes.clone(), ..rest.clone() }
    }

    /// Warns of tokens that name an endpoint or a zone that `model` does not have.
    pub(super) fn warn_of_unknown(&self, model: &Model, problems: &mut Problems) {
        problems.about(ManualSection::Operators, |problems| {
            self.scopes.iter().for_each(|scope| scope.warn_if_unknown(model, problems));
        });
    }
}

/// One of `hosts`, in lower case and without its final dot.
fn host(written: &str) -> Result<String, WrongText> {
    let name = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.len() <= MAX_HOST && name.split('.').all(is_label) {
        return Ok(name);
    }
    let hint = "write the name alone, without http://, port or *: \"ns1.example\". Addresses need not be listed";
    Err(wrong(format!("`hosts`: `{written}` is not the name of a host"), hint))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    const ALICE: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_file_that_others_may_read_and_one_that_is_named_but_missing_are_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        let read = |settings: &str| {
            let settings_file = dir.path().join("portolan.toml");
            std::fs::write(&settings_file, format!("region = \"here\"\n[zones]\ndir = \".\"\n{settings}")).unwrap();
            let loaded = crate::config::load(Some(&settings_file), &Default::default()).unwrap();
            let found = loaded.warnings.into_iter().map(|w| w.message);
            (loaded.settings.operators, found.filter(|m| !m.contains("no zones")).collect::<Vec<_>>())
        };
        let (operators, found) = read("");
        assert!(operators.tokens.is_none() && found.is_empty(), "no file, and none named: {found:?}");
        assert_eq!(operators.state_dir, Some(dir.path().join("state")));
        let (operators, found) = read("[api]\ntoken_file = \"tokens\"\n");
        assert!(
            operators.tokens.is_none() && found[0].ends_with("every call that changes something is off"),
            "{found:?}"
        );
        std::fs::write(&file, format!("alice operate {ALICE}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let (operators, found) = read("");
        assert!(operators.tokens.is_some(), "the file next to the settings is read");
        assert_eq!(found, ["other users than the owner can read or change this file of secrets"]);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read("[state]\ndir = \"kept\"\n").1, Vec::<String>::new());
        assert_eq!(read("[api]\nhosts = [\"NS1.example.\", \"a_b\"]").0.hosts, ["ns1.example", "a_b"]);
    }

    #[test]
    fn tokens_that_name_what_is_not_served_are_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("portolan.toml", "region = \"here\"\n[zones]\ndir = \".\"\n");
        write(
            "svc.example.zone",
            "@ SOA ns1 h 1 3600 600 604800 30\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n",
        );
        let policy =
            "zone = \"svc.example.\"\n[endpoint.fra1]\naddresses = [\"192.0.2.3\"]\n[name.www]\npool = \"fra1\"\n";
        write("svc.example.policy.toml", policy);
        let lines = [
            "a beat:fra1,svc.example/fra1,fra*,nyc,svc.example./ams1,svc.exmple./fra1,nyc? aaaaaaaaaaaaaaaa",
            "b operate:svc.example,other.example. bbbbbbbbbbbbbbbb",
        ];
        write("tokens", &lines.join("\n"));
        std::fs::set_permissions(dir.path().join("tokens"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let loaded = crate::config::load(Some(&dir.path().join("portolan.toml")), &Default::default()).unwrap();
        let of_tokens = loaded.warnings.iter().filter(|warning| warning.file.ends_with("tokens"));
        let found: Vec<String> = of_tokens.map(|w| format!("{}:{}: {}", w.line, w.column, w.message)).collect();
        let expected = [
            "1:35: no endpoint is called `nyc`",
            "1:39: no endpoint of zone `svc.example.` is called `ams1`",
            "1:57: no zone is called `svc.exmple.`",
            "1:74: no endpoint matches `nyc?`",
            "2:23: no zone is called `other.example.`",
        ];
        assert_eq!(found, expected);
    }
}
