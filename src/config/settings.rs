//! The settings of this node: `portolan.toml`, the environment and the flags. `layers` joins the three; this file
//! declares the keys and checks their values. The zones are read elsewhere.

mod fleet;
mod layers;
mod listen;
mod written;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::certificate::{self, Tls, TlsKeys};
use crate::config::client_settings::{ClientKeys, ClientSettings};
use crate::config::dnstap::{self, Dnstap, DnstapKeys};
use crate::config::fields::Fields;
use crate::config::follow::{self, FollowKeys, FollowSettings};
use crate::config::guard::{self, ChaosKeys, CookieKeys, Guard, RrlKeys};
use crate::config::keys::{Table, WrongText, duration, keys, name, named, table, text, wrong};
use crate::config::limits::{LimitKeys, Limits};
use crate::config::log::{LogFormat, LogKeys};
use crate::config::operators::{self, ApiKeys, Operators, StateKeys};
use crate::config::regions::{self, RegionKeys};
use crate::config::run::RunKeys;
use crate::config::sinks::{self, SinkKeys, SinkSettings};
use crate::model::{Clients, MAX_NODE_NAME, Region};
use crate::source::{
    At, ManualSection, Place, Problems,
    files::{absolute, path_of},
};

pub(super) use fleet::FleetKeys;
pub use fleet::FleetSettings;
pub use layers::Flags;
pub(super) use layers::environment;
pub use listen::Listen;
pub(super) use listen::{ListenKeys, VantageKeys};
pub(super) use written::WrittenDifference;
pub(crate) use written::WrittenSettings;

/// The settings of this node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the region where this node is; one of `regions`.
    pub region: String,
    /// The name of this node and of its vantage, also sent as NSID. Default: the host's name.
    pub node: String,
    /// Sockets and threads.
    pub listen: Listen,
    /// Hosts that are always reachable. If they are silent too, this vantage is cut off. Default: none.
    pub control: Vec<SocketAddr>,
    /// Programs that exec checks of the fleet may run here: absolute paths. Checks of this node's own zones need no
    /// entry. Default: none.
    pub exec: Vec<String>,
    /// The fleet that this node belongs to; `None`: it is alone.
    pub fleet: Option<FleetSettings>,
    /// Whether the server belongs to a fleet since its start: a reload does not change that.
    pub is_in_fleet: bool,
    /// The certificate of DoT, DoH and DoQ; present if one of them is used.
    pub tls: Option<Tls>,
    /// The directory of the zones, absolute.
    pub zones_dir: PathBuf,
    /// The same directory as the user would type it, for problems.
    pub zones_shown: PathBuf,
    /// How long a zone, or all steered names of one, are served after they disappeared from the files.
    pub removal_delay: Duration,
    /// Cookies, rate limits, and the answers in class CHAOS.
    pub guard: Guard,
    /// Who may change something over the API, and the state directory.
    pub operators: Operators,
    /// How many connections of clients there may be.
    pub limits: Limits,
    /// The query log; `None`: there is none.
    pub dnstap: Option<Dnstap>,
    /// Where events are sent.
    pub sinks: Vec<SinkSettings>,
    /// The streams whose events make overrides here.
    pub follows: Vec<FollowSettings>,
    /// The user that the server becomes when it is started as root: a name or a number. `None`: a default.
    pub user: Option<String>,
    /// Whether the kernel restricts which files the server uses.
    pub has_file_rules: bool,
    /// The format of the log; `None` if the settings don't choose one.
    pub log: Option<LogFormat>,
    /// The declared regions; if there are none, the region of this node.
    pub regions: Vec<Region>,
    /// Clients by the nets of the regions alone. Policies are checked with them.
    pub clients: Clients,
    /// How clients are placed.
    pub placing: ClientSettings,
    /// Where the keys are written that only a restart can change.
    pub(crate) written: WrittenSettings,
}

