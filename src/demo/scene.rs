//! The lines of the demo's block on the terminal: one client of each region with its answers, and the state of the
//! regions. Pure.

use std::net::IpAddr;
use std::time::Duration;

use crate::demo::terminal::{ScreenLine, Span, Style};

/// A client whose last reply is older than this is shown as without answers; it asks every 20 ms.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// How long an answer that changed is highlighted.
const NEWS: Duration = Duration::from_secs(5);

/// Everything that is shown.
pub(crate) struct Scene {
    /// The name that the clients ask for.
    pub(crate) name: String,
    /// Time since the start.
    pub(crate) elapsed: Duration,
    pub(crate) clients: Vec<ClientRow>,
    pub(crate) regions: Vec<RegionRow>,
    /// What the demo will do next.
    pub(crate) announcement: String,
    /// The last line: keys, and where the page is.
    pub(crate) footer: String,
}

/// One client and its last reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientRow {
    pub(crate) region: String,
    pub(crate) address: IpAddr,
    /// `None` before the first reply.
    pub(crate) answer: Option<ShownAnswer>,
}

/// The answers to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownAnswer {
    /// The addresses as text, each with its region: `127.2.0.10 (eu-west)`.
    pub(crate) now: String,
    /// Whether they are in the client's own region.
    pub(crate) is_own: bool,
    /// The previous answer, and how long ago it changed.
    pub(crate) before: Option<(String, Duration)>,
    /// Time since the last reply.
    pub(crate) age: Duration,
}

/// One region and its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegionRow {
    pub(crate) name: String,
    pub(crate) state: ProcessState,
}

/// The state of a region's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Runs {
        pid: u32,
    },
    Stopped {
        pid: u32,
    },
    /// Gone; it is started again after this time.
    Gone {
        back_in: Duration,
    },
}

impl Scene {
    /// The block for a window with these columns and rows. Lines that don't fit are left out at the end; the most
    /// important ones are first. Sentences below the clients are broken between words.
    pub(crate) fn lines(&self, (columns, rows): (usize, usize)) -> Vec<ScreenLine> {
        let width = columns.saturating_sub(1);
        let secs = self.elapsed.as_secs();
        let head = format!("{}, as one client of each region is answered ({}:{:02})", self.name, secs / 60, secs % 60);
        let mut lines = vec![vec![span("", Style::Plain)], vec![span(&head, Style::Bold)]];
        lines.push(vec![span("CLIENT IN  ADDRESS      IS ANSWERED            CHANGED", Style::Dim)]);
        lines.extend(self.clients.iter().map(|client| client.line(width)));
        lines.extend(self.processes(width));
        lines.extend(wrapped(&self.announcement, Style::Plain, width));
        lines.extend(wrapped(&self.footer, Style::Dim, width));
        // A line is left for the cursor.
        lines.truncate(rows.saturating_sub(1));
        lines
    }

    fn processes(&self, width: usize) -> Vec<ScreenLine> {
        let mut lines = Vec::new();
        let mut line = vec![span("process ids: ", Style::Dim)];
        for (at, region) in self.regions.iter().enumerate() {
            let (text, style) = match region.state {
                ProcessState::Runs { pid } => (format!("{} {pid}", region.name), Style::Good),
                ProcessState::Stopped { pid } => (format!("{} {pid} stopped", region.name), Style::Bad),
                ProcessState::Gone { back_in } => {
                    (format!("{} killed, back in {} s", region.name, back_in.as_secs_f64().ceil()), Style::Bad)
                }
            };
            if at > 0 {
                line.push(span(", ", Style::Dim));
            }
            if length(&line) + text.chars().count() > width && at > 0 {
                lines.push(std::mem::take(&mut line));
            }
            line.push(Span { text, style });
        }
        lines.push(line);
        lines
    }
}

impl ClientRow {
    fn line(&self, width: usize) -> ScreenLine {
        let mut line = vec![span(&format!("{:<9}  {:<11}  ", self.region, self.address), Style::Plain)];
        let Some(answer) = &self.answer else {
            line.push(span("nothing yet", Style::Dim));
            return line;
        };
        if answer.age > SILENT_AFTER {
            line.push(span(&format!("no answer for {} s", answer.age.as_secs()), Style::Bad));
            return line;
        }
        let is_news = answer.before.as_ref().is_some_and(|(_, ago)| *ago < NEWS);
        let style = match (is_news, answer.is_own) {
            (true, _) => Style::Changed,
            (false, true) => Style::Good,
            (false, false) => Style::Bad,
        };
        line.push(span(&format!("{:<21}", answer.now), style));
        if let Some((before, ago)) = &answer.before {
            let whole = format!("  {} s ago, was {before}", ago.as_secs());
            let fits = length(&line) + whole.chars().count() <= width;
            let text = if fits { whole } else { format!("  {} s ago", ago.as_secs()) };
            line.push(Span { text, style: Style::Dim });
        }
        line
    }
}

