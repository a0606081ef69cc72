//! Every reason that a condition can give: what it means, whom it waits for, and what to do.

use std::fmt;

/// Whom a reason waits for; it decides between `Reconciling` and `Stalled`, and when to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waits {
    /// For nobody: all is well.
    Nobody,
    /// For AWS or another object: work is under way.
    Progress,
    /// For a next try.
    Retry,
    /// For IAM to propagate: ten minutes of tries, then a person.
    Grace,
    /// For a person: looked at again hourly.
    Person,
}

macro_rules! reasons {
    ($($name:ident, $waits:ident, $meaning:literal, $fix:literal;)*) => {
        /// Why a condition is as it is. Names are API: they do not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason as conditions and events show it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Whom it waits for.
            #[must_use]
            pub fn waits(self) -> Waits {
                match self { $(Self::$name => Waits::$waits,)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do about it.
            #[must_use]
            pub fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }

            /// Reads a reason from a stored condition.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|r| r.as_str() == text)
            }
        }
    };
}

reasons! {
    Succeeded, Nobody, "What the object declares holds in AWS.", "Nothing to do.";
    Evaluated, Nobody, "The object was evaluated and nothing was written, because its mode is Observe.", "Read status.plan for what Enforce would do.";
    UsingExisting, Nobody, "An endpoint that ssm-ready did not make serves the VPC and is good.", "Nothing to do; set endpoints.adoption: TakeOver to have it managed.";
    Progressing, Progress, "Work is under way.", "Wait; status.plan and the other conditions say what is being done.";
    ProgressingWithRetry, Retry, "The last try failed and another follows by itself.", "Read the condition that is False.";
    Suspended, Nobody, "spec.suspend is true: nothing is read, written or repaired.", "Set spec.suspend to false, or remove it.";
    DependencyNotReady, Progress, "The AwsAccount or posture that the object names does not exist, cannot be read, or is not ready yet.", "Create or correct it, or correct the reference to it.";
    AccountSuspended, Progress, "The AwsAccount is suspended, so nothing is done in the account.", "Set spec.suspend of the AwsAccount to false.";
    AccessNotGranted, Person, "The AwsAccount does not let this namespace or kind use it.", "Have the owner of the AwsAccount add the namespace to spec.access.";
    ModeNotAllowed, Person, "The object's mode goes beyond the maxMode that the AwsAccount grants the namespace.", "Set spec.mode: Observe, or have the owner of the AwsAccount raise maxMode.";
    RegionNotAllowed, Person, "The AwsAccount does not allow the region.", "Add the region to spec.regions.allowed of the AwsAccount, or choose another.";
    DuplicateTarget, Person, "An older object has the same target; one target has one object.", "Delete one of the two.";
    InvalidSpec, Person, "A field of the spec cannot be understood.", "Correct the field that the message names.";
    StoredObjectUnreadable, Person, "The stored object cannot be read by this version of ssm-ready: another version wrote it, or somebody by hand. What it made stays.", "Correct or remove the field that the message names, or run the version of ssm-ready that wrote it.";
    AssumeRoleDenied, Grace, "AWS refuses the role: it does not exist, does not trust the controller, or wants another external id.", "Check the role's trust policy, the external id and the controller's permission to sts:AssumeRole.";
    AccountMismatch, Person, "The session turned out to be of another account than the one declared.", "Correct spec.accountId or spec.assumeRole.roleArn of the AwsAccount.";
    NoCredentials, Retry, "The controller has no AWS credentials of its own.", "Give its service account an identity (IRSA or EKS Pod Identity), or set the AWS_* variables.";
    SessionFailed, Retry, "No session could be had in the account.", "See the message; the next try follows by itself.";
    RegionDisabled, Person, "The region is not enabled for the account; EC2 answers in the same way (AuthFailure) to keys that it does not take.", "Enable the region in the account, or remove the object. With AuthFailure in a region that is enabled: check the controller's own keys and the clock of its node.";
    AccountInUse, Progress, "The AwsAccount is being deleted, but objects still use it.", "Delete the objects that the message names; the AwsAccount goes after the last of them.";
    VpcNotFound, Person, "The account has no such VPC in the region.", "Correct target.vpcId, target.region or the AwsAccount.";
    VpcOwnedElsewhere, Person, "The VPC is shared from another account; only its owner can make endpoints in it.", "Declare the VPC with an AwsAccount of the owner.";
    PrerequisiteMissing, Nobody, "It waits for what another condition says.", "Read the other conditions that are False.";
    DnsAttributesOff, Person, "enableDnsSupport or enableDnsHostnames of the VPC is off, so private DNS cannot work.", "Set dns.attributes: Enforce, or switch both on in the VPC.";
    DnsAttributesDenied, Grace, "The VPC's DNS attributes are off and the role may not switch them on.", "Allow ec2:ModifyVpcAttribute to the role, or switch both on in the VPC.";
    SecurityGroupMissing, Progress, "The endpoints' security group does not exist yet.", "Wait.";
    SecurityGroupIncomplete, Progress, "The endpoints' security group does not yet admit everything declared.", "Wait.";
    SecurityGroupNotFound, Person, "A security group that the spec names does not exist in the VPC.", "Correct endpoints.securityGroup.existing.ids.";
    SecurityGroupRejectsClients, Person, "The security groups that the spec names do not admit HTTPS from all of the VPC.", "Add the ingress rules that the message names, or let ssm-ready create the group.";
    SecurityGroupConflict, Person, "A security group of the name that ssm-ready would use exists without its tags.", "Restore its tags, delete it, or set endpoints.adoption: TakeOver.";
    UnexpectedIngress, Nobody, "The managed security group admits more than was declared; rules that ssm-ready did not make are left alone.", "Remove the rules that the message names, or declare them.";
    EndpointMissing, Progress, "An endpoint is missing.", "Wait; in Observe, see status.plan.";
    EndpointPending, Progress, "An endpoint is being made.", "Wait.";
    EndpointDeleting, Progress, "An endpoint is being deleted; its successor has to wait for that.", "Wait.";
    EndpointFailed, Retry, "An endpoint failed for good; it is deleted and made anew.", "See the message for AWS's reason.";
    EndpointDegraded, Retry, "AWS calls the endpoint partial or by a state that is not known.", "Look at the endpoint in the AWS console.";
    EndpointDrifted, Progress, "An endpoint differs from what is declared.", "Wait; it is being repaired.";
    EndpointConflict, Person, "An endpoint that ssm-ready did not make holds the service's private DNS name and is not good.", "Repair or delete it, or set endpoints.adoption: TakeOver.";
    PrivateDnsConflict, Person, "A private hosted zone or another endpoint holds the service's name in the VPC.", "Remove the hosted zone's association or the other endpoint.";
    PrivateDnsOff, Progress, "An endpoint's private DNS is still off.", "Wait; it is switched on once the endpoint is available and its security group admits the VPC.";
    OwnershipTagsLost, Nobody, "A thing that ssm-ready made has lost its ownership tags and is no longer touched.", "Restore the tags, or set endpoints.adoption: TakeOver.";
    UndeclaredEndpoint, Nobody, "An endpoint that ssm-ready made is no longer declared and is kept by the deletion policy.", "Set endpoints.deletionPolicy: Delete to have it deleted.";
    ServiceNotOffered, Person, "The region does not offer the service as an endpoint.", "Remove the capability or service; for ec2messages use Auto or Never.";
    NoSuitableSubnet, Person, "The VPC has no subnet that fits: a zone that the service supports, the address family, and the spec's selection.", "Add a subnet, or change endpoints.subnets.";
    NoFreeAddresses, Person, "The subnets that fit have no free address.", "Free addresses or add a subnet.";
    QuotaReached, Person, "An AWS quota is reached.", "Raise the quota (interface endpoints per VPC: L-29B6F2EB; managed policies per role: L-0DA4ABF3) or remove what is not needed.";
    RoutesMissing, Progress, "Route tables do not yet lead to the S3 gateway endpoint.", "Wait.";
    RouteTableNotFound, Person, "A route table that the spec names does not exist in the VPC.", "Correct endpoints.s3.routeTables.ids.";
    RouteConflict, Person, "A route table already leads S3 to a gateway endpoint that ssm-ready did not make.", "Remove that route, or set endpoints.adoption: UseExisting or TakeOver.";
    PolicyRestricted, Progress, "An endpoint's policy is not full access.", "Wait; it is being repaired.";
    Foreign, Person, "Something that carries no ownership has a value that ssm-ready did not set, or something of the name that is wanted belongs to somebody else.", "Set it back, remove it, declare the value that it has, or set adoption (of a role: ownership) to TakeOver.";
    SettingDrifted, Progress, "A setting of the region differs from what is declared.", "Wait; it is being set.";
    SettingChanged, Nobody, "ssm-ready changed something of the region; the event says from what to what.", "Nothing to do.";
    RoleInUse, Nobody, "A role that is no longer declared is still in use, and stays until that ends.", "Take it out of use, or declare it again.";
    SettingNotOffered, Person, "The region does not have the setting.", "Remove it from the spec.";
    DeclarativePolicy, Person, "A declarative policy of the organisation sets the metadata defaults otherwise; the account cannot change them.", "Change the policy in the organisation, or remove the field from the spec.";
    MetadataDisabled, Nobody, "Instances have their metadata switched off, so that no agent on them gets credentials.", "Switch it on (aws ec2 modify-instance-metadata-options --http-endpoint enabled).";
    PreferencesDrifted, Progress, "The Session Manager preferences differ from what is declared, or there are none.", "Wait; a new version of the document is being made and used.";
    PreferencesPending, Progress, "AWS is making a version of the Session Manager preferences.", "Wait.";
    SessionTargetNotFound, Person, "The bucket, log group or key that the Session Manager preferences are to name does not exist, so that every session would be blank; the preferences are not written.", "Make it, or correct the field that the message names.";
    SessionTargetElsewhere, Person, "The bucket or key that the Session Manager preferences are to name is in another region; the preferences are not written.", "Name one of the posture's own region.";
    SessionTargetNotEncrypted, Person, "The bucket or log group that sessions are to be logged to is not encrypted, and encryption: Required is declared; the preferences are not written.", "Have it encrypted, or set encryption: NotChecked.";
    SessionTargetDenied, Grace, "The role whose credentials agents have may not use what sessions are to be logged to or encrypted with, so that every session would be blank; the preferences are not written.", "Allow the actions that the message names in the role's own policies; what only the policy of a bucket or key allows, IAM's simulation does not see.";
    SessionKeyUnusable, Person, "The key that sessions are to be encrypted with is disabled, or of a kind that makes no data keys; the preferences are not written.", "Enable it, or name a symmetric key for encryption and decryption.";
    AuditDrifted, Progress, "The EventBridge rule that reports sessions differs from what is declared, or there is none.", "Wait; it is being put right.";
    AuditPending, Progress, "The EventBridge rule that reports sessions was made or changed a moment ago, and AWS may not show it yet.", "Wait.";
    TopicNotFound, Person, "There is no topic of the ARN that sessionAudit names, so that no rule is made that would send to nothing.", "Create the topic, or correct sessionAudit.snsTopicArn; then set the annotation ssmready.dev/requestedAt, or wait for the hour.";
    TopicRefuses, Person, "The topic that sessionAudit names does not take what EventBridge sends: its policy does not let events.amazonaws.com publish, or it is encrypted with AWS's own key, which EventBridge cannot use.", "Allow sns:Publish to the service events.amazonaws.com in the topic's policy, or encrypt it with a key of your own; then set the annotation ssmready.dev/requestedAt, or wait for the hour.";
    TopicUnverified, Nobody, "Whether EventBridge may publish to the topic that sessionAudit names cannot be told.", "See that the topic's policy allows sns:Publish to the service events.amazonaws.com.";
    TrailMissing, Person, "No trail of CloudTrail records management events that write in the region, so that EventBridge never hears of a session.", "Start the trail that the message names, have it record management events, or make one; or set sessionAudit.requireTrail: false.";
    UnexpectedTargets, Nobody, "The EventBridge rule that reports sessions has targets that ssm-ready did not set; they are left alone.", "Remove those that the message names (aws events remove-targets), or leave them.";
    GuardrailViolated, Person, "What the object declares goes beyond the guardrails of the AwsAccount.", "Change the field that the message names, or have the owner of the AwsAccount widen spec.guardrails.";
    RoleMissing, Progress, "A role that is declared does not exist yet.", "Wait; in Observe, see status.plan.";
    RolePending, Progress, "A role or instance profile was made a moment ago, and IAM does not show it yet.", "Wait.";
    RoleDrifted, Progress, "A role differs from what is declared.", "Wait; it is being repaired.";
    RoleNotFound, Person, "A role that the spec names does not exist.", "Create it, or correct its name in the spec.";
    RoleTrustWrong, Person, "A role that ssm-ready may not change does not trust the service that has to take it on.", "Correct its trust policy, or set ownership: TakeOver.";
    RolePolicyMissing, Person, "The role of Default Host Management lacks the policy that it is for.", "Attach AmazonSSMManagedEC2InstanceDefaultPolicy to it, or declare it in an AccountPosture.";
    RolePathDiffers, Person, "A role has another path than the one declared; IAM cannot change it.", "Correct the path in the spec, or delete the role so that it is made anew.";
    UnexpectedPolicies, Nobody, "A role carries policies that are not declared; ssm-ready leaves them alone.", "Detach those that the message names, or declare them.";
    BucketsUnknown, Person, "AWS does not publish the names of its buckets for the region, and a wildcard would open others.", "Remove the region from s3.awsBuckets.regions, and grant its buckets by a policy of your own in extraManagedPolicies.";
    PolicyTooLong, Person, "The statements for a role are longer than IAM allows.", "Name fewer regions, buckets or keys, or divide them among roles.";
    ProfileMissing, Progress, "An instance profile that is declared does not exist yet.", "Wait; in Observe, see status.plan.";
    ProfileDrifted, Progress, "An instance profile does not have its role, or lacks its tags.", "Wait; it is being repaired.";
    ProfileConflict, Person, "An instance profile of the name that is declared belongs to somebody else and has another role.", "Choose another profileName, put the role into it, or set ownership: TakeOver.";
    ProfileInsufficient, Person, "The instance profile of instances allows their agents to register and nothing more, so that these are Online without sessions.", "Attach AmazonSSMManagedInstanceCore to the role that the message names.";
    ProfileBlocksHostManagement, Person, "The instance profile of instances allows their agents to register, which keeps them from Default Host Management, and lacks what sessions take.", "Attach AmazonSSMManagedInstanceCore to the role that the message names, or take ssm:UpdateInstanceInformation from it.";
    InstancesWithoutCredentials, Person, "Instances have no credentials for Systems Manager: no instance profile that allows their agents to register, and Default Host Management is off.", "Switch Default Host Management on (hostManagement of a RegionPosture), give them a profile (instances.profileAttachment), or attach AmazonSSMManagedInstanceCore to the role that the message names.";
    ProfilesAttaching, Progress, "Instances without an instance profile are being given the declared one, some at each pass.", "Wait.";
    ProfileAttached, Nobody, "ssm-ready gave an instance the declared instance profile; the event says which.", "Nothing to do; the agent takes it up within half an hour, or when it is restarted.";
    PermissionDenied, Grace, "AWS denies the role an action that is needed.", "Allow the action that the message names to the role.";
    PermissionsMissing, Nobody, "IAM says that the role lacks actions that may be needed.", "Allow the actions that the message names to the role.";
    PermissionsUnknown, Nobody, "IAM does not let us ask what the role may do.", "Allow iam:SimulatePrincipalPolicy to the role, if the check is wanted.";
    Throttled, Retry, "AWS throttles the account.", "Wait; lower guardrails.apiSharePercent if others use the account heavily.";
    RateLimited, Progress, "The next call waits so that AWS's rate limit is kept.", "Wait.";
    WriteBrake, Retry, "The controller-wide brake on creations and deletions is on.", "Find out why so much changes; raise --max-creates-per-hour or --max-deletes-per-hour if it is meant.";
    AwsError, Retry, "AWS or the network failed.", "Wait; see the message.";
    RequestInvalid, Person, "AWS refuses a request as invalid.", "See the message.";
    FactUnreadable, Retry, "Something that has to be known could not be read.", "See the message: allow the action, or wait.";
    Deleting, Progress, "What the object made is being deleted.", "Wait; the message says where it stands.";
    DeletionHeld, Person, "The object is deleted, but what it made cannot be removed now.", "See the message; deletionPolicy: Retain or the annotation ssmready.dev/abandon let it go.";
    LeftBehind, Nobody, "The object is gone and left things behind in AWS.", "The message names them.";
    DriftRepaired, Nobody, "Something that was changed behind our back is as declared again.", "Nothing to do.";
    DriftDetected, Nobody, "Something managed was changed behind our back.", "See status.drift.";
}

