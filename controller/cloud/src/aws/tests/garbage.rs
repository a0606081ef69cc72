//! Answers that nobody documented: whatever comes over the wire becomes a value or a fault.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample::Index};
use ssm_ready_core::{
    calls::Operation,
    facts::{EndpointType, IngressRule, Question, RuleSource, Tags, VpcAttribute},
    fault::Fault,
    write::{EndpointChange, NewEndpoint, Write, Written},
};

use crate::{
    AwsCloud, Cloud, Unobserved,
    aws::testing::{Answer, FakeAws, SPOKE, principal, scope, sts},
    near::edited,
};

/// What must not be said to anybody (see `testing.rs`); the external id is told to AssumeRole alone, and only from there
/// can it come back.
const SECRETS: [&str; 3] = ["very-secret", "very-token", "own-secret"];
const EXTERNAL_ID: &str = "tenant-7f3c";

/// Good answers, by the call that they belong to.
const GOOD: &[(&str, &str)] = &[
    (
        "AssumeRole",
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA111122223333</AccessKeyId>\
         <SecretAccessKey>very-secret</SecretAccessKey><SessionToken>very-token</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
    ),
    (
        "GetCallerIdentity",
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account>\
         <Arn>arn:aws:sts::111122223333:assumed-role/spoke/ssm-ready</Arn><UserId>u</UserId>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>",
    ),
    (
        "DescribeVpcs",
        "<DescribeVpcsResponse><vpcSet><item><vpcId>vpc-1</vpcId><ownerId>111122223333</ownerId>\
         <cidrBlock>10.0.0.0/16</cidrBlock><cidrBlockAssociationSet><item><cidrBlock>10.1.0.0/16</cidrBlock>\
         <cidrBlockState><state>associated</state></cidrBlockState></item></cidrBlockAssociationSet>\
         <ipv6CidrBlockAssociationSet><item><ipv6CidrBlock>2001:db8::/56</ipv6CidrBlock><ipv6CidrBlockState>\
         <state>associated</state></ipv6CidrBlockState></item></ipv6CidrBlockAssociationSet></item></vpcSet>\
         <nextToken>t1</nextToken></DescribeVpcsResponse>",
    ),
    (
        "DescribeVpcEndpoints",
        "<DescribeVpcEndpointsResponse><vpcEndpointSet><item><vpcEndpointId>vpce-1</vpcEndpointId>\
         <vpcEndpointType>Interface</vpcEndpointType><vpcId>vpc-1</vpcId><state>failed</state>\
         <serviceName>com.amazonaws.eu-west-1.ssm</serviceName><policyDocument>{&quot;Statement&quot;:[]}\
         </policyDocument><subnetIdSet><item>subnet-1</item></subnetIdSet><groupSet><item><groupId>sg-1</groupId>\
         </item></groupSet><routeTableIdSet><item>rtb-1</item></routeTableIdSet><privateDnsEnabled>true\
         </privateDnsEnabled><requesterManaged>false</requesterManaged><ipAddressType>ipv4</ipAddressType>\
         <networkInterfaceIdSet><item>eni-1</item></networkInterfaceIdSet><lastError><code>c</code><message>m\
         </message></lastError><tagSet><item><key>k</key><value>v</value></item></tagSet></item></vpcEndpointSet>\
         </DescribeVpcEndpointsResponse>",
    ),
    (
        "DescribeSecurityGroups",
        "<DescribeSecurityGroupsResponse><securityGroupInfo><item><groupId>sg-1</groupId><vpcId>vpc-1</vpcId>\
         <groupName>g</groupName><ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>443</fromPort>\
         <toPort>443</toPort><ipRanges><item><cidrIp>10.0.0.0/16</cidrIp><description>d</description></item>\
         </ipRanges><ipv6Ranges><item><cidrIpv6>2001:db8::/56</cidrIpv6></item></ipv6Ranges><groups><item>\
         <groupId>sg-2</groupId></item></groups><prefixListIds><item><prefixListId>pl-1</prefixListId></item>\
         </prefixListIds></item></ipPermissions></item></securityGroupInfo></DescribeSecurityGroupsResponse>",
    ),
    (
        "DescribeInstances",
        "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>\
         <vpcId>vpc-1</vpcId><subnetId>subnet-1</subnetId><instanceState><code>16</code><name>running</name>\
         </instanceState></item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
    ),
    (
        "DescribeInstanceInformation",
        r#"{"InstanceInformationList":[{"InstanceId":"i-1","PingStatus":"Online","AgentVersion":"3.3.40.0",
        "LastPingDateTime":1700000000.5,"IsLatestVersion":false},{"InstanceId":"mi-1"}],"NextToken":"t"}"#,
    ),
    (
        "DescribeSubnets",
        "<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>\
         <availabilityZone>eu-west-1a</availabilityZone><availabilityZoneId>euw1-az1</availabilityZoneId>\
         <availableIpAddressCount>250</availableIpAddressCount><cidrBlock>10.0.0.0/24</cidrBlock>\
         <ipv6CidrBlockAssociationSet><item><ipv6CidrBlock>2001:db8::/64</ipv6CidrBlock><ipv6CidrBlockState>\
         <state>associated</state></ipv6CidrBlockState></item></ipv6CidrBlockAssociationSet></item></subnetSet>\
         </DescribeSubnetsResponse>",
    ),
    (
        "DescribeRouteTables",
        "<DescribeRouteTablesResponse><routeTableSet><item><routeTableId>rtb-1</routeTableId><vpcId>vpc-1</vpcId>\
         <routeSet><item><destinationPrefixListId>pl-1</destinationPrefixListId><gatewayId>vpce-2</gatewayId></item>\
         </routeSet><associationSet><item><main>true</main><subnetId>subnet-1</subnetId><associationState><state>\
         associated</state></associationState></item></associationSet></item></routeTableSet>\
         </DescribeRouteTablesResponse>",
    ),
    (
        "DescribeVpcEndpointServices",
        "<DescribeVpcEndpointServicesResponse><serviceDetailSet><item><serviceName>com.amazonaws.eu-west-1.ssm\
         </serviceName><owner>amazon</owner><serviceType><item><serviceType>Interface</serviceType></item>\
         </serviceType><availabilityZoneSet><item>eu-west-1a</item></availabilityZoneSet><privateDnsName>\
         ssm.eu-west-1.amazonaws.com</privateDnsName><supportedIpAddressTypeSet><item>ipv4</item>\
         </supportedIpAddressTypeSet></item></serviceDetailSet></DescribeVpcEndpointServicesResponse>",
    ),
    (
        "DescribeVpcAttribute",
        "<DescribeVpcAttributeResponse><vpcId>vpc-1</vpcId><enableDnsSupport><value>true</value></enableDnsSupport>\
         </DescribeVpcAttributeResponse>",
    ),
    (
        "DescribeNetworkInterfaces",
        "<DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterfaceId>eni-1\
         </networkInterfaceId><description>VPC Endpoint Interface vpce-1</description></item></networkInterfaceSet>\
         </DescribeNetworkInterfacesResponse>",
    ),
    (
        "SimulatePrincipalPolicy",
        "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><IsTruncated>true</IsTruncated><Marker>m\
         </Marker><EvaluationResults><member><EvalActionName>ec2:DescribeVpcs</EvalActionName><EvalDecision>allowed\
         </EvalDecision><MissingContextValues><member>x</member></MissingContextValues></member></EvaluationResults>\
         </SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
    ),
    ("CreateSecurityGroup", "<CreateSecurityGroupResponse><groupId>sg-1</groupId></CreateSecurityGroupResponse>"),
    (
        "AuthorizeSecurityGroupIngress",
        "<AuthorizeSecurityGroupIngressResponse><return>true</return></AuthorizeSecurityGroupIngressResponse>",
    ),
    (
        "RevokeSecurityGroupIngress",
        "<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>",
    ),
    ("DeleteSecurityGroup", "<DeleteSecurityGroupResponse><return>true</return></DeleteSecurityGroupResponse>"),
    (
        "CreateVpcEndpoint",
        "<CreateVpcEndpointResponse><vpcEndpoint><vpcEndpointId>vpce-1</vpcEndpointId><state>pending</state>\
         <creationTimestamp>2026-01-01T00:00:00Z</creationTimestamp></vpcEndpoint></CreateVpcEndpointResponse>",
    ),
    ("ModifyVpcEndpoint", "<ModifyVpcEndpointResponse><return>true</return></ModifyVpcEndpointResponse>"),
    (
        "DeleteVpcEndpoints",
        "<DeleteVpcEndpointsResponse><unsuccessful><item><resourceId>vpce-1</resourceId><error>\
         <code>OperationNotPermitted</code><message>no</message></error></item></unsuccessful>\
         </DeleteVpcEndpointsResponse>",
    ),
    ("CreateTags", "<CreateTagsResponse><return>true</return></CreateTagsResponse>"),
    ("DeleteTags", "<DeleteTagsResponse><return>true</return></DeleteTagsResponse>"),
    ("ModifyVpcAttribute", "<ModifyVpcAttributeResponse><return>true</return></ModifyVpcAttributeResponse>"),
];

