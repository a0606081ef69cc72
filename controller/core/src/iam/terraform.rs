//! Terraform (and OpenTofu): a module of an account's roles, and one of the controller's own role.

use std::fmt::Write as _;

use super::{
    HubIdentity, Partition, Roles, Settings, cloudformation,
    document::{Node, Parameter, Piece, Text},
    policies,
};

const HEADER: &str = r#"# Made by ssm-ready iam-policy.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 4.0"
    }
  }
}
"#;

/// The roles of an account.
pub(super) fn spoke(settings: &Settings, roles: Roles) -> String {
    let mut text = HEADER.to_owned();
    let variables = [
        Variable::new("hub_role_arn", "The ARN of the controller's own role, which has to exist.")
            .default(settings.hub_role.as_deref()),
        Variable::new("external_id", "The external id that the AwsAccount gives.")
            .default(settings.external_id.as_deref())
            .sensitive(),
        Variable::new(
            "cluster_id",
            "The controller's --cluster-id: only what carries it in the tag ssmready.dev/cluster is changed.",
        )
        .default(Some(&settings.cluster_id)),
        Variable::new("permissions_boundary", "The ARN of a policy that bounds the roles, if any.").optional(),
    ];
    for variable in variables.iter().chain(&names(settings)).chain(&organization(settings)) {
        variable.write(&mut text);
    }
    text.push_str("\ndata \"aws_partition\" \"current\" {}\n\ndata \"aws_caller_identity\" \"current\" {}\n");
    text.push_str("\nlocals {\n  partition  = data.aws_partition.current.partition\n  account_id = data.aws_caller_identity.current.account_id\n\n");
    text.push_str("  # The names of some endpoint services begin with this instead of com.amazonaws.\n");
    let prefixes = Partition::ALL.map(|partition| (partition.name(), Node::text(partition.endpoint_prefix())));
    writeln_local(&mut text, "endpoint_prefixes", &Node::map(prefixes));
    text.push_str("  endpoint_prefix = lookup(local.endpoint_prefixes, local.partition, \"com.amazonaws\")\n\n");
    writeln_local(&mut text, "trust", &policies::trust(settings, true).node());
    writeln_local(&mut text, "observe", &policies::observe(settings).node());
    let kinds = if roles.enforce() { settings.enforce() } else { Vec::new() };
    for (kind, policy) in &kinds {
        writeln_local(&mut text, &kind.policy().replace('-', "_"), &policy.node());
    }
    close(&mut text);
    if roles.observe() {
        role(&mut text, "observe", "\"${var.role_prefix}-observe\"", &["observe"]);
        output(
            &mut text,
            "observe_role_arn",
            "spec.assumeRole.observeRoleArn of the AwsAccount",
            "aws_iam_role.observe.arn",
        );
    }
    if roles.enforce() {
        let own = kinds.iter().any(|(kind, _)| cloudformation::managed(*kind).is_none());
        let inline = if own { &["observe", "enforce"][..] } else { &["observe"] };
        role(&mut text, "enforce", "var.role_prefix", inline);
        for (kind, _) in &kinds {
            let Some((_, suffix, description)) = cloudformation::managed(*kind) else { continue };
            let local = kind.policy().replace('-', "_");
            managed(&mut text, &local, suffix, description, &local);
            _ = write!(
                text,
                "\nresource \"aws_iam_role_policy_attachment\" \"{local}\" {{\n  role       = aws_iam_role.enforce.name\n  policy_arn = aws_iam_policy.{local}.arn\n}}\n"
            );
        }
        output(&mut text, "enforce_role_arn", "spec.assumeRole.roleArn of the AwsAccount", "aws_iam_role.enforce.arn");
    }
    text
}

