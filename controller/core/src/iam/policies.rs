//! The statements.
//!
//! What each action takes is from AWS's service authorization reference for EC2: CreateVpcEndpoint is allowed only if it
//! is for the endpoint, the VPC, each subnet, group and route table; ModifyVpcEndpoint likewise without the VPC. What is
//! made carries tags in the same call, which takes ec2:CreateTags with the name of the call in ec2:CreateAction.
//! IAM and Systems Manager ask for their own actions of tagging in a call that makes a tagged thing, and have no key that
//! tells that from a call that only tags (service authorization references for IAM and for Systems Manager).

mod account;
mod region;

use super::{
    Feature, HubIdentity, Kind, Settings,
    document::{Effect, Parameter, Policy, Statement, Text},
};
use crate::{
    calls::{Operation, Purpose},
    facts::{
        audit::AUDIT_RULE,
        settings::{SESSION_DOCUMENT, Setting},
    },
    posture::{CLUSTER_TAG, OWNER_TAG, ServiceName},
};

/// What the tags of a session of EKS Pod Identity take.
const TAG_SESSION: &str = "sts:TagSession";

/// Passing a role to a service, which calls ask for that name one (IAM user guide, "Grant a user permissions to pass a
/// role").
pub(super) const PASS_ROLE: &str = "iam:PassRole";

fn regional(service: &str, rest: &str) -> Text {
    Text::from("arn:")
        .then(Parameter::Partition)
        .and(&format!(":{service}:*:"))
        .then(Parameter::Account)
        .and(&format!(":{rest}"))
}

fn ec2(kind: &str) -> Text {
    regional("ec2", &format!("{kind}/*"))
}

fn setting(setting: Setting) -> Text {
    regional("ssm", &format!("servicesetting{setting}"))
}

fn session_document() -> Text {
    regional("ssm", &format!("document/{SESSION_DOCUMENT}"))
}

fn audit_rule() -> Text {
    regional("events", &format!("rule/{AUDIT_RULE}"))
}

/// Things of a service, in any region and of any account.
fn anybodys(service: &str, rest: &str) -> Text {
    Text::from("arn:").then(Parameter::Partition).and(&format!(":{service}:*:*:{rest}"))
}

/// Things of IAM under the paths that are the controller's to work in.
fn managed(settings: &Settings, kind: &str) -> Vec<Text> {
    let of = |path: &String| iam(&Parameter::Account.into(), &format!(":{kind}{path}*"));
    settings.managed_role_paths.iter().map(of).collect()
}

/// Passing the roles of these paths to a service, by any of its names, and to nothing else.
fn pass(sid: &'static str, why: &'static str, settings: &Settings, services: &[&str]) -> Statement {
    Statement::allow(sid, why, [PASS_ROLE], managed(settings, "role")).when(
        "StringEquals",
        "iam:PassedToService",
        services.iter().copied(),
    )
}

impl Statement {
    /// The same for what has our tag.
    fn ours(self) -> Self {
        self.when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId])
    }

    /// The same for requests that set our tag.
    fn made_ours(self) -> Self {
        self.when("StringEquals", of_request(CLUSTER_TAG), [Parameter::ClusterId])
    }

    /// The same for what is not another cluster's: what is being made, or carries no tag of any, or ours. With
    /// `TakeOver`, the same.
    fn not_of_others(self, settings: &Settings) -> Self {
        if settings.features.contains(&Feature::TakeOver) {
            return self;
        }
        self.when("StringEqualsIfExists", of_resource(CLUSTER_TAG), [Parameter::ClusterId])
    }

    /// The same for tags that make nothing anybody's.
    fn no_ownership(self) -> Self {
        self.when("ForAllValues:StringNotEquals", "aws:TagKeys", [CLUSTER_TAG, OWNER_TAG])
    }

    /// The same for the owner tag, and no other.
    fn only_owner(self) -> Self {
        self.when("ForAllValues:StringEquals", "aws:TagKeys", [OWNER_TAG])
    }
}

fn of_request(key: &str) -> String {
    format!("aws:RequestTag/{key}")
}

fn of_resource(key: &str) -> String {
    format!("aws:ResourceTag/{key}")
}

