//! The instance profiles that the instances of a VPC have, whether these can be managed with them, and giving one to
//! those that have none.
//!
//! An agent asks with the credentials of its profile first; only where these are refused, or there are none, it takes
//! Default Host Management (amazon-ssm-agent, `ec2_role_provider.go`). So a profile that allows to register and nothing
//! more is worse than none.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    calls::AgeClass,
    evaluate::{Facet, Outcome, Verdict, join},
    facts::{
        Instance, InstanceState,
        iam::{AgentAction, AgentPermissions, Profile},
        settings::Setting,
    },
    ids::{InstanceId, ProfileName, RoleName},
    posture::{TagSelector, VpcPosture, selects},
    reason::Reason,
    region::{RegionView, name_in, reading},
    snapshot::{FactKey, Reading},
    write::Write,
};

const FACET: Facet = Facet::InstanceProfiles;
const HOST_MANAGEMENT: Setting = Setting::HostManagementRole;

/// So many profiles of a VPC are judged, those of most instances first: each takes calls of IAM, which are few.
pub const MAX_PROFILES: usize = 50;
/// So many instances are named of each profile.
pub const SAMPLE: usize = 3;

/// What made an instance, and gives it a profile itself where one is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Launcher {
    /// An Auto Scaling group, by its launch template.
    AutoScaling,
    /// EKS, for the nodes of a cluster.
    Eks,
    /// Elastic Beanstalk, for an environment.
    Beanstalk,
}

impl Launcher {
    /// What made an instance, by the tags that it gives: the nodes of EKS and Beanstalk are in Auto Scaling groups too,
    /// and count as theirs.
    #[must_use]
    pub fn of(instance: &Instance) -> Option<Self> {
        let has = |key: &str| instance.tags.contains_key(key);
        let of_cluster = instance.tags.keys().any(|key| key.starts_with("kubernetes.io/cluster/"));
        if of_cluster || has("eks:cluster-name") || has("aws:eks:cluster-name") {
            Some(Self::Eks)
        } else if has("elasticbeanstalk:environment-name") {
            Some(Self::Beanstalk)
        } else {
            has("aws:autoscaling:groupName").then_some(Self::AutoScaling)
        }
    }
}

/// The profile that instances are to get, and the role that it has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredProfile {
    /// The profile.
    pub profile: ProfileName,
    /// Its role.
    pub role: RoleName,
}

/// Which instances get a profile, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The profile that an AccountPosture declares; why there is none yet.
    pub declared: Result<DeclaredProfile, String>,
    /// Only instances with these tags; none are chosen by an empty list.
    pub selector: Vec<TagSelector>,
    /// Instances that something made which gives profiles itself are left out, unless it is named here.
    pub include: BTreeSet<Launcher>,
    /// No more instances than this at one pass.
    pub max_per_pass: usize,
}

/// What is wanted of the instances of a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstancesWish {
    /// Giving a profile to those that have none; none: it is left to others.
    pub attachment: Option<Attachment>,
}

/// Whether instances can be managed with a profile, or with none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credentials {
    /// With the profile: its role allows all that agents do.
    Managed,
    /// Its role allows them to register, which keeps them from Default Host Management, and lacks what sessions take.
    ProfileInsufficient,
    /// By Default Host Management.
    HostManagement,
    /// Not at all.
    NoCredentials,
    /// It cannot be said.
    Unknown,
}

/// A profile as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenProfile {
    /// Its ARN; none: that of instances without one.
    pub profile: Option<String>,
    /// Running instances that have it.
    pub instances: usize,
    /// Some of them.
    pub sample: Vec<InstanceId>,
    /// Whether they can be managed.
    pub credentials: Credentials,
}

/// Running instances that have the same profile.
struct Group<'a> {
    profile: Option<&'a str>,
    instances: Vec<&'a Instance>,
}

/// The running instances of the VPC by their profile: those without first, then those of most instances.
fn groups<'a>(posture: &VpcPosture, instances: &'a [Instance]) -> Vec<Group<'a>> {
    let mut all: BTreeMap<Option<&str>, Vec<&Instance>> = BTreeMap::new();
    for instance in instances.iter().filter(|i| i.vpc == posture.vpc && i.state == InstanceState::Running) {
        all.entry(instance.profile.as_deref()).or_default().push(instance);
    }
    let mut groups: Vec<Group<'_>> = all.into_iter().map(|(profile, instances)| Group { profile, instances }).collect();
    groups.sort_by_key(|group| (group.profile.is_some(), std::cmp::Reverse(group.instances.len())));
    groups
}

