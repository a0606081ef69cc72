//! The writes that we can make to AWS, and what each of them was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    calls::Operation,
    facts::{
        EndpointType, IngressRule, IpAddressType, Tags, VpcAttribute,
        audit::AUDIT_RULE,
        iam::INLINE_POLICY,
        settings::{MetadataField, SESSION_DOCUMENT, Setting},
    },
    fault::Fault,
    ids::{EndpointId, InstanceId, PolicyArn, ProfileName, RoleName, RouteTableId, SecurityGroupId, SubnetId, VpcId},
};

/// The policy that lets everything through, as AWS sets it by default.
pub const FULL_ACCESS_POLICY: &str =
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

/// An endpoint to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// The VPC.
    pub vpc: VpcId,
    /// The full service name.
    pub service_name: String,
    /// The type: AWS takes Gateway when it is not said.
    pub kind: EndpointType,
    /// The subnets of an interface endpoint, one a zone.
    pub subnets: BTreeSet<SubnetId>,
    /// The security groups of an interface endpoint.
    pub groups: BTreeSet<SecurityGroupId>,
    /// The route tables of a gateway endpoint.
    pub route_tables: BTreeSet<RouteTableId>,
    /// Whether private DNS is on from the start (interface endpoints).
    pub private_dns: bool,
    /// The address family of an interface endpoint.
    pub ip_address_type: Option<IpAddressType>,
    /// `DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint`: said (false) for S3 interface endpoints, whose private DNS
    /// otherwise may ask for a gateway endpoint first.
    pub inbound_resolver_only: Option<bool>,
    /// All its tags, ownership included.
    pub tags: Tags,
    /// Makes a second call with the same token return the first one's endpoint: at most 64 ASCII characters.
    pub client_token: String,
}

/// A change of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointChange {
    /// Subnets to add.
    pub add_subnets: BTreeSet<SubnetId>,
    /// Subnets to take away.
    pub remove_subnets: BTreeSet<SubnetId>,
    /// Security groups to add.
    pub add_groups: BTreeSet<SecurityGroupId>,
    /// Security groups to take away.
    pub remove_groups: BTreeSet<SecurityGroupId>,
    /// Route tables to add.
    pub add_route_tables: BTreeSet<RouteTableId>,
    /// Route tables to take away.
    pub remove_route_tables: BTreeSet<RouteTableId>,
    /// Private DNS, if it changes.
    pub private_dns: Option<bool>,
    /// The address family, if it changes.
    pub ip_address_type: Option<IpAddressType>,
    /// Whether the policy goes back to full access.
    pub full_access_policy: bool,
}

impl EndpointChange {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A role to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// Its path: begins and ends with a slash.
    pub path: String,
    /// Its trust policy, as JSON.
    pub trust: String,
    /// What it is for.
    pub description: String,
    /// The policy that bounds it.
    pub boundary: Option<PolicyArn>,
    /// All its tags, ownership included.
    pub tags: Tags,
}

/// A change of a role: one call each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleChange {
    /// CreateRole, tagged and bounded in the same call.
    Create(Box<NewRole>),
    /// UpdateAssumeRolePolicy: the whole trust policy, as JSON.
    Trust(String),
    /// AttachRolePolicy.
    Attach(PolicyArn),
    /// DetachRolePolicy.
    Detach(PolicyArn),
    /// PutRolePolicy: the whole of [`INLINE_POLICY`], as JSON.
    PutInline(String),
    /// DeleteRolePolicy: an inline policy by its name.
    DeleteInline(String),
    /// PutRolePermissionsBoundary.
    Boundary(PolicyArn),
    /// TagRole.
    Tag(Tags),
    /// UntagRole: keys.
    Untag(BTreeSet<String>),
    /// DeleteRole.
    Delete,
}

