//! What the demo prints on standard output: commands to try, and a line for each change. On a terminal the lines are
//! above the block that is redrawn, and a key prints the commands.

use std::collections::BTreeMap;
use std::io::Write;

use crate::clock;
use crate::control::JournalEvent;
use crate::daemon::RunningNode;
use crate::demo::children::RegionProcess;
use crate::demo::fleet::DemoFleet;
use crate::demo::region::REGIONS;
use crate::demo::terminal::Terminal;
use crate::model::Model;
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{AnswerSource, Decision};

/// Prints what happens, and remembers the answers that it printed.
pub(crate) struct DemoOutput {
    answers: BTreeMap<(String, String), String>,
    terminal: Option<Terminal>,
    /// The commands to try.
    commands: Vec<String>,
}

impl DemoOutput {
    /// Prints the ready line, the regions, and the commands to try with the token that some of them need. On a terminal
    /// only the token is printed; a key prints the commands.
    pub(crate) fn begin(
        node: &RunningNode,
        regions: &[RegionProcess],
        token: &str,
        terminal: Option<Terminal>,
        fleet: Option<&DemoFleet>,
    ) -> DemoOutput {
        let commands = commands(node, token, fleet);
        let mut output = DemoOutput { answers: answers(&node.snapshot()), terminal, commands };
        output.print(&node.ready_line());
        output.print("");
        for line in fleet.map(DemoFleet::lines).unwrap_or_default() {
            output.print(&line);
        }
        for region in regions {
            output.print(&region.line());
        }
        output.print("");
        match output.terminal.as_ref().is_some_and(Terminal::has_keys) {
            true => {
                output.print("# for the commands that change something; the key d prints all commands to try");
                output.print(&token_line(token));
            }
            false => output.print_commands(),
        }
        output
    }

    /// Prints the ready line and these lines; there is no block that is redrawn.
    pub(crate) fn of_steps(node: &RunningNode, lines: &[String]) -> DemoOutput {
        let mut output = DemoOutput { answers: answers(&node.snapshot()), terminal: None, commands: Vec::new() };
        output.print(&node.ready_line());
        output.print("");
        lines.iter().for_each(|line| output.print(line));
        output
    }

    /// The terminal, if there is one.
    pub(crate) fn terminal(&mut self) -> Option<&mut Terminal> {
        self.terminal.as_mut()
    }

    /// Whether this is a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Prints the commands to try.
    pub(crate) fn print_commands(&mut self) {
        for line in self.commands.clone() {
            self.print(&line);
        }
    }

