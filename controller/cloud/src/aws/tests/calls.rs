//! What is asked of AWS: every page, every field, and what becomes of each kind of answer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ssm_ready_core::{
    calls::Operation,
    facts::{EndpointState, EndpointType, IngressRule, IpAddressType, Question, RuleSource, Scope, Tags, VpcAttribute},
    fault::{Fault, FaultKind, HELD_BACK, NO_ANSWER},
    ids::{AccountId, Region},
    write::{EndpointChange, FULL_ACCESS_POLICY, NewEndpoint, Write, Written},
};
use tokio::time::Instant;

use crate::{
    AwsCloud, Cloud, Observer, Unobserved,
    aws::testing::{Answer, FakeAws, Seen, ok, refused, refused_query, scope, sts},
};

pub(super) fn answering(answers: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> FakeAws {
    FakeAws::new(move |seen| sts(seen).unwrap_or_else(|| answers(seen)))
}

pub(super) fn cloud(aws: &FakeAws) -> AwsCloud {
    AwsCloud::new(&aws.config(), Arc::new(Unobserved))
}

fn rule(source: RuleSource) -> IngressRule {
    IngressRule { protocol: "tcp".into(), ports: Some((443, 443)), source, description: Some("clients".into()) }
}

fn rules() -> Vec<IngressRule> {
    ["10.0.0.0/16", "10.1.0.0/16"].map(|cidr| rule(RuleSource::Cidr(cidr.parse().unwrap()))).into()
}

pub(super) fn tags() -> Tags {
    [("ssmready.dev/cluster".to_owned(), "c1".to_owned())].into()
}

fn interface() -> NewEndpoint {
    NewEndpoint {
        vpc: "vpc-1".into(),
        service_name: "com.amazonaws.eu-west-1.ssm".into(),
        kind: EndpointType::Interface,
        subnets: ["subnet-1".into(), "subnet-2".into()].into(),
        groups: ["sg-1".into()].into(),
        route_tables: ["rtb-1".into()].into(),
        private_dns: false,
        ip_address_type: Some(IpAddressType::Dualstack),
        inbound_resolver_only: Some(false),
        tags: tags(),
        client_token: "token-1".into(),
    }
}

const MADE: &str = "<CreateVpcEndpointResponse><vpcEndpoint><vpcEndpointId>vpce-1</vpcEndpointId></vpcEndpoint>\
                    </CreateVpcEndpointResponse>";

#[tokio::test(start_paused = true)]
async fn a_list_is_read_to_its_end() {
    let aws = answering(|seen| {
        let (id, next) = match seen.field("NextToken") {
            "" => ("vpce-1", "<nextToken>t1</nextToken>"),
            "t1" => ("vpce-2", "<nextToken>t2</nextToken>"),
            _ => ("vpce-3", "<nextToken/>"),
        };
        ok(format!(
            "<DescribeVpcEndpointsResponse><vpcEndpointSet><item><vpcEndpointId>{id}</vpcEndpointId>\
             <vpcId>vpc-1</vpcId><state>available</state></item></vpcEndpointSet>{next}</DescribeVpcEndpointsResponse>"
        ))
    });
    let found = cloud(&aws).endpoints(&scope()).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|e| e.id.as_str()).collect();
    assert_eq!(ids, ["vpce-1", "vpce-2", "vpce-3"]);
    assert!(found.iter().all(|e| e.state == EndpointState::Available));
    assert!(aws.of("DescribeVpcEndpoints").iter().all(|seen| seen.field("MaxResults") == "1000"));
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_is_a_fault() {
    let aws = answering(|_| ok("<DescribeVpcsResponse><vpcSet/><nextToken>same</nextToken></DescribeVpcsResponse>"));
    let fault = cloud(&aws).vpcs(&scope()).await.unwrap_err();
    assert_eq!((fault.kind, aws.of("DescribeVpcs").len()), (FaultKind::Invalid, 2));

    let count = AtomicUsize::new(0);
    let aws = answering(move |_| {
        let next = count.fetch_add(1, Ordering::Relaxed);
        ok(format!("<DescribeVpcsResponse><vpcSet/><nextToken>t{next}</nextToken></DescribeVpcsResponse>"))
    });
    let fault = cloud(&aws).vpcs(&scope()).await.unwrap_err();
    assert_eq!((fault.kind, aws.of("DescribeVpcs").len()), (FaultKind::Invalid, 1000));
}

#[tokio::test(start_paused = true)]
async fn each_list_asks_for_its_largest_page() {
    let aws = answering(|seen| match seen.operation.as_str() {
        "DescribeInstanceInformation" => ok(r#"{"InstanceInformationList":[
            {"InstanceId":"i-1","PingStatus":"Online","AgentVersion":"3.3.40.0"},
            {"InstanceId":"mi-1","PingStatus":"Online"}]}"#),
        name => ok(format!("<{name}Response/>")),
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let nodes = cloud.managed_nodes(&scope).await.unwrap();
    assert_eq!(nodes.iter().map(|n| (n.id.as_str(), n.online)).collect::<Vec<_>>(), [("i-1", true)]);
    let body = &aws.of("DescribeInstanceInformation")[0].body;
    assert!(body.contains(r#""MaxResults":50"#) && body.contains("EC2Instance"), "{body}");

    cloud.instances(&scope).await.unwrap();
    cloud.security_groups(&scope).await.unwrap();
    cloud.subnets(&scope).await.unwrap();
    cloud.route_tables(&scope).await.unwrap();
    cloud.services(&scope).await.unwrap();
    cloud.network_interfaces(&scope, &"sg-1".into()).await.unwrap();
    for (operation, page) in [
        ("DescribeInstances", "1000"),
        ("DescribeSecurityGroups", "1000"),
        ("DescribeSubnets", "1000"),
        ("DescribeRouteTables", "100"),
        ("DescribeVpcEndpointServices", "1000"),
        ("DescribeNetworkInterfaces", "1000"),
    ] {
        let seen = aws.of(operation);
        assert_eq!((seen.len(), seen[0].field("MaxResults")), (1, page), "{operation}");
    }
    let interfaces = &aws.of("DescribeNetworkInterfaces")[0];
    assert_eq!((interfaces.field("Filter.1.Name"), interfaces.field("Filter.1.Value.1")), ("group-id", "sg-1"));
}

#[tokio::test(start_paused = true)]
async fn attributes_are_read_and_written_one_a_call() {
    let aws = answering(|seen| match (seen.operation.as_str(), seen.field("Attribute")) {
        ("DescribeVpcAttribute", "enableDnsSupport") => {
            ok("<DescribeVpcAttributeResponse><enableDnsSupport><value>true</value></enableDnsSupport>\
             </DescribeVpcAttributeResponse>")
        }
        ("DescribeVpcAttribute", _) => ok("<DescribeVpcAttributeResponse/>"),
        _ => ok("<ModifyVpcAttributeResponse><return>true</return></ModifyVpcAttributeResponse>"),
    });
    let (cloud, scope, vpc) = (cloud(&aws), scope(), "vpc-1".into());
    assert_eq!(cloud.vpc_attribute(&scope, &vpc, VpcAttribute::DnsSupport).await, Ok(true));
    // An answer that does not say is not "off".
    assert!(cloud.vpc_attribute(&scope, &vpc, VpcAttribute::DnsHostnames).await.is_err());
    for attribute in VpcAttribute::BOTH {
        let write = Write::EnableVpcAttribute { vpc: vpc.clone(), attribute };
        assert_eq!(cloud.write(&scope, &write).await, Ok(Written::Done));
    }
    let seen = aws.of("ModifyVpcAttribute");
    assert_eq!((seen[0].field("EnableDnsSupport.Value"), seen[0].field("EnableDnsHostnames.Value")), ("true", ""));
    assert_eq!((seen[1].field("EnableDnsSupport.Value"), seen[1].field("EnableDnsHostnames.Value")), ("", "true"));
}

#[tokio::test(start_paused = true)]
async fn an_interface_endpoint_is_made_with_all_that_aws_would_otherwise_guess() {
    let aws = answering(|_| ok(MADE));
    let written = cloud(&aws).write(&scope(), &Write::CreateEndpoint(Box::new(interface()))).await;
    assert_eq!(written, Ok(Written::Endpoint("vpce-1".into())));
    let seen = &aws.of("CreateVpcEndpoint")[0];
    for (field, value) in [
        ("VpcEndpointType", "Interface"),
        ("VpcId", "vpc-1"),
        ("ServiceName", "com.amazonaws.eu-west-1.ssm"),
        ("ClientToken", "token-1"),
        ("PrivateDnsEnabled", "false"),
        ("SubnetId.1", "subnet-1"),
        ("SubnetId.2", "subnet-2"),
        ("SecurityGroupId.1", "sg-1"),
        ("IpAddressType", "dualstack"),
        ("DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint", "false"),
        ("TagSpecification.1.ResourceType", "vpc-endpoint"),
        ("TagSpecification.1.Tag.1.Key", "ssmready.dev/cluster"),
        ("TagSpecification.1.Tag.1.Value", "c1"),
        ("PolicyDocument", ""),
        ("RouteTableId.1", ""),
    ] {
        assert_eq!(seen.field(field), value, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_endpoint_has_route_tables_and_nothing_of_an_interface() {
    let aws = answering(|_| ok(MADE));
    let new = NewEndpoint { kind: EndpointType::Gateway, ..interface() };
    cloud(&aws).write(&scope(), &Write::CreateEndpoint(Box::new(new))).await.unwrap();
    let seen = &aws.of("CreateVpcEndpoint")[0];
    assert_eq!((seen.field("VpcEndpointType"), seen.field("RouteTableId.1")), ("Gateway", "rtb-1"));
    for field in [
        "SubnetId.1",
        "SecurityGroupId.1",
        "PrivateDnsEnabled",
        "IpAddressType",
        "DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint",
    ] {
        assert_eq!(seen.field(field), "", "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_tried_once_and_a_lost_answer_is_said_to_be_lost() {
    for lost in [Answer::Lost, Answer::Late(Duration::from_secs(60), Box::new(Answer::Lost)), ok("<gibberish")] {
        let aws = answering(move |_| lost.clone());
        let fault = cloud(&aws).write(&scope(), &Write::CreateEndpoint(Box::new(interface()))).await.unwrap_err();
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Transient, NO_ANSWER), "{fault}");
        assert_eq!(aws.of("CreateVpcEndpoint").len(), 1);
    }
    let aws = answering(|_| refused(500, "InternalError", "try again"));
    let fault = cloud(&aws).write(&scope(), &Write::CreateEndpoint(Box::new(interface()))).await.unwrap_err();
    assert_eq!((fault.kind, aws.of("CreateVpcEndpoint").len()), (FaultKind::Transient, 1));
}

/// After a jump of the clock the first write is refused, without having been looked at.
#[tokio::test(start_paused = true)]
async fn a_write_whose_signature_is_refused_is_signed_once_more() {
    let refusals = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&refusals);
    let aws = answering(move |_| {
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return refused(401, "AuthFailure", "AWS was not able to validate the provided access credentials");
        }
        ok(MADE)
    });
    let cloud = cloud(&aws);
    let made = cloud.write(&scope(), &Write::CreateEndpoint(Box::new(interface()))).await;
    assert_eq!(made, Ok(Written::Endpoint("vpce-1".into())));
    assert_eq!(aws.of("CreateVpcEndpoint").len(), 2);

    refusals.store(9, Ordering::Relaxed);
    let fault = cloud.write(&scope(), &Write::CreateEndpoint(Box::new(interface()))).await.unwrap_err();
    assert_eq!(fault.code, "AuthFailure");
    assert_eq!(aws.of("CreateVpcEndpoint").len(), 4, "once more, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_read_is_tried_three_times() {
    let aws = answering(|_| refused(503, "Unavailable", "try again"));
    let fault = cloud(&aws).vpcs(&scope()).await.unwrap_err();
    assert_eq!((fault.kind, aws.of("DescribeVpcs").len()), (FaultKind::Transient, 3));
}

#[tokio::test(start_paused = true)]
async fn retries_inside_the_sdk_use_up_turns_too() {
    let aws = answering(|_| refused(503, "Unavailable", "try again"));
    let cloud = cloud(&aws);
    // One call at once, then one in five seconds.
    let scope = Scope { api_share_percent: 1, ..scope() };
    let began = Instant::now();
    cloud.vpcs(&scope).await.unwrap_err();
    cloud.vpcs(&scope).await.unwrap_err();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_one() {
    let aws = answering(|seen| match seen.operation.as_str() {
        "SimulatePrincipalPolicy" => refused_query(403, "AccessDenied", "no"),
        _ => refused(403, "UnauthorizedOperation", "You are not. Encoded authorization failure message: abc"),
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let fault = cloud.vpcs(&scope).await.unwrap_err();
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Denied, "You are not."));
    let fault = cloud
        .permissions(&scope.principal, &scope.region, &Question::of(&["ec2:DescribeVpcs".into()]))
        .await
        .unwrap_err();
    assert_eq!((fault.kind, fault.operation), (FaultKind::Denied, Operation::SimulatePrincipalPolicy));
}

#[tokio::test(start_paused = true)]
async fn deletion_is_not_done_because_the_answer_is_200() {
    let aws = answering(|_| {
        ok("<DeleteVpcEndpointsResponse><unsuccessful>\
            <item><resourceId>vpce-1</resourceId><error><code>InvalidVpcEndpoint.NotFound</code></error></item>\
            <item><resourceId>vpce-2</resourceId><error><code>OperationNotPermitted</code><message>managed</message>\
            </error></item></unsuccessful></DeleteVpcEndpointsResponse>")
    });
    let write = Write::DeleteEndpoints { endpoints: ["vpce-1".into(), "vpce-2".into()].into() };
    let Ok(Written::NotDeleted(left)) = cloud(&aws).write(&scope(), &write).await else { panic!() };
    assert_eq!(left.iter().map(|(id, f)| (id.as_str(), f.kind)).collect::<Vec<_>>(), [("vpce-2", FaultKind::Conflict)]);
    let seen = &aws.of("DeleteVpcEndpoints")[0];
    assert_eq!((seen.field("VpcEndpointId.1"), seen.field("VpcEndpointId.2")), ("vpce-1", "vpce-2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_already_so_is_done() {
    let group = || "sg-1".into();
    for (write, code) in [
        (Write::DeleteSecurityGroup { group: group() }, "InvalidGroup.NotFound"),
        (Write::DeleteSecurityGroup { group: group() }, "InvalidGroupId.NotFound"),
        (Write::DeleteEndpoints { endpoints: ["vpce-1".into()].into() }, "InvalidVpcEndpointId.NotFound"),
        (Write::AuthorizeIngress { group: group(), rules: rules() }, "InvalidPermission.Duplicate"),
        (Write::RevokeIngress { group: group(), rules: rules() }, "InvalidPermission.NotFound"),
    ] {
        let aws = answering(move |_| refused(400, code, "already"));
        assert_eq!(cloud(&aws).write(&scope(), &write).await, Ok(Written::Done), "{write} {code}");
    }
    for (write, code) in [
        (Write::DeleteSecurityGroup { group: group() }, "DependencyViolation"),
        (Write::AuthorizeIngress { group: group(), rules: rules() }, "InvalidGroup.NotFound"),
        (Write::RevokeIngress { group: group(), rules: rules() }, "InvalidGroup.NotFound"),
        (
            Write::DeleteEndpoints { endpoints: ["vpce-1".into(), "vpce-2".into()].into() },
            "InvalidVpcEndpointId.NotFound",
        ),
    ] {
        let aws = answering(move |_| refused(400, code, "no"));
        assert_eq!(cloud(&aws).write(&scope(), &write).await.unwrap_err().code, code, "{write}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_rule_that_is_there_does_not_keep_the_others_out() {
    let aws = answering(|seen| {
        if seen.field("IpPermissions.1.IpRanges.1.CidrIp") == "10.0.0.0/16" {
            refused(400, "InvalidPermission.Duplicate", "already")
        } else {
            ok("<AuthorizeSecurityGroupIngressResponse><return>true</return></AuthorizeSecurityGroupIngressResponse>")
        }
    });
    let write = Write::AuthorizeIngress { group: "sg-1".into(), rules: rules() };
    assert_eq!(cloud(&aws).write(&scope(), &write).await, Ok(Written::Done));
    let seen = aws.of("AuthorizeSecurityGroupIngress");
    let first: Vec<&str> = seen.iter().map(|s| s.field("IpPermissions.1.IpRanges.1.CidrIp")).collect();
    assert_eq!(first, ["10.0.0.0/16", "10.0.0.0/16", "10.1.0.0/16"]);
    for (field, value) in [
        ("GroupId", "sg-1"),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.IpRanges.1.Description", "clients"),
        ("IpPermissions.1.IpRanges.2.CidrIp", "10.1.0.0/16"),
    ] {
        assert_eq!(seen[0].field(field), value, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_writes_say_what_they_have_to() {
    let aws = answering(|seen| match seen.operation.as_str() {
        "CreateSecurityGroup" => {
            ok("<CreateSecurityGroupResponse><groupId>sg-9</groupId></CreateSecurityGroupResponse>")
        }
        name => ok(format!("<{name}Response><return>true</return></{name}Response>")),
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let group = Write::CreateSecurityGroup {
        vpc: "vpc-1".into(),
        name: "ssm-ready-1".into(),
        description: "endpoints".into(),
        tags: tags(),
    };
    assert_eq!(cloud.write(&scope, &group).await, Ok(Written::Group("sg-9".into())));
    let seen = &aws.of("CreateSecurityGroup")[0];
    assert_eq!((seen.field("GroupName"), seen.field("GroupDescription")), ("ssm-ready-1", "endpoints"));
    assert_eq!(seen.field("TagSpecification.1.ResourceType"), "security-group");

    let change = EndpointChange {
        add_subnets: ["subnet-1".into()].into(),
        remove_groups: ["sg-1".into()].into(),
        private_dns: Some(true),
        full_access_policy: true,
        ..EndpointChange::default()
    };
    let modify = Write::ModifyEndpoint { endpoint: "vpce-1".into(), change: Box::new(change) };
    assert_eq!(cloud.write(&scope, &modify).await, Ok(Written::Done));
    let seen = &aws.of("ModifyVpcEndpoint")[0];
    for (field, value) in [
        ("VpcEndpointId", "vpce-1"),
        ("AddSubnetId.1", "subnet-1"),
        ("RemoveSecurityGroupId.1", "sg-1"),
        ("PrivateDnsEnabled", "true"),
        ("PolicyDocument", FULL_ACCESS_POLICY),
        ("ResetPolicy", ""),
        ("RemoveSubnetId.1", ""),
    ] {
        assert_eq!(seen.field(field), value, "{field}");
    }

    let tag = Write::Tag { resources: ["vpce-1".into()].into(), tags: tags() };
    let untag = Write::Untag { resources: ["vpce-1".into()].into(), keys: ["a".into()].into() };
    for write in [tag, untag] {
        assert_eq!(cloud.write(&scope, &write).await, Ok(Written::Done));
    }
    assert_eq!(aws.of("CreateTags")[0].field("Tag.1.Value"), "c1");
    let seen = &aws.of("DeleteTags")[0];
    assert_eq!((seen.field("Tag.1.Key"), seen.form.contains_key("Tag.1.Value")), ("a", false));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_says_false_is_not_done() {
    let aws = answering(|_| ok("<ModifyVpcEndpointResponse><return>false</return></ModifyVpcEndpointResponse>"));
    let write = Write::ModifyEndpoint { endpoint: "vpce-1".into(), change: Box::default() };
    assert!(cloud(&aws).write(&scope(), &write).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn permissions_are_asked_in_one_call_of_many_pages() {
    let aws = answering(|seen| {
        let (action, decision, rest) = match seen.field("Marker") {
            "" => ("ec2:DescribeVpcs", "allowed", "<IsTruncated>true</IsTruncated><Marker>m1</Marker>"),
            _ => ("ec2:CreateTags", "implicitDeny", "<IsTruncated>false</IsTruncated>"),
        };
        ok(format!(
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults><member>\
             <EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>\
             </EvaluationResults>{rest}</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        ))
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let actions = ["ec2:DescribeVpcs".to_owned(), "ec2:CreateTags".to_owned()];
    let question = Question {
        resource: Some("arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1".into()),
        context: vec![("ec2:Attribute".into(), "EnableDnsSupport".into())],
        ..Question::of(&actions)
    };
    let found = cloud.permissions(&scope.principal, &scope.region, &question).await.unwrap();
    let found: Vec<(&str, bool)> = found.iter().map(|p| (p.action.as_str(), p.allowed)).collect();
    assert_eq!(found, [("ec2:DescribeVpcs", true), ("ec2:CreateTags", false)]);
    let seen = aws.of("SimulatePrincipalPolicy");
    assert_eq!((seen.len(), seen[0].field("PolicySourceArn")), (2, "arn:aws:iam::111122223333:role/spoke"));
    assert_eq!(
        (seen[0].field("ActionNames.member.1"), seen[0].field("ActionNames.member.2")),
        ("ec2:DescribeVpcs", "ec2:CreateTags")
    );
    assert_eq!(seen[1].field("ResourceArns.member.1"), "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1");
    let context = |field: &str| seen[1].field(&format!("ContextEntries.member.1.{field}")).to_owned();
    assert_eq!((context("ContextKeyName"), context("ContextKeyType")), ("ec2:Attribute".into(), "string".into()));
    assert_eq!(context("ContextKeyValues.member.1"), "EnableDnsSupport");
    assert!(cloud.permissions(&scope.principal, &scope.region, &Question::of(&[])).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_account_is_left_alone_for_a_while() {
    let aws = answering(|_| refused(503, "RequestLimitExceeded", "slow down"));
    let cloud = cloud(&aws);
    let create = Write::CreateEndpoint(Box::new(interface()));
    let fault = cloud.write(&scope(), &create).await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Throttled, "RequestLimitExceeded"));
    let fault = cloud.write(&scope(), &create).await.unwrap_err();
    assert_eq!((fault.code.as_str(), aws.of("CreateVpcEndpoint").len()), (HELD_BACK, 1));
    tokio::time::sleep(fault.retry_after.unwrap()).await;
    assert_eq!(cloud.write(&scope(), &create).await.unwrap_err().code, "RequestLimitExceeded");
}

#[derive(Debug, Default)]
struct Count(Mutex<Vec<(Operation, &'static str)>>);

impl Observer for Count {
    fn called(&self, operation: Operation, _: &AccountId, _: &Region, outcome: &'static str, _: Duration) {
        self.0.lock().unwrap().push((operation, outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_with_its_outcome() {
    let aws = answering(|_| refused(403, "UnauthorizedOperation", "no"));
    let count = Arc::new(Count::default());
    let observer: Arc<dyn Observer> = Arc::clone(&count) as Arc<dyn Observer>;
    let _: Fault = AwsCloud::new(&aws.config(), observer).vpcs(&scope()).await.unwrap_err();
    assert_eq!(
        *count.0.lock().unwrap(),
        [(Operation::AssumeRole, "ok"), (Operation::GetCallerIdentity, "ok"), (Operation::DescribeVpcs, "denied"),]
    );
}