fn instances<'a>(view: &RegionView<'a>) -> Reading<'a, Vec<Instance>> {
    reading(Some(&view.region.instances), AgeClass::Fast, view.interval, view.now)
}

fn profile<'a>(view: &RegionView<'a>, name: &ProfileName) -> Reading<'a, Option<Profile>> {
    reading(view.account.profiles.get(name), AgeClass::Iam, view.account_interval, view.now)
}

fn permissions<'a>(view: &RegionView<'a>, role: &RoleName) -> Reading<'a, Option<AgentPermissions>> {
    reading(view.account.role_verdicts.get(role), AgeClass::Iam, view.account_interval, view.now)
}

/// A profile's name in its ARN: what follows the last slash.
fn profile_in(arn: &str) -> ProfileName {
    arn.rsplit('/').next().unwrap_or(arn).into()
}

/// The facts that the region's place has to know, beyond those of the VPC itself.
#[must_use]
pub fn wanted_of_region(posture: &VpcPosture) -> BTreeSet<FactKey> {
    posture.instances.iter().map(|_| FactKey::Setting(HOST_MANAGEMENT)).collect()
}

/// The facts that the account's place has to know. What these are follows from what is known already.
#[must_use]
pub fn wanted_of_account(posture: &VpcPosture, view: &RegionView<'_>) -> BTreeSet<FactKey> {
    let Some(wish) = &posture.instances else { return BTreeSet::new() };
    let mut facts = BTreeSet::new();
    let found = instances(view).known().map(|all| groups(posture, all)).unwrap_or_default();
    let of_instances = found.iter().filter_map(|group| group.profile).take(MAX_PROFILES).map(profile_in);
    let declared = wish.attachment.as_ref().and_then(|attachment| attachment.declared.as_ref().ok());
    for name in of_instances.chain(declared.map(|declared| declared.profile.clone())) {
        if let Some(Some(Profile { role: Some(role), .. })) = profile(view, &name).known() {
            facts.insert(FactKey::RoleVerdict(role.clone()));
        }
        facts.insert(FactKey::Profile(name));
    }
    if let Some(Some(setting)) = view.setting(HOST_MANAGEMENT).known()
        && let Some(value) = &setting.value
    {
        facts.insert(FactKey::Role(name_in(value)));
    }
    facts
}

/// Whether Default Host Management is on; why that cannot be told.
fn host_management(view: &RegionView<'_>) -> Result<bool, String> {
    let reading = view.setting(HOST_MANAGEMENT);
    let Some(setting) = reading.known() else {
        return Err(reading.why(&FactKey::Setting(HOST_MANAGEMENT)));
    };
    // What names no role is off, whatever it is called (`$None` has been seen).
    let Some(value) = setting.as_ref().and_then(|setting| setting.value.as_ref()) else { return Ok(false) };
    let role = name_in(value);
    let reading = view.role(&role);
    let Some(found) = reading.known() else { return Err(reading.why(&FactKey::Role(role))) };
    Ok(found.as_ref().is_some_and(|role| role.setting_value() == *value))
}

/// What a profile gives an agent.
enum Given<'a> {
    /// No credentials: there is no profile, or no role in it.
    Nothing,
    /// Those of a role, which allow this.
    Role(&'a RoleName, &'a AgentPermissions),
    /// It cannot be told why.
    Unknown(String),
}

fn given<'a>(view: &RegionView<'a>, arn: Option<&str>) -> Given<'a> {
    let Some(arn) = arn else { return Given::Nothing };
    let name = profile_in(arn);
    let reading = profile(view, &name);
    let Some(found) = reading.known() else { return Given::Unknown(reading.why(&FactKey::Profile(name))) };
    let Some(role) = found.as_ref().and_then(|profile| profile.role.as_ref()) else { return Given::Nothing };
    let reading = permissions(view, role);
    match reading.known() {
        Some(Some(allowed)) => Given::Role(role, allowed),
        Some(None) => Given::Nothing,
        None => Given::Unknown(reading.why(&FactKey::RoleVerdict(role.clone()))),
    }
}

