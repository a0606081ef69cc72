//! Roles: made, kept, or added to, and never beyond the guardrails.

use std::collections::BTreeSet;

use super::{AccountSeen, Case, RoleOwnership, RoleWish, SeenRole, statements};
use crate::{
    evaluate::{Facet, Ownership, Verdict, join},
    facts::iam::{INLINE_POLICY, Role},
    ids::PolicyArn,
    policy::{same, trust, trusts},
    posture::{CLUSTER_TAG, OWNER_TAG},
    reason::Reason,
    snapshot::FactKey,
    write::{NewRole, RoleChange, Write},
};

const FACET: Facet = Facet::Roles;

/// What its profile has to know of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoleState {
    /// It is there, or made by an action before.
    There,
    /// It is not there, will not be, or is none that a profile may give to instances.
    Withheld,
}

pub(super) fn judge(case: Case<'_>, wish: &RoleWish, verdict: &mut Verdict<AccountSeen>) -> RoleState {
    let reading = case.view.role(&wish.role);
    let Some(found) = reading.known() else {
        verdict.unknown(FACET, &FactKey::Role(wish.role.clone()), &reading);
        return RoleState::Withheld;
    };
    let one = One { case, wish, may_write: reading.current().is_some() };
    let allowed = one.guarded(verdict);
    let inline = one.inline(verdict);
    let (Some(inline), true) = (inline, allowed) else {
        one.see(found.as_ref(), verdict);
        return RoleState::Withheld;
    };
    match found {
        None => one.missing(inline, verdict),
        Some(role) => one.found(role, inline, verdict),
    }
}

struct One<'a> {
    case: Case<'a>,
    wish: &'a RoleWish,
    may_write: bool,
}

