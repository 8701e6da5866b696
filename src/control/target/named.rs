//! The target of a plain name in one zone, for sources that name endpoints, pools and regions without a prefix.

use crate::control::target::{POOL, REGION, Target, endpoints_of, with_hint};
use crate::model::{EndpointId, Model};
use crate::source::did_you_mean;
use crate::wire::Name;

/// The TARGET of `name`, an endpoint, a pool or a region with endpoints in `zone`; it may have the prefix `pool:` or
/// `region:`. The TARGET may match endpoints of other zones too if it is a region. The error says what there is.
pub(crate) fn named_in(name: &str, zone: &Name, model: &Model) -> Result<String, String> {
    let is_inside = |id: &EndpointId| model.zone(model.endpoint(*id).zone).apex == *zone;
    let parsed = Target::parse(name);
    let has_prefix = name.starts_with(POOL) || name.starts_with(REGION);
    let forms = match has_prefix {
        true => vec![name.to_owned()],
        false => vec![name.to_owned(), format!("{POOL}{name}"), format!("{REGION}{name}")],
    };
    // A zone or a glob is more than a name.
    let is_name = parsed.zone().is_none() && (has_prefix || parsed.is_endpoint());
    for form in forms.iter().filter(|_| is_name) {
        let found = endpoints_of(form, model);
        if !found.iter().any(is_inside) {
            continue;
        }
        let is_only_here = found.iter().all(is_inside) || Target::parse(form).region().is_some();
        return Ok(match (is_only_here, form.strip_prefix(POOL)) {
            (true, _) => form.clone(),
            (false, Some(pool)) => format!("{POOL}{zone}/{pool}"),
            (false, None) => format!("{zone}/{form}"),
        });
    }
    let endpoints = model.endpoints.iter().filter(|endpoint| model.zone(endpoint.zone).apex == *zone);
    let pools = model.pools.iter().map(|pool| &*pool.name);
    let regions = model.regions.iter().map(|region| &*region.name);
    let names: Vec<&str> = endpoints.map(|endpoint| &*endpoint.name).chain(pools).chain(regions).collect();
    let what = format!("no endpoint, pool or region of {zone} is called `{name}`");
    Err(with_hint(what, did_you_mean(name, names)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::target::tests::model;

    #[test]
    fn a_name_is_an_endpoint_a_pool_or_a_region_of_its_zone_in_this_order() {
        let (model, svc) = (model(), Name::parse("svc.example.").unwrap());
        for (name, expected) in [
            ("plain", Ok("plain")),
            ("fra1", Ok("svc.example./fra1")),
            ("deep", Ok("pool:deep")),
            ("web", Ok("pool:svc.example./web")),
            ("pool:deep", Ok("pool:deep")),
            ("eu-west", Ok("region:eu-west")),
            ("region:eu-west", Ok("region:eu-west")),
            // In another zone, in no zone, and more than a name.
            ("fra2", Err("did you mean `fra1`?")),
            ("empty", Err("no endpoint, pool or region of svc.example. is called `empty`")),
            ("plian", Err("did you mean `plain`?")),
            ("fra*", Err("is called `fra*`")),
            ("zone:svc.example", Err("is called")),
            ("other.example./fra1", Err("is called")),
            ("", Err("is called")),
        ] {
            match (named_in(name, &svc, &model), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{name}: {why}"),
                (found, expected) => panic!("{name}: {found:?} is not {expected:?}"),
            }
        }
        let other = Name::parse("other.example.").unwrap();
        assert_eq!(named_in("fra2", &other, &model).as_deref(), Ok("fra2"));
        assert_eq!(named_in("web", &other, &model).as_deref(), Ok("pool:other.example./web"));
    }
}