/// Judges the profiles of the VPC's instances, and proposes to give one to those that have none.
pub fn judge(posture: &VpcPosture, view: &RegionView<'_>, verdict: &mut Verdict) {
    let Some(wish) = &posture.instances else { return };
    let reading = instances(view);
    let Some(all) = reading.known() else { return verdict.unknown(FACET, &FactKey::Instances, &reading) };
    let host = host_management(view);
    let groups = groups(posture, all);
    let (with, without): (Vec<&Group<'_>>, Vec<&Group<'_>>) = groups.iter().partition(|group| group.profile.is_some());
    let mut seen = Vec::new();
    for group in without.into_iter().chain(with.iter().copied().take(MAX_PROFILES)) {
        seen.push(SeenProfile {
            profile: group.profile.map(str::to_owned),
            instances: group.instances.len(),
            sample: group.instances.iter().take(SAMPLE).map(|i| i.id.clone()).collect(),
            credentials: judge_group(view, group, &host, verdict),
        });
    }
    if let Some(left) = with.len().checked_sub(MAX_PROFILES).filter(|left| *left > 0) {
        untold(format!("{left} further profiles, each of fewer instances, are not judged"), verdict);
    }
    if groups.is_empty() {
        verdict.pass(FACET, "no instance runs");
    }
    verdict.seen.profiles = Some(seen);
    if let Some(attachment) = &wish.attachment {
        let may_write = reading.current().is_some();
        attach(posture, view, attachment, all.iter().filter(|_| may_write), host.as_ref().ok().copied(), verdict);
    }
}

/// Says what cannot be told.
fn untold(message: String, verdict: &mut Verdict) {
    verdict.check(FACET, Outcome::Unknown, Reason::FactUnreadable, message);
}

/// So many instances, and who some of them are.
fn named(instances: &[&Instance]) -> String {
    let some = join(instances.iter().take(SAMPLE).map(|i| &i.id));
    match instances.len() {
        1 => format!("instance {some}"),
        count if count <= SAMPLE => format!("{count} instances ({some})"),
        count => format!("{count} instances ({some} and others)"),
    }
}

fn judge_group(
    view: &RegionView<'_>,
    group: &Group<'_>,
    host: &Result<bool, String>,
    verdict: &mut Verdict,
) -> Credentials {
    use AgentAction::{GetMessages, UpdateInstanceInformation};
    let given = given(view, group.profile);
    let who = named(&group.instances);
    let name = group.profile.map(profile_in);
    let with = name.as_ref().map_or("without instance profile".to_owned(), |name| format!("with profile {name}"));
    let unknown = |why: &str, verdict: &mut Verdict| {
        untold(format!("{who} {with}: {why}"), verdict);
        Credentials::Unknown
    };
    let role = match given {
        Given::Unknown(why) => return unknown(&why, verdict),
        Given::Nothing => None,
        Given::Role(role, allowed) => match allowed.allows(UpdateInstanceInformation) {
            None => {
                let why = format!("whether role {role} allows {UpdateInstanceInformation} cannot be told");
                return unknown(&why, verdict);
            }
            Some(false) => Some(role),
            Some(true) => match allowed.suffices() {
                Some(true) => {
                    verdict.pass(FACET, format!("{who} {with}: managed by it"));
                    return Credentials::Managed;
                }
                None => return unknown(&format!("whether role {role} allows sessions cannot be told"), verdict),
                Some(false) => {
                    let lacking = AgentAction::CHANNELS.into_iter().filter(|a| allowed.allows(*a) == Some(false));
                    let old = match allowed.allows(GetMessages) {
                        Some(true) => "; commands come by the old channel (ec2messages) alone",
                        _ => "",
                    };
                    let lacking = join(lacking);
                    let what = format!("{who} {with}: role {role} lets them register and lacks {lacking}");
                    if *host == Ok(true) {
                        let message = format!(
                            "{what}, so that they take neither sessions nor Default Host Management{old}: attach AmazonSSMManagedInstanceCore to the role, or take {UpdateInstanceInformation} from it"
                        );
                        verdict.fail(FACET, Reason::ProfileBlocksHostManagement, message);
                    } else {
                        let message = format!(
                            "{what}, so that they are Online without sessions{old}: attach AmazonSSMManagedInstanceCore to the role"
                        );
                        verdict.fail(FACET, Reason::ProfileInsufficient, message);
                    }
                    return Credentials::ProfileInsufficient;
                }
            },
        },
    };
    match host {
        Err(why) => unknown(&format!("whether Default Host Management is on cannot be told: {why}"), verdict),
        Ok(true) => {
            verdict.pass(FACET, format!("{who} {with}: managed by Default Host Management"));
            Credentials::HostManagement
        }
        Ok(false) => {
            let (why, mend) = match (role, &name) {
                (Some(role), _) => (
                    format!("role {role} does not allow {UpdateInstanceInformation}"),
                    "attach AmazonSSMManagedInstanceCore to the role",
                ),
                (None, Some(_)) => ("it holds no role".to_owned(), "put a role into it"),
                (None, None) => {
                    ("they have no credentials".to_owned(), "give them a profile (instances.profileAttachment)")
                }
            };
            let message = format!(
                "{who} {with}: {why}, and Default Host Management is off: {mend}, or switch it on in a RegionPosture (hostManagement)"
            );
            verdict.fail(FACET, Reason::InstancesWithoutCredentials, message);
            Credentials::NoCredentials
        }
    }
}