fn action(operation: Operation) -> String {
    operation.iam_action()
}

fn iam(account: &Text, rest: &str) -> Text {
    Text::from("arn:").then(Parameter::Partition).and(":iam::").followed_by(account.clone()).and(rest)
}

/// The roles' ARNs in an account: the prefix itself, and what begins with it and a dash.
fn roles(account: &Text) -> Vec<Text> {
    let role = || iam(account, ":role").then(Parameter::RolePath).then(Parameter::RolePrefix);
    vec![role(), role().and("-*")]
}

/// Statements that keep a role to the declared regions.
fn only_regions(settings: &Settings) -> Option<Statement> {
    if settings.regions.is_empty() {
        return None;
    }
    let mut deny = Statement::allow(
        "OnlyTheseRegions",
        "keeps the role to the given regions, whatever else it is allowed",
        ["ec2:*", "ssm:*", "events:*", "cloudtrail:*", "sns:*"],
        [Text::from("*")],
    )
    .when("StringNotEquals", "aws:RequestedRegion", settings.regions.iter().map(String::as_str));
    deny.effect = Effect::Deny;
    Some(deny)
}

/// What the controller's own role may do: take on the roles of the accounts, and nothing else.
#[must_use]
pub fn hub(settings: &Settings, accounts: &[String]) -> Policy {
    let resources: Vec<Text> = if accounts.is_empty() {
        roles(&"*".into())
    } else {
        accounts.iter().flat_map(|account| roles(&account.as_str().into())).collect()
    };
    let mut actions = vec![action(Operation::AssumeRole)];
    if matches!(settings.identity, Some(HubIdentity::PodIdentity { .. })) {
        actions.push(TAG_SESSION.to_owned());
    }
    let mut assume = Statement::allow(
        "AssumeTheRolesOfAccounts",
        "the one thing that the controller does as itself; sts:TagSession only with EKS Pod Identity, whose sessions have tags that go along",
        actions,
        resources,
    );
    if settings.organization.is_some() {
        assume = assume.when("StringEquals", "aws:ResourceOrgID", [Parameter::Organization]);
    }
    Policy { statements: vec![assume] }
}

/// Who may take on the controller's own role.
#[must_use]
pub fn hub_trust(settings: &Settings, identity: &HubIdentity) -> Policy {
    let (namespace, account) = (&settings.namespace, &settings.service_account);
    let statement = match identity {
        HubIdentity::Irsa { provider } => {
            let hub = settings.hub_account().map_or(Text::from(Parameter::Account), Text::from);
            Statement::allow(
                "ServiceAccountOfTheController",
                "IAM roles for service accounts: the token of this service account, and no other",
                ["sts:AssumeRoleWithWebIdentity"],
                [],
            )
            .of("Federated", iam(&hub, ":oidc-provider/").and(provider))
            .when("StringEquals", format!("{provider}:aud"), ["sts.amazonaws.com"])
            .when(
                "StringEquals",
                format!("{provider}:sub"),
                [format!("system:serviceaccount:{namespace}:{account}")],
            )
        }
        HubIdentity::PodIdentity { cluster } => {
            let statement = Statement::allow(
                "PodOfTheController",
                "EKS Pod Identity: the pods of this service account, and no other",
                [action(Operation::AssumeRole), TAG_SESSION.to_owned()],
                [],
            )
            .of("Service", "pods.eks.amazonaws.com".into())
            .when("StringEquals", of_request("kubernetes-namespace"), [namespace.as_str()])
            .when("StringEquals", of_request("kubernetes-service-account"), [account.as_str()]);
            match cluster {
                Some(arn) => statement.when("StringEquals", of_request("eks-cluster-arn"), [arn.as_str()]),
                None => statement,
            }
        }
    };
    Policy { statements: vec![statement] }
}