/// The characters of a line.
fn length(line: &ScreenLine) -> usize {
    line.iter().map(|span| span.text.chars().count()).sum()
}

/// A sentence as lines of at most `width` characters, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, style: Style, width: usize) -> Vec<ScreenLine> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.chars().count() + word.trim_end().chars().count() <= width => {
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| vec![span(line.trim_end(), style)]).collect()
}

fn span(text: &str, style: Style) -> Span {
    Span { text: text.to_owned(), style }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tour::Tour;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn client(region: &str, octet: u8, answer: Option<ShownAnswer>) -> ClientRow {
        ClientRow { region: region.to_owned(), address: IpAddr::from([127, octet, 0, 99]), answer }
    }

    fn answer(now: &str, before: Option<(&str, u64)>, age: u64) -> Option<ShownAnswer> {
        let before = before.map(|(text, ago)| (text.to_owned(), secs(ago)));
        Some(ShownAnswer { now: now.to_owned(), is_own: true, before, age: secs(age) })
    }

    fn scene() -> Scene {
        Scene {
            name: "www.demo.example.".to_owned(),
            elapsed: secs(75),
            clients: vec![
                client("us-east", 1, answer("127.1.0.10 (us-east)", None, 0)),
                client("eu-west", 2, answer("127.1.0.10 (us-east)", Some(("127.2.0.10", 3)), 0)),
                client("ap-south", 3, None),
                client("ap-south", 3, answer("127.3.0.10 (ap-south)", None, 4)),
            ],
            regions: vec![
                RegionRow { name: "us-east".to_owned(), state: ProcessState::Runs { pid: 41 } },
                RegionRow {
                    name: "eu-west".to_owned(),
                    state: ProcessState::Gone { back_in: Duration::from_millis(8200) },
                },
                RegionRow { name: "ap-south".to_owned(), state: ProcessState::Stopped { pid: 43 } },
            ],
            announcement: "eu-west was killed.".to_owned(),
            footer: "d: commands to try   q: end".to_owned(),
        }
    }

    fn text(lines: &[ScreenLine]) -> String {
        let joined = |line: &ScreenLine| {
            line.iter().map(|span| span.text.as_str()).collect::<String>().trim_end().to_owned() + "\n"
        };
        lines.iter().map(joined).collect()
    }

    #[test]
    fn the_block_has_a_line_for_each_client() {
        let expected = "
www.demo.example., as one client of each region is answered (1:15)
CLIENT IN  ADDRESS      IS ANSWERED            CHANGED
us-east    127.1.0.99   127.1.0.10 (us-east)
eu-west    127.2.0.99   127.1.0.10 (us-east)   3 s ago, was 127.2.0.10
ap-south   127.3.0.99   nothing yet
ap-south   127.3.0.99   no answer for 4 s
process ids: us-east 41, eu-west killed, back in 9 s, ap-south 43 stopped
eu-west was killed.
d: commands to try   q: end
";
        assert_eq!(text(&scene().lines((80, 24))), expected);
    }

    #[test]
    fn a_narrow_window_breaks_between_words() {
        let expected = "
www.demo.example., as one client of each region is answered (1:15)
CLIENT IN  ADDRESS      IS ANSWERED            CHANGED
us-east    127.1.0.99   127.1.0.10 (us-east)
eu-west    127.2.0.99   127.1.0.10 (us-east)   3 s ago
ap-south   127.3.0.99   nothing yet
ap-south   127.3.0.99   no answer for 4 s
process ids: us-east 41, eu-west killed, back in 9 s,
ap-south 43 stopped
eu-west was killed.
d: commands to try   q: end
";
        assert_eq!(text(&scene().lines((60, 24))), expected);
        let footer = "d: commands to try   q or Ctrl-C: end   page: http://127.0.0.1:8053/".to_owned();
        let shown = text(&Scene { footer, ..scene() }.lines((60, 24)));
        assert!(
            shown.ends_with("\nd: commands to try   q or Ctrl-C: end   page:\nhttp://127.0.0.1:8053/\n"),
            "{shown}"
        );
    }

    #[test]
    fn it_fits_an_ordinary_terminal() {
        for tour in [Tour::Off, Tour::Begins(secs(15)), Tour::Down, Tour::Over] {
            let scene = Scene { announcement: tour.announcement("eu-west", secs(0)), ..scene() };
            let lines = scene.lines((80, 24));
            assert_eq!(lines.len(), 10, "every sentence has one line: {}", text(&lines));
            assert!(lines.iter().all(|line| length(line) < 80), "{}", text(&lines));
            assert_eq!(scene.lines((80, 5)).len(), 4, "the cursor stands on the last line");
            assert!(scene.lines((80, 0)).is_empty());
        }
    }
}