/// The folder of the state directory that has the last good versions of zones.
pub(crate) const LAST_GOOD_DIR: &str = "zones";
/// Default of `removal_delay` (judgment: `git checkout` of a large tree, or `rsync`, on a slow disk).
const REMOVAL_DELAY: Duration = Duration::from_secs(60);
/// Longest `removal_delay` (judgment: nobody wants the zone any more).
const MAX_REMOVAL_DELAY: Duration = Duration::from_secs(86_400);

keys! {
    /// `portolan.toml`. `region` is not required by the schema: it may come from the environment or a flag.
    SettingsKeys {
        /// the region where this node is. If the settings have `[regions]`, it must be one of them; without any, this
        /// key declares it
        region: String = name("\"eu-west\""), note "required";
        /// the name of this node, also sent as NSID
        node: String = text("\"ns1\"").sized(1..=MAX_NODE_NAME).parsed(node_name), note "the host's name";
        listen: ListenKeys = table();
        tls: TlsKeys = table();
        zones: ZonesKeys = table();
        cookies: CookieKeys = table();
        rrl: RrlKeys = table();
        chaos: ChaosKeys = table();
        api: ApiKeys = table();
        state: StateKeys = table();
        run: RunKeys = table();
        limits: LimitKeys = table();
        log: LogKeys = table();
        dnstap: DnstapKeys = table();
        vantage: VantageKeys = table();
        fleet: FleetKeys = table();
        sink: Vec<SinkKeys> = named();
        follow: Vec<FollowKeys> = named();
        clients: ClientKeys = table();
        regions: Vec<RegionKeys> = named();
    }
}

impl Table for SettingsKeys {}

keys! {
    /// `[zones]`.
    ZonesKeys in Settings {
        /// the directory of the policy files and master files
        dir: String = text("\"zones\""), inherits json!("zones");
        /// when a zone, or all steered names of one, disappear from the files, they are still served for this time, up
        /// to a day. With `"0s"` they are removed at once. See [below](#when-files-change)
        removal_delay: Duration = duration(Duration::ZERO..=MAX_REMOVAL_DELAY, "\"1m\""), default REMOVAL_DELAY;
    }
}

/// The JSON schema of `portolan.toml`.
pub(super) fn schema() -> Json {
    SettingsKeys::schema()
}

/// Reads the settings and the files of tokens and cookie secrets. The settings are returned even when they have errors,
/// so that the problems of the zones can be found in the same run; `None` if the file can't be read or parsed.
pub(super) fn read(
    file: Option<&Path>,
    environment: HashMap<String, String>,
    flags: &Flags,
    problems: &mut Problems,
) -> Option<Settings> {
    Some(read_alone(file, environment, flags, problems)?.with_side_files(problems))
}

/// The same without tokens and cookie secrets.
pub(super) fn read_alone(
    file: Option<&Path>,
    environment: HashMap<String, String>,
    flags: &Flags,
    problems: &mut Problems,
) -> Option<Settings> {
    problems.about(ManualSection::Settings, |problems| {
        let shown = file.unwrap_or(Path::new("portolan.toml"));
        let tree = layers::read(file, shown, environment, flags, problems)?;
        let written = WrittenSettings::of(&tree, shown);
        let keys = SettingsKeys::read(Fields::of_node(tree, "", problems)?, problems)?;
        Some(settings(keys, written, (shown, file.is_some()), problems))
    })
}

