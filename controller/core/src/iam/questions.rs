//! What IAM is asked, once a day, to tell what a role lacks before it is needed.
//!
//! Policies as narrow as ours allow nothing on "anything": each question names a resource of the type that the call acts
//! on, tagged as ours, and says what the request would.

use std::collections::BTreeSet;

use super::{Kind, policies::PASS_ROLE};
use crate::{
    calls::{Operation, Purpose},
    facts::{
        Principal, Question,
        audit::AUDIT_RULE,
        settings::{SESSION_DOCUMENT, Setting},
    },
    ids::{PolicyArn, Region},
    posture::{CLUSTER_TAG, OWNER_TAG},
    region::{HOST_MANAGEMENT_POLICY, HOST_MANAGEMENT_SERVICE, aws_policy},
};

/// What the name of each thing that is asked about ends with: no such thing has to exist.
const NOTHING: &str = "00000000000000000";

/// The role that is asked about, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Preflight<'a> {
    /// The role.
    pub principal: &'a Principal,
    /// Where it is to act.
    pub region: &'a Region,
    /// The controller's `--cluster-id`.
    pub cluster_id: &'a str,
    /// Whether it is to change what is ours, or only to read.
    pub writes: bool,
    /// The kinds of the objects that use the account: nothing is asked that only others need.
    pub kinds: &'a BTreeSet<Kind>,
    /// A path under which roles are to be made or passed: begins and ends with a slash.
    pub role_path: &'a str,
    /// The policy that roles are bounded by.
    pub boundary: Option<&'a PolicyArn>,
}

/// The questions for a role.
#[must_use]
pub fn questions(about: &Preflight<'_>) -> Vec<Question> {
    let mut questions = about.anything();
    questions.extend(about.network());
    questions.extend(about.settings());
    questions.extend(about.audit());
    questions.extend(about.roles());
    questions.retain(|question| !question.actions.is_empty());
    questions
}

type Context = Vec<(String, String)>;

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

