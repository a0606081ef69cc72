//! The proposed actions, in order and in as few calls as they take.

use std::collections::BTreeMap;

use crate::{
    evaluate::Action,
    facts::VpcAttribute,
    ids::EndpointId,
    posture::{ServiceName, digest},
    write::{DocumentChange, EndpointChange, ProfileChange, RoleChange, RuleChange, Write},
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
        Write::Role { change, .. } => match change {
            RoleChange::Create(_) => 0,
            RoleChange::Tag(_) => 1,
            RoleChange::Boundary(_) => 2,
            RoleChange::Trust(_) => 3,
            RoleChange::Attach(_) => 4,
            RoleChange::PutInline(_) => 5,
            RoleChange::DeleteInline(_) => 12,
            RoleChange::Detach(_) => 13,
            RoleChange::Untag(_) => 14,
            RoleChange::Delete => 15,
        },
        Write::Profile { change, .. } => match change {
            ProfileChange::Create { .. } => 6,
            ProfileChange::Tag(_) => 7,
            ProfileChange::RemoveRole(_) => 8,
            ProfileChange::AddRole(_) => 9,
            ProfileChange::Untag(_) => 10,
            ProfileChange::Delete => 11,
        },
        Write::Document(change) => match change {
            DocumentChange::Create { .. } => 0,
            DocumentChange::Tag(_) => 1,
            DocumentChange::Update(_) => 2,
            DocumentChange::Use(_) => 3,
            DocumentChange::Untag(_) => 4,
            DocumentChange::Delete => 5,
        },
        Write::Rule(change) => match change {
            RuleChange::Tag { .. } => 9,
            RuleChange::Put { .. } => 10,
            RuleChange::Target(_) => 11,
            RuleChange::RemoveTargets(_) => 12,
            RuleChange::Untag { .. } => 13,
            RuleChange::Delete => 14,
        },
        Write::UpdateSetting { .. } => 6,
        Write::ModifyMetadataDefaults { .. } => 7,
        Write::ResetSetting { .. } => 8,
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
        // Nothing rests on it.
        Write::AssociateProfile { .. } => 11,
    };
    (rank, action.service)
}

/// Orders actions and joins those that one call can carry.
#[must_use]
pub fn plan(proposed: Vec<Action>) -> Plan {
    let mut actions: Vec<Action> = Vec::new();
    let mut changes: BTreeMap<EndpointId, usize> = BTreeMap::new();
    let mut deletion: Option<usize> = None;
    let mut defaults: Option<usize> = None;
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
            Write::ModifyMetadataDefaults { values } => {
                if let Some(earlier) = defaults.map(|at| &mut actions[at]) {
                    if let Write::ModifyMetadataDefaults { values: into } = &mut earlier.write {
                        into.extend(values.clone());
                    }
                    continue;
                }
                defaults = Some(actions.len());
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
            action(Write::AssociateProfile { instance: "i-1".into(), profile: "arn:p".to_owned() }),
        ];
        let expected = all.clone();
        for _ in 0..all.len() {
            all.rotate_left(1);
            assert_eq!(plan(all.clone()).actions, expected);
        }
        all.reverse();
        assert_eq!(plan(all).actions, expected);
    }

    /// Whatever the order in which they are proposed; calls of one rank never meet in one of these lists.
    #[track_caller]
    fn assert_placed(expected: Vec<Write>) {
        let expected: Vec<Action> = expected.into_iter().map(action).collect();
        let mut all = expected.clone();
        for _ in 0..all.len() {
            all.rotate_left(1);
            assert_eq!(plan(all.clone()).actions, expected);
        }
        all.reverse();
        assert_eq!(plan(all).actions, expected);
    }

    #[test]
    fn each_kind_of_call_of_an_account_has_its_place() {
        let text = String::new;
        let role = |change| Write::Role { role: "r".into(), change };
        let profile = |change| Write::Profile { profile: "p".into(), change };
        let new = crate::write::NewRole {
            path: text(),
            trust: text(),
            description: text(),
            boundary: None,
            tags: Default::default(),
        };
        assert_placed(vec![
            role(RoleChange::Create(Box::new(new))),
            // Ours first, then what only we may do to it; and bounded before it is given anything.
            role(RoleChange::Tag(Default::default())),
            role(RoleChange::Boundary("b".into())),
            role(RoleChange::Trust(text())),
            role(RoleChange::Attach("a".into())),
            role(RoleChange::PutInline(text())),
            profile(ProfileChange::Create { path: text(), tags: Default::default() }),
            profile(ProfileChange::Tag(Default::default())),
            profile(ProfileChange::RemoveRole("s".into())),
            profile(ProfileChange::AddRole("r".into())),
            profile(ProfileChange::Untag(Default::default())),
            // A role goes only once it is in no profile and carries nothing.
            profile(ProfileChange::Delete),
            role(RoleChange::DeleteInline(text())),
            role(RoleChange::Detach("a".into())),
            role(RoleChange::Untag(Default::default())),
            role(RoleChange::Delete),
        ]);
    }

    #[test]
    fn each_kind_of_call_of_a_region_has_its_place() {
        use crate::facts::settings::{MetadataField, Setting};
        let values = [(MetadataField::HttpTokens, "required".to_owned())].into();
        assert_placed(vec![
            Write::Document(DocumentChange::Create { content: String::new(), tags: Default::default() }),
            Write::Document(DocumentChange::Tag(Default::default())),
            Write::Document(DocumentChange::Update(String::new())),
            Write::Document(DocumentChange::Use("2".into())),
            Write::Document(DocumentChange::Untag(Default::default())),
            Write::Document(DocumentChange::Delete),
            Write::UpdateSetting { setting: Setting::OpsCenter, value: "Enabled".into() },
            Write::ModifyMetadataDefaults { values },
            Write::ResetSetting { setting: Setting::AppManager },
            Write::Rule(RuleChange::Tag { rule: String::new(), tags: Default::default() }),
            Write::Rule(RuleChange::Put { pattern: String::new(), tags: Default::default() }),
            Write::Rule(RuleChange::Target("arn:t".into())),
            Write::Rule(RuleChange::RemoveTargets(Default::default())),
            Write::Rule(RuleChange::Untag { rule: String::new(), keys: Default::default() }),
            Write::Rule(RuleChange::Delete),
        ]);
    }

    #[test]
    fn metadata_defaults_are_set_in_one_call() {
        use crate::facts::settings::MetadataField::{HopLimit, HttpTokens};
        let one =
            |field, value: &str| action(Write::ModifyMetadataDefaults { values: [(field, value.to_owned())].into() });
        let joined = plan(vec![one(HttpTokens, "required"), one(HopLimit, "2")]);
        let calls: Vec<String> = joined.actions.iter().map(|a| a.write.to_string()).collect();
        assert_eq!(calls, ["set the metadata defaults HttpTokens=required, HttpPutResponseHopLimit=2"]);
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