impl Reason {
    /// Commands that show what the reason is about, beside `kubectl describe`. Words in capitals are to be filled in.
    #[must_use]
    pub fn look(self) -> &'static [&'static str] {
        match self {
            Self::DependencyNotReady
            | Self::AccountSuspended
            | Self::AccessNotGranted
            | Self::ModeNotAllowed
            | Self::RegionNotAllowed => &["kubectl get awsaccount ACCOUNT -o yaml"],
            Self::DuplicateTarget => &["kubectl get vpcpostures -A", "kubectl get awsaccounts"],
            Self::AssumeRoleDenied | Self::AccountMismatch | Self::SessionFailed => &[
                "kubectl get awsaccount ACCOUNT -o jsonpath='{.spec.assumeRole.roleArn}'",
                "aws iam get-role --role-name ROLE --query Role.AssumeRolePolicyDocument",
            ],
            Self::NoCredentials => &[
                "kubectl get serviceaccount -n ssm-ready ssm-ready -o yaml",
                "aws eks list-pod-identity-associations --cluster-name CLUSTER --namespace ssm-ready",
            ],
            Self::RegionDisabled => &["aws account get-region-opt-status --region-name REGION"],
            Self::AccountInUse => &["kubectl get vpcpostures -A"],
            Self::VpcNotFound | Self::VpcOwnedElsewhere => &["aws ec2 describe-vpcs --vpc-ids VPC --region REGION"],
            Self::DnsAttributesOff | Self::DnsAttributesDenied => &[
                "aws ec2 describe-vpc-attribute --vpc-id VPC --attribute enableDnsSupport",
                "aws ec2 describe-vpc-attribute --vpc-id VPC --attribute enableDnsHostnames",
            ],
            Self::SecurityGroupMissing
            | Self::SecurityGroupIncomplete
            | Self::SecurityGroupNotFound
            | Self::SecurityGroupRejectsClients
            | Self::SecurityGroupConflict
            | Self::UnexpectedIngress => &[
                "kubectl get vpcposture NAME -o jsonpath='{.status.securityGroup}'",
                "aws ec2 describe-security-groups --filters Name=vpc-id,Values=VPC",
            ],
            Self::UsingExisting
            | Self::EndpointMissing
            | Self::EndpointPending
            | Self::EndpointDeleting
            | Self::EndpointFailed
            | Self::EndpointDegraded
            | Self::EndpointDrifted
            | Self::EndpointConflict
            | Self::PrivateDnsOff
            | Self::UndeclaredEndpoint
            | Self::OwnershipTagsLost
            | Self::PolicyRestricted => &[
                "kubectl get vpcposture NAME -o jsonpath='{.status.endpoints}'",
                "aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=VPC",
            ],
            Self::PrivateDnsConflict => &[
                "aws route53 list-hosted-zones-by-vpc --vpc-id VPC --vpc-region REGION",
                "aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=VPC",
            ],
            Self::ServiceNotOffered => &["aws ec2 describe-vpc-endpoint-services --query ServiceNames"],
            Self::NoSuitableSubnet | Self::NoFreeAddresses => &[
                "aws ec2 describe-subnets --filters Name=vpc-id,Values=VPC --query 'Subnets[].[SubnetId,AvailabilityZone,AvailableIpAddressCount]'",
            ],
            Self::QuotaReached => &["aws service-quotas get-service-quota --service-code vpc --quota-code L-29B6F2EB"],
            Self::RoutesMissing | Self::RouteTableNotFound | Self::RouteConflict => {
                &["aws ec2 describe-route-tables --filters Name=vpc-id,Values=VPC"]
            }
            Self::PermissionDenied | Self::PermissionsMissing | Self::PermissionsUnknown | Self::FactUnreadable => {
                &["kubectl get awsaccount ACCOUNT -o jsonpath='{.status.conditions}'", "ssm-ready iam-policy --help"]
            }
            Self::Foreign | Self::SettingDrifted | Self::SettingChanged | Self::SettingNotOffered => &[
                "kubectl get regionposture NAME -o jsonpath='{.status.settings}'",
                "aws ssm get-service-setting --setting-id SETTING --region REGION",
            ],
            Self::DeclarativePolicy | Self::MetadataDisabled => {
                &["aws ec2 get-instance-metadata-defaults --region REGION"]
            }
            Self::PreferencesDrifted | Self::PreferencesPending => {
                &["aws ssm describe-document --name SSM-SessionManagerRunShell --region REGION"]
            }
            Self::SessionTargetNotFound
            | Self::SessionTargetElsewhere
            | Self::SessionTargetNotEncrypted
            | Self::SessionTargetDenied
            | Self::SessionKeyUnusable => &[
                "kubectl get regionposture NAME -o jsonpath='{.status.sessionPreferences.targets}'",
                "aws s3api get-bucket-encryption --bucket BUCKET",
                "aws logs describe-log-groups --log-group-name-prefix GROUP --region REGION",
                "aws kms describe-key --key-id KEY --region REGION",
            ],
            Self::AuditDrifted | Self::AuditPending | Self::UnexpectedTargets => &[
                "kubectl get regionposture NAME -o jsonpath='{.status.sessionAudit}'",
                "aws events describe-rule --name ssm-ready-session-audit --region REGION",
                "aws events list-targets-by-rule --rule ssm-ready-session-audit --region REGION",
            ],
            Self::TopicNotFound | Self::TopicRefuses | Self::TopicUnverified => {
                &["aws sns get-topic-attributes --topic-arn TOPIC --region REGION"]
            }
            Self::TrailMissing => &[
                "aws cloudtrail describe-trails --region REGION",
                "aws cloudtrail get-trail-status --name TRAIL --region REGION",
                "aws cloudtrail get-event-selectors --trail-name TRAIL --region REGION",
            ],
            Self::GuardrailViolated => &["kubectl get awsaccount ACCOUNT -o jsonpath='{.spec.guardrails}'"],
            Self::RoleMissing
            | Self::RolePending
            | Self::RoleDrifted
            | Self::RoleNotFound
            | Self::RoleTrustWrong
            | Self::RoleInUse
            | Self::RolePathDiffers => &["aws iam get-role --role-name ROLE"],
            Self::RolePolicyMissing | Self::UnexpectedPolicies => {
                &["aws iam list-attached-role-policies --role-name ROLE", "aws iam list-role-policies --role-name ROLE"]
            }
            Self::BucketsUnknown | Self::PolicyTooLong => {
                &["kubectl get accountposture NAME -o jsonpath='{.spec.instanceRoles}'"]
            }
            Self::ProfileMissing | Self::ProfileDrifted | Self::ProfileConflict => {
                &["aws iam get-instance-profile --instance-profile-name PROFILE"]
            }
            Self::ProfileInsufficient
            | Self::ProfileBlocksHostManagement
            | Self::InstancesWithoutCredentials
            | Self::ProfilesAttaching
            | Self::ProfileAttached => &[
                "kubectl get vpcposture NAME -o jsonpath='{.status.profiles}'",
                "aws ec2 describe-iam-instance-profile-associations --region REGION",
            ],
            Self::Throttled | Self::RateLimited | Self::WriteBrake | Self::AwsError | Self::RequestInvalid => {
                &["kubectl logs -n ssm-ready deployment/ssm-ready --all-pods"]
            }
            Self::Evaluated | Self::Progressing | Self::ProgressingWithRetry | Self::PrerequisiteMissing => {
                &["kubectl get vpcposture NAME -o jsonpath='{range .status.plan.actions[*]}{.change}{\"\\n\"}{end}'"]
            }
            Self::Deleting | Self::DeletionHeld => &["kubectl get vpcposture NAME -o jsonpath='{.status.deletion}'"],
            Self::LeftBehind => &["kubectl get events -A --field-selector reason=LeftBehind"],
            Self::DriftRepaired | Self::DriftDetected => &["kubectl get vpcposture NAME -o jsonpath='{.status.drift}'"],
            Self::Succeeded | Self::Suspended | Self::InvalidSpec | Self::StoredObjectUnreadable => &[],
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_camel_case_and_explained() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert!(
                name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(char::is_alphanumeric),
                "{name}"
            );
            assert!(reason.meaning().ends_with('.') && reason.fix().ends_with('.'), "{name}");
            assert_eq!(Reason::parse(name), Some(*reason));
        }
    }
}