impl Preflight<'_> {
    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The calls that some object needs, of these.
    fn needed(&self, operations: &[Operation]) -> Vec<String> {
        let needed = |operation: &&Operation| {
            self.kinds.iter().any(|kind| kind.makes(**operation)) && (self.writes || !operation.writes())
        };
        operations.iter().filter(needed).map(|operation| operation.iam_action()).collect()
    }

    fn arn(&self, service: &str, region: &str, rest: &str) -> String {
        let own = self.principal.roles.last().and_then(|step| step.arn.as_str().split(':').nth(1));
        format!("arn:{}:{service}:{region}:{}:{rest}", own.unwrap_or("aws"), self.principal.account)
    }

    fn everywhere(&self) -> (String, String) {
        pair("aws:RequestedRegion", self.region.as_str())
    }

    /// What a request would say that makes or changes what is ours.
    fn ours(&self) -> Context {
        vec![
            self.everywhere(),
            pair(&format!("aws:RequestTag/{CLUSTER_TAG}"), self.cluster_id),
            pair(&format!("aws:ResourceTag/{CLUSTER_TAG}"), self.cluster_id),
            pair("aws:TagKeys", OWNER_TAG),
        ]
    }

    /// What AWS knows no resource for.
    fn anything(&self) -> Vec<Question> {
        use Operation as O;
        // Whoever is answered may ask; what has a resource is asked below.
        let named = [
            O::SimulatePrincipalPolicy,
            O::DescribeVpcAttribute,
            O::GetServiceSetting,
            O::GetDocument,
            O::DescribeDocument,
            O::GetInstanceProfile,
            // Few RegionPostures lead to these, and they tell what is denied.
            O::GetBucketLocation,
            O::GetBucketEncryption,
            O::DescribeLogGroups,
            O::DescribeKey,
            O::DescribeRule,
            O::ListTargetsByRule,
            O::ListTagsForResource,
            O::GetTrailStatus,
            O::GetEventSelectors,
            O::GetTopicAttributes,
        ];
        let plain = |operation: &O| {
            matches!(operation.purpose(), Purpose::Read(_))
                && !named.contains(operation)
                && !ROLE_READS.contains(operation)
        };
        let mut operations: Vec<O> = O::ALL.iter().copied().filter(plain).collect();
        operations.push(O::ModifyInstanceMetadataDefaults);
        vec![Question { actions: self.needed(&operations), resource: None, context: vec![self.everywhere()] }]
    }

    /// AssociateIamInstanceProfile is not asked about: few VpcPostures lead to it, and these tell what is denied.
    fn network(&self) -> Vec<Question> {
        use Operation as O;
        let on = |kind: &str, prefix: &str, operations: &[O], context: Context| Question {
            actions: self.needed(operations),
            resource: Some(self.arn("ec2", self.region.as_str(), &format!("{kind}/{prefix}-{NOTHING}"))),
            context,
        };
        let ours = |made_by: O| {
            let mut context = self.ours();
            context.push(pair("ec2:CreateAction", made_by.name()));
            context.push(pair("ec2:VpceServiceName", &format!("com.amazonaws.{}.ssm", self.region)));
            context
        };
        let beside = [O::CreateVpcEndpoint, O::ModifyVpcEndpoint];
        vec![
            on(
                "vpc",
                "vpc",
                &[O::DescribeVpcAttribute, O::CreateVpcEndpoint, O::CreateSecurityGroup, O::ModifyVpcAttribute],
                vec![self.everywhere(), pair("ec2:Attribute", "EnableDnsSupport")],
            ),
            on(
                "vpc-endpoint",
                "vpce",
                &[O::CreateVpcEndpoint, O::ModifyVpcEndpoint, O::DeleteVpcEndpoints, O::CreateTags, O::DeleteTags],
                ours(O::CreateVpcEndpoint),
            ),
            on(
                "security-group",
                "sg",
                &[
                    O::CreateVpcEndpoint,
                    O::ModifyVpcEndpoint,
                    O::CreateSecurityGroup,
                    O::AuthorizeSecurityGroupIngress,
                    O::RevokeSecurityGroupIngress,
                    O::DeleteSecurityGroup,
                    O::CreateTags,
                    O::DeleteTags,
                ],
                ours(O::CreateSecurityGroup),
            ),
            on("subnet", "subnet", &beside, vec![self.everywhere()]),
            on("route-table", "rtb", &beside, vec![self.everywhere()]),
        ]
    }

    /// Of the settings, that of Default Host Management, which is a feature of its own, and one for the others.
    fn settings(&self) -> Vec<Question> {
        use Operation as O;
        let on = |rest: String, operations: &[O], context: Context| Question {
            actions: self.needed(operations),
            resource: Some(self.arn("ssm", self.region.as_str(), &rest)),
            context,
        };
        let setting = |setting: Setting| {
            let calls = [O::GetServiceSetting, O::UpdateServiceSetting, O::ResetServiceSetting];
            on(format!("servicesetting{setting}"), &calls, vec![self.everywhere()])
        };
        let mut questions = vec![setting(Setting::HostManagementRole)];
        questions.extend(self.has(Kind::RegionPosture).then(|| setting(Setting::ActivationTier)));
        questions.push(on(
            format!("document/{SESSION_DOCUMENT}"),
            &[
                O::GetDocument,
                O::DescribeDocument,
                O::CreateDocument,
                O::UpdateDocument,
                O::UpdateDocumentDefaultVersion,
                O::DeleteDocument,
                O::AddTagsToResource,
                O::RemoveTagsFromResource,
            ],
            self.ours(),
        ));
        questions
    }

    /// Of the topic, one of the account; where it is of another, its owner has the last word anyway.
    fn audit(&self) -> Vec<Question> {
        use Operation as O;
        let on = |service: &str, rest: String, operations: &[O], context: Context| Question {
            actions: self.needed(operations),
            resource: Some(self.arn(service, self.region.as_str(), &rest)),
            context,
        };
        vec![
            on(
                "events",
                format!("rule/{AUDIT_RULE}"),
                &[
                    O::DescribeRule,
                    O::ListTargetsByRule,
                    O::ListTagsForResource,
                    O::PutRule,
                    O::PutTargets,
                    O::RemoveTargets,
                    O::DeleteRule,
                    O::TagResource,
                    O::UntagResource,
                ],
                self.ours(),
            ),
            on(
                "cloudtrail",
                format!("trail/{NOTHING}"),
                &[O::GetTrailStatus, O::GetEventSelectors],
                vec![self.everywhere()],
            ),
            on("sns", NOTHING.to_owned(), &[O::GetTopicAttributes], vec![self.everywhere()]),
        ]
    }

    fn roles(&self) -> Vec<Question> {
        use Operation as O;
        let on = |kind: &str, actions: Vec<String>, context: Context| Question {
            actions,
            resource: Some(self.arn("iam", "", &format!("{kind}{}x-{NOTHING}", self.role_path))),
            context,
        };
        let passed_to = |service: &str| pair("iam:PassedToService", service);
        let pass = |kind: Kind| (self.writes && self.has(kind)).then(|| PASS_ROLE.to_owned());
        let mut found = self.needed(&ROLE_READS);
        found.extend(pass(Kind::RegionPosture));
        let mut made = self.needed(&[
            O::CreateRole,
            O::UpdateAssumeRolePolicy,
            O::AttachRolePolicy,
            O::DetachRolePolicy,
            O::PutRolePolicy,
            O::DeleteRolePolicy,
            O::PutRolePermissionsBoundary,
            O::TagRole,
            O::UntagRole,
            O::DeleteRole,
        ]);
        made.extend(pass(Kind::AccountPosture));
        let partition = self.arn("", "", "");
        let partition = partition.split(':').nth(1).unwrap_or("aws");
        let mut ours = self.ours();
        ours.push(pair("iam:PolicyARN", aws_policy(partition, HOST_MANAGEMENT_POLICY).as_str()));
        ours.push(passed_to("ec2.amazonaws.com"));
        ours.extend(self.boundary.map(|boundary| pair("iam:PermissionsBoundary", boundary.as_str())));
        vec![
            on("role", found, vec![self.everywhere(), passed_to(HOST_MANAGEMENT_SERVICE)]),
            on("role", made, ours),
            on(
                "instance-profile",
                self.needed(&[
                    O::GetInstanceProfile,
                    O::CreateInstanceProfile,
                    O::TagInstanceProfile,
                    O::UntagInstanceProfile,
                    O::AddRoleToInstanceProfile,
                    O::RemoveRoleFromInstanceProfile,
                    O::DeleteInstanceProfile,
                ]),
                self.ours(),
            ),
        ]
    }
}

