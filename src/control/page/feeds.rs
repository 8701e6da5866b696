//! Sources, sinks and followed streams on the page for browsers without scripts.

use std::fmt::Write;
use std::time::Duration;

use super::escape;
use crate::control::feeds::{FeedLevel, FeedRow};

/// The CSS class of a level.
fn class_of(level: FeedLevel) -> &'static str {
    match level {
        FeedLevel::Bad => "down",
        FeedLevel::Note => "warning",
        FeedLevel::Unknown => "unknown",
        FeedLevel::Good => "up",
    }
}

/// Writes the section; writes nothing if there are no feeds.
pub(super) fn write(html: &mut String, feeds: &[FeedRow]) {
    if feeds.is_empty() {
        return;
    }
    html.push_str(
        "<section class=\"feeds\">\n<h2>Sources and events</h2>\n<table>\n<thead><tr><th>Feed<th>State<th>Counts\
         <th>Last change<th>What is wrong</tr></thead>\n<tbody>\n",
    );
    for feed in feeds {
        let FeedRow { name, kind, place, counts, problem, .. } = feed;
        let class = class_of(feed.level);
        let state = feed.state_text(|age| humantime::format_duration(Duration::from_secs(age.as_secs())).to_string());
        let _ = writeln!(
            html,
            "<tr class=\"{class}\" data-feed=\"{0}\"><td data-label=\"Feed\">{0} ({1}, {2})<td data-label=\"State\">\
             <span class=\"badge {class}\">{3}</span><td data-label=\"Counts\">{4}<td data-label=\"Last change\">{5}\
             <td data-label=\"What is wrong\">{6}</tr>",
            escape(name),
            escape(kind),
            escape(place),
            escape(&state),
            escape(counts),
            escape(&feed.changed_text()),
            escape(problem.as_deref().unwrap_or("nothing")),
        );
    }
    html.push_str("</tbody>\n</table>\n</section>\n");
}
