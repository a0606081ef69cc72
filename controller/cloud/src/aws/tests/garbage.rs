//! Answers that nobody documented: whatever comes over the wire becomes a value or a fault.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample::Index};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        EndpointType, IngressRule, Question, RuleSource, Tags, VpcAttribute,
        iam::INLINE_POLICY,
        settings::{DocumentVersion, MetadataField, Setting},
    },
    fault::Fault,
    write::{
        DocumentChange, EndpointChange, NewEndpoint, NewRole, ProfileChange, RoleChange, RuleChange, Write, Written,
    },
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
        "GetBucketLocation",
        r#"<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>"#,
    ),
    (
        "GetBucketEncryption",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms\
         </SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>\
         </ServerSideEncryptionConfiguration>",
    ),
    ("DescribeLogGroups", r#"{"logGroups":[{"logGroupName":"/ssm","kmsKeyId":"k","storedBytes":1}]}"#),
    (
        "DescribeKey",
        r#"{"KeyMetadata":{"KeyId":"k","Arn":"a","KeyState":"Enabled","KeyUsage":"ENCRYPT_DECRYPT",
        "KeySpec":"SYMMETRIC_DEFAULT","Enabled":true}}"#,
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
    (
        "GetServiceSetting",
        r#"{"ServiceSetting":{"SettingId":"/ssm/managed-instance/activation-tier","SettingValue":"standard",
        "LastModifiedDate":1700000000.5,"LastModifiedUser":"arn:aws:iam::111122223333:root","Status":"Customized"}}"#,
    ),
    ("UpdateServiceSetting", "{}"),
    ("ResetServiceSetting", r#"{"ServiceSetting":{"SettingValue":"$None","Status":"Default"}}"#),
    (
        "GetDocument",
        r#"{"Name":"SSM-SessionManagerRunShell","DocumentVersion":"1","Status":"Active","DocumentFormat":"JSON",
        "Content":"{\"schemaVersion\":\"1.0\"}","DocumentType":"Session","CreatedDate":1700000000.5}"#,
    ),
    (
        "DescribeDocument",
        r#"{"Document":{"Name":"SSM-SessionManagerRunShell","DefaultVersion":"1","LatestVersion":"2",
        "Status":"Active","Tags":[{"Key":"k","Value":"v"}]}}"#,
    ),
    ("CreateDocument", r#"{"DocumentDescription":{"Status":"Creating","DocumentVersion":"1"}}"#),
    ("UpdateDocument", r#"{"DocumentDescription":{"Status":"Updating","DocumentVersion":"2"}}"#),
    ("UpdateDocumentDefaultVersion", r#"{"Description":{"DefaultVersion":"2"}}"#),
    ("DeleteDocument", "{}"),
    ("AddTagsToResource", "{}"),
    ("RemoveTagsFromResource", "{}"),
    (
        "GetInstanceMetadataDefaults",
        "<GetInstanceMetadataDefaultsResponse><accountLevel><httpTokens>required</httpTokens>\
         <httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint>\
         <instanceMetadataTags>disabled</instanceMetadataTags><managedBy>account</managedBy></accountLevel>\
         </GetInstanceMetadataDefaultsResponse>",
    ),
    (
        "ModifyInstanceMetadataDefaults",
        "<ModifyInstanceMetadataDefaultsResponse><return>true</return></ModifyInstanceMetadataDefaultsResponse>",
    ),
    (
        "DescribeRegions",
        "<DescribeRegionsResponse><regionInfo><item><regionName>eu-west-1</regionName><regionEndpoint>\
         ec2.eu-west-1.amazonaws.com</regionEndpoint><optInStatus>opt-in-not-required</optInStatus></item></regionInfo>\
         </DescribeRegionsResponse>",
    ),
    (
        "GetRole",
        "<GetRoleResponse><GetRoleResult><Role><Path>/p/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId>\
         <Arn>arn:aws:iam::111122223333:role/p/r</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
         <AssumeRolePolicyDocument>%7B%22Statement%22%3A%5B%5D%7D</AssumeRolePolicyDocument><PermissionsBoundary>\
         <PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType><PermissionsBoundaryArn>\
         arn:aws:iam::111122223333:policy/b</PermissionsBoundaryArn></PermissionsBoundary><Tags><member><Key>k</Key>\
         <Value>v</Value></member></Tags></Role></GetRoleResult></GetRoleResponse>",
    ),
    (
        "ListAttachedRolePolicies",
        "<ListAttachedRolePoliciesResponse><ListAttachedRolePoliciesResult><AttachedPolicies><member><PolicyName>c\
         </PolicyName><PolicyArn>arn:aws:iam::aws:policy/c</PolicyArn></member></AttachedPolicies><IsTruncated>false\
         </IsTruncated></ListAttachedRolePoliciesResult></ListAttachedRolePoliciesResponse>",
    ),
    (
        "ListRolePolicies",
        "<ListRolePoliciesResponse><ListRolePoliciesResult><PolicyNames><member>ssm-ready</member></PolicyNames>\
         <IsTruncated>false</IsTruncated></ListRolePoliciesResult></ListRolePoliciesResponse>",
    ),
    (
        "GetRolePolicy",
        "<GetRolePolicyResponse><GetRolePolicyResult><RoleName>r</RoleName><PolicyName>ssm-ready</PolicyName>\
         <PolicyDocument>%7B%7D</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>",
    ),
    (
        "GetInstanceProfile",
        "<GetInstanceProfileResponse><GetInstanceProfileResult><InstanceProfile><Path>/</Path><InstanceProfileName>p\
         </InstanceProfileName><InstanceProfileId>AIPA1</InstanceProfileId><Arn>\
         arn:aws:iam::111122223333:instance-profile/p</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><Roles><member>\
         <Path>/p/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId><Arn>arn:aws:iam::111122223333:role/p/r</Arn>\
         <CreateDate>2026-01-01T00:00:00Z</CreateDate></member></Roles><Tags><member><Key>k</Key><Value>v</Value>\
         </member></Tags></InstanceProfile></GetInstanceProfileResult></GetInstanceProfileResponse>",
    ),
    (
        "CreateRole",
        "<CreateRoleResponse><CreateRoleResult><Role><Path>/p/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId>\
         <Arn>arn:aws:iam::111122223333:role/p/r</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>\
         </CreateRoleResult></CreateRoleResponse>",
    ),
    ("UpdateAssumeRolePolicy", "<UpdateAssumeRolePolicyResponse/>"),
    ("AttachRolePolicy", "<AttachRolePolicyResponse/>"),
    ("DetachRolePolicy", "<DetachRolePolicyResponse/>"),
    ("PutRolePolicy", "<PutRolePolicyResponse/>"),
    ("DeleteRolePolicy", "<DeleteRolePolicyResponse/>"),
    ("PutRolePermissionsBoundary", "<PutRolePermissionsBoundaryResponse/>"),
    ("TagRole", "<TagRoleResponse/>"),
    ("UntagRole", "<UntagRoleResponse/>"),
    ("DeleteRole", "<DeleteRoleResponse/>"),
    (
        "CreateInstanceProfile",
        "<CreateInstanceProfileResponse><CreateInstanceProfileResult><InstanceProfile><Path>/</Path>\
         <InstanceProfileName>p</InstanceProfileName><InstanceProfileId>AIPA1</InstanceProfileId><Arn>\
         arn:aws:iam::111122223333:instance-profile/p</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><Roles/>\
         </InstanceProfile></CreateInstanceProfileResult></CreateInstanceProfileResponse>",
    ),
    ("TagInstanceProfile", "<TagInstanceProfileResponse/>"),
    ("UntagInstanceProfile", "<UntagInstanceProfileResponse/>"),
    ("AddRoleToInstanceProfile", "<AddRoleToInstanceProfileResponse/>"),
    ("RemoveRoleFromInstanceProfile", "<RemoveRoleFromInstanceProfileResponse/>"),
    ("DeleteInstanceProfile", "<DeleteInstanceProfileResponse/>"),
    (
        "AssociateIamInstanceProfile",
        "<AssociateIamInstanceProfileResponse><iamInstanceProfileAssociation><associationId>iip-assoc-1</associationId>\
         <instanceId>i-1</instanceId><state>associating</state></iamInstanceProfileAssociation>\
         </AssociateIamInstanceProfileResponse>",
    ),
    (
        "DescribeRule",
        r#"{"Name":"ssm-ready-session-audit","Arn":"arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit",
        "EventPattern":"{\"source\":[\"aws.ssm\"]}","State":"ENABLED","EventBusName":"default"}"#,
    ),
    (
        "ListTargetsByRule",
        r#"{"Targets":[{"Id":"ssm-ready","Arn":"arn:aws:sns:eu-west-1:111122223333:t","Input":"{}"}]}"#,
    ),
    ("ListTagsForResource", r#"{"Tags":[{"Key":"k","Value":"v"}]}"#),
    (
        "DescribeTrails",
        r#"{"trailList":[{"Name":"all","S3BucketName":"b","IsMultiRegionTrail":true,"HomeRegion":"us-east-1",
        "TrailARN":"arn:aws:cloudtrail:us-east-1:111122223333:trail/all","IsOrganizationTrail":false}]}"#,
    ),
    ("GetTrailStatus", r#"{"IsLogging":true,"StartLoggingTime":1700000000.5}"#),
    (
        "GetEventSelectors",
        r#"{"TrailARN":"arn:aws:cloudtrail:us-east-1:111122223333:trail/all","AdvancedEventSelectors":[{"Name":"m",
        "FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]}]}]}"#,
    ),
    (
        "GetTopicAttributes",
        "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes><entry><key>TopicArn</key>\
         <value>arn:aws:sns:eu-west-1:111122223333:t</value></entry><entry><key>Policy</key><value>{}</value></entry>\
         </Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>",
    ),
    ("PutRule", r#"{"RuleArn":"arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit"}"#),
    ("PutTargets", r#"{"FailedEntryCount":0,"FailedEntries":[]}"#),
    ("RemoveTargets", r#"{"FailedEntryCount":0,"FailedEntries":[]}"#),
    ("DeleteRule", "{}"),
    ("TagResource", "{}"),
    ("UntagResource", "{}"),
];

/// The calls that a role is read with.
const OF_A_ROLE: [&str; 4] = ["GetRole", "ListAttachedRolePolicies", "ListRolePolicies", "GetRolePolicy"];
/// The calls that the rule that reports sessions is read with.
const OF_A_RULE: [&str; 3] = ["DescribeRule", "ListTargetsByRule", "ListTagsForResource"];
/// The calls that trails are read with.
const OF_TRAILS: [&str; 3] = ["DescribeTrails", "GetTrailStatus", "GetEventSelectors"];

/// How AWS says that there is none.
const ABSENT: [&str; 7] = [
    "NoSuchEntity",
    "InvalidDocument",
    "ServiceSettingNotFound",
    "NoSuchBucket",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NotFound",
    // That is not absent, but elsewhere.
    "PermanentRedirect",
];

/// Errors in each of the protocols, one of which repeats what it was given.
const BAD: &[&str] = &[
    "<Response><Errors><Error><Code>InvalidParameter</Code><Message>Value tenant-7f3c</Message></Error></Errors>\
     <RequestID>r-1</RequestID></Response>",
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>externalId 'tenant-7f3c'</Message>\
     </Error><RequestId>r-1</RequestId></ErrorResponse>",
    r#"{"__type":"com.amazonaws.ssm#ThrottlingException","message":"Rate exceeded"}"#,
    r#"{"__type":"ExpiredTokenException","Message":null}"#,
    r#"{"__type":"InvalidDocument"}"#,
    r#"{"__type":"NotFoundException","message":"Invalid keyId"}"#,
    "<Error><Code>NoSuchBucket</Code><Message>no</Message><BucketName>b</BucketName></Error>",
    "<Error><Code>PermanentRedirect</Code><Message>no</Message><Endpoint>b.s3.amazonaws.com</Endpoint></Error>",
    r#"{"__type":"ServiceSettingNotFound","message":"no"}"#,
    r#"{"__type":"ResourceNotFoundException","message":"no"}"#,
    r#"{"__type":"TrailNotFoundException","message":"no"}"#,
    "<ErrorResponse><Error><Type>Sender</Type><Code>NotFound</Code><Message>no</Message></Error></ErrorResponse>",
    "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>no</Message></Error></ErrorResponse>",
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
        "AssociateIamInstanceProfile" => Write::AssociateProfile {
            instance: "i-1".into(),
            profile: "arn:aws:iam::111122223333:instance-profile/p".to_owned(),
        },
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
        "UpdateServiceSetting" => Write::UpdateSetting { setting: Setting::ActivationTier, value: "advanced".into() },
        "ResetServiceSetting" => Write::ResetSetting { setting: Setting::HostManagementRole },
        "ModifyInstanceMetadataDefaults" => {
            Write::ModifyMetadataDefaults { values: [(MetadataField::HopLimit, "2".to_owned())].into() }
        }
        _ => {
            let document = document_change(name).map(Write::Document);
            return document.or_else(|| rule_change(name).map(Write::Rule)).or_else(|| iam_write(name));
        }
    })
}

fn rule_change(name: &str) -> Option<RuleChange> {
    let tags: Tags = [("k".to_owned(), "v".to_owned())].into();
    let rule = "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit".to_owned();
    Some(match name {
        "PutRule" => RuleChange::Put { pattern: "{}".into(), tags },
        "PutTargets" => RuleChange::Target("arn:aws:sns:eu-west-1:111122223333:t".into()),
        "TagResource" => RuleChange::Tag { rule, tags },
        "UntagResource" => RuleChange::Untag { rule, keys: ["k".to_owned()].into() },
        "RemoveTargets" => RuleChange::RemoveTargets(["ssm-ready".to_owned()].into()),
        "DeleteRule" => RuleChange::Delete,
        _ => return None,
    })
}

fn document_change(name: &str) -> Option<DocumentChange> {
    let tags: Tags = [("k".to_owned(), "v".to_owned())].into();
    Some(match name {
        "CreateDocument" => DocumentChange::Create { content: "{}".into(), tags },
        "UpdateDocument" => DocumentChange::Update("{}".into()),
        "UpdateDocumentDefaultVersion" => DocumentChange::Use("2".into()),
        "AddTagsToResource" => DocumentChange::Tag(tags),
        "RemoveTagsFromResource" => DocumentChange::Untag(["k".to_owned()].into()),
        "DeleteDocument" => DocumentChange::Delete,
        _ => return None,
    })
}

fn iam_write(name: &str) -> Option<Write> {
    let tags: Tags = [("k".to_owned(), "v".to_owned())].into();
    let keys = || ["k".to_owned()].into();
    let role = |change| Write::Role { role: "r".into(), change };
    let profile = |change| Write::Profile { profile: "p".into(), change };
    let (path, policy) = ("/p/".to_owned(), "arn:aws:iam::aws:policy/c".into());
    Some(match name {
        "CreateRole" => role(RoleChange::Create(Box::new(NewRole {
            path,
            trust: "{}".into(),
            description: "d".into(),
            boundary: None,
            tags,
        }))),
        "UpdateAssumeRolePolicy" => role(RoleChange::Trust("{}".into())),
        "AttachRolePolicy" => role(RoleChange::Attach(policy)),
        "DetachRolePolicy" => role(RoleChange::Detach(policy)),
        "PutRolePolicy" => role(RoleChange::PutInline("{}".into())),
        "DeleteRolePolicy" => role(RoleChange::DeleteInline("ssm-ready".into())),
        "PutRolePermissionsBoundary" => role(RoleChange::Boundary(policy)),
        "TagRole" => role(RoleChange::Tag(tags)),
        "UntagRole" => role(RoleChange::Untag(keys())),
        "DeleteRole" => role(RoleChange::Delete),
        "CreateInstanceProfile" => profile(ProfileChange::Create { path, tags }),
        "TagInstanceProfile" => profile(ProfileChange::Tag(tags)),
        "UntagInstanceProfile" => profile(ProfileChange::Untag(keys())),
        "AddRoleToInstanceProfile" => profile(ProfileChange::AddRole("r".into())),
        "RemoveRoleFromInstanceProfile" => profile(ProfileChange::RemoveRole("r".into())),
        "DeleteInstanceProfile" => profile(ProfileChange::Delete),
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
        "GetServiceSetting" => {
            let read = cloud.setting(&scope, Setting::HostManagementRole).await?;
            read.is_none_or(|read| read.value.as_deref() != Some("") && read.modified_by.as_deref() != Some(""))
        }
        "GetDocument" => cloud
            .session_document(&scope, DocumentVersion::Latest)
            .await?
            .is_none_or(|read| !read.version.is_empty() && !read.content.is_empty()),
        "DescribeDocument" => cloud
            .session_document_info(&scope)
            .await?
            .is_none_or(|read| !read.default_version.is_empty() && !read.latest_version.is_empty()),
        "GetInstanceMetadataDefaults" => {
            let read = cloud.metadata_defaults(&scope).await?;
            read.values.iter().all(|(field, value)| !value.is_empty() && value != field.no_preference())
        }
        "GetBucketLocation" => {
            cloud.bucket(&scope, &"b".into()).await?;
            true
        }
        "GetBucketEncryption" => {
            let read = cloud.bucket_encryption(&scope, &"b".into()).await?.unwrap_or_default();
            read.algorithm.as_deref() != Some("") && read.key.as_deref() != Some("")
        }
        "DescribeLogGroups" => {
            let read = cloud.log_group(&scope, &"/ssm".into()).await?;
            read.is_none_or(|read| read.kms_key.as_deref() != Some(""))
        }
        "DescribeKey" => cloud
            .key(&scope, &"k".into())
            .await?
            .is_none_or(|read| ![&read.arn, &read.state, &read.usage, &read.spec].contains(&&String::new())),
        "DescribeRegions" => named(&cloud.regions(&scope).await?, |region| region.as_str()),
        name if OF_A_ROLE.contains(&name) => cloud.role(&scope, &"r".into()).await?.is_none_or(|read| {
            let whole = ![read.name.as_str(), &read.arn, &read.path, &read.trust].contains(&"");
            whole && read.inline.iter().all(|(name, document)| (name == INLINE_POLICY) == document.is_some())
        }),
        name if OF_A_RULE.contains(&name) => cloud.audit_rule(&scope).await?.is_none_or(|read| {
            let whole = !read.arn.is_empty() && !read.state.is_empty() && read.pattern.as_deref() != Some("");
            whole && named(&read.targets, |target| target.id.as_str())
        }),
        name if OF_TRAILS.contains(&name) => named(&cloud.trails(&scope).await?, |trail| trail.arn.as_str()),
        "GetTopicAttributes" => {
            let read = cloud.topic(&scope, "arn:aws:sns:eu-west-1:111122223333:t").await?;
            read.is_none_or(|read| read.policy.as_deref() != Some("") && read.key.as_deref() != Some(""))
        }
        "GetInstanceProfile" => cloud
            .profile(&scope, &"p".into())
            .await?
            .is_none_or(|read| ![read.name.as_str(), &read.arn, &read.path].contains(&"")),
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
        if seen.operation == name {
            return answer.clone();
        }
        let together = [&OF_A_ROLE[..], &OF_A_RULE, &OF_TRAILS].into_iter().find(|calls| calls.contains(&name));
        let beside = |good: &&(&str, &str)| together.is_some() && good.0 == seen.operation;
        sts(seen)
            .or_else(|| GOOD.iter().find(beside).map(|(_, good)| Answer::Of(200, (*good).to_owned())))
            .unwrap_or_else(|| panic!("{}", seen.operation))
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
                let absent = ABSENT.iter().any(|code| shown.contains(code));
                prop_assert!(
                    (200..300).contains(&status) || absent || write_of(name).is_some(),
                    "{name} {status}: {shown}"
                );
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
