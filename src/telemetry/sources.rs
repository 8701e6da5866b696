//! Gauges of the sources of endpoints that come and go.

use crate::control::sources::SourceReport;
use crate::telemetry::families as family;
use crate::telemetry::text::Exposition;

/// Writes these metrics.
pub(super) fn write(text: &mut Exposition, sources: &[SourceReport]) {
    let mut samples = text.family(&family::SOURCE_UP);
    for source in sources {
        samples.sample(&[&source.zone, &source.name], u8::from(matches!(&*source.state, "ok" | "kept")));
    }
    let mut samples = text.family(&family::SOURCE_KEPT);
    sources.iter().for_each(|of| samples.sample(&[&of.zone, &of.name], u8::from(of.state == "kept")));
    let mut samples = text.family(&family::SOURCE_ENDPOINTS);
    sources.iter().for_each(|of| samples.sample(&[&of.zone, &of.name], of.endpoints));
    let mut samples = text.family(&family::SOURCE_AGE);
    for source in sources {
        if let Some(age) = source.age_ms {
            samples.sample(&[&source.zone, &source.name], age as f64 / 1000.0);
        }
    }
}