fn settings(
    keys: SettingsKeys,
    written: WrittenSettings,
    (shown, has_file): (&Path, bool),
    problems: &mut Problems,
) -> Settings {
    let base = shown.parent().unwrap_or(Path::new(""));
    if keys.lacks_apart_from("region", "regions") {
        let problem = problems.error(&Place::start_of(shown), "`region` is missing: where does this node stand?");
        problem.hint("write `region = \"eu-west\"`, with a name of your own");
    }
    let host = || gethostname::gethostname().to_string_lossy().into_owned();
    let has_tls = keys.has("tls");
    let listen = keys.listen.map_or_else(Listen::default, |at| listen::listen(at.value, has_tls, problems));
    let (zones_shown, zones_dir) = zones_dir(keys.zones.as_ref().and_then(|at| at.value.dir.as_ref()), base);
    let operators = problems.about(ManualSection::Operators, |problems| {
        let operators = operators::read(value(keys.api), value(keys.state), has_file.then_some(base));
        refuse_shared_directory(operators.state_dir.as_deref(), &zones_dir, shown, problems);
        operators
    });
    let (regions, clients, placing) = problems.about(ManualSection::Clients, |problems| {
        let declared = value(keys.regions).unwrap_or_default();
        regions::read(declared, value(keys.clients), keys.region.as_ref(), base, problems)
    });
    let (control, exec) = value(keys.vantage).map_or_else(Default::default, |keys| listen::vantage(keys, problems));
    let mut run = value(keys.run);
    let has_fleet = keys.fleet.is_some();
    let fleet = keys.fleet.and_then(|at| fleet::fleet(at.value, base, problems));
    Settings {
        node: value(keys.node).unwrap_or_else(host),
        listen,
        control,
        exec,
        // With an error in [fleet] too: that is reported, and what needs a fleet is right.
        is_in_fleet: has_fleet,
        fleet,
        tls: keys.tls.map(|at| certificate::read(&at.value, base, problems)),
        zones_dir,
        zones_shown,
        removal_delay: keys.zones.map_or(REMOVAL_DELAY, |at| at.value.removal_delay.value),
        guard: guard::read(value(keys.cookies), value(keys.rrl), value(keys.chaos), base, problems),
        operators,
        limits: value(keys.limits).map_or_else(Limits::default, Limits::from),
        dnstap: keys.dnstap.and_then(|at| dnstap::read(at, base, problems)),
        sinks: sinks::read(value(keys.sink).unwrap_or_default(), has_fleet, base, problems),
        follows: follow::read(value(keys.follow).unwrap_or_default(), has_fleet, base, problems),
        user: run.as_mut().and_then(|keys| value(keys.user.take())),
        has_file_rules: run.is_none_or(|keys| keys.file_rules.value),
        log: value(keys.log).and_then(|keys| value(keys.format)),
        regions,
        clients,
        placing,
        region: value(keys.region).unwrap_or_default(),
        written,
    }
}

fn value<T>(at: Option<At<T>>) -> Option<T> {
    at.map(|at| at.value)
}

fn node_name(written: &str) -> Result<String, WrongText> {
    if (1..=MAX_NODE_NAME).contains(&written.len()) && written.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(written.to_owned());
    }
    let message = format!("`node` must be 1 to {MAX_NODE_NAME} characters of ASCII without spaces");
    Err(wrong(message, "write `node = \"ns1\"`, or leave it out for the host's name"))
}

/// The server removes what it does not know from the directory of last good versions, so that must not have the zones.
/// Compares the paths as they are written: a file system that does not answer must not be waited for here.
fn refuse_shared_directory(state_dir: Option<&Path>, zones_dir: &Path, shown: &Path, problems: &mut Problems) {
    let Some(versions) = state_dir.map(|dir| dir.join(LAST_GOOD_DIR)) else { return };
    if zones_dir.starts_with(&versions) {
        let message =
            "`[zones] dir` is where `[state] dir` keeps the last good versions of zones: its own folder `zones`";
        let problem = problems.error(&Place::start_of(shown), message);
        problem.hint("choose another directory for `[state] dir`, such as `state`");
    }
}

/// The zones directory as the user would type it, and its absolute path.
fn zones_dir(written: Option<&At<String>>, base: &Path) -> (PathBuf, PathBuf) {
    let path = written.map_or_else(|| base.join("zones"), |written| path_of(written, base));
    let shown: PathBuf = path.components().filter(|part| *part != std::path::Component::CurDir).collect();
    let here = if shown.as_os_str().is_empty() { Path::new(".") } else { &shown };
    let dir = absolute(here);
    (shown, dir)
}