/// The controller's own role, or, where it is not said how the controller gets it, only its policy.
pub(super) fn hub(settings: &Settings, accounts: &[String]) -> String {
    let mut text = HEADER.to_owned();
    for variable in names(settings).iter().chain(&organization(settings)) {
        variable.write(&mut text);
    }
    text.push_str("\ndata \"aws_partition\" \"current\" {}\n");
    if matches!(settings.identity, Some(HubIdentity::Irsa { .. })) {
        text.push_str("\ndata \"aws_caller_identity\" \"current\" {}\n");
        text.push_str("\nlocals {\n  partition  = data.aws_partition.current.partition\n");
        text.push_str("  account_id = data.aws_caller_identity.current.account_id\n\n");
    } else {
        text.push_str("\nlocals {\n  partition = data.aws_partition.current.partition\n\n");
    }
    writeln_local(&mut text, "hub", &policies::hub(settings, accounts).node());
    match &settings.identity {
        Some(identity) => {
            let trust = policies::hub_trust(&Settings { hub_role: None, ..settings.clone() }, identity);
            writeln_local(&mut text, "trust", &trust.node());
            close(&mut text);
            text.push_str("\nresource \"aws_iam_role\" \"hub\" {\n  name               = \"${var.role_prefix}-hub\"\n  path               = var.role_path\n  assume_role_policy = jsonencode(local.trust)\n}\n");
            inline(&mut text, "hub", "hub");
            output(&mut text, "hub_role_arn", "The controller's own role", "aws_iam_role.hub.arn");
        }
        None => {
            close(&mut text);
            let description = "Lets the ssm-ready controller take on its roles in other accounts";
            managed(&mut text, "hub", "-hub", description, "hub");
            output(&mut text, "hub_policy_arn", "Attach it to the controller's own role", "aws_iam_policy.hub.arn");
        }
    }
    text
}

struct Variable<'a> {
    name: &'static str,
    description: &'static str,
    default: Option<&'a str>,
    optional: bool,
    sensitive: bool,
}

impl<'a> Variable<'a> {
    fn new(name: &'static str, description: &'static str) -> Self {
        Self { name, description, default: None, optional: false, sensitive: false }
    }

    fn default(self, default: Option<&'a str>) -> Self {
        Self { default, ..self }
    }

    fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    fn sensitive(self) -> Self {
        Self { sensitive: true, ..self }
    }

    fn write(&self, text: &mut String) {
        let mut entries = vec![("description", quoted(self.description)), ("type", "string".to_owned())];
        if self.optional {
            entries.push(("default", "null".to_owned()));
        }
        entries.extend(self.default.map(|default| ("default", quoted(default))));
        if self.sensitive {
            entries.push(("sensitive", "true".to_owned()));
        }
        let width = entries.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        let lines = entries.iter().map(|(key, value)| format!("  {key:width$} = {value}\n"));
        _ = write!(text, "\nvariable \"{}\" {{\n{}}}\n", self.name, lines.collect::<String>());
    }
}

fn names(settings: &Settings) -> [Variable<'_>; 2] {
    [
        Variable::new("role_path", "The path of the roles.").default(Some(&settings.role_path)),
        Variable::new("role_prefix", "What the names of the roles begin with.").default(Some(&settings.role_prefix)),
    ]
}

fn organization(settings: &Settings) -> Option<Variable<'_>> {
    let id = settings.organization.as_deref()?;
    Some(Variable::new("organization_id", "The organisation of the accounts.").default(Some(id)))
}

fn role(text: &mut String, name: &str, role_name: &str, documents: &[&str]) {
    _ = write!(
        text,
        "\nresource \"aws_iam_role\" \"{name}\" {{\n  name                 = {role_name}\n  path                 = var.role_path\n  max_session_duration = 3600\n  permissions_boundary = var.permissions_boundary\n  assume_role_policy   = jsonencode(local.trust)\n}}\n"
    );
    for document in documents {
        inline(text, name, document);
    }
}

fn inline(text: &mut String, role: &str, document: &str) {
    let label = if role == document { role.to_owned() } else { format!("{role}_{document}") };
    _ = write!(
        text,
        "\nresource \"aws_iam_role_policy\" \"{label}\" {{\n  name   = \"ssm-ready-{document}\"\n  role   = aws_iam_role.{role}.id\n  policy = jsonencode(local.{document})\n}}\n"
    );
}

