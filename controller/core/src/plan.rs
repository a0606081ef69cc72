//! The proposed actions, in order and in as few calls as they take.

use std::collections::BTreeMap;

use crate::{
    evaluate::Action,
    facts::VpcAttribute,
    ids::EndpointId,
    posture::{ServiceName, digest},
    write::{EndpointChange, Write},
};

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The actions.
    pub actions: Vec<Action>,
}

impl Plan {
    /// A short name of exactly these actions; none for an empty plan.
    #[must_use]
    pub fn hash(&self) -> Option<String> {
        if self.actions.is_empty() {
            return None;
        }
        let parts: Vec<String> = self.actions.iter().map(|a| format!("{a:?}")).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(format!("sha256-{}", &digest(&parts)[..12]))
    }
}

/// Prerequisites first; what takes away last.
fn rank(action: &Action) -> (u8, Option<ServiceName>) {
    let rank = match &action.write {
        Write::EnableVpcAttribute { attribute: VpcAttribute::DnsSupport, .. } => 0,
        Write::EnableVpcAttribute { attribute: VpcAttribute::DnsHostnames, .. } => 1,
        Write::CreateSecurityGroup { .. } => 2,
        Write::Tag { .. } => 3,
        Write::AuthorizeIngress { .. } => 4,
        Write::CreateEndpoint(_) => 5,
        Write::ModifyEndpoint { .. } => 6,
        Write::RevokeIngress { .. } => 7,
        Write::DeleteEndpoints { .. } => 8,
        Write::Untag { .. } => 9,
        Write::DeleteSecurityGroup { .. } => 10,
    };
    (rank, action.service)
}

/// Orders actions and joins those that one call can carry.
#[must_use]
pub fn plan(proposed: Vec<Action>) -> Plan {
    let mut actions: Vec<Action> = Vec::new();
    let mut changes: BTreeMap<EndpointId, usize> = BTreeMap::new();
    let mut deletion: Option<usize> = None;
    for action in proposed {
        match &action.write {
            Write::ModifyEndpoint { endpoint, change } => {
                if let Some(earlier) = changes.get(endpoint).map(|at| &mut actions[*at]) {
                    if let Write::ModifyEndpoint { change: into, .. } = &mut earlier.write {
                        merge(into, change);
                    }
                    earlier.disrupts = earlier.disrupts.or(action.disrupts);
                    continue;
                }
                changes.insert(endpoint.clone(), actions.len());
            }
            Write::DeleteEndpoints { endpoints } => {
                if let Some(earlier) = deletion.map(|at| &mut actions[at]) {
                    if let Write::DeleteEndpoints { endpoints: into } = &mut earlier.write {
                        into.extend(endpoints.iter().cloned());
                    }
                    earlier.disrupts = earlier.disrupts.or(action.disrupts);
                    continue;
                }
                deletion = Some(actions.len());
            }
            _ => {}
        }
        actions.push(action);
    }
    actions.sort_by_key(rank);
    Plan { actions }
}

