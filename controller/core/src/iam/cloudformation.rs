//! CloudFormation: a template of an account's roles, fit for a StackSet, and one of the controller's own role.
//!
//! What is not known before a stack is made is a parameter or a pseudo parameter, so that one template serves every
//! account of every partition.

use super::{
    Kind, Roles, Settings,
    document::{Node, Parameter, Piece, Policy, Text},
    policies,
};

/// The description of the template of an account's roles.
const SPOKE: &str =
    "Roles that ssm-ready takes on in this account: one looks, one changes AWS. Made by ssm-ready iam-policy.";
/// The description of the template of the controller's own role.
const HUB: &str = "What the ssm-ready controller may do by itself: take on its roles in other accounts. Made by ssm-ready iam-policy.";

/// The roles of an account.
pub(super) fn spoke(settings: &Settings, roles: Roles) -> Node {
    let mut resources = Vec::new();
    let mut outputs = Vec::new();
    let trust = policies::trust(settings, true);
    let observe = ("ssm-ready-observe", policies::observe(settings));
    if roles.observe() {
        let name = Text::open(Parameter::RolePrefix).and("-observe");
        resources.push(("ObserveRole", role(name, &trust, std::slice::from_ref(&observe), &[])));
        outputs.push(output("ObserveRole", "spec.assumeRole.observeRoleArn of the AwsAccount"));
    }
    if roles.enforce() {
        let mut inline = vec![observe];
        let mut attached = Vec::new();
        for (kind, policy) in settings.enforce() {
            match managed(kind) {
                None => inline.push(("ssm-ready-enforce", policy)),
                Some((resource, suffix, description)) => {
                    let name = Text::open(Parameter::RolePrefix).and(suffix);
                    resources.push((resource, managed_policy(&name, description, document(&policy))));
                    attached.push(resource);
                }
            }
        }
        let name = Text::open(Parameter::RolePrefix);
        resources.push(("EnforceRole", role(name, &trust, &inline, &attached)));
        outputs.push(output("EnforceRole", "spec.assumeRole.roleArn of the AwsAccount"));
    }
    let mut parameters = vec![
        parameter(
            "HubRoleArn",
            "The ARN of the controller's own role, which has to exist.",
            settings.hub_role.as_deref(),
            r"^arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+$",
        ),
        secret("ExternalId", "The external id that the AwsAccount gives.", settings.external_id.as_deref()),
        parameter(
            "ClusterId",
            "The controller's --cluster-id: only what carries it in the tag ssmready.dev/cluster is changed.",
            Some(&settings.cluster_id),
            "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        ),
    ];
    parameters.extend(names(settings));
    parameters.push(organization(settings));
    parameters.push(parameter(
        "PermissionsBoundary",
        "The ARN of a policy that bounds the roles, if any.",
        Some(""),
        "^(|arn:.+)$",
    ));
    template(SPOKE, parameters, true, resources, outputs)
}

/// The managed policy of a kind: its resource, what its name ends with, and its description. That of VPCs is inline; all
/// of them together would be longer than inline policies may be.
pub(super) fn managed(kind: Kind) -> Option<(&'static str, &'static str, &'static str)> {
    match kind {
        Kind::VpcPosture => None,
        Kind::RegionPosture => {
            Some(("RegionPolicy", "-region", "Lets ssm-ready keep what RegionPostures declare of this account"))
        }
        Kind::AccountPosture => {
            Some(("AccountPolicy", "-account", "Lets ssm-ready keep the roles that AccountPostures declare"))
        }
    }
}

/// The controller's own role, or, where it is not said how the controller gets it, only its policy.
pub(super) fn hub(settings: &Settings, accounts: &[String]) -> Node {
    let policy = document(&policies::hub(settings, accounts));
    let mut parameters: Vec<Entry> = names(settings);
    parameters.push(organization(settings));
    let (resources, outputs) = match &settings.identity {
        Some(identity) => {
            let trust = policies::hub_trust(&Settings { hub_role: None, ..settings.clone() }, identity);
            let role = Node::map([
                ("Type", Node::text("AWS::IAM::Role")),
                (
                    "Properties",
                    Node::map([
                        ("Path", fill(&Parameter::RolePath.into())),
                        ("RoleName", fill(&Text::open(Parameter::RolePrefix).and("-hub"))),
                        ("AssumeRolePolicyDocument", document(&trust)),
                        (
                            "Policies",
                            Node::List(vec![Node::map([
                                ("PolicyName", Node::text("ssm-ready-hub")),
                                ("PolicyDocument", policy),
                            ])]),
                        ),
                    ]),
                ),
            ]);
            (vec![("HubRole", role)], vec![output("HubRole", "The controller's own role")])
        }
        None => {
            let name = Text::open(Parameter::RolePrefix).and("-hub");
            let description = "Lets the ssm-ready controller take on its roles in other accounts";
            let managed = managed_policy(&name, description, policy);
            let arn = Node::map([
                ("Description", Node::text("Attach it to the controller's own role")),
                ("Value", Node::map([("Ref", Node::text("HubPolicy"))])),
            ]);
            (vec![("HubPolicy", managed)], vec![("HubPolicyArn".to_owned(), arn)])
        }
    };
    template(HUB, parameters, false, resources, outputs)
}

type Entry = Option<(&'static str, Node)>;

fn template(
    description: &str,
    parameters: Vec<Entry>,
    spoke: bool,
    resources: Vec<(&str, Node)>,
    outputs: Vec<(String, Node)>,
) -> Node {
    let mut entries = vec![
        ("AWSTemplateFormatVersion", Node::text("2010-09-09")),
        ("Description", Node::text(description)),
        ("Parameters", Node::map(parameters.into_iter().flatten())),
    ];
    if spoke {
        entries.push(("Mappings", mappings()));
        let given = |name: &str| Node::map([("Fn::Not", Node::List(vec![equals(name, "")]))]);
        entries.push(("Conditions", Node::map([("Bounded", given("PermissionsBoundary"))])));
    }
    entries.push(("Resources", Node::map(resources)));
    entries.push(("Outputs", Node::Map(outputs)));
    Node::map(entries)
}

fn equals(parameter: &str, value: &str) -> Node {
    let parameter = Node::map([("Ref", Node::text(parameter))]);
    Node::map([("Fn::Equals", Node::List(vec![parameter, Node::text(value)]))])
}

/// The second prefix of endpoint services, by partition.
fn mappings() -> Node {
    let partitions = super::Partition::ALL
        .map(|partition| (partition.name(), Node::map([("EndpointPrefix", Node::text(partition.endpoint_prefix()))])));
    Node::map([("Partitions", Node::map(partitions))])
}

fn names(settings: &Settings) -> Vec<Entry> {
    vec![
        parameter("RolePath", "The path of the roles.", Some(&settings.role_path), r"^/([\x21-\x7e]+/)?$"),
        parameter(
            "RolePrefix",
            "What the names of the roles begin with.",
            Some(&settings.role_prefix),
            r"^[\w+=,.@-]{1,40}$",
        ),
    ]
}

fn organization(settings: &Settings) -> Entry {
    settings.organization.as_deref().and_then(|id| {
        parameter("OrganizationId", "The organisation of the accounts.", Some(id), "^o-[a-z0-9]{10,32}$")
    })
}

fn parameter(name: &'static str, description: &str, default: Option<&str>, pattern: &str) -> Entry {
    let mut entries = vec![("Type", Node::text("String")), ("Description", Node::text(description))];
    entries.extend(default.map(|default| ("Default", Node::text(default))));
    entries.push(("AllowedPattern", Node::text(pattern)));
    Some((name, Node::map(entries)))
}

fn secret(name: &'static str, description: &str, default: Option<&str>) -> Entry {
    let mut entries =
        vec![("Type", Node::text("String")), ("Description", Node::text(description)), ("NoEcho", Node::Flag(true))];
    entries.extend(default.map(|default| ("Default", Node::text(default))));
    entries.push(("AllowedPattern", Node::text(r"^[\w+=,.@:/-]{2,1224}$")));
    Some((name, Node::map(entries)))
}

fn managed_policy(name: &Text, description: &str, policy: Node) -> Node {
    Node::map([
        ("Type", Node::text("AWS::IAM::ManagedPolicy")),
        (
            "Properties",
            Node::map([
                ("Path", fill(&Parameter::RolePath.into())),
                ("ManagedPolicyName", fill(name)),
                ("Description", Node::text(description)),
                ("PolicyDocument", policy),
            ]),
        ),
    ])
}

fn role(name: Text, trust: &Policy, policies: &[(&str, Policy)], attached: &[&str]) -> Node {
    let policies = policies
        .iter()
        .map(|(name, policy)| Node::map([("PolicyName", Node::text(*name)), ("PolicyDocument", document(policy))]));
    let boundary = Node::List(vec![
        Node::text("Bounded"),
        Node::map([("Ref", Node::text("PermissionsBoundary"))]),
        Node::map([("Ref", Node::text("AWS::NoValue"))]),
    ]);
    let mut properties = vec![
        ("Path", fill(&Parameter::RolePath.into())),
        ("RoleName", fill(&name)),
        ("MaxSessionDuration", Node::Number(3600)),
        ("PermissionsBoundary", Node::map([("Fn::If", boundary)])),
        ("AssumeRolePolicyDocument", document(trust)),
        ("Policies", Node::List(policies.collect())),
    ];
    if !attached.is_empty() {
        let references = attached.iter().map(|resource| Node::map([("Ref", Node::text(*resource))]));
        properties.push(("ManagedPolicyArns", Node::List(references.collect())));
    }
    Node::map([("Type", Node::text("AWS::IAM::Role")), ("Properties", Node::map(properties))])
}

fn output(resource: &str, description: &str) -> (String, Node) {
    let arn = Node::List(vec![Node::text(resource), Node::text("Arn")]);
    let value = Node::map([("Fn::GetAtt", arn)]);
    (format!("{resource}Arn"), Node::map([("Description", Node::text(description)), ("Value", value)]))
}

fn document(policy: &Policy) -> Node {
    policy.node().translate(&fill)
}

/// What stands for a text: itself, a reference, or a substitution.
fn fill(text: &Text) -> Node {
    if let [Piece::Open(parameter)] = text.pieces()
        && let Some(name) = name(*parameter)
    {
        return Node::map([("Ref", Node::text(name))]);
    }
    if text.pieces().iter().all(|piece| matches!(piece, Piece::Literal(_))) {
        return Node::Text(text.clone());
    }
    let mut looked_up = Vec::new();
    let pieces = text.pieces().iter().map(|piece| match piece {
        Piece::Literal(literal) => literal.replace("${", "${!"),
        Piece::Open(parameter) => match name(*parameter) {
            Some(name) => format!("${{{name}}}"),
            None => {
                looked_up.push(("Prefix", endpoint_prefix()));
                "${Prefix}".to_owned()
            }
        },
    });
    let pattern = Node::text(pieces.collect::<String>());
    let substitution = if looked_up.is_empty() { pattern } else { Node::List(vec![pattern, Node::map(looked_up)]) };
    Node::map([("Fn::Sub", substitution)])
}

fn endpoint_prefix() -> Node {
    let partition = Node::map([("Ref", Node::text("AWS::Partition"))]);
    Node::map([("Fn::FindInMap", Node::List(vec![Node::text("Partitions"), partition, Node::text("EndpointPrefix")]))])
}

/// The name of a parameter in a template; the endpoint prefix has to be looked up.
fn name(parameter: Parameter) -> Option<&'static str> {
    Some(match parameter {
        Parameter::Partition => "AWS::Partition",
        Parameter::Account => "AWS::AccountId",
        Parameter::ClusterId => "ClusterId",
        Parameter::HubRole => "HubRoleArn",
        Parameter::ExternalId => "ExternalId",
        Parameter::Organization => "OrganizationId",
        Parameter::RolePath => "RolePath",
        Parameter::RolePrefix => "RolePrefix",
        Parameter::EndpointPrefix => return None,
    })
}