fn managed(text: &mut String, label: &str, suffix: &str, description: &str, document: &str) {
    let description = quoted(description);
    _ = write!(
        text,
        "\nresource \"aws_iam_policy\" \"{label}\" {{\n  name        = \"${{var.role_prefix}}{suffix}\"\n  path        = var.role_path\n  description = {description}\n  policy      = jsonencode(local.{document})\n}}\n"
    );
}

fn output(text: &mut String, name: &str, description: &str, value: &str) {
    let description = quoted(description);
    _ = write!(text, "\noutput \"{name}\" {{\n  description = {description}\n  value       = {value}\n}}\n");
}

fn writeln_local(text: &mut String, name: &str, value: &Node) {
    _ = writeln!(text, "  {name} = {}\n", expression(value, 1));
}

/// Ends a block without the empty line before its end.
fn close(text: &mut String) {
    text.truncate(text.trim_end().len());
    text.push_str("\n}\n");
}

/// A value as `terraform fmt` would write it.
fn expression(node: &Node, depth: usize) -> String {
    let (indent, end) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    match node {
        Node::Text(text) => string(text),
        Node::Flag(flag) => flag.to_string(),
        Node::Number(number) => number.to_string(),
        Node::List(items) => {
            let items: String =
                items.iter().map(|item| format!("{indent}{},\n", expression(item, depth + 1))).collect();
            format!("[\n{items}{end}]")
        }
        Node::Map(entries) => {
            let keys: Vec<String> = entries.iter().map(|(key, _)| key_of(key)).collect();
            let values: Vec<String> = entries.iter().map(|(_, value)| expression(value, depth + 1)).collect();
            let mut lines = String::new();
            for (at, (key, value)) in keys.iter().zip(&values).enumerate() {
                let width = aligned(&keys, &values, at);
                _ = writeln!(lines, "{indent}{key:width$} = {value}");
            }
            format!("{{\n{lines}{end}}}")
        }
    }
}

/// The width to which a key is filled up: that of the longest of the neighbours with it whose values take one line.
/// The value after such neighbours may take more.
fn aligned(keys: &[String], values: &[String], at: usize) -> usize {
    let single = |at: usize| !values[at].contains('\n');
    if !single(at) {
        return keys[at].len();
    }
    let first = (0..at).rev().take_while(|before| single(*before)).last().unwrap_or(at);
    let last = (at + 1..keys.len()).take_while(|after| single(*after)).last().unwrap_or(at);
    keys[first..=last].iter().map(String::len).max().unwrap_or_default()
}

fn key_of(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain && key.starts_with(|c: char| c.is_ascii_alphabetic()) { key.to_owned() } else { quoted(key) }
}

fn quoted(literal: &str) -> String {
    format!("\"{}\"", escaped(literal))
}

fn escaped(literal: &str) -> String {
    literal.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{")
}

fn string(text: &Text) -> String {
    if let [Piece::Open(parameter)] = text.pieces() {
        return name(*parameter).to_owned();
    }
    let pieces = text.pieces().iter().map(|piece| match piece {
        Piece::Literal(literal) => escaped(literal),
        Piece::Open(parameter) => format!("${{{}}}", name(*parameter)),
    });
    format!("\"{}\"", pieces.collect::<String>())
}

fn name(parameter: Parameter) -> &'static str {
    match parameter {
        Parameter::Partition => "local.partition",
        Parameter::Account => "local.account_id",
        Parameter::ClusterId => "var.cluster_id",
        Parameter::HubRole => "var.hub_role_arn",
        Parameter::ExternalId => "var.external_id",
        Parameter::Organization => "var.organization_id",
        Parameter::RolePath => "var.role_path",
        Parameter::RolePrefix => "var.role_prefix",
        Parameter::EndpointPrefix => "local.endpoint_prefix",
    }
}
