//! The endpoints' security group: what it has to admit, and what it admits.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Case, Facet, Ownership, Verdict, join};
use crate::{
    facts::{IngressRule, RuleSource, SecurityGroup},
    ids::SecurityGroupId,
    posture::{Adoption, GroupWish},
    reason::Reason,
    snapshot::FactKey,
    write::Write,
};

/// The port of every service that is reached by endpoint.
pub const HTTPS: i32 = 443;

/// What the description of a rule of ours starts with; rules without it are left alone.
pub const RULE_MARK: &str = "ssm-ready:";

/// The security groups of the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupState {
    /// The groups that the endpoints should have; empty while there is none.
    pub ids: BTreeSet<SecurityGroupId>,
    /// Whether they admit, as read back, everything declared.
    pub admits: bool,
}

/// Whether a rule admits HTTPS.
fn admits_https(rule: &IngressRule) -> bool {
    match rule.protocol.as_str() {
        // Ports mean nothing where every protocol is let through.
        "-1" => true,
        "tcp" | "6" => rule.ports.is_none_or(|(from, to)| from == -1 || (from <= HTTPS && HTTPS <= to)),
        _ => false,
    }
}

/// The sources that rules do not admit to HTTPS. Neighbouring CIDRs count together.
#[must_use]
pub fn not_admitted<'a>(rules: &[&IngressRule], sources: &'a [RuleSource]) -> Vec<&'a RuleSource> {
    let open: Vec<&RuleSource> = rules.iter().filter(|r| admits_https(r)).map(|r| &r.source).collect();
    let nets: Vec<IpNet> =
        open.iter().filter_map(|s| if let RuleSource::Cidr(net) = s { Some(*net) } else { None }).collect();
    let nets = IpNet::aggregate(&nets);
    sources
        .iter()
        .filter(|source| match source {
            RuleSource::Cidr(net) => !nets.iter().any(|open| open.contains(net)),
            other => !open.contains(other),
        })
        .collect()
}

/// Every CIDR of the VPC: what an endpoint with private DNS has to admit.
fn vpc_sources(case: Case<'_>) -> Vec<RuleSource> {
    case.vpc.cidrs.iter().copied().map(RuleSource::Cidr).collect()
}

fn rule(source: RuleSource, what: &str) -> IngressRule {
    IngressRule {
        protocol: "tcp".to_owned(),
        ports: Some((HTTPS, HTTPS)),
        source,
        description: Some(format!("{RULE_MARK} {what}")),
    }
}

/// The rules that the managed group should have.
fn wanted_rules(case: Case<'_>) -> Vec<IngressRule> {
    let GroupWish::Create { all_vpc_cidrs, cidrs, groups, prefix_lists } = &case.posture.group else {
        return Vec::new();
    };
    let mut rules: Vec<IngressRule> = Vec::new();
    if *all_vpc_cidrs {
        rules.extend(vpc_sources(case).into_iter().map(|s| rule(s, "VPC")));
    }
    let clients = cidrs
        .iter()
        .map(|net| RuleSource::Cidr(net.trunc()))
        .chain(groups.iter().cloned().map(RuleSource::Group))
        .chain(prefix_lists.iter().cloned().map(RuleSource::PrefixList));
    for source in clients {
        if !rules.iter().any(|r| r.source == source) {
            rules.push(rule(source, "declared client"));
        }
    }
    rules
}

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict) -> GroupState {
    let nothing = GroupState { ids: BTreeSet::new(), admits: false };
    let Some(groups) = case.view.security_groups.known() else {
        verdict.unknown(Facet::SecurityGroup, &FactKey::SecurityGroups, &case.view.security_groups);
        return nothing;
    };
    match &case.posture.group {
        GroupWish::Existing(ids) => given(case, ids, groups, verdict),
        GroupWish::Create { .. } => managed(case, groups, verdict).unwrap_or(nothing),
    }
}

/// The groups of the VPC that carry our tags; the one that status remembers comes first.
pub(super) fn ours<'a>(case: Case<'_>, groups: &'a [SecurityGroup]) -> Vec<&'a SecurityGroup> {
    let mut ours: Vec<&SecurityGroup> =
        groups.iter().filter(|g| g.vpc == case.vpc.id && case.posture.owner.owns(&g.tags)).collect();
    ours.sort_by_key(|g| (Some(&g.id) != case.memory.group.as_ref(), &g.id));
    ours
}

