//! What IAM is asked, once a day, to tell what a role lacks before it is needed.
//!
//! Policies as narrow as ours allow nothing on "anything": each question names a resource of the type that the call acts
//! on, tagged as ours, and says what the request would.

use crate::{
    calls::{Operation, Purpose},
    facts::{Principal, Question},
    ids::Region,
    posture::{CLUSTER_TAG, OWNER_TAG},
};

/// The questions for a role: whether it may read, and, with `writes`, whether it may change what is ours.
#[must_use]
pub fn questions(principal: &Principal, region: &Region, cluster_id: &str, writes: bool) -> Vec<Question> {
    use Operation as O;
    let partition = principal.roles.last().and_then(|step| step.arn.as_str().split(':').nth(1)).unwrap_or("aws");
    let arn = |kind: &str, prefix: &str| {
        format!("arn:{partition}:ec2:{region}:{}:{kind}/{prefix}-00000000000000000", principal.account)
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let everywhere = pair("aws:RequestedRegion", region.as_str());
    let ours = |made_by: O| {
        vec![
            everywhere.clone(),
            pair(&format!("aws:RequestTag/{CLUSTER_TAG}"), cluster_id),
            pair(&format!("aws:ResourceTag/{CLUSTER_TAG}"), cluster_id),
            pair("aws:TagKeys", OWNER_TAG),
            pair("ec2:CreateAction", made_by.name()),
            pair("ec2:VpceServiceName", &format!("com.amazonaws.{region}.ssm")),
        ]
    };
    let question = |actions: Vec<O>, resource: Option<String>, context: Vec<(String, String)>| Question {
        actions: actions.into_iter().map(O::iam_action).collect(),
        resource,
        context,
    };
    let reads = O::ALL.iter().copied().filter(|operation| {
        // Whoever is answered may ask; what reads one VPC is asked below.
        let own = [O::SimulatePrincipalPolicy, O::DescribeVpcAttribute];
        matches!(operation.purpose(), Purpose::Read(_)) && !own.contains(operation)
    });
    let mut questions = vec![question(reads.collect(), None, vec![everywhere.clone()])];
    let vpc = |actions: Vec<O>| {
        let context = vec![everywhere.clone(), pair("ec2:Attribute", "EnableDnsSupport")];
        question(actions, Some(arn("vpc", "vpc")), context)
    };
    if !writes {
        questions.push(vpc(vec![O::DescribeVpcAttribute]));
        return questions;
    }
    questions.extend([
        vpc(vec![O::DescribeVpcAttribute, O::CreateVpcEndpoint, O::CreateSecurityGroup, O::ModifyVpcAttribute]),
        question(
            vec![O::CreateVpcEndpoint, O::ModifyVpcEndpoint, O::DeleteVpcEndpoints, O::CreateTags, O::DeleteTags],
            Some(arn("vpc-endpoint", "vpce")),
            ours(O::CreateVpcEndpoint),
        ),
        question(
            vec![
                O::CreateVpcEndpoint,
                O::ModifyVpcEndpoint,
                O::CreateSecurityGroup,
                O::AuthorizeSecurityGroupIngress,
                O::RevokeSecurityGroupIngress,
                O::DeleteSecurityGroup,
                O::CreateTags,
                O::DeleteTags,
            ],
            Some(arn("security-group", "sg")),
            ours(O::CreateSecurityGroup),
        ),
        question(
            vec![O::CreateVpcEndpoint, O::ModifyVpcEndpoint],
            Some(arn("subnet", "subnet")),
            vec![everywhere.clone()],
        ),
        question(vec![O::CreateVpcEndpoint, O::ModifyVpcEndpoint], Some(arn("route-table", "rtb")), vec![everywhere]),
    ]);
    questions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::facts::RoleStep;

    #[test]
    fn every_call_is_asked_about_but_the_one_that_asks() {
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
        let region: Region = "cn-north-1".parse().unwrap();
        for writes in [false, true] {
            let questions = questions(&principal, &region, "main", writes);
            let asked: BTreeSet<String> = questions.iter().flat_map(|question| question.actions.clone()).collect();
            let wanted = Operation::ALL.iter().filter(|operation| {
                operation.purpose() != Purpose::Identity
                    && **operation != Operation::SimulatePrincipalPolicy
                    && (writes || !operation.writes())
            });
            assert_eq!(asked, wanted.map(|operation| operation.iam_action()).collect());
            assert_eq!(questions.len(), if writes { 6 } else { 2 });
            let of_partition = |question: &Question| {
                question.resource.as_ref().is_none_or(|arn| arn.starts_with("arn:aws-cn:ec2:cn-north-1:111122223333:"))
            };
            assert!(questions.iter().all(of_partition));
        }
    }
}