/// Errors in each of the protocols, one of which repeats what it was given.
const BAD: &[&str] = &[
    "<Response><Errors><Error><Code>InvalidParameter</Code><Message>Value tenant-7f3c</Message></Error></Errors>\
     <RequestID>r-1</RequestID></Response>",
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>externalId 'tenant-7f3c'</Message>\
     </Error><RequestId>r-1</RequestId></ErrorResponse>",
    r#"{"__type":"com.amazonaws.ssm#ThrottlingException","message":"Rate exceeded"}"#,
    r#"{"__type":"ExpiredTokenException","Message":null}"#,
    "<html><body><h1>503 Service Unavailable</h1></body></html>",
    "",
    "null",
];

/// A body, and then perhaps some bytes of it that are others.
fn bodies(good: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        6 => edited(Just(good.to_owned())),
        2 => edited(proptest::sample::select(BAD).prop_map(str::to_owned)),
        1 => proptest::sample::select(GOOD).prop_map(|(_, of_another)| of_another.to_owned()),
    ];
    let spoiled = (text, proptest::collection::vec((any::<Index>(), any::<u8>()), 0..3)).prop_map(|(text, spoil)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in spoil {
            if let Some(place) = (!bytes.is_empty()).then(|| at.index(bytes.len())) {
                bytes[place] = byte;
            }
        }
        bytes
    });
    prop_oneof![9 => spoiled, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

fn answers() -> impl Strategy<Value = (&'static str, u16, Vec<u8>)> {
    let status =
        || proptest::sample::select(vec![200, 200, 200, 200, 204, 302, 400, 400, 403, 404, 413, 429, 500, 503]);
    proptest::sample::select(GOOD).prop_flat_map(move |(name, good)| (Just(name), status(), bodies(good)))
}

fn rules() -> Vec<IngressRule> {
    ["10.0.0.0/16", "10.1.0.0/16"]
        .map(|cidr| IngressRule {
            protocol: "tcp".into(),
            ports: Some((443, 443)),
            source: RuleSource::Cidr(cidr.parse().unwrap()),
            description: None,
        })
        .into()
}

/// The write that the call of this name is made for.
fn write_of(name: &str) -> Option<Write> {
    let (group, endpoint) = (|| "sg-1".into(), || "vpce-1".into());
    let tags: Tags = [("k".to_owned(), "v".to_owned())].into();
    Some(match name {
        "CreateSecurityGroup" => {
            Write::CreateSecurityGroup { vpc: "vpc-1".into(), name: "n".into(), description: "d".into(), tags }
        }
        "AuthorizeSecurityGroupIngress" => Write::AuthorizeIngress { group: group(), rules: rules() },
        "RevokeSecurityGroupIngress" => Write::RevokeIngress { group: group(), rules: rules() },
        "DeleteSecurityGroup" => Write::DeleteSecurityGroup { group: group() },
        "CreateVpcEndpoint" => Write::CreateEndpoint(Box::new(NewEndpoint {
            vpc: "vpc-1".into(),
            service_name: "com.amazonaws.eu-west-1.ssm".into(),
            kind: EndpointType::Interface,
            subnets: ["subnet-1".into()].into(),
            groups: [group()].into(),
            route_tables: [].into(),
            private_dns: true,
            ip_address_type: None,
            inbound_resolver_only: None,
            tags,
            client_token: "token".into(),
        })),
        "ModifyVpcEndpoint" => {
            let change = EndpointChange { private_dns: Some(true), ..EndpointChange::default() };
            Write::ModifyEndpoint { endpoint: endpoint(), change: Box::new(change) }
        }
        "DeleteVpcEndpoints" => Write::DeleteEndpoints { endpoints: [endpoint(), "vpce-2".into()].into() },
        "CreateTags" => Write::Tag { resources: ["vpce-1".to_owned()].into(), tags },
        "DeleteTags" => Write::Untag { resources: ["vpce-1".to_owned()].into(), keys: ["k".to_owned()].into() },
        "ModifyVpcAttribute" => Write::EnableVpcAttribute { vpc: "vpc-1".into(), attribute: VpcAttribute::DnsSupport },
        _ => return None,
    })
}

/// Whether every thing that was read has an id.
fn named<T>(all: &[T], id: impl Fn(&T) -> &str) -> bool {
    all.iter().all(|one| !id(one).is_empty())
}

/// Makes the call of this name; whether what came back is whole.
async fn call(cloud: &AwsCloud, name: &str) -> Result<bool, Fault> {
    let scope = scope();
    if let Some(write) = write_of(name) {
        return Ok(match cloud.write(&scope, &write).await? {
            Written::Endpoint(id) => name == "CreateVpcEndpoint" && !id.as_str().is_empty(),
            Written::Group(id) => name == "CreateSecurityGroup" && !id.as_str().is_empty(),
            Written::NotDeleted(left) => !left.is_empty() && left.iter().all(|(id, _)| !id.as_str().is_empty()),
            Written::Done => !name.starts_with("CreateV") && !name.starts_with("CreateS"),
        });
    }
    Ok(match name {
        "AssumeRole" | "GetCallerIdentity" => {
            let identity = cloud.identity(&principal(), &scope.region).await?;
            identity.account.as_str() == SPOKE
        }
        "DescribeVpcs" => named(&cloud.vpcs(&scope).await?, |vpc| vpc.id.as_str()),
        "DescribeVpcEndpoints" => named(&cloud.endpoints(&scope).await?, |endpoint| endpoint.id.as_str()),
        "DescribeSecurityGroups" => named(&cloud.security_groups(&scope).await?, |group| group.id.as_str()),
        "DescribeInstances" => named(&cloud.instances(&scope).await?, |instance| instance.id.as_str()),
        "DescribeInstanceInformation" => named(&cloud.managed_nodes(&scope).await?, |node| node.id.as_str()),
        "DescribeSubnets" => named(&cloud.subnets(&scope).await?, |subnet| subnet.id.as_str()),
        "DescribeRouteTables" => named(&cloud.route_tables(&scope).await?, |table| table.id.as_str()),
        "DescribeVpcEndpointServices" => named(&cloud.services(&scope).await?, |service| service.name.as_str()),
        "DescribeVpcAttribute" => {
            cloud.vpc_attribute(&scope, &"vpc-1".into(), VpcAttribute::DnsSupport).await?;
            true
        }
        "DescribeNetworkInterfaces" => {
            named(&cloud.network_interfaces(&scope, &"sg-1".into()).await?, |interface| interface.id.as_str())
        }
        "SimulatePrincipalPolicy" => {
            cloud.permissions(&principal(), &scope.region, &Question::of(&["ec2:DescribeVpcs".to_owned()])).await?;
            true
        }
        other => panic!("no call {other}"),
    })
}

/// Runs what waits for timeouts and retries without waiting.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(3600), work).await.expect("it ends") })
}