/// A change of an instance profile: one call each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileChange {
    /// CreateInstanceProfile, tagged in the same call.
    Create {
        /// Its path: begins and ends with a slash.
        path: String,
        /// All its tags, ownership included.
        tags: Tags,
    },
    /// AddRoleToInstanceProfile.
    AddRole(RoleName),
    /// RemoveRoleFromInstanceProfile.
    RemoveRole(RoleName),
    /// TagInstanceProfile.
    Tag(Tags),
    /// UntagInstanceProfile: keys.
    Untag(BTreeSet<String>),
    /// DeleteInstanceProfile.
    Delete,
}

/// A change of the session document: one call each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentChange {
    /// CreateDocument (`Session`, JSON), tagged in the same call.
    Create {
        /// Its content, as JSON.
        content: String,
        /// All its tags, ownership included.
        tags: Tags,
    },
    /// UpdateDocument: a version after the newest, as JSON. One that equals the newest counts as made.
    Update(String),
    /// UpdateDocumentDefaultVersion: the number of the version to use.
    Use(String),
    /// AddTagsToResource.
    Tag(Tags),
    /// RemoveTagsFromResource: keys.
    Untag(BTreeSet<String>),
    /// DeleteDocument.
    Delete,
}

/// A change of the rule that reports sessions: one call each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// PutRule: enabled, with the whole of this pattern and no schedule. Tags count only where it makes the rule.
    Put {
        /// Its event pattern, as JSON.
        pattern: String,
        /// All its tags, ownership included; none where the rule is there.
        tags: Tags,
    },
    /// PutTargets: the target of ours, which sends the events as they are to this ARN.
    Target(String),
    /// TagResource.
    Tag {
        /// The ARN of the rule.
        rule: String,
        /// The tags to set.
        tags: Tags,
    },
    /// UntagResource.
    Untag {
        /// The ARN of the rule.
        rule: String,
        /// The keys to take away.
        keys: BTreeSet<String>,
    },
    /// RemoveTargets: by their ids.
    RemoveTargets(BTreeSet<String>),
    /// DeleteRule: refused while it has targets.
    Delete,
}

/// One call that changes AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// CreateSecurityGroup, tagged in the same call.
    CreateSecurityGroup {
        /// The VPC.
        vpc: VpcId,
        /// The name, unique in the VPC: a second call is refused.
        name: String,
        /// What it is for.
        description: String,
        /// All its tags, ownership included.
        tags: Tags,
    },
    /// AuthorizeSecurityGroupIngress.
    AuthorizeIngress {
        /// The group.
        group: SecurityGroupId,
        /// The rules to add.
        rules: Vec<IngressRule>,
    },
    /// RevokeSecurityGroupIngress.
    RevokeIngress {
        /// The group.
        group: SecurityGroupId,
        /// The rules to take away.
        rules: Vec<IngressRule>,
    },
    /// DeleteSecurityGroup.
    DeleteSecurityGroup {
        /// The group.
        group: SecurityGroupId,
    },
    /// CreateVpcEndpoint, tagged in the same call.
    CreateEndpoint(Box<NewEndpoint>),
    /// ModifyVpcEndpoint.
    ModifyEndpoint {
        /// The endpoint.
        endpoint: EndpointId,
        /// What changes.
        change: Box<EndpointChange>,
    },
    /// DeleteVpcEndpoints: one call for all of them.
    DeleteEndpoints {
        /// The endpoints.
        endpoints: BTreeSet<EndpointId>,
    },
    /// CreateTags.
    Tag {
        /// The resources' ids.
        resources: BTreeSet<String>,
        /// The tags to set.
        tags: Tags,
    },
    /// DeleteTags.
    Untag {
        /// The resources' ids.
        resources: BTreeSet<String>,
        /// The keys to take away.
        keys: BTreeSet<String>,
    },
    /// ModifyVpcAttribute, to true.
    EnableVpcAttribute {
        /// The VPC.
        vpc: VpcId,
        /// The attribute.
        attribute: VpcAttribute,
    },
    /// AssociateIamInstanceProfile: refused where the instance has a profile.
    AssociateProfile {
        /// The instance.
        instance: InstanceId,
        /// The ARN of the profile.
        profile: String,
    },
    /// UpdateServiceSetting.
    UpdateSetting {
        /// The setting.
        setting: Setting,
        /// Its new value, as AWS spells it.
        value: String,
    },
    /// ResetServiceSetting.
    ResetSetting {
        /// The setting.
        setting: Setting,
    },
    /// ModifyInstanceMetadataDefaults: only the fields that change.
    ModifyMetadataDefaults {
        /// The new values; [`MetadataField::no_preference`] takes one away.
        values: BTreeMap<MetadataField, String>,
    },
    /// Changes the session document.
    Document(DocumentChange),
    /// Changes the rule that reports sessions.
    Rule(RuleChange),
    /// Changes a role.
    Role {
        /// The role.
        role: RoleName,
        /// What changes.
        change: RoleChange,
    },
    /// Changes an instance profile.
    Profile {
        /// The profile.
        profile: ProfileName,
        /// What changes.
        change: ProfileChange,
    },
}