/// Who may take on the roles of an account: the controller's own role, with the external id.
#[must_use]
pub fn trust(settings: &Settings, external_id: bool) -> Policy {
    let mut actions = vec![action(Operation::AssumeRole)];
    if matches!(settings.identity, Some(HubIdentity::PodIdentity { .. })) {
        actions.push(TAG_SESSION.to_owned());
    }
    let mut statement = Statement::allow(
        "TheControllerAlone",
        "the controller's own role, exactly, and only with the external id; sts:TagSession as in the hub's policy",
        actions,
        [],
    )
    .of("AWS", Parameter::HubRole.into());
    if external_id {
        statement = statement.when("StringEquals", "sts:ExternalId", [Parameter::ExternalId]);
    }
    if settings.organization.is_some() {
        statement = statement.when("StringEquals", "aws:PrincipalOrgID", [Parameter::Organization]);
    }
    Policy { statements: vec![statement] }
}

/// What a role needs that only looks; one that changes AWS needs it too.
#[must_use]
pub fn observe(settings: &Settings) -> Policy {
    use Operation as O;
    let documents = [O::GetDocument, O::DescribeDocument];
    let roles_of_yours = [O::GetRole, O::ListAttachedRolePolicies, O::ListRolePolicies, O::GetRolePolicy];
    let buckets = [O::GetBucketLocation, O::GetBucketEncryption];
    let rule = [O::DescribeRule, O::ListTargetsByRule, O::ListTagsForResource];
    let trails = [O::GetTrailStatus, O::GetEventSelectors];
    let others = [
        O::DescribeVpcAttribute,
        O::SimulatePrincipalPolicy,
        O::GetServiceSetting,
        O::GetInstanceProfile,
        O::DescribeKey,
        O::GetTopicAttributes,
    ];
    let named = |operation: O| {
        let all: [&[O]; 6] = [&documents, &roles_of_yours, &buckets, &rule, &trails, &others];
        all.iter().any(|some| some.contains(&operation))
    };
    let reads = Operation::ALL.iter().copied().filter(|o| matches!(o.purpose(), Purpose::Read(_)) && !named(*o));
    let account = Text::from(Parameter::Account);
    let mut statements = vec![
        Statement::allow(
            "Read",
            "lists, for which AWS knows no resource to name",
            reads.map(action),
            [Text::from("*")],
        ),
        Statement::allow(
            "ReadVpcAttributes",
            "whether DNS is on in a VPC, one attribute a call",
            [action(O::DescribeVpcAttribute)],
            [ec2("vpc")],
        ),
        Statement::allow(
            "ReadServiceSettings",
            "the settings that a RegionPosture can declare, one a call",
            [action(O::GetServiceSetting)],
            Setting::ALL.map(setting),
        ),
        Statement::allow(
            "ReadSessionPreferences",
            "the one document that Session Manager takes its preferences from",
            documents.map(action),
            [session_document()],
        ),
        Statement::allow(
            "ReadBucketsOfSessions",
            "whether the bucket that sessions are to be logged to can be used; another account's has to allow it too",
            buckets.map(action),
            [Text::from("arn:").then(Parameter::Partition).and(":s3:::*")],
        ),
        Statement::allow(
            "ReadKeysOfSessions",
            "whether the key that sessions are to be encrypted with can be used, of whatever account it is",
            [action(O::DescribeKey)],
            [Text::from("arn:").then(Parameter::Partition).and(":kms:*:*:key/*")],
        ),
        Statement::allow(
            "ReadSessionAudit",
            "the one rule of EventBridge that reports sessions",
            rule.map(action),
            [audit_rule()],
        ),
        Statement::allow(
            "ReadTrails",
            "whether a trail is logging, and what; one of the organisation is of another account",
            trails.map(action),
            [anybodys("cloudtrail", "trail/*")],
        ),
        Statement::allow(
            "ReadTopics",
            "whether the topic that sessions are reported to is there, and takes them; it may be of another account",
            [action(O::GetTopicAttributes)],
            [anybodys("sns", "*")],
        ),
        Statement::allow(
            "ReadRoles",
            "whom a role trusts, and what it carries: the roles that are declared, and the one that Default Host Management names",
            roles_of_yours.map(action),
            [iam(&account, ":role/*")],
        ),
        Statement::allow(
            "ReadInstanceProfiles",
            "which role a profile holds",
            [action(O::GetInstanceProfile)],
            [iam(&account, ":instance-profile/*")],
        ),
        Statement::allow(
            "AskWhatIsAllowed",
            "the conditions PermissionsReady and InstanceProfilesReady: IAM is asked what the controller's roles may do, what those of instances let their agents do, and whether that of Default Host Management may use what sessions are logged to. Without it the first is Unknown, the second goes by the names of policies, the third is not checked, and nothing else is different",
            [action(O::SimulatePrincipalPolicy)],
            [iam(&account, ":role/*")],
        ),
    ];
    statements.extend(only_regions(settings));
    Policy { statements }
}