fn answered(name: &'static str, answer: Answer) -> Result<bool, Fault> {
    let aws = FakeAws::new(move |seen| {
        if seen.operation == name { answer.clone() } else { sts(seen).unwrap_or_else(|| panic!("{}", seen.operation)) }
    });
    at_once(async { call(&AwsCloud::new(&aws.config(), Arc::new(Unobserved)), name).await })
}

#[test]
fn every_call_is_among_the_good_answers_and_understands_its_own() {
    let mut names: Vec<&str> = GOOD.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let mut all: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    for (name, good) in GOOD {
        // These two speak of a page that follows for ever.
        if !["DescribeVpcs", "DescribeInstanceInformation", "SimulatePrincipalPolicy"].contains(name) {
            assert_eq!(answered(name, Answer::Of(200, (*good).to_owned())), Ok(true), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_becomes_a_value_or_a_fault((name, status, body) in answers()) {
        let shown = String::from_utf8_lossy(&body).into_owned();
        match answered(name, Answer::Bytes(status, body)) {
            Ok(whole) => {
                prop_assert!(whole, "{name} {status}: {shown}");
                prop_assert!((200..300).contains(&status) || write_of(name).is_some(), "{name} {status}: {shown}");
            }
            Err(fault) => {
                let said = fault.to_string();
                prop_assert!(said.chars().count() < 700 && !said.contains(char::is_control), "{said:?}");
                prop_assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
                prop_assert!(name != "AssumeRole" || !said.contains(EXTERNAL_ID), "{said}");
                let by_session = ["AssumeRole", "GetCallerIdentity"];
                prop_assert!(fault.operation.name() == name || by_session.contains(&fault.operation.name()), "{said}");
                prop_assert!(!fault.code.is_empty() || status >= 300, "{fault:?}");
            }
        }
    }
}