fn managed(case: Case<'_>, groups: &[SecurityGroup], verdict: &mut Verdict) -> Option<GroupState> {
    let name = case.posture.owner.group_name();
    let wanted = wanted_rules(case);
    let Some(group) = ours(case, groups).first().copied() else {
        return absent(case, groups, &name, wanted, verdict);
    };
    verdict.seen.group = Some(group.id.clone());
    let sources: Vec<RuleSource> = wanted.iter().map(|r| r.source.clone()).collect();
    let is_ours = |r: &IngressRule| r.description.as_deref().is_some_and(|d| d.starts_with(RULE_MARK));
    // Rules of ours that are no longer declared go, so nothing may rest on them.
    let (extra, rules): (Vec<&IngressRule>, Vec<&IngressRule>) =
        group.ingress.iter().partition(|r| is_ours(r) && !sources.contains(&r.source));
    let missing: Vec<RuleSource> = not_admitted(&rules, &sources).into_iter().cloned().collect();
    let of_vpc = vpc_sources(case);
    let left_out: Vec<&RuleSource> =
        not_admitted(&rules, &of_vpc).into_iter().filter(|source| !sources.contains(source)).collect();
    let all_admitted = left_out.is_empty();
    if !all_admitted {
        verdict.fail(
            Facet::SecurityGroup,
            Reason::SecurityGroupRejectsClients,
            format!(
                "private DNS leads all of {} to the endpoints, but nothing declared admits {}: set endpoints.securityGroup.create.allVpcCidrs, or declare these CIDRs",
                case.vpc.id,
                join(&left_out)
            ),
        );
    } else if missing.is_empty() {
        verdict.pass(Facet::SecurityGroup, format!("{} admits HTTPS from {}", group.id, join(&sources)));
    }
    if !missing.is_empty() {
        verdict
            .fail(
                Facet::SecurityGroup,
                Reason::SecurityGroupIncomplete,
                format!("{} has no rule for HTTPS from {}; the rules are to be added", group.id, join(&missing)),
            )
            .differs("securityGroup.ingress", join(&sources), format!("without {}", join(&missing)));
        let add = wanted.iter().filter(|r| missing.contains(&r.source)).cloned().collect();
        verdict.propose(Facet::SecurityGroup, Write::AuthorizeIngress { group: group.id.clone(), rules: add });
    }
    let foreign: Vec<&IngressRule> = rules.into_iter().filter(|r| !sources.contains(&r.source)).collect();
    // What is to go stays until everybody is admitted without it.
    if !extra.is_empty() && missing.is_empty() && all_admitted {
        verdict
            .warn(
                Facet::SecurityGroup,
                Reason::EndpointDrifted,
                format!(
                    "{} still admits {}, which is no longer declared; the rules are to be removed",
                    group.id,
                    join(extra.iter().map(|r| &r.source))
                ),
            )
            .gate = true;
        let rules = extra.into_iter().cloned().collect();
        verdict.propose(Facet::SecurityGroup, Write::RevokeIngress { group: group.id.clone(), rules }).disrupts =
            Some("connections from these addresses to the endpoints");
    }
    if !foreign.is_empty() {
        verdict.warn(
            Facet::SecurityGroup,
            Reason::UnexpectedIngress,
            format!(
                "{} also admits {}, by rules that ssm-ready did not make and leaves alone: remove or declare them",
                group.id,
                join(foreign.iter().map(|r| &r.source))
            ),
        );
    }
    Some(GroupState { ids: [group.id.clone()].into(), admits: missing.is_empty() && all_admitted })
}

/// No group of ours is listed.
fn absent(
    case: Case<'_>,
    groups: &[SecurityGroup],
    name: &str,
    wanted: Vec<IngressRule>,
    verdict: &mut Verdict,
) -> Option<GroupState> {
    let vpc = &case.vpc.id;
    if let Some(same_name) = groups.iter().find(|g| g.vpc == *vpc && g.name == name) {
        if case.posture.adoption == Adoption::TakeOver {
            verdict.fail(
                Facet::SecurityGroup,
                Reason::SecurityGroupIncomplete,
                format!("{} is to be taken over", same_name.id),
            );
            verdict.propose(
                Facet::SecurityGroup,
                Write::Tag { resources: [same_name.id.to_string()].into(), tags: case.posture.tags_for("endpoints") },
            );
        } else {
            verdict
                .fail(
                    Facet::SecurityGroup,
                    Reason::SecurityGroupConflict,
                    format!(
                        "{} is named {name} but does not carry the tags {} that make it ours: restore them, delete the group, or set endpoints.adoption: TakeOver",
                        same_name.id,
                        join(case.posture.owner.tags().iter().map(|(k, v)| format!("{k}={v}")))
                    ),
                )
                .differs("securityGroup.tags", "our ownership tags", "removed");
        }
        return None;
    }
    if case.view.overlay.has_group(vpc, name) {
        verdict.fail(
            Facet::SecurityGroup,
            Reason::SecurityGroupMissing,
            format!("{name} has been made and is not listed yet"),
        );
        return None;
    }
    let check = verdict.fail(
        Facet::SecurityGroup,
        Reason::SecurityGroupMissing,
        format!("the security group {name} does not exist yet"),
    );
    if let Some(last) = &case.memory.group {
        check.differs("securityGroup", last.as_str(), "missing");
    }
    verdict
        .propose(
            Facet::SecurityGroup,
            Write::CreateSecurityGroup {
                vpc: vpc.clone(),
                name: name.to_owned(),
                description: format!("VPC endpoints of {}", case.posture.owner.tag()).chars().take(255).collect(),
                tags: case.posture.tags_for("endpoints"),
            },
        )
        .then_admit = wanted;
    None
}