impl DocumentChange {
    fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } => Operation::CreateDocument,
            Self::Update(_) => Operation::UpdateDocument,
            Self::Use(_) => Operation::UpdateDocumentDefaultVersion,
            Self::Tag(_) => Operation::AddTagsToResource,
            Self::Untag(_) => Operation::RemoveTagsFromResource,
            Self::Delete => Operation::DeleteDocument,
        }
    }
}

impl RuleChange {
    fn operation(&self) -> Operation {
        match self {
            Self::Put { .. } => Operation::PutRule,
            Self::Target(_) => Operation::PutTargets,
            Self::Tag { .. } => Operation::TagResource,
            Self::Untag { .. } => Operation::UntagResource,
            Self::RemoveTargets(_) => Operation::RemoveTargets,
            Self::Delete => Operation::DeleteRule,
        }
    }
}

impl RoleChange {
    fn operation(&self) -> Operation {
        match self {
            Self::Create(_) => Operation::CreateRole,
            Self::Trust(_) => Operation::UpdateAssumeRolePolicy,
            Self::Attach(_) => Operation::AttachRolePolicy,
            Self::Detach(_) => Operation::DetachRolePolicy,
            Self::PutInline(_) => Operation::PutRolePolicy,
            Self::DeleteInline(_) => Operation::DeleteRolePolicy,
            Self::Boundary(_) => Operation::PutRolePermissionsBoundary,
            Self::Tag(_) => Operation::TagRole,
            Self::Untag(_) => Operation::UntagRole,
            Self::Delete => Operation::DeleteRole,
        }
    }
}

impl ProfileChange {
    fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } => Operation::CreateInstanceProfile,
            Self::AddRole(_) => Operation::AddRoleToInstanceProfile,
            Self::RemoveRole(_) => Operation::RemoveRoleFromInstanceProfile,
            Self::Tag(_) => Operation::TagInstanceProfile,
            Self::Untag(_) => Operation::UntagInstanceProfile,
            Self::Delete => Operation::DeleteInstanceProfile,
        }
    }
}

