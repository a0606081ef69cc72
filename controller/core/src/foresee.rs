//! What would follow: the plan to its end, by doing each step to a copy of the facts. It is for showing alone; no check
//! and no write rests on it.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    evaluate::{Action, Memory, View, evaluate},
    facts::{Endpoint, EndpointState, IngressRule, SecurityGroup, Tags},
    overlay::Overlay,
    plan::{Plan, plan},
    posture::VpcPosture,
    snapshot::{Entry, Snapshot},
    write::{FULL_ACCESS_POLICY, Write},
};

/// More rounds than any plan takes: attributes, group, endpoints, private DNS, what is left over.
const ROUNDS: usize = 8;

/// All that Enforce would do, in order, if nothing else happened.
#[must_use]
pub fn foresee(
    posture: &VpcPosture,
    snapshot: &Snapshot,
    overlay: &Overlay,
    memory: &Memory,
    interval: Duration,
    now: Timestamp,
) -> Plan {
    let mut imagined = snapshot.clone();
    let mut all: Vec<Action> = Vec::new();
    for _ in 0..ROUNDS {
        let view = View::of(&imagined, overlay, &posture.vpc, interval, now);
        let step = plan(evaluate(posture, &view, memory).actions).actions;
        // A step that comes back does not change what it is about: there is no end to be foreseen.
        let new: Vec<Action> = step.into_iter().filter(|action| !all.contains(action)).collect();
        if new.is_empty() {
            break;
        }
        for action in &new {
            imagine(&mut imagined, &action.write, &action.then_admit, "new");
        }
        all.extend(new);
    }
    Plan { actions: all }
}

/// Does to facts what AWS would do. `mark` tells what is made from what is there.
pub(crate) fn imagine(facts: &mut Snapshot, write: &Write, then_admit: &[IngressRule], mark: &str) {
    match write {
        Write::CreateSecurityGroup { vpc, name, tags, .. } => facts.security_groups.edit(|all| {
            let id = format!("sg-{mark}").into();
            let (vpc, name, tags) = (vpc.clone(), name.clone(), tags.clone());
            all.push(SecurityGroup { id, vpc, name, ingress: then_admit.to_vec(), tags });
        }),
        Write::AuthorizeIngress { group, rules } => facts.security_groups.edit(|all| {
            all.iter_mut().filter(|g| g.id == *group).for_each(|g| g.ingress.extend(rules.iter().cloned()));
        }),
        Write::RevokeIngress { group, rules } => facts.security_groups.edit(|all| {
            all.iter_mut().filter(|g| g.id == *group).for_each(|g| g.ingress.retain(|r| !rules.contains(r)));
        }),
        Write::DeleteSecurityGroup { group } => facts.security_groups.edit(|all| all.retain(|g| g.id != *group)),
        Write::CreateEndpoint(new) => facts.endpoints.edit(|all| {
            let short = new.service_name.rsplit('.').next().unwrap_or_default();
            all.push(Endpoint {
                id: format!("vpce-{mark}-{short}").into(),
                vpc: new.vpc.clone(),
                service_name: new.service_name.clone(),
                kind: new.kind,
                state: EndpointState::Available,
                failure: None,
                subnets: new.subnets.clone(),
                groups: new.groups.clone(),
                route_tables: new.route_tables.clone(),
                network_interfaces: std::collections::BTreeSet::new(),
                private_dns: new.private_dns,
                ip_address_type: new.ip_address_type,
                policy: Some(FULL_ACCESS_POLICY.to_owned()),
                requester_managed: false,
                tags: new.tags.clone(),
            });
        }),
        Write::ModifyEndpoint { endpoint, change } => facts.endpoints.edit(|all| {
            for e in all.iter_mut().filter(|e| e.id == *endpoint) {
                e.subnets = &(&e.subnets | &change.add_subnets) - &change.remove_subnets;
                e.groups = &(&e.groups | &change.add_groups) - &change.remove_groups;
                e.route_tables = &(&e.route_tables | &change.add_route_tables) - &change.remove_route_tables;
                e.private_dns = change.private_dns.unwrap_or(e.private_dns);
                e.ip_address_type = change.ip_address_type.or(e.ip_address_type);
                if change.full_access_policy {
                    e.policy = Some(FULL_ACCESS_POLICY.to_owned());
                }
            }
        }),
        Write::DeleteEndpoints { endpoints } => facts.endpoints.edit(|all| all.retain(|e| !endpoints.contains(&e.id))),
        Write::Tag { resources, tags } => tagged(facts, &|id, of: &mut Tags| {
            if resources.contains(id) {
                of.extend(tags.clone());
            }
        }),
        Write::Untag { resources, keys } => tagged(facts, &|id, of: &mut Tags| {
            if resources.contains(id) {
                of.retain(|key, _| !keys.contains(key));
            }
        }),
        Write::EnableVpcAttribute { vpc, attribute } => {
            if let Some(entry) = facts.attributes.get_mut(&(vpc.clone(), *attribute)) {
                Entry::edit(entry, |on| *on = true);
            }
        }
        // No VPC rests on these.
        Write::AssociateProfile { .. }
        | Write::UpdateSetting { .. }
        | Write::ResetSetting { .. }
        | Write::ModifyMetadataDefaults { .. }
        | Write::Document(_)
        | Write::Rule(_)
        | Write::Role { .. }
        | Write::Profile { .. } => {}
    }
}

