//! What the region offers: full service names and the zones that they support. Names are never made up.

use crate::{
    facts::{Endpoint, EndpointType, Service},
    ids::Region,
    posture::ServiceName,
};

/// Whether a full service name is that of a service in a region, whatever its prefix.
pub(super) fn is_named(full: &str, region: &Region, service: ServiceName) -> bool {
    full.strip_suffix(service.as_str())
        .and_then(|rest| rest.strip_suffix('.'))
        .and_then(|rest| rest.strip_suffix(region.as_str()))
        .is_some_and(|prefix| prefix.ends_with('.'))
}

/// The offer of a service by a type of endpoint. Where several names fit, the one whose private name the agent asks for.
pub(super) fn find<'a>(
    services: &'a [Service],
    region: &Region,
    service: ServiceName,
    kind: EndpointType,
) -> Option<&'a Service> {
    let host = format!("{}.{}.{}", service.as_str(), region, region.agent_domain());
    services
        .iter()
        .filter(|s| s.kind == kind && is_named(&s.name, region, service))
        .min_by_key(|s| (!s.private_dns_names.contains(&host), s.name.len(), &s.name))
}

/// The endpoints of a VPC for a service, by a type.
pub(super) fn endpoints_for<'a>(
    endpoints: &'a [Endpoint],
    vpc: &crate::ids::VpcId,
    region: &Region,
    service: ServiceName,
    kind: EndpointType,
) -> Vec<&'a Endpoint> {
    endpoints.iter().filter(|e| e.vpc == *vpc && e.kind == kind && is_named(&e.service_name, region, service)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;

    #[test]
    fn names_match_by_their_end_whatever_the_prefix() {
        let region: Region = "cn-north-1".parse().unwrap();
        for (full, matches) in [
            ("com.amazonaws.cn-north-1.ssm", true),
            ("cn.com.amazonaws.cn-north-1.ssm", true),
            ("com.amazonaws.cn-north-1.ssmmessages", false),
            ("com.amazonaws.cn-north-1.not-ssm", false),
            ("com.amazonaws.cn-northwest-1.ssm", false),
            ("ssm", false),
            ("", false),
        ] {
            assert_eq!(is_named(full, &region, ServiceName::Ssm), matches, "{full}");
        }
    }

    #[test]
    fn the_name_that_the_agent_asks_for_is_preferred() {
        let region: Region = "eu-west-1".parse().unwrap();
        let mut other = service("ssm");
        other.name = "aws.eu-west-1.ssm".into();
        other.private_dns_names = vec!["ssm-fips.eu-west-1.amazonaws.com".into()];
        let services = [other, service("ssm")];
        let found = find(&services, &region, ServiceName::Ssm, EndpointType::Interface).unwrap();
        assert_eq!(found.name, "com.amazonaws.eu-west-1.ssm");
        assert_eq!(find(&services, &region, ServiceName::Ssm, EndpointType::Gateway), None);
    }
}