const ROLE_READS: [Operation; 4] =
    [Operation::GetRole, Operation::ListAttachedRolePolicies, Operation::ListRolePolicies, Operation::GetRolePolicy];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::RoleStep;

    fn asked(kinds: &[Kind], writes: bool) -> Vec<Question> {
        let principal = Principal {
            account: "111122223333".parse().unwrap(),
            roles: vec![RoleStep {
                arn: "arn:aws-cn:iam::111122223333:role/ssm-ready".parse().unwrap(),
                external_id: None,
            }],
            session_name: "test".into(),
            duration_seconds: 3600,
            read_only: false,
        };
        questions(&Preflight {
            principal: &principal,
            region: &"cn-north-1".parse().unwrap(),
            cluster_id: "main",
            writes,
            kinds: &kinds.iter().copied().collect(),
            role_path: "/ssm-ready/",
            boundary: Some(&"arn:aws-cn:iam::111122223333:policy/bound".into()),
        })
    }

    #[test]
    fn every_call_of_the_kinds_in_use_is_asked_about_but_the_one_that_asks() {
        use Kind::{AccountPosture, RegionPosture, VpcPosture};
        use Operation as O;
        let not_asked = [
            O::SimulatePrincipalPolicy,
            O::AssociateIamInstanceProfile,
            O::GetBucketLocation,
            O::GetBucketEncryption,
            O::DescribeLogGroups,
            O::DescribeKey,
        ];
        for (kinds, reads, all) in [
            (&[][..], 0, 0),
            (&[VpcPosture], 2, 6),
            (&[RegionPosture], 8, 8),
            (&[AccountPosture], 4, 5),
            (&[VpcPosture, RegionPosture, AccountPosture], 10, 15),
        ] {
            for (writes, number) in [(false, reads), (true, all)] {
                let questions = asked(kinds, writes);
                assert_eq!(questions.len(), number, "{kinds:?}, {writes}");
                let asked: BTreeSet<String> = questions.iter().flat_map(|question| question.actions.clone()).collect();
                let mut wanted: BTreeSet<String> = Operation::ALL
                    .iter()
                    .filter(|operation| {
                        kinds.iter().any(|kind| kind.makes(**operation))
                            && operation.purpose() != Purpose::Identity
                            && !not_asked.contains(operation)
                            && (writes || !operation.writes())
                    })
                    .map(|operation| operation.iam_action())
                    .collect();
                let passes = writes && kinds.iter().any(|kind| *kind != VpcPosture);
                wanted.extend(passes.then(|| PASS_ROLE.to_owned()));
                assert_eq!(asked, wanted, "{kinds:?}, {writes}");
                for question in &questions {
                    let Some(arn) = &question.resource else { continue };
                    let of = if arn.contains(":iam:") { ":iam::" } else { ":cn-north-1:" };
                    assert!(arn.starts_with("arn:aws-cn:") && arn.contains(&format!("{of}111122223333:")), "{arn}");
                }
            }
        }
    }

    #[test]
    fn every_call_is_some_kinds() {
        for operation in Operation::ALL {
            assert!(Kind::ALL.iter().any(|kind| kind.makes(*operation)), "{operation}");
        }
    }
}