impl Write {
    /// The AWS call that it makes.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::CreateSecurityGroup { .. } => Operation::CreateSecurityGroup,
            Self::AuthorizeIngress { .. } => Operation::AuthorizeSecurityGroupIngress,
            Self::RevokeIngress { .. } => Operation::RevokeSecurityGroupIngress,
            Self::DeleteSecurityGroup { .. } => Operation::DeleteSecurityGroup,
            Self::CreateEndpoint(_) => Operation::CreateVpcEndpoint,
            Self::ModifyEndpoint { .. } => Operation::ModifyVpcEndpoint,
            Self::DeleteEndpoints { .. } => Operation::DeleteVpcEndpoints,
            Self::Tag { .. } => Operation::CreateTags,
            Self::Untag { .. } => Operation::DeleteTags,
            Self::EnableVpcAttribute { .. } => Operation::ModifyVpcAttribute,
            Self::AssociateProfile { .. } => Operation::AssociateIamInstanceProfile,
            Self::UpdateSetting { .. } => Operation::UpdateServiceSetting,
            Self::ResetSetting { .. } => Operation::ResetServiceSetting,
            Self::ModifyMetadataDefaults { .. } => Operation::ModifyInstanceMetadataDefaults,
            Self::Document(change) => change.operation(),
            Self::Rule(change) => change.operation(),
            Self::Role { change, .. } => change.operation(),
            Self::Profile { change, .. } => change.operation(),
        }
    }

    /// Whether it only takes something from IAM: nothing is there afterwards that IAM may not show yet.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        match self {
            Self::Role { change, .. } => matches!(
                change,
                RoleChange::Detach(_) | RoleChange::DeleteInline(_) | RoleChange::Untag(_) | RoleChange::Delete
            ),
            Self::Profile { change, .. } => {
                matches!(change, ProfileChange::RemoveRole(_) | ProfileChange::Untag(_) | ProfileChange::Delete)
            }
            _ => false,
        }
    }

    /// What it takes from others who use what it changes, where that follows from the write alone: settings, roles and
    /// profiles. Preferences, tiers and defaults are for what begins later.
    #[must_use]
    pub(crate) fn disrupts(&self) -> Option<&'static str> {
        match self {
            Self::ResetSetting { setting: Setting::HostManagementRole } => {
                Some("instances without an instance profile are no longer managed")
            }
            Self::Role { change, .. } => match change {
                RoleChange::Trust(_) => Some("services that are not declared can no longer take the role on"),
                RoleChange::Boundary(_) => Some("what the boundary does not allow"),
                RoleChange::PutInline(_) => Some("what the statements that it replaces allowed"),
                RoleChange::Detach(_) | RoleChange::DeleteInline(_) => Some("what only this policy allows"),
                RoleChange::Delete => Some("whatever took the role on"),
                RoleChange::Create(_) | RoleChange::Attach(_) | RoleChange::Tag(_) | RoleChange::Untag(_) => None,
            },
            Self::Profile { change: ProfileChange::RemoveRole(_), .. } => {
                Some("instances of the profile lose this role")
            }
            _ => None,
        }
    }

    /// What the write acts on, for logs, events and the plan in status.
    #[must_use]
    pub fn target(&self) -> String {
        let list = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::CreateSecurityGroup { name, .. } => name.clone(),
            Self::AuthorizeIngress { group, .. }
            | Self::RevokeIngress { group, .. }
            | Self::DeleteSecurityGroup { group } => group.to_string(),
            Self::CreateEndpoint(new) => new.service_name.clone(),
            Self::ModifyEndpoint { endpoint, .. } => endpoint.to_string(),
            Self::DeleteEndpoints { endpoints } => list(&endpoints.iter().map(ToString::to_string).collect()),
            Self::Tag { resources, .. } | Self::Untag { resources, .. } => list(resources),
            Self::EnableVpcAttribute { vpc, .. } => vpc.to_string(),
            Self::AssociateProfile { instance, .. } => instance.to_string(),
            Self::UpdateSetting { setting, .. } | Self::ResetSetting { setting } => setting.to_string(),
            Self::ModifyMetadataDefaults { .. } => "instance metadata defaults".to_owned(),
            Self::Document(_) => SESSION_DOCUMENT.to_owned(),
            Self::Rule(_) => AUDIT_RULE.to_owned(),
            Self::Role { role, .. } => role.to_string(),
            Self::Profile { profile, .. } => profile.to_string(),
        }
    }
}