fn given(
    case: Case<'_>,
    ids: &BTreeSet<SecurityGroupId>,
    groups: &[SecurityGroup],
    verdict: &mut Verdict,
) -> GroupState {
    let found: Vec<&SecurityGroup> = groups.iter().filter(|g| ids.contains(&g.id) && g.vpc == case.vpc.id).collect();
    let absent: Vec<&SecurityGroupId> = ids.iter().filter(|id| !found.iter().any(|g| g.id == **id)).collect();
    if !absent.is_empty() {
        verdict.fail(
            Facet::SecurityGroup,
            Reason::SecurityGroupNotFound,
            format!("{} has no {}: correct endpoints.securityGroup.existing.ids", case.vpc.id, join(absent)),
        );
        return GroupState { ids: BTreeSet::new(), admits: false };
    }
    let admits = match admission(case, ids, groups) {
        Admission::All => {
            verdict.pass(Facet::SecurityGroup, format!("{} admits HTTPS from all of {}", join(ids), case.vpc.id));
            true
        }
        Admission::Unknown(missing) => {
            verdict.check(
                Facet::SecurityGroup,
                super::Outcome::Unknown,
                Reason::FactUnreadable,
                format!("{} admits HTTPS from prefix lists, which may or may not cover {missing}: add a rule for these CIDRs", join(ids)),
            );
            false
        }
        Admission::Lacks(missing) => {
            verdict.fail(
                Facet::SecurityGroup,
                Reason::SecurityGroupRejectsClients,
                format!(
                    "{} does not admit TCP 443 from {missing}: add the rules, or let ssm-ready create the group",
                    join(ids)
                ),
            );
            false
        }
    };
    GroupState { ids: ids.clone(), admits }
}

/// Whether groups admit HTTPS from all of the VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// They do.
    All,
    /// They do not admit these.
    Lacks(String),
    /// Rules by prefix list may admit these.
    Unknown(String),
}

pub(super) fn admission(case: Case<'_>, ids: &BTreeSet<SecurityGroupId>, groups: &[SecurityGroup]) -> Admission {
    let rules: Vec<&IngressRule> = groups.iter().filter(|g| ids.contains(&g.id)).flat_map(|g| &g.ingress).collect();
    let sources = vpc_sources(case);
    let missing = not_admitted(&rules, &sources);
    if missing.is_empty() {
        Admission::All
    } else if rules.iter().any(|r| admits_https(r) && matches!(r.source, RuleSource::PrefixList(_))) {
        Admission::Unknown(join(missing))
    } else {
        Admission::Lacks(join(missing))
    }
}

/// A group of ours that no endpoint uses any more: the spec now names others, or there were two.
pub(super) fn judge_leftover(case: Case<'_>, state: &GroupState, verdict: &mut Verdict) {
    let (Some(groups), Some(endpoints)) = (case.view.security_groups.known(), case.view.endpoints.known()) else {
        return;
    };
    if state.ids.is_empty() {
        return;
    }
    let unused = ours(case, groups)
        .into_iter()
        .filter(|g| !state.ids.contains(&g.id) && !endpoints.iter().any(|e| e.groups.contains(&g.id)));
    let unused: Vec<SecurityGroupId> = unused.map(|g| g.id.clone()).collect();
    for group in unused {
        verdict.propose(Facet::SecurityGroup, Write::DeleteSecurityGroup { group });
    }
}

/// Whose the endpoints' group is.
#[must_use]
pub fn ownership(wish: &GroupWish) -> Ownership {
    match wish {
        GroupWish::Create { .. } => Ownership::Managed,
        GroupWish::Existing(_) => Ownership::Existing,
    }
}