fn tagged(facts: &mut Snapshot, edit: &dyn Fn(&str, &mut Tags)) {
    facts.endpoints.edit(|all| all.iter_mut().for_each(|e| edit(e.id.as_str(), &mut e.tags)));
    facts.security_groups.edit(|all| all.iter_mut().for_each(|g| edit(g.id.as_str(), &mut g.tags)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{InstanceState, VpcAttribute},
        testing::{World, at, converged, group, https, our_rule},
        write::EndpointChange,
    };

    fn plan_of(world: &World) -> Vec<String> {
        let plan = foresee(&world.posture, &world.facts, &world.overlay, &world.memory, world.posture.interval, at(0));
        plan.actions.iter().map(|a| a.write.to_string()).collect()
    }

    fn imagined(write: &Write) -> Snapshot {
        let mut facts = converged();
        // One that nothing is done to.
        facts.security_groups.edit(|all| all.push(SecurityGroup { id: "sg-2".into(), ..group() }));
        imagine(&mut facts, write, &[], "new");
        facts
    }

    fn ingress(facts: &Snapshot, id: &str) -> Vec<IngressRule> {
        let groups = facts.security_groups.reading(Duration::from_secs(600), at(0)).known().unwrap();
        groups.iter().find(|g| g.id.as_str() == id).unwrap().ingress.clone()
    }

    #[test]
    fn rules_are_added_and_taken_away_where_they_are_meant() {
        let (ours, more) = (our_rule("10.0.0.0/16"), https("10.9.0.0/16"));
        let before = ingress(&converged(), "sg-1");
        let added = imagined(&Write::AuthorizeIngress { group: "sg-1".into(), rules: vec![more.clone()] });
        assert_eq!(ingress(&added, "sg-1"), [before.clone(), vec![more.clone()]].concat());
        assert_eq!(ingress(&added, "sg-2"), before);
        let gone = imagined(&Write::RevokeIngress { group: "sg-1".into(), rules: before.clone() });
        assert_eq!((ingress(&gone, "sg-1"), ingress(&gone, "sg-2")), (vec![], before.clone()));
        let kept = imagined(&Write::RevokeIngress { group: "sg-1".into(), rules: vec![more, ours.clone()] });
        assert_eq!(ingress(&kept, "sg-1").iter().filter(|rule| **rule != ours).count(), before.len());
    }

    #[test]
    fn what_is_there_and_added_once_more_is_there_once() {
        let change = EndpointChange {
            add_subnets: ["subnet-a".into(), "subnet-c".into()].into(),
            remove_subnets: ["subnet-b".into()].into(),
            add_groups: ["sg-1".into(), "sg-2".into()].into(),
            add_route_tables: ["rtb-1".into()].into(),
            ..EndpointChange::default()
        };
        let facts = imagined(&Write::ModifyEndpoint { endpoint: "vpce-ssm".into(), change: Box::new(change) });
        let of = |facts: &Snapshot, id: &str| {
            let all = facts.endpoints.reading(Duration::from_secs(600), at(0)).known().unwrap().clone();
            all.iter().find(|e| e.id.as_str() == id).unwrap().clone()
        };
        let changed = of(&facts, "vpce-ssm");
        assert_eq!(changed.subnets, ["subnet-a".into(), "subnet-c".into()].into());
        assert_eq!(changed.groups, ["sg-1".into(), "sg-2".into()].into());
        assert_eq!(changed.route_tables, ["rtb-1".into()].into());
        assert_eq!(of(&facts, "vpce-msg"), of(&converged(), "vpce-msg"));
        let tables = EndpointChange {
            add_route_tables: ["rtb-main".into(), "rtb-2".into()].into(),
            ..EndpointChange::default()
        };
        let facts = imagined(&Write::ModifyEndpoint { endpoint: "vpce-s3".into(), change: Box::new(tables) });
        assert_eq!(of(&facts, "vpce-s3").route_tables, ["rtb-main".into(), "rtb-2".into()].into());
    }

    #[test]
    fn the_whole_way_is_shown_and_nothing_where_there_is_none_to_go() {
        assert_eq!(plan_of(&World::converged()), [""; 0]);
        let group = World::empty().posture.owner.group_name();
        let mut world = World::empty();
        world.attribute(VpcAttribute::DnsHostnames, false);
        world.instance("i-1", "subnet-a", InstanceState::Running, Some((true, "3.3.131.0")));
        assert_eq!(
            plan_of(&world),
            [
                "switch on enableDnsHostnames of vpc-1".to_owned(),
                format!("create security group {group} in vpc-1"),
                "create gateway endpoint com.amazonaws.eu-west-1.s3 for rtb-main".to_owned(),
                "create interface endpoint com.amazonaws.eu-west-1.ssm in subnet-a, subnet-b, private DNS off"
                    .to_owned(),
                "create interface endpoint com.amazonaws.eu-west-1.ssmmessages in subnet-a, subnet-b, private DNS off"
                    .to_owned(),
                "change vpce-new-ssm: private DNS on".to_owned(),
                "change vpce-new-ssmmessages: private DNS on".to_owned(),
            ]
        );
    }
}