/// What a role needs beyond [`observe`] to change what objects of a kind declare.
#[must_use]
pub fn enforce(settings: &Settings, kind: Kind) -> Policy {
    match kind {
        Kind::VpcPosture => network(settings),
        Kind::RegionPosture => region::policy(settings),
        Kind::AccountPosture => account::policy(settings),
    }
}

fn network(settings: &Settings) -> Policy {
    let has = |feature: Feature| settings.features.contains(&feature);
    let mut statements = Vec::new();
    if has(Feature::VpcEndpoints) {
        endpoints(settings, &mut statements);
    }
    if has(Feature::SecurityGroup) {
        group(&mut statements);
    }
    tagging(settings, &mut statements);
    if has(Feature::Deletion) {
        deletion(&mut statements);
    }
    if has(Feature::DnsAttributes) {
        statements.push(
            Statement::allow(
                "SwitchOnDns",
                "private DNS needs both attributes; the controller only ever switches them on, and IAM has no key for that",
                [action(Operation::ModifyVpcAttribute)],
                [ec2("vpc")],
            )
            .when("StringEquals", "ec2:Attribute", ["EnableDnsSupport", "EnableDnsHostnames"]),
        );
    }
    if has(Feature::ProfileAttachment) {
        profiles(settings, &mut statements);
    }
    if has(Feature::HostedZones) {
        statements.push(Statement::allow(
            "AssociateHostedZones",
            "named by AWS as an action that CreateVpcEndpoint depends on; it is not known to be checked for AWS's own services",
            ["route53:AssociateVPCWithHostedZone"],
            [Text::from("arn:").then(Parameter::Partition).and(":route53:::hostedzone/*")],
        ));
    }
    statements.extend(only_regions(settings));
    Policy { statements }
}

fn endpoints(settings: &Settings, statements: &mut Vec<Statement>) {
    let create = || [action(Operation::CreateVpcEndpoint)];
    let names = |prefix: Text| ServiceName::ALL.iter().map(move |service| prefix.clone().and(&format!(".*.{service}")));
    let names = names(super::COMMON_PREFIX.into()).chain(names(Parameter::EndpointPrefix.into()));
    let gateway = settings.features.contains(&Feature::S3Gateway);
    let mut places = vec![ec2("vpc"), ec2("subnet")];
    places.extend(gateway.then(|| ec2("route-table")));
    let mut changed = vec![ec2("subnet"), ec2("security-group")];
    changed.extend(gateway.then(|| ec2("route-table")));
    let mut groups = Statement::allow(
        "CreateEndpointWithGroup",
        "with our security group; with any, if `existing-security-groups` is chosen",
        create(),
        [ec2("security-group")],
    );
    if !settings.features.contains(&Feature::ExistingSecurityGroups) {
        groups = groups.when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId]);
    }
    statements.extend([
        Statement::allow(
            "CreateEndpoint",
            "only endpoints that are tagged as ours from the start, and only for the services that Systems Manager needs",
            create(),
            [ec2("vpc-endpoint")],
        )
        .when("StringEquals", of_request(CLUSTER_TAG), [Parameter::ClusterId])
        .when("StringLike", "ec2:VpceServiceName", names),
        Statement::allow("CreateEndpointIn", "in any VPC, its subnets and its route tables", create(), places),
        groups,
        Statement::allow(
            "ChangeOurEndpoints",
            "only endpoints with our tag",
            [action(Operation::ModifyVpcEndpoint)],
            [ec2("vpc-endpoint")],
        )
        .when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId]),
        Statement::allow(
            "ChangeEndpointsIn",
            "what an endpoint of ours gets or loses; a foreign group that somebody added to one has to be named to take it away",
            [action(Operation::ModifyVpcEndpoint)],
            changed,
        ),
    ]);
}

