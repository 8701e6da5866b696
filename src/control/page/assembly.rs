//! The page as one text: the frame, the style sheet and the script are parts of the binary, and each is assembled from
//! small files. The browser may use this style sheet and this script and no others: the policy of the response has
//! their digests (Content Security Policy Level 3, 8.3).

use std::sync::LazyLock;

use axum::http::HeaderValue;
use domain::utils::base64;
use ring::digest::{SHA256, digest};

/// The frame, with comments where the other parts go.
const FRAME: &str = include_str!("../web/page.html");

/// The style sheet. In the order of its files, because later rules replace earlier ones.
pub(super) const STYLE: &str = concat!(
    include_str!("../web/base.css"),
    include_str!("../web/parts.css"),
    include_str!("../web/map.css"),
    include_str!("../web/phone.css"),
);

/// The script: one module. A file uses names of the files before it, and functions of those after it.
const SCRIPT: &str = concat!(
    include_str!("../web/dom.js"),
    include_str!("../web/state.js"),
    include_str!("../web/header.js"),
    include_str!("../web/problems.js"),
    include_str!("../web/names.js"),
    include_str!("../web/land.js"),
    include_str!("../web/map.js"),
    include_str!("../web/matrix.js"),
    include_str!("../web/feeds.js"),
    include_str!("../web/timeline.js"),
    include_str!("../web/charts.js"),
    include_str!("../web/explain.js"),
    include_str!("../web/simulate.js"),
    include_str!("../web/act.js"),
    include_str!("../web/main.js"),
);

/// The page before and after the board for browsers without scripts.
static AROUND_BOARD: LazyLock<(String, String)> = LazyLock::new(|| {
    let page = FRAME.replacen("<!-- style -->", STYLE, 1).replacen("<!-- script -->", SCRIPT, 1);
    match page.split_once("<!-- board -->") {
        Some((before, after)) => (before.to_owned(), after.to_owned()),
        None => (page, String::new()),
    }
});

/// The page with this board.
pub(super) fn page(board: &str) -> String {
    let (before, after) = &*AROUND_BOARD;
    [before, board, after].concat()
}

/// The Content-Security-Policy of the page. It connects to its own server only, and nothing may frame it.
pub(super) static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = |text: &str| base64::encode_string(digest(&SHA256, text.as_bytes()).as_ref());
    let text = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    // Digests have only printable characters.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let page = page("BOARD");
        for part in ["<!-- style -->", "<!-- script -->", "<!-- board -->", "http://", "https://", "src=", "@import"] {
            assert!(!page.contains(part), "{part} is in the page");
        }
        assert!(page.contains("<noscript>\nBOARD"), "the board is for browsers without scripts");
        assert_eq!((page.matches("</script>").count(), page.matches("</style>").count()), (1, 1));
        assert!(
            page.contains(&format!("<script type=\"module\">{SCRIPT}</script>")),
            "the digest is that of the script"
        );
        assert!(page.contains(&format!("<style>{STYLE}</style>")), "the digest is that of the style sheet");
    }

    #[test]
    fn the_script_inserts_text_and_no_markup() {
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"] {
            assert!(!SCRIPT.contains(way), "{way} is in the script");
        }
    }

    #[test]
    fn the_policy_names_the_digests_and_allows_no_inline_code() {
        let policy = POLICY.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