impl fmt::Display for Write {
    /// What changes, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
            items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
        }
        match self {
            Self::CreateSecurityGroup { vpc, name, .. } => write!(f, "create security group {name} in {vpc}"),
            Self::AuthorizeIngress { group, rules } => {
                write!(f, "admit HTTPS to {group} from {}", join(rules.iter().map(|r| &r.source)))
            }
            Self::RevokeIngress { group, rules } => {
                write!(f, "no longer admit to {group} from {}", join(rules.iter().map(|r| &r.source)))
            }
            Self::DeleteSecurityGroup { group } => write!(f, "delete security group {group}"),
            Self::CreateEndpoint(new) if new.kind == EndpointType::Gateway => {
                write!(f, "create gateway endpoint {} for {}", new.service_name, join(&new.route_tables))
            }
            Self::CreateEndpoint(new) => write!(
                f,
                "create interface endpoint {} in {}, private DNS {}",
                new.service_name,
                join(&new.subnets),
                if new.private_dns { "on" } else { "off" }
            ),
            Self::ModifyEndpoint { endpoint, change } => {
                let mut parts = Vec::new();
                let mut say = |what: &str, ids: String| {
                    if !ids.is_empty() {
                        parts.push(format!("{what} {ids}"));
                    }
                };
                say("add", join(&change.add_subnets));
                say("remove", join(&change.remove_subnets));
                say("add", join(&change.add_groups));
                say("remove", join(&change.remove_groups));
                say("add", join(&change.add_route_tables));
                say("remove", join(&change.remove_route_tables));
                say("private DNS", change.private_dns.map_or(String::new(), |on| if on { "on" } else { "off" }.into()));
                say("address type", change.ip_address_type.map_or(String::new(), |t| t.as_str().into()));
                say("policy", if change.full_access_policy { "full access".into() } else { String::new() });
                write!(f, "change {endpoint}: {}", parts.join("; "))
            }
            Self::DeleteEndpoints { endpoints } => write!(f, "delete {}", join(endpoints)),
            Self::Tag { resources, tags } => write!(f, "tag {} with {}", join(resources), join(tags.keys())),
            Self::Untag { resources, keys } => write!(f, "untag {}: {}", join(resources), join(keys)),
            Self::EnableVpcAttribute { vpc, attribute } => write!(f, "switch on {} of {vpc}", attribute.name()),
            Self::AssociateProfile { instance, profile } => {
                write!(f, "give {instance} the instance profile {}", profile.rsplit('/').next().unwrap_or(profile))
            }
            Self::UpdateSetting { setting, value } => write!(f, "set {setting} to {value}"),
            Self::ResetSetting { setting } => write!(f, "reset {setting}"),
            Self::ModifyMetadataDefaults { values } => {
                let values = values.iter().map(|(field, value)| format!("{}={value}", field.name()));
                write!(f, "set the metadata defaults {}", join(values))
            }
            Self::Document(change) => match change {
                DocumentChange::Create { .. } => write!(f, "create document {SESSION_DOCUMENT}"),
                DocumentChange::Update(_) => write!(f, "make a new version of document {SESSION_DOCUMENT}"),
                DocumentChange::Use(version) => write!(f, "use version {version} of document {SESSION_DOCUMENT}"),
                DocumentChange::Tag(tags) => write!(f, "tag document {SESSION_DOCUMENT} with {}", join(tags.keys())),
                DocumentChange::Untag(keys) => write!(f, "untag document {SESSION_DOCUMENT}: {}", join(keys)),
                DocumentChange::Delete => write!(f, "delete document {SESSION_DOCUMENT}"),
            },
            Self::Rule(change) => match change {
                RuleChange::Put { tags, .. } if tags.is_empty() => {
                    write!(f, "put right the pattern and state of rule {AUDIT_RULE}")
                }
                RuleChange::Put { .. } => write!(f, "create rule {AUDIT_RULE}"),
                RuleChange::Target(topic) => write!(f, "have rule {AUDIT_RULE} send to {topic}"),
                RuleChange::Tag { tags, .. } => write!(f, "tag rule {AUDIT_RULE} with {}", join(tags.keys())),
                RuleChange::Untag { keys, .. } => write!(f, "untag rule {AUDIT_RULE}: {}", join(keys)),
                RuleChange::RemoveTargets(ids) => write!(f, "take target {} off rule {AUDIT_RULE}", join(ids)),
                RuleChange::Delete => write!(f, "delete rule {AUDIT_RULE}"),
            },
            Self::Role { role, change } => match change {
                RoleChange::Create(new) => write!(f, "create role {}{role}", new.path),
                RoleChange::Trust(_) => write!(f, "change the trust policy of role {role}"),
                RoleChange::Attach(policy) => write!(f, "attach {policy} to role {role}"),
                RoleChange::Detach(policy) => write!(f, "detach {policy} from role {role}"),
                RoleChange::PutInline(_) => write!(f, "write inline policy {INLINE_POLICY} of role {role}"),
                RoleChange::DeleteInline(name) => write!(f, "delete inline policy {name} of role {role}"),
                RoleChange::Boundary(policy) => write!(f, "bound role {role} by {policy}"),
                RoleChange::Tag(tags) => write!(f, "tag role {role} with {}", join(tags.keys())),
                RoleChange::Untag(keys) => write!(f, "untag role {role}: {}", join(keys)),
                RoleChange::Delete => write!(f, "delete role {role}"),
            },
            Self::Profile { profile, change } => match change {
                ProfileChange::Create { path, .. } => write!(f, "create instance profile {path}{profile}"),
                ProfileChange::AddRole(role) => write!(f, "put role {role} into instance profile {profile}"),
                ProfileChange::RemoveRole(role) => write!(f, "take role {role} out of instance profile {profile}"),
                ProfileChange::Tag(tags) => write!(f, "tag instance profile {profile} with {}", join(tags.keys())),
                ProfileChange::Untag(keys) => write!(f, "untag instance profile {profile}: {}", join(keys)),
                ProfileChange::Delete => write!(f, "delete instance profile {profile}"),
            },
        }
    }
}

