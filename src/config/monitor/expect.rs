//! `expect` of a request and of a query: what counts as success.

use serde_json::json;

use crate::config::fields::Fields;
use crate::config::keys::{KeyGroup, KeyKind as _, Table, WrongText, integer, keys, list, text, wrong};
use crate::model::monitor::bounds::{MAX_TEXT, STATUSES};
use crate::source::{At, Problems, did_you_mean};
use crate::wire::code::rcode;

fn statuses_range() -> std::ops::RangeInclusive<i64> {
    i64::from(*STATUSES.start())..=i64::from(*STATUSES.end())
}

keys! {
    /// `expect` of a request.
    ExpectedPage {
        /// statuses that are a success
        status: Vec<At<u16>> = list(integer(statuses_range()), "[200]").sized(1..=STATUSES.len()).then(statuses),
            inherits json!([200]);
        /// a text within the first 64 KiB of the answer
        body: String = text("\"ok\"").sized(1..=MAX_TEXT).parsed(page_text);
    }
}

impl Table for ExpectedPage {
    fn read(mut fields: Fields, problems: &mut Problems) -> Option<ExpectedPage> {
        let page = ExpectedPage::take(&mut fields, problems);
        refuse::<ExpectedReply>(&mut fields, "dns", problems);
        fields.finish(&[], problems);
        Some(page)
    }
}

keys! {
    /// `expect` of a query.
    ExpectedReply {
        /// dns: the response code of a success
        rcode: u16 = text("\"NOERROR\"").parsed(rcode), inherits json!("NOERROR");
        /// dns: the content that one of the records must have
        rdata: String = text("\"192.0.2.1\"");
    }
}

impl Table for ExpectedReply {
    fn read(mut fields: Fields, problems: &mut Problems) -> Option<ExpectedReply> {
        let reply = ExpectedReply::take(&mut fields, problems);
        refuse::<ExpectedPage>(&mut fields, "http and https", problems);
        fields.finish(&[], problems);
        Some(reply)
    }
}

/// Errors for keys of `expect` that monitors of other types have.
pub(super) fn refuse<G: KeyGroup>(expect: &mut Fields, types: &str, problems: &mut Problems) {
    for key in G::keys() {
        if let Some((written, _)) = expect.take(key.name) {
            let message = format!("`expect` has `{}`, which only {types} monitors have", key.name);
            problems.error(&written.place, message);
        }
    }
}

fn statuses(list: At<Vec<At<u16>>>, problems: &mut Problems) -> Option<Vec<At<u16>>> {
    if list.value.is_empty() {
        problems.error(&list.place, "no status would be a success").hint("write `status = [200]`");
    }
    Some(list.value)
}

fn page_text(written: &str) -> Result<String, WrongText> {
    if (1..=MAX_TEXT).contains(&written.len()) {
        return Ok(written.to_owned());
    }
    let hint = "write a part of the page's text, `body = \"ok\"`, or leave it out for any page";
    Err(wrong(format!("`body` must be 1 to {MAX_TEXT} octets of text"), hint))
}

fn rcode(written: &str) -> Result<u16, WrongText> {
    let known = rcode::MNEMONICS;
    let found = known.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(written)).map(|(code, _)| code);
    let names = known.map(|(_, name)| name);
    found.ok_or_else(|| WrongText::new(format!("`{written}` is not a response code"), did_you_mean(written, names)))
}