/// Giving instances a profile takes passing its role.
fn profiles(settings: &Settings, statements: &mut Vec<Statement>) {
    statements.extend([
        Statement::allow(
            "AttachProfiles",
            "only to instances that have no profile, and only a profile under the paths that are the controller's to work in",
            [action(Operation::AssociateIamInstanceProfile)],
            [ec2("instance")],
        )
        .when("Null", "ec2:InstanceProfile", ["true"])
        .when("ArnLike", "ec2:NewInstanceProfile", managed(settings, "instance-profile")),
        pass(
            "PassRolesOfProfiles",
            "whoever gives an instance a profile passes its role to EC2; to nothing else",
            settings,
            &account::EC2,
        ),
    ]);
}

fn group(statements: &mut Vec<Statement>) {
    statements.extend([
        Statement::allow(
            "CreateGroup",
            "only a group that is tagged as ours from the start",
            [action(Operation::CreateSecurityGroup)],
            [ec2("security-group")],
        )
        .when("StringEquals", of_request(CLUSTER_TAG), [Parameter::ClusterId]),
        Statement::allow("CreateGroupIn", "in any VPC", [action(Operation::CreateSecurityGroup)], [ec2("vpc")]),
        Statement::allow(
            "ChangeOurGroups",
            "only groups with our tag",
            [action(Operation::AuthorizeSecurityGroupIngress), action(Operation::RevokeSecurityGroupIngress)],
            [ec2("security-group")],
        )
        .when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId]),
    ]);
}

fn tagging(settings: &Settings, statements: &mut Vec<Statement>) {
    let has = |feature: Feature| settings.features.contains(&feature);
    let kinds = || [ec2("vpc-endpoint"), ec2("security-group")];
    let mut made = Vec::new();
    made.extend(has(Feature::VpcEndpoints).then_some(Operation::CreateVpcEndpoint.name()));
    made.extend(has(Feature::SecurityGroup).then_some(Operation::CreateSecurityGroup.name()));
    if !made.is_empty() {
        statements.push(
            Statement::allow(
                "TagWhatIsMade",
                "tags are set in the call that makes a thing; without this it fails whole",
                [action(Operation::CreateTags)],
                kinds(),
            )
            .when("StringEquals", "ec2:CreateAction", made)
            .when("StringEquals", of_request(CLUSTER_TAG), [Parameter::ClusterId]),
        );
    }
    if has(Feature::Tags) {
        statements.push(
            Statement::allow(
                "TagOurs",
                "declared tags that were edited or lost, on what is ours; never those that make a thing ours",
                [action(Operation::CreateTags)],
                kinds(),
            )
            .when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId])
            .when("ForAllValues:StringNotEquals", "aws:TagKeys", [CLUSTER_TAG, OWNER_TAG]),
        );
    }
    if has(Feature::TakeOver) {
        statements.push(
            Statement::allow(
                "TakeOver",
                "marks an endpoint or group of somebody else's as ours, which lets it be changed and deleted",
                [action(Operation::CreateTags)],
                kinds(),
            )
            .when("StringEquals", of_request(CLUSTER_TAG), [Parameter::ClusterId]),
        );
    }
}

fn deletion(statements: &mut Vec<Statement>) {
    statements.extend([
        Statement::allow(
            "DeleteOurs",
            "only what has our tag",
            [action(Operation::DeleteVpcEndpoints), action(Operation::DeleteSecurityGroup)],
            [ec2("vpc-endpoint"), ec2("security-group")],
        )
        .when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId]),
        Statement::allow(
            "LetGo",
            "takes the owner tag, and no other, off what stays when its object is deleted",
            [action(Operation::DeleteTags)],
            [ec2("vpc-endpoint"), ec2("security-group")],
        )
        .when("StringEquals", of_resource(CLUSTER_TAG), [Parameter::ClusterId])
        .when("ForAllValues:StringEquals", "aws:TagKeys", [OWNER_TAG]),
    ]);
}