/// What an instance that gets a profile leaves.
const LEAVES: &str = "the instance leaves Default Host Management for the profile";

fn attach<'a>(
    posture: &VpcPosture,
    view: &RegionView<'_>,
    attachment: &Attachment,
    instances: impl Iterator<Item = &'a Instance>,
    host: Option<bool>,
    verdict: &mut Verdict,
) {
    let chosen = |i: &&Instance| {
        i.vpc == posture.vpc
            && i.state == InstanceState::Running
            && i.profile.is_none()
            // Nothing chosen is nobody chosen, not everybody.
            && !attachment.selector.is_empty()
            && selects(&attachment.selector, &i.tags)
            && Launcher::of(i).is_none_or(|launcher| attachment.include.contains(&launcher))
    };
    let chosen: Vec<&Instance> = instances.filter(chosen).collect();
    let Some(arn) = fit(view, attachment, verdict) else { return };
    if chosen.is_empty() {
        return;
    }
    let leave = match host {
        Some(false) => "",
        Some(true) => "; they leave Default Host Management when their agents notice, which may take 30 minutes",
        None => "; they leave Default Host Management if it is on",
    };
    let next = chosen.len().min(attachment.max_per_pass);
    let message = format!("to be given profile {}, {next} at this pass: {}{leave}", profile_in(&arn), named(&chosen));
    verdict.warn(FACET, Reason::ProfilesAttaching, message);
    for instance in chosen.into_iter().take(attachment.max_per_pass) {
        let write = Write::AssociateProfile { instance: instance.id.clone(), profile: arn.clone() };
        verdict.propose(FACET, write).disrupts = (host != Some(false)).then_some(LEAVES);
    }
}

/// The ARN of the declared profile, once it is there, holds its role, and the role suffices: an instance that got any
/// other would be worse off than without.
fn fit(view: &RegionView<'_>, attachment: &Attachment, verdict: &mut Verdict) -> Option<String> {
    let DeclaredProfile { profile: name, role } = match &attachment.declared {
        Ok(declared) => declared,
        Err(why) => {
            verdict.fail(FACET, Reason::DependencyNotReady, why.clone());
            return None;
        }
    };
    let read = profile(view, name);
    let Some(found) = read.known() else {
        verdict.unknown(FACET, &FactKey::Profile(name.clone()), &read);
        return None;
    };
    let arn = match found {
        Some(found) if found.role.as_ref() == Some(role) => found.arn.clone(),
        _ => {
            let message = format!("no instance gets profile {name} before it holds role {role}");
            verdict.fail(FACET, Reason::PrerequisiteMissing, message);
            return None;
        }
    };
    let allowed = permissions(view, role);
    let Some(known) = allowed.known() else {
        verdict.unknown(FACET, &FactKey::RoleVerdict(role.clone()), &allowed);
        return None;
    };
    match known.as_ref().and_then(AgentPermissions::suffices) {
        Some(true) => (read.current().is_some() && allowed.current().is_some()).then_some(arn),
        Some(false) => {
            // IAM may not have heard of what was attached a moment ago.
            verdict.watch.insert(FactKey::RoleVerdict(role.clone()));
            let known = known.clone().unwrap_or_default();
            let lacking = AgentAction::ALL.into_iter().filter(|a| known.allows(*a) == Some(false));
            let message = format!("no instance gets profile {name}: its role {role} lacks {}", join(lacking));
            verdict.fail(FACET, Reason::PrerequisiteMissing, message);
            None
        }
        None => {
            let message = format!("no instance gets profile {name}: what its role {role} allows cannot be told");
            untold(message, verdict);
            None
        }
    }
}