/// What a write brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is done, or already was.
    Done,
    /// The security group that was made.
    Group(SecurityGroupId),
    /// The endpoint that was made, or that an earlier call with the same client token had made.
    Endpoint(EndpointId),
    /// The endpoints whose deletion was refused: AWS answers 200 all the same (`Unsuccessful[]`).
    NotDeleted(Vec<(EndpointId, Fault)>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::our_rule;

    /// Both are shown in status: the target beside the operation, the change in words.
    #[test]
    fn each_write_says_what_it_acts_on_and_what_changes() {
        let group: SecurityGroupId = "sg-1".into();
        let new = NewEndpoint {
            vpc: "vpc-1".into(),
            service_name: "com.amazonaws.eu-west-1.ssm".into(),
            kind: EndpointType::Interface,
            subnets: ["subnet-a".into()].into(),
            groups: [group.clone()].into(),
            route_tables: BTreeSet::new(),
            private_dns: true,
            ip_address_type: None,
            inbound_resolver_only: None,
            tags: Tags::new(),
            client_token: "token".to_owned(),
        };
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
        let change = EndpointChange { private_dns: Some(true), ..EndpointChange::default() };
        for (write, target, said) in [
            (
                Write::CreateSecurityGroup {
                    vpc: "vpc-1".into(),
                    name: "ssm-ready-main".to_owned(),
                    description: String::new(),
                    tags: Tags::new(),
                },
                "ssm-ready-main",
                "create security group ssm-ready-main in vpc-1",
            ),
            (
                Write::AuthorizeIngress { group: group.clone(), rules: vec![our_rule("10.0.0.0/16")] },
                "sg-1",
                "admit HTTPS to sg-1 from 10.0.0.0/16",
            ),
            (Write::DeleteSecurityGroup { group }, "sg-1", "delete security group sg-1"),
            (
                Write::CreateEndpoint(Box::new(new)),
                "com.amazonaws.eu-west-1.ssm",
                "create interface endpoint com.amazonaws.eu-west-1.ssm in subnet-a, private DNS on",
            ),
            (
                Write::ModifyEndpoint { endpoint: "vpce-1".into(), change: Box::new(change) },
                "vpce-1",
                "change vpce-1: private DNS on",
            ),
            (
                Write::DeleteEndpoints { endpoints: ["vpce-1".into(), "vpce-2".into()].into() },
                "vpce-1, vpce-2",
                "delete vpce-1, vpce-2",
            ),
            (Write::Untag { resources: ids(&["vpce-1"]), keys: ids(&["a", "b"]) }, "vpce-1", "untag vpce-1: a, b"),
            (
                Write::EnableVpcAttribute { vpc: "vpc-1".into(), attribute: VpcAttribute::DnsSupport },
                "vpc-1",
                "switch on enableDnsSupport of vpc-1",
            ),
            (
                Write::AssociateProfile {
                    instance: "i-1".into(),
                    profile: "arn:aws:iam::111122223333:instance-profile/ssm-ready/web".to_owned(),
                },
                "i-1",
                "give i-1 the instance profile web",
            ),
            (
                Write::UpdateSetting { setting: Setting::ActivationTier, value: "advanced".to_owned() },
                "/ssm/managed-instance/activation-tier",
                "set /ssm/managed-instance/activation-tier to advanced",
            ),
            (
                Write::ResetSetting { setting: Setting::OpsCenter },
                "/ssm/opsinsights/opscenter",
                "reset /ssm/opsinsights/opscenter",
            ),
            (
                Write::ModifyMetadataDefaults {
                    values: [
                        (MetadataField::HttpTokens, "required".to_owned()),
                        (MetadataField::HopLimit, "2".to_owned()),
                    ]
                    .into(),
                },
                "instance metadata defaults",
                "set the metadata defaults HttpTokens=required, HttpPutResponseHopLimit=2",
            ),
        ] {
            assert_eq!((write.target().as_str(), write.to_string().as_str()), (target, said));
        }
    }

    #[test]
    fn what_only_takes_something_from_iam() {
        let role = |change| Write::Role { role: "a".into(), change };
        let profile = |change| Write::Profile { profile: "a".into(), change };
        let keys = || BTreeSet::from(["a".to_owned()]);
        for (write, takes_away) in [
            (role(RoleChange::Trust("{}".to_owned())), false),
            (role(RoleChange::PutInline("{}".to_owned())), false),
            (role(RoleChange::Tag(Tags::new())), false),
            (role(RoleChange::DeleteInline("a".to_owned())), true),
            (role(RoleChange::Untag(keys())), true),
            (role(RoleChange::Delete), true),
            (profile(ProfileChange::AddRole("a".into())), false),
            (profile(ProfileChange::Tag(Tags::new())), false),
            (profile(ProfileChange::RemoveRole("a".into())), true),
            (profile(ProfileChange::Untag(keys())), true),
            (profile(ProfileChange::Delete), true),
            (Write::DeleteSecurityGroup { group: "sg-1".into() }, false),
        ] {
            assert_eq!(write.takes_away(), takes_away, "{write:?}");
        }
    }

    #[test]
    fn each_change_of_a_document_role_or_profile_is_a_call_of_its_own() {
        let tags = || Tags::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let keys = || BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let text = || "{}".to_owned();
        let policy = || PolicyArn::from("arn:aws:iam::aws:policy/P");
        let new = NewRole {
            path: "/ssm-ready/".to_owned(),
            trust: text(),
            description: String::new(),
            boundary: None,
            tags: tags(),
        };
        let of_document = [
            (DocumentChange::Create { content: text(), tags: tags() }, "create document DOC", "CreateDocument"),
            (DocumentChange::Update(text()), "make a new version of document DOC", "UpdateDocument"),
            (DocumentChange::Use("2".to_owned()), "use version 2 of document DOC", "UpdateDocumentDefaultVersion"),
            (DocumentChange::Tag(tags()), "tag document DOC with a, b", "AddTagsToResource"),
            (DocumentChange::Untag(keys()), "untag document DOC: a, b", "RemoveTagsFromResource"),
            (DocumentChange::Delete, "delete document DOC", "DeleteDocument"),
        ]
        .map(|(change, said, call)| (Write::Document(change), SESSION_DOCUMENT, said, call));
        let of_role = [
            (RoleChange::Create(Box::new(new)), "create role /ssm-ready/web", "CreateRole"),
            (RoleChange::Trust(text()), "change the trust policy of role web", "UpdateAssumeRolePolicy"),
            (RoleChange::Attach(policy()), "attach arn:aws:iam::aws:policy/P to role web", "AttachRolePolicy"),
            (RoleChange::Detach(policy()), "detach arn:aws:iam::aws:policy/P from role web", "DetachRolePolicy"),
            (RoleChange::PutInline(text()), "write inline policy ssm-ready of role web", "PutRolePolicy"),
            (RoleChange::DeleteInline("x".to_owned()), "delete inline policy x of role web", "DeleteRolePolicy"),
            (
                RoleChange::Boundary(policy()),
                "bound role web by arn:aws:iam::aws:policy/P",
                "PutRolePermissionsBoundary",
            ),
            (RoleChange::Tag(tags()), "tag role web with a, b", "TagRole"),
            (RoleChange::Untag(keys()), "untag role web: a, b", "UntagRole"),
            (RoleChange::Delete, "delete role web", "DeleteRole"),
        ]
        .map(|(change, said, call)| (Write::Role { role: "web".into(), change }, "web", said, call));
        let of_profile = [
            (
                ProfileChange::Create { path: "/p/".to_owned(), tags: tags() },
                "create instance profile /p/web",
                "CreateInstanceProfile",
            ),
            (ProfileChange::AddRole("r".into()), "put role r into instance profile web", "AddRoleToInstanceProfile"),
            (
                ProfileChange::RemoveRole("r".into()),
                "take role r out of instance profile web",
                "RemoveRoleFromInstanceProfile",
            ),
            (ProfileChange::Tag(tags()), "tag instance profile web with a, b", "TagInstanceProfile"),
            (ProfileChange::Untag(keys()), "untag instance profile web: a, b", "UntagInstanceProfile"),
            (ProfileChange::Delete, "delete instance profile web", "DeleteInstanceProfile"),
        ]
        .map(|(change, said, call)| (Write::Profile { profile: "web".into(), change }, "web", said, call));
        let rule = || "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit".to_owned();
        let of_rule = [
            (RuleChange::Put { pattern: text(), tags: tags() }, "create rule RULE", "PutRule"),
            (
                RuleChange::Put { pattern: text(), tags: Tags::new() },
                "put right the pattern and state of rule RULE",
                "PutRule",
            ),
            (RuleChange::Target("arn:t".to_owned()), "have rule RULE send to arn:t", "PutTargets"),
            (RuleChange::Tag { rule: rule(), tags: tags() }, "tag rule RULE with a, b", "TagResource"),
            (RuleChange::Untag { rule: rule(), keys: keys() }, "untag rule RULE: a, b", "UntagResource"),
            (RuleChange::RemoveTargets(keys()), "take target a, b off rule RULE", "RemoveTargets"),
            (RuleChange::Delete, "delete rule RULE", "DeleteRule"),
        ];
        for (change, said, call) in of_rule {
            let write = Write::Rule(change);
            assert_eq!((write.target().as_str(), write.to_string()), (AUDIT_RULE, said.replace("RULE", AUDIT_RULE)));
            assert_eq!(write.operation().to_string().rsplit(':').next(), Some(call));
        }
        for (write, target, said, call) in of_document.into_iter().chain(of_role).chain(of_profile) {
            let said = said.replace("DOC", SESSION_DOCUMENT);
            assert_eq!((write.target().as_str(), write.to_string()), (target, said));
            assert_eq!(write.operation().to_string().rsplit(':').next(), Some(call));
        }
    }
}
