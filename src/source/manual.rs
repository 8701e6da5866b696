//! The sections of the manual, `zones/README.md`, that problems refer to.

/// Declares the sections: what each is about, and its anchor as GitHub makes it of the heading.
macro_rules! sections {
    ($( $section:ident $anchor:literal, $about:literal; )*) => {
        /// A section of the manual.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub(crate) enum ManualSection {
            /// The files as a whole.
            #[default]
            Files,
            $( #[doc = $about] $section, )*
        }

        impl ManualSection {
            /// All of them.
            #[cfg(test)]
            const ALL: &[ManualSection] = &[ManualSection::Files, $( ManualSection::$section ),*];

            /// Where it is: a path within the project, and an anchor.
            pub(crate) fn link(self) -> &'static str {
                match self {
                    ManualSection::Files => "zones/README.md#zones-the-files-you-write",
                    $( ManualSection::$section => concat!("zones/README.md#", $anchor), )*
                }
            }
        }
    };
}

sections! {
    Policy "policy-files", "Policy files as a whole.";
    Zone "the-zone", "`zone` and `file`.";
    Defaults "defaults-for-every-name-that-doesnt-say-otherwise", "`[defaults]`.";
    Ecs "ecs-the-clients-net-from-edns-client-subnet-rfc-7871", "`[ecs]`.";
    Monitor "monitorname-a-check", "`[monitor.NAME]`.";
    Endpoint "endpointname-one-thing-to-answer-with-and-to-probe", "`[endpoint.NAME]`.";
    Ramp "warm-return-ramp", "`ramp`.";
    Discover "discovername-endpoints-that-come-and-go", "`[discover.NAME]`.";
    Pool "poolname-a-steered-group", "`[pool.NAME]`.";
    Geo "geo-when", "`when`.";
    Group "groupname-clients-with-a-name", "`[group.NAME]`.";
    Fence "fencename-where-some-clients-may-be-sent-and-nowhere-else", "`[fence.NAME]`.";
    Name "namename-a-steered-name", "`[name.NAME]`.";
    Services "services-srv-https-and-svcb", "SRV, HTTPS and SVCB.";
    MasterFiles "master-files", "Master files.";
    Settings "settings-portolantoml", "`portolan.toml`.";
    Operators "operators-api-and-state", "`[api]` and `[state]`.";
    Clients "where-clients-are", "`[clients]` and `[regions.NAME]`.";
    RateLimit "rate-limiting-rrl", "`[rrl]`.";
    Fleet "a-fleet-fleet", "`[fleet]`.";
    Sinks "sinks-of-events-sinkname", "`[sink.NAME]`.";
    Follow "events-that-are-followed-followname", "`[follow.NAME]`.";
    NotYet "not-supported-yet", "Keys that are not supported yet.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As GitHub makes an anchor of a heading: lower case, spaces to hyphens, and of the rest letters, digits, `-` and
    /// `_`.
    fn anchor(line: &str) -> Option<String> {
        let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
        let linked = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        Some(linked.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect())
    }

    #[test]
    fn every_section_is_a_heading_of_the_manual() {
        let anchors: Vec<String> = include_str!("../../zones/README.md").lines().filter_map(anchor).collect();
        for section in ManualSection::ALL {
            let (_, wanted) = section.link().split_once('#').unwrap();
            let found = anchors.iter().filter(|anchor| *anchor == wanted).count();
            assert_eq!(found, 1, "{section:?}: {} in {anchors:#?}", section.link());
        }
    }
}