    /// Prints a line.
    pub(crate) fn print(&mut self, line: &str) {
        match &mut self.terminal {
            Some(terminal) => terminal.print(line),
            None => {
                // An error means that nobody reads the output any more; the demo continues.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        }
    }

    /// Prints a line after the seconds since the start.
    pub(crate) fn report(&mut self, line: &str) {
        let at = clock::now().since(clock::START).as_secs_f64();
        self.print(&format!("[{at:7.2} s] {line}"));
    }

    /// Prints that an endpoint's health or override changed, or that a name moved.
    pub(crate) fn event(&mut self, event: &JournalEvent) {
        let JournalEvent { endpoint, from, to, why, region, .. } = event;
        if endpoint.is_empty() {
            return;
        }
        let region = region.as_deref().unwrap_or("no region");
        self.report(&format!("{endpoint} ({region}) {from} -> {to}: {why}"));
    }

    /// Prints a line for each answer that changed since the last call.
    pub(crate) fn answers(&mut self, snapshot: &Snapshot) {
        let now = answers(snapshot);
        for ((name, class), answer) in &now {
            let before = self.answers.get(&(name.clone(), class.clone()));
            if before.is_some_and(|before| before != answer) {
                let whom = if class.is_empty() { String::new() } else { format!(" for clients in {class}") };
                self.report(&format!("{name}{whom}: {} => {answer}", before.map_or("", String::as_str)));
            }
        }
        self.answers = now;
    }
}

fn token_line(token: &str) -> String {
    format!("export PORTOLAN_TOKEN={token}")
}

/// The commands to try: queries as a client of each region, and commands that explain and change answers.
fn commands(node: &RunningNode, token: &str, fleet: Option<&DemoFleet>) -> Vec<String> {
    let Some(dns) = node.dns().first().copied() else { return Vec::new() };
    let dig = format!("dig @{} -p {}", dns.ip(), dns.port());
    let mut lines = Vec::new();
    for (region, octet) in REGIONS {
        lines.push(format!("# as a client in {region}: one that asks itself, and one behind a resolver"));
        lines.push(format!("{dig} www.demo.example -b 127.{octet}.0.1 +short"));
        lines.push(format!("{dig} www.demo.example +subnet=127.{octet}.0.0/24 +short"));
    }
    let program = program();
    let server = format!("http://{}", node.http());
    let default = if server == "http://127.0.0.1:8053" { String::new() } else { format!(" --server {server}") };
    lines.extend([
        "# weighted 80:20, and the first that is up".to_owned(),
        format!("{dig} canary.demo.example +short"),
        format!("{dig} db.demo.example +short"),
        "# why a client gets its answer, and what each vantage sees".to_owned(),
        format!("{program} explain www.demo.example --client 127.2.0.1{default}"),
        format!("{program} status{default}"),
        "# take a region out by hand, see the answers change, and put it back; the token is this demo's".to_owned(),
        token_line(token),
        format!("{program} drain region:eu-west --why maintenance --for 10m{default}"),
        format!("{program} overrides{default}"),
        format!("{program} clear region:eu-west{default}"),
    ]);
    lines.extend(fleet.map(|fleet| fleet.commands(&program)).unwrap_or_default());
    lines.extend([
        String::new(),
        format!("API, metrics and a status page: {server}"),
        "kill PID, kill -STOP PID and kill -CONT PID are real outages. Ctrl-C ends the demo.".to_owned(),
        String::new(),
    ]);
    lines
}

/// The path of this program from the directory where the demo was started.
fn program() -> String {
    let (here, exe) = (std::env::current_dir().unwrap_or_default(), std::env::current_exe().unwrap_or_default());
    match exe.strip_prefix(&here) {
        Ok(below) => below.display().to_string(),
        Err(_) => exe.file_name().map_or("portolan".into(), |name| name.to_string_lossy().into_owned()),
    }
}

/// The answers as text, by name and class; the class is empty if the answer does not depend on it.
fn answers(snapshot: &Snapshot) -> BTreeMap<(String, String), String> {
    let mut answers = BTreeMap::new();
    let model = &snapshot.model;
    for name in model.zones.iter().flat_map(|zone| &zone.steered) {
        for (class, at) in snapshot.local_classes(name.policy).zip(0..) {
            for &facet in &model.policy(name.policy).facets {
                let Some(cell) = snapshot.cell(name.policy, LocalClass(at), facet) else { continue };
                let region = class.region.filter(|_| cell.looks_at_client());
                let class = region.map_or(String::new(), |id| model.region(id).name.clone());
                answers.insert((name.label.clone(), class), answer_text(model, cell.decision()));
            }
        }
    }
    answers
}

fn answer_text(model: &Model, decision: &Decision) -> String {
    match &decision.source {
        AnswerSource::Static => "the zone file's records".to_string(),
        AnswerSource::Nodata => "nothing".to_string(),
        AnswerSource::Endpoints(distribution) => {
            let shares: Vec<_> = distribution.tiers.first().into_iter().flat_map(|tier| &tier.shares).collect();
            let total: f64 = shares.iter().map(|share| share.weight).sum();
            let share = |share: &&crate::steering::Share| {
                let names: Vec<&str> = share.endpoints.iter().map(|id| model.endpoint(*id).name.as_str()).collect();
                let percent = share.weight / total * 100.0;
                if shares.len() > 1 { format!("{} {percent:.0} %", names.join("+")) } else { names.join("+") }
            };
            let answer = shares.iter().map(share).collect::<Vec<_>>().join(", ");
            if decision.stale { format!("{answer} (last good: nothing is up)") } else { answer }
        }
    }
}
