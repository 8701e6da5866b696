//! The manual, zones/README.md, as the program knows it: the sections that problems point to, and what its tables say of
//! each key, which is what editors show. Reads nothing: the text is part of the program.

/// The manual.
const TEXT: &str = include_str!("../../zones/README.md");

/// A section of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Section {
    /// The files as a whole.
    #[default]
    Files,
    /// Policy files as a whole.
    Policy,
    /// `zone` and `file`.
    Zone,
    /// `[defaults]`.
    Defaults,
    /// `[ecs]`.
    Ecs,
    /// `[monitor.NAME]`.
    Monitor,
    /// `[endpoint.NAME]`.
    Endpoint,
    /// `ramp`.
    Ramp,
    /// `[pool.NAME]`.
    Pool,
    /// `when`.
    Geo,
    /// `[group.NAME]`.
    Group,
    /// `[fence.NAME]`.
    Fence,
    /// `[name.NAME]`.
    Name,
    /// SRV, HTTPS and SVCB.
    Services,
    /// Master files.
    MasterFiles,
    /// `portolan.toml`.
    Settings,
    /// `[api]` and `[state]`.
    Operators,
    /// `[clients]` and `[regions.NAME]`.
    Clients,
    /// `[rrl]`.
    RateLimit,
    /// What isn't done yet.
    NotYet,
}

impl Section {
    /// All of them.
    #[cfg(test)]
    const ALL: [Section; 20] = [
        Section::Files,
        Section::Policy,
        Section::Zone,
        Section::Defaults,
        Section::Ecs,
        Section::Monitor,
        Section::Endpoint,
        Section::Ramp,
        Section::Pool,
        Section::Geo,
        Section::Group,
        Section::Fence,
        Section::Name,
        Section::Services,
        Section::MasterFiles,
        Section::Settings,
        Section::Operators,
        Section::Clients,
        Section::RateLimit,
        Section::NotYet,
    ];

    /// Where it is: a path within the project, and the heading as GitHub makes anchors of them.
    pub(super) fn link(self) -> &'static str {
        match self {
            Section::Files => "zones/README.md#zones-the-files-you-write",
            Section::Policy => "zones/README.md#policy-files",
            Section::Zone => "zones/README.md#the-zone",
            Section::Defaults => "zones/README.md#defaults-for-every-name-that-doesnt-say-otherwise",
            Section::Ecs => "zones/README.md#ecs-the-clients-net-as-its-resolver-tells-it-rfc-7871",
            Section::Monitor => "zones/README.md#monitorname-a-check",
            Section::Endpoint => "zones/README.md#endpointname-one-thing-to-answer-with-and-to-probe",
            Section::Ramp => "zones/README.md#warm-return-ramp",
            Section::Pool => "zones/README.md#poolname-a-steered-group",
            Section::Geo => "zones/README.md#geo-when",
            Section::Group => "zones/README.md#groupname-clients-with-a-name",
            Section::Fence => "zones/README.md#fencename-where-some-clients-may-be-sent-and-nowhere-else",
            Section::Name => "zones/README.md#namename-a-steered-name",
            Section::Services => "zones/README.md#services-srv-https-and-svcb",
            Section::MasterFiles => "zones/README.md#master-files",
            Section::Settings => "zones/README.md#settings-portolantoml",
            Section::Operators => "zones/README.md#operators-api-and-state",
            Section::Clients => "zones/README.md#where-clients-are",
            Section::RateLimit => "zones/README.md#rate-limiting-rrl",
            Section::NotYet => "zones/README.md#not-supported-yet",
        }
    }

    fn anchor(self) -> &'static str {
        self.link().split_once('#').map_or("", |(_, anchor)| anchor)
    }

    /// What the section's tables say of `key`, dotted below its table: the last cell of its row.
    pub(super) fn says(self, key: &str) -> Option<&'static str> {
        let mut lines = TEXT.lines().skip_while(|line| heading(line).is_none_or(|head| slug(head) != self.anchor()));
        lines.next()?;
        lines.take_while(|line| heading(line).is_none()).find_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
            let is_key = |word: &str| word.trim().strip_prefix('`').and_then(|w| w.strip_suffix('`')) == Some(key);
            let (first, meaning) = (cells.first()?, cells.last()?);
            first.split(',').any(is_key).then_some(*meaning)
        })
    }
}

/// The text of a heading.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

/// As GitHub makes an anchor of a heading: lower case, spaces to hyphens, and of the rest letters, digits, `-` and `_`.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_a_heading_of_the_manual() {
        let anchors: Vec<String> = TEXT.lines().filter_map(heading).map(slug).collect();
        for section in Section::ALL {
            let found = anchors.iter().filter(|anchor| *anchor == section.anchor()).count();
            assert_eq!(found, 1, "{section:?}: {} in {anchors:#?}", section.link());
        }
    }

    #[test]
    fn a_key_is_explained_by_its_own_section() {
        assert_eq!(
            Section::Endpoint.says("region"),
            Some("the region where the endpoint is; declared in the settings")
        );
        assert_eq!(Section::Ecs.says("v6"), Section::Ecs.says("v4"));
        assert!(Section::Settings.says("listen.http").is_some_and(|said| said.starts_with("API")));
        assert_eq!((Section::Endpoint.says("pool"), Section::Zone.says("zoen")), (None, None));
    }
}
