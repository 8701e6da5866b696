//! Kubeconfigs as tools write them, and wrong ones.

use super::*;

/// What kubeadm, kind and k3s write: everything in the file.
const EMBEDDED: &str = "\
apiVersion: v1
kind: Config
preferences: {}
clusters:
- cluster:
    certificate-authority-data: Y2VydGlm
      aWNhdGU=
    server: https://10.0.0.1:6443/
    extensions:
    - extension: {last-update: Mon, provider: minikube}
      name: cluster_info
  name: eu
- name: us
  cluster: {server: \"https://us.example:6443\", tls-server-name: kubernetes}
contexts:
- context: {cluster: eu, user: admin, namespace: shop}
  name: admin@eu
- context:
    cluster: us
    user: reader
  name: us
current-context: admin@eu
users:
- name: admin
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
- name: reader
  user:
    token: t0ken
";

fn parsed(text: &str, context: Option<&str>) -> Result<ClusterAccess, KubeconfigProblem> {
    parse(text.as_bytes(), Path::new("/zones/eu.kubeconfig"), context)
}

fn text_of(pem: Option<&Pem>) -> &str {
    match pem {
        Some(Pem::Text(text, _)) => std::str::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A kubeconfig with one context, and these keys of its cluster and its user.
fn with(cluster: &str, user: &str) -> String {
    format!(
        "clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\ncontexts:\n- \
         name: x\n  context: {{cluster: c, user: u}}\ncurrent-context: x\n"
    )
}

const SERVER: &str = "server: https://10.0.0.1:6443";

#[test]
fn a_context_has_its_cluster_its_user_and_its_namespace() {
    let eu = parsed(EMBEDDED, None).unwrap();
    assert_eq!((eu.server.as_str(), eu.namespace.as_deref()), ("https://10.0.0.1:6443", Some("shop")));
    assert_eq!(text_of(eu.tls.ca.as_ref()), "certificate", "over two lines");
    assert_eq!((text_of(eu.tls.cert.as_ref()), text_of(eu.tls.key.as_ref())), ("cert", "key"));
    assert!(eu.token.is_none() && eu.tls.verify && eu.warnings.is_empty());
    let us = parsed(EMBEDDED, Some("us")).unwrap();
    assert_eq!((us.server.as_str(), us.namespace.as_deref()), ("https://us.example:6443", None));
    assert_eq!(us.tls.server_name.as_deref(), Some("kubernetes"));
    assert_eq!(us.token, Some(BearerToken::Text(Zeroizing::new("t0ken".to_owned()))));
    assert!(!format!("{us:?}{eu:?}").contains("t0ken"), "secrets are not shown");
}

#[test]
fn json_is_yaml_and_a_byte_order_mark_is_no_part_of_it() {
    let json = serde_json::json!({
        "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8080/api"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
        "users": null,
    });
    let access = parsed(&format!("\u{feff}{json}"), None).unwrap();
    assert_eq!((access.server.as_str(), access.token), ("http://127.0.0.1:8080/api", None));
    assert_eq!(access.tls, SourceTls::default());
}

#[test]
fn paths_are_next_to_the_file_and_its_texts_go_before_them() {
    let cluster = format!("{SERVER}, certificate-authority: pki/ca.crt");
    let user = "tokenFile: token, token: other, client-certificate: ./me.crt, client-key: me.key";
    let access = parsed(&with(&cluster, user), None).unwrap();
    assert_eq!(access.tls.ca, Some(Pem::File("/zones/pki/ca.crt".into())));
    assert_eq!(access.tls.files().count(), 3);
    assert_eq!(access.token, Some(BearerToken::File("/zones/token".into())), "a file can be renewed");
    let both = format!("{cluster}, certificate-authority-data: Y2E=");
    assert_eq!(text_of(parsed(&with(&both, "token: ''"), None).unwrap().tls.ca.as_ref()), "ca");
    assert_eq!(parsed(&with(&cluster, "token: ''"), None).unwrap().token, None, "empty is none");
}

#[test]
fn a_server_whose_certificate_is_not_checked_is_a_warning() {
    let access = parsed(&with(&format!("{SERVER}, insecure-skip-tls-verify: true"), ""), None).unwrap();
    assert!(!access.tls.verify);
    assert!(access.warnings[0].message.contains("not checked"), "{:?}", access.warnings);
    assert_eq!((access.warnings[0].line, access.warnings[0].column), (3, 70));
    let access = parsed(&with(&format!("{SERVER}, insecure-skip-tls-verify: false"), ""), None).unwrap();
    assert!(access.tls.verify && access.warnings.is_empty());
}

#[test]
fn what_can_not_be_used_says_where_and_what_to_do() {
    let user = |keys: &str| with(SERVER, keys);
    let cluster = |keys: &str| with(keys, "");
    for (text, line, message, hint) in [
        (user("exec: {command: aws, args: [eks, get-token]}"), 6, "needs a program (`exec`)", "service account"),
        (user("auth-provider: {name: gcp}"), 6, "`auth-provider`", "service account"),
        (user("username: admin, password: s3cret"), 6, "`username`: the API accepts no passwords", "`token`"),
        (user("token: t, as: root"), 6, "`as`: this server does not act", "service account"),
        (user("token: \"abc\\r\\nX-Other: 1\""), 6, "characters that no token has", "service account"),
        (user("client-certificate-data: Y2VydA=="), 6, "a certificate without a key", "--flatten"),
        (
            user("client-key-data: 'a*b', client-certificate-data: Y2VydA=="),
            6,
            "`client-key-data` is no base64",
            "--raw",
        ),
        (user("tokenFile: /etc/shadow"), 6, "\"/etc/shadow\" is not in the directory", "next to this file"),
        (user("tokenFile: ../token"), 6, "\"../token\" is not in the directory", "next to this file"),
        (cluster(&format!("{SERVER}, certificate-authority: /root/ca.crt")), 3, "`certificate-authority`", "--flatten"),
        (cluster(&format!("{SERVER}, proxy-url: 'http://proxy:3128'")), 3, "`proxy-url`", "an address that it reaches"),
        (
            cluster(&format!("{SERVER}, insecure-skip-tls-verify: true, certificate-authority-data: Y2E=")),
            3,
            "exclude each other",
            "leave out `insecure-skip-tls-verify`",
        ),
        (cluster(""), 3, "the cluster has no `server`", "https://HOST:6443"),
        (cluster("server: '10.0.0.1:6443'"), 3, "`server` is no URL", "https://HOST:6443"),
        (cluster("server: 'https://me:s3cret@10.0.0.1'"), 3, "more than a host", "https://HOST:6443"),
        (user("").replace("cluster: c,", "cluster: d,"), 9, "there is no cluster `d`", "c"),
        (user("").replace("user: u}", "user: w}"), 9, "there is no user `w`", "u"),
        (user("").replace("current-context: x", "current-context: prod"), 10, "there is no context `prod`", "it has x"),
        (user("").replace("current-context: x", ""), 1, "there is no `current-context`", "`context = \"NAME\"`"),
        ("kind: Deployment\n".to_owned(), 1, "its kind is Deployment", "kubectl config view"),
        (String::new(), 1, "there is no `current-context`", "`context = \"NAME\"`"),
        ("- a\n".to_owned(), 1, "not a kubeconfig", "kubectl config view"),
        ("clusters: [\n".to_owned(), 0, "not a kubeconfig", "kubectl config view"),
        ("kind: Config\nusers:\n- name: u\n  user: {token: [1]}\n".to_owned(), 4, "not a kubeconfig", "kubectl config"),
    ] {
        let problem = parsed(&text, None).expect_err(&text);
        assert!(problem.message.contains(message) && problem.hint.contains(hint), "{text}{problem:?}");
        // Where the reader of YAML notices it is its own affair.
        assert!(line == 0 || problem.line == line, "{text}{problem:?}");
        assert!(!problem.message.contains("s3cret") && !problem.message.contains('\n'), "{problem:?}");
    }
    let problem = parsed(EMBEDDED, Some("us2")).unwrap_err();
    assert_eq!(problem.message, "there is no context `us2`");
    let shown = problem.shown(Path::new("eu.kubeconfig"));
    assert!(shown.starts_with("eu.kubeconfig:1:1: there is no context `us2`: "), "{shown}");
}

#[test]
fn the_work_for_a_file_is_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let of = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [of.as_str(); 10].join(", ")));
    }
    bomb.push_str("clusters: *a11\n");
    let deep = format!("clusters: {}{}\n", "[".repeat(5000), "]".repeat(5000));
    let many = format!("x:\n{}", "- a\n".repeat(200_000));
    for text in [bomb, deep, many] {
        assert!(parsed(&text, None).is_err());
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large");
    std::fs::write(&file, vec![b'#'; MAX_KUBECONFIG as usize + 1]).unwrap();
    assert!(read(&file, None).unwrap_err().message.contains("at most 1 MiB are read"));
    assert!(read(&dir.path().join("none"), None).unwrap_err().message.contains("can't be read"));
}