impl One<'_> {
    /// Whether what is declared is within the guardrails: any policy on a role reaches every instance that takes it on.
    fn guarded(&self, verdict: &mut Verdict<AccountSeen>) -> bool {
        let Self { wish, case, .. } = self;
        let rails = &case.posture.guardrails;
        let beyond: Vec<&PolicyArn> = wish.extra.iter().filter(|policy| !self.is_allowed(policy)).collect();
        if !beyond.is_empty() {
            verdict.fail(
                FACET,
                Reason::GuardrailViolated,
                format!(
                    "{}: extraManagedPolicies has {}, which guardrails.managedPolicies of the AwsAccount does not list",
                    wish.name,
                    join(&beyond)
                ),
            );
        }
        let outside =
            rails.paths.as_ref().is_some_and(|paths| !paths.iter().any(|p| wish.path.starts_with(p.as_str())));
        if outside {
            verdict.fail(
                FACET,
                Reason::GuardrailViolated,
                format!(
                    "{}: the path {} does not begin with any of guardrails.rolePathPrefixes of the AwsAccount ({})",
                    wish.name,
                    wish.path,
                    join(rails.paths.iter().flatten())
                ),
            );
        }
        beyond.is_empty() && !outside
    }

    /// AWS's own for the purpose, and those that the account's owner lists.
    fn is_allowed(&self, policy: &PolicyArn) -> bool {
        let Self { wish, case, .. } = self;
        case.posture.guardrails.policies.contains(policy) || wish.own_policies(&case.posture.partition).contains(policy)
    }

    /// The statements for the inline policy; none where they cannot be made.
    fn inline(&self, verdict: &mut Verdict<AccountSeen>) -> Option<Option<String>> {
        let Self { wish, case, .. } = self;
        match statements::inline(case.posture, wish) {
            Ok(text) => Some(text),
            Err(statements::Refusal::BucketsUnknown(regions)) => {
                verdict.fail(
                    FACET,
                    Reason::BucketsUnknown,
                    format!(
                        "{}: AWS does not publish its buckets of {}: remove the region from s3.awsBuckets.regions, and grant them by a policy of your own",
                        wish.name,
                        statements::list(&regions)
                    ),
                );
                None
            }
            Err(statements::Refusal::TooLong(length)) => {
                verdict.fail(
                    FACET,
                    Reason::PolicyTooLong,
                    format!(
                        "{}: its statements take {length} characters, and IAM allows {}: name fewer regions, buckets or keys",
                        wish.name,
                        statements::LIMIT
                    ),
                );
                None
            }
        }
    }

    fn see(&self, role: Option<&Role>, verdict: &mut Verdict<AccountSeen>) {
        let Self { wish, case, .. } = self;
        let owner = &case.posture.owner;
        let profile = wish.profile();
        let found = profile.and_then(|profile| case.view.profile(profile).known().and_then(Option::as_ref));
        verdict.seen.roles.push(SeenRole {
            name: wish.name.clone(),
            role: wish.role.clone(),
            arn: role.map(|role| role.arn.clone()),
            ownership: role.map(|r| if owner.owns(&r.tags) { Ownership::Managed } else { Ownership::Existing }),
            policies: role.map(|role| role.policies.clone()).unwrap_or_default(),
            profile: profile.cloned(),
            profile_arn: found.map(|profile| profile.arn.clone()),
        });
        let entry = verdict.seen.memory.roles.entry(wish.name.clone()).or_default();
        entry.role = wish.role.clone();
        entry.profile = profile.cloned();
        let Some(role) = role else {
            // The next one of the name has nothing that we attached.
            entry.existed = false;
            entry.attached.clear();
            return;
        };
        // One that was ours and has lost its tags is remembered as that: they may be restored.
        entry.managed = owner.owns(&role.tags) || (entry.managed && entry.existed);
        entry.existed = true;
        // Read back: what we were about to attach is attached.
        let (done, open): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut entry.attaching).into_iter().partition(|policy| role.policies.contains(policy));
        entry.attached.extend(done);
        // What was never attached and is no longer wanted is whoever's attaches it from now on.
        let wanted = wish.policies(&case.posture.partition);
        entry.attaching = &open & &wanted;
        entry.attached.retain(|policy| role.policies.contains(policy));
    }

    fn change(&self, change: RoleChange, verdict: &mut Verdict<AccountSeen>) {
        if self.may_write {
            let replaces = !matches!(change, RoleChange::PutInline(_)) || self.has_statements();
            let write = Write::Role { role: self.wish.role.clone(), change };
            let disrupts = write.disrupts().filter(|_| replaces);
            verdict.propose(FACET, write).disrupts = disrupts;
        }
    }

    /// Whether there are statements of the name that ours have.
    fn has_statements(&self) -> bool {
        let role = self.case.view.role(&self.wish.role).known().and_then(Option::as_ref);
        role.is_some_and(|role| role.inline.contains_key(INLINE_POLICY))
    }

    fn missing(&self, inline: Option<String>, verdict: &mut Verdict<AccountSeen>) -> RoleState {
        let Self { wish, case, .. } = self;
        self.see(None, verdict);
        if wish.ownership == RoleOwnership::AttachOnly {
            verdict.fail(
                FACET,
                Reason::RoleNotFound,
                format!(
                    "account {} has no role {}, and ownership is AttachOnly: create the role, or set ownership: Create",
                    case.posture.account, wish.role
                ),
            );
            return RoleState::Withheld;
        }
        if case.view.fresh.roles.contains(&wish.role) {
            verdict.fail(
                FACET,
                Reason::RolePending,
                format!("role {} was made, and IAM does not show it yet", wish.role),
            );
            verdict.watch.insert(FactKey::Role(wish.role.clone()));
            return RoleState::There;
        }
        verdict.fail(FACET, Reason::RoleMissing, format!("there is no role {}", wish.role)).differs(
            format!("roles.{}", wish.name),
            "a role",
            "none",
        );
        self.change(
            RoleChange::Create(Box::new(NewRole {
                path: wish.path.clone(),
                trust: self.trust(),
                description: format!("{} of {}, made by ssm-ready", wish.name, case.posture.owner.tag()),
                boundary: case.posture.guardrails.boundary.clone(),
                tags: case.posture.all_tags(),
            })),
            verdict,
        );
        for policy in wish.policies(&case.posture.partition) {
            self.change(RoleChange::Attach(policy), verdict);
        }
        if let Some(inline) = inline {
            self.change(RoleChange::PutInline(inline), verdict);
        }
        if self.may_write { RoleState::There } else { RoleState::Withheld }
    }

    fn trust(&self) -> String {
        trust(self.wish.services(&self.case.posture.partition))
    }

    fn found(&self, role: &Role, inline: Option<String>, verdict: &mut Verdict<AccountSeen>) -> RoleState {
        let Self { wish, case, .. } = self;
        let owner = &case.posture.owner;
        let before = case.memory.roles.get(&wish.name).cloned().unwrap_or_default();
        self.see(Some(role), verdict);
        let ours = owner.owns(&role.tags);
        if !ours && wish.ownership == RoleOwnership::Create {
            let lost = before.managed && before.existed;
            let why = if lost { "has lost the tags of ssm-ready" } else { "was not made by this object" };
            let message = format!(
                "role {} {why}: restore its tags {CLUSTER_TAG}={} and {OWNER_TAG}={}, choose another roleName, or set ownership: AttachOnly or TakeOver",
                wish.role,
                owner.cluster,
                owner.tag()
            );
            verdict.fail(FACET, Reason::Foreign, message).differs(
                format!("roles.{}.tags", wish.name),
                "our ownership tags",
                if lost { "removed" } else { "none" },
            );
            return RoleState::Withheld;
        }
        if role.path != wish.path {
            verdict.fail(
                FACET,
                Reason::RolePathDiffers,
                format!(
                    "role {} has the path {}, and {} is declared: correct the path, or delete the role so that it is made anew",
                    wish.role, role.path, wish.path
                ),
            );
            return RoleState::Withheld;
        }
        if !ours && wish.ownership == RoleOwnership::TakeOver && !self.may_be_taken(role, verdict) {
            return RoleState::Withheld;
        }
        let attach_only = wish.ownership == RoleOwnership::AttachOnly;
        if attach_only && !self.as_it_is(role, verdict) {
            // Nothing is given to what may not serve.
            self.unexpected(role, verdict);
            return RoleState::Withheld;
        }
        let mut good = self.policies(role, verdict);
        if !attach_only {
            good &= self.kept(role, ours, inline.as_deref(), verdict);
        }
        self.unexpected(role, verdict);
        if good {
            let whose = if ours { "" } else { ", which is somebody else's," };
            let without = if attach_only && inline.is_some() {
                "; with ownership: AttachOnly no statements for buckets, keys and logs are written, only managed policies attached"
            } else {
                ""
            };
            verdict.pass(FACET, format!("role {}{whose} is as declared{without}", wish.role));
        }
        RoleState::There
    }

    /// Whether a role of somebody else's carries no more than the guardrails allow: with it we would hand that out.
    fn may_be_taken(&self, role: &Role, verdict: &mut Verdict<AccountSeen>) -> bool {
        let managed = role.policies.iter().filter(|policy| !self.is_allowed(policy)).map(ToString::to_string);
        let inline = role.inline.keys().filter(|name| *name != INLINE_POLICY).map(|name| format!("{name} (inline)"));
        let beyond: Vec<String> = managed.chain(inline).collect();
        if !beyond.is_empty() {
            verdict.fail(
                FACET,
                Reason::GuardrailViolated,
                format!(
                    "role {} is not taken over: it carries {}, which guardrails.managedPolicies of the AwsAccount does not list: detach them first",
                    self.wish.role,
                    join(&beyond)
                ),
            );
        }
        beyond.is_empty()
    }

    fn drifted(&self, what: &str, wanted: String, seen: String, verdict: &mut Verdict<AccountSeen>) {
        verdict
            .fail(
                FACET,
                Reason::RoleDrifted,
                format!("role {}: {what} is {seen}, and {wanted} is declared", self.wish.role),
            )
            .differs(format!("roles.{}.{what}", self.wish.name), wanted, seen);
    }

    /// The managed policies: what is lacking is attached; what we attached and nobody declares any more is detached.
    fn policies(&self, role: &Role, verdict: &mut Verdict<AccountSeen>) -> bool {
        let attached = self.attached(verdict);
        let wanted = self.wish.policies(&self.case.posture.partition);
        let lacking: Vec<&PolicyArn> = wanted.difference(&role.policies).collect();
        let superfluous: Vec<&PolicyArn> =
            attached.iter().filter(|policy| role.policies.contains(*policy) && !wanted.contains(*policy)).collect();
        if !lacking.is_empty() {
            self.drifted("policies", format!("with {}", join(&lacking)), "without".to_owned(), verdict);
        }
        if !superfluous.is_empty() {
            self.drifted("policies", format!("without {}", join(&superfluous)), "with them".to_owned(), verdict);
        }
        let good = lacking.is_empty() && superfluous.is_empty();
        for policy in lacking {
            self.change(RoleChange::Attach(policy.clone()), verdict);
        }
        for policy in superfluous {
            self.change(RoleChange::Detach(policy.clone()), verdict);
        }
        good
    }

    /// What has to hold of a role that is only added to.
    fn as_it_is(&self, role: &Role, verdict: &mut Verdict<AccountSeen>) -> bool {
        let Self { wish, case, .. } = self;
        let services = wish.services(&case.posture.partition);
        let trusted = services.iter().any(|service| trusts(&role.trust, service));
        if !trusted {
            verdict.fail(
                FACET,
                Reason::RoleTrustWrong,
                format!(
                    "role {} does not trust {}, and ownership is AttachOnly: correct its trust policy, or set ownership: TakeOver",
                    wish.role,
                    join(services)
                ),
            );
        }
        let bounded = case.posture.guardrails.boundary.as_ref().is_none_or(|b| role.boundary.as_ref() == Some(b));
        if !bounded {
            verdict.fail(
                FACET,
                Reason::GuardrailViolated,
                format!(
                    "role {} does not have the permissions boundary of the guardrails, and ownership is AttachOnly: set it, or set ownership: TakeOver",
                    wish.role
                ),
            );
        }
        trusted && bounded
    }

    /// What is kept of a role that is ours, or becomes ours.
    fn kept(&self, role: &Role, ours: bool, inline: Option<&str>, verdict: &mut Verdict<AccountSeen>) -> bool {
        let Self { wish, case, .. } = self;
        let mut good = true;
        let lacking: crate::facts::Tags =
            case.posture.all_tags().into_iter().filter(|(key, value)| role.tags.get(key) != Some(value)).collect();
        if !lacking.is_empty() {
            good = false;
            let seen = if ours { "without" } else { "somebody else's" };
            self.drifted("tags", format!("with {}", join(lacking.keys())), seen.to_owned(), verdict);
            self.change(RoleChange::Tag(lacking), verdict);
        }
        if let Some(boundary) = &case.posture.guardrails.boundary
            && role.boundary.as_ref() != Some(boundary)
        {
            good = false;
            let seen = role.boundary.as_ref().map_or("none".to_owned(), ToString::to_string);
            self.drifted("permissionsBoundary", boundary.to_string(), seen, verdict);
            self.change(RoleChange::Boundary(boundary.clone()), verdict);
        }
        if !same(&role.trust, &self.trust()) {
            good = false;
            let services = join(wish.services(&case.posture.partition));
            self.drifted("trust", format!("exactly {services}"), "another".to_owned(), verdict);
            self.change(RoleChange::Trust(self.trust()), verdict);
        }
        match (inline, role.inline.get(INLINE_POLICY)) {
            (None, None) => {}
            (Some(wanted), Some(Some(found))) if same(wanted, found) => {}
            (Some(wanted), found) => {
                good = false;
                let seen = if found.is_some() { "another" } else { "none" };
                self.drifted("inlinePolicy", "the declared statements".to_owned(), seen.to_owned(), verdict);
                self.change(RoleChange::PutInline(wanted.to_owned()), verdict);
            }
            (None, Some(_)) => {
                good = false;
                self.drifted("inlinePolicy", "none".to_owned(), "there".to_owned(), verdict);
                self.change(RoleChange::DeleteInline(INLINE_POLICY.to_owned()), verdict);
            }
        }
        good
    }

    /// What we attached, as this look has confirmed it.
    fn attached(&self, verdict: &Verdict<AccountSeen>) -> BTreeSet<PolicyArn> {
        verdict.seen.memory.roles.get(&self.wish.name).map(|kept| kept.attached.clone()).unwrap_or_default()
    }

    fn unexpected(&self, role: &Role, verdict: &mut Verdict<AccountSeen>) {
        let wanted = self.wish.policies(&self.case.posture.partition);
        let attached = self.attached(verdict);
        let managed =
            role.policies.iter().filter(|p| !wanted.contains(*p) && !attached.contains(*p)).map(ToString::to_string);
        let inline = role.inline.keys().filter(|name| *name != INLINE_POLICY).map(|name| format!("{name} (inline)"));
        let all: Vec<String> = managed.chain(inline).collect();
        if !all.is_empty() {
            verdict.warn(
                FACET,
                Reason::UnexpectedPolicies,
                format!(
                    "role {} carries {}, which nobody declares here, and every instance that takes it on has it: detach or declare it",
                    self.wish.role,
                    join(&all)
                ),
            );
        }
    }
}