fn merge(into: &mut EndpointChange, more: &EndpointChange) {
    into.add_subnets.extend(more.add_subnets.iter().cloned());
    into.remove_subnets.extend(more.remove_subnets.iter().cloned());
    into.add_groups.extend(more.add_groups.iter().cloned());
    into.remove_groups.extend(more.remove_groups.iter().cloned());
    into.add_route_tables.extend(more.add_route_tables.iter().cloned());
    into.remove_route_tables.extend(more.remove_route_tables.iter().cloned());
    into.private_dns = into.private_dns.or(more.private_dns);
    into.ip_address_type = into.ip_address_type.or(more.ip_address_type);
    into.full_access_policy |= more.full_access_policy;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Facet;

    fn action(write: Write) -> Action {
        Action { facet: Facet::Endpoints, service: None, write, then_admit: vec![], disrupts: None }
    }

    #[test]
    fn prerequisites_come_first_and_removals_last() {
        let attribute = |attribute| action(Write::EnableVpcAttribute { vpc: "vpc-1".into(), attribute });
        let plan = plan(vec![
            action(Write::DeleteSecurityGroup { group: "sg-1".into() }),
            action(Write::DeleteEndpoints { endpoints: ["vpce-1".into()].into() }),
            attribute(VpcAttribute::DnsHostnames),
            attribute(VpcAttribute::DnsSupport),
        ]);
        let calls: Vec<String> = plan.actions.iter().map(|a| a.write.to_string()).collect();
        assert_eq!(
            calls,
            [
                "switch on enableDnsSupport of vpc-1",
                "switch on enableDnsHostnames of vpc-1",
                "delete vpce-1",
                "delete security group sg-1"
            ]
        );
    }

    #[test]
    fn one_call_carries_all_that_it_can() {
        let change = |change| action(Write::ModifyEndpoint { endpoint: "vpce-1".into(), change: Box::new(change) });
        let plan = plan(vec![
            change(EndpointChange { private_dns: Some(true), ..Default::default() }),
            action(Write::DeleteEndpoints { endpoints: ["vpce-2".into()].into() }),
            change(EndpointChange { full_access_policy: true, ..Default::default() }),
            action(Write::DeleteEndpoints { endpoints: ["vpce-3".into()].into() }),
        ]);
        let calls: Vec<String> = plan.actions.iter().map(|a| a.write.to_string()).collect();
        assert_eq!(calls, ["change vpce-1: private DNS on; policy full access", "delete vpce-2, vpce-3"]);
    }

    #[test]
    fn the_hash_names_the_actions() {
        let one = plan(vec![action(Write::DeleteSecurityGroup { group: "sg-1".into() })]);
        let two = plan(vec![action(Write::DeleteSecurityGroup { group: "sg-2".into() })]);
        assert_eq!(Plan::default().hash(), None);
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.hash(), one.clone().hash());
    }

    #[test]
    fn each_kind_of_call_has_its_place() {
        let ids = || ["sg-1".to_owned()].into();
        let group = || "sg-1".into();
        let vpc = || "vpc-1".into();
        let create = |service: ServiceName| {
            let new = crate::write::NewEndpoint {
                vpc: vpc(),
                service_name: service.to_string(),
                kind: crate::facts::EndpointType::Interface,
                subnets: Default::default(),
                groups: Default::default(),
                route_tables: Default::default(),
                private_dns: true,
                ip_address_type: None,
                inbound_resolver_only: None,
                tags: Default::default(),
                client_token: String::new(),
            };
            Action { service: Some(service), ..action(Write::CreateEndpoint(Box::new(new))) }
        };
        let change = EndpointChange { private_dns: Some(true), ..Default::default() };
        let mut all = vec![
            action(Write::EnableVpcAttribute { vpc: vpc(), attribute: VpcAttribute::DnsSupport }),
            action(Write::EnableVpcAttribute { vpc: vpc(), attribute: VpcAttribute::DnsHostnames }),
            action(Write::CreateSecurityGroup {
                vpc: vpc(),
                name: "x".into(),
                description: String::new(),
                tags: Default::default(),
            }),
            action(Write::Tag { resources: ids(), tags: Default::default() }),
            action(Write::AuthorizeIngress { group: group(), rules: vec![] }),
            create(ServiceName::Ssm),
            create(ServiceName::Ssmmessages),
            create(ServiceName::S3),
            action(Write::ModifyEndpoint { endpoint: "vpce-1".into(), change: Box::new(change) }),
            action(Write::RevokeIngress { group: group(), rules: vec![] }),
            action(Write::DeleteEndpoints { endpoints: ["vpce-2".into()].into() }),
            action(Write::Untag { resources: ids(), keys: Default::default() }),
            action(Write::DeleteSecurityGroup { group: group() }),
        ];
        let expected = all.clone();
        for _ in 0..all.len() {
            all.rotate_left(1);
            assert_eq!(plan(all.clone()).actions, expected);
        }
        all.reverse();
        assert_eq!(plan(all).actions, expected);
    }

    #[test]
    fn a_joined_call_has_all_parts_and_names_its_disruption() {
        let one = EndpointChange {
            add_subnets: ["subnet-a".into()].into(),
            remove_groups: ["sg-2".into()].into(),
            ip_address_type: Some(crate::facts::IpAddressType::Dualstack),
            ..Default::default()
        };
        let two = EndpointChange {
            remove_subnets: ["subnet-b".into()].into(),
            add_groups: ["sg-1".into()].into(),
            add_route_tables: ["rtb-1".into()].into(),
            remove_route_tables: ["rtb-2".into()].into(),
            private_dns: Some(true),
            full_access_policy: true,
            ..Default::default()
        };
        let of = |change: &EndpointChange| Write::ModifyEndpoint {
            endpoint: "vpce-1".into(),
            change: Box::new(change.clone()),
        };
        let disruptive = Action { disrupts: Some("much"), ..action(of(&two)) };
        let delete = |id: &str, disrupts| Action {
            disrupts,
            ..action(Write::DeleteEndpoints { endpoints: [id.into()].into() })
        };
        let joined = plan(vec![action(of(&one)), disruptive, delete("vpce-8", None), delete("vpce-9", Some("all"))]);
        let found: Vec<_> = joined.actions.iter().map(|a| (a.write.to_string(), a.disrupts)).collect();
        assert_eq!(
            found,
            [
                (
                    "change vpce-1: add subnet-a; remove subnet-b; add sg-1; remove sg-2; add rtb-1; remove rtb-2; private DNS on; address type dualstack; policy full access".to_owned(),
                    Some("much")
                ),
                ("delete vpce-8, vpce-9".to_owned(), Some("all")),
            ]
        );
    }
}
