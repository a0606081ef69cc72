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
}
