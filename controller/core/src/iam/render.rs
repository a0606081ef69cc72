//! What `ssm-ready iam-policy` prints.

use super::{Node, Roles, Settings, cloudformation, policies, terraform};

/// Which of the documents is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the controller's own role may do.
    Hub,
    /// Who may take on the controller's own role.
    HubTrust,
    /// Who may take on the roles of an account.
    Trust,
    /// What the role may do that looks.
    Observe,
    /// What the role may do beyond that which changes AWS.
    Enforce,
    /// All of these.
    All,
}

/// The form in which they are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON policy documents.
    Json,
    /// A CloudFormation template in YAML.
    CloudFormation,
    /// A Terraform module.
    Terraform,
}

/// Why something cannot be printed: for people, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// The versions of policies and of templates.
const VERSIONS: [&str; 2] = ["2012-10-17", "2010-09-09"];

fn refuse<T>(text: &str) -> Result<T, Refusal> {
    Err(Refusal(text.to_owned()))
}

/// The text of a part in a form. JSON has a document for each of the accounts; templates take the account that they are
/// used in.
///
/// # Errors
/// What is missing for it, or does not go together.
pub fn render(settings: &Settings, part: Part, format: Format, accounts: &[String]) -> Result<String, Refusal> {
    let roles = match part {
        Part::All => Roles::Both,
        Part::Observe => Roles::Observe,
        _ => Roles::Enforce,
    };
    match (format, part) {
        (Format::Json, _) => json(settings, part, accounts),
        (_, Part::Trust | Part::HubTrust) => refuse(
            "a template has the trust policy within the role: use --part all, observe, enforce or hub, or --format json",
        ),
        (Format::CloudFormation, Part::Hub) => yaml(&cloudformation::hub(settings, accounts)),
        (Format::CloudFormation, _) => yaml(&cloudformation::spoke(settings, roles)),
        (Format::Terraform, Part::Hub) => Ok(terraform::hub(settings, accounts)),
        (Format::Terraform, _) => Ok(terraform::spoke(settings, roles)),
    }
}

fn json(settings: &Settings, part: Part, accounts: &[String]) -> Result<String, Refusal> {
    let account = match (part, accounts) {
        (Part::Trust | Part::Observe | Part::Enforce, [_, _, ..]) => {
            return refuse("these policies name their account: give one --account, or use --part all");
        }
        (_, [first, ..]) => Some(first.as_str()),
        (_, []) => None,
    };
    let node = match part {
        Part::Hub => settings.document(&policies::hub(settings, accounts), None),
        Part::HubTrust => hub_trust(settings)?,
        Part::Trust => trust(settings, account)?,
        Part::Observe => settings.document(&policies::observe(settings), account),
        Part::Enforce => settings.document(&policies::enforce(settings), account),
        Part::All => all(settings, accounts)?,
    };
    let mut text = serde_json::to_string_pretty(&node).map_err(|error| Refusal(error.to_string()))?;
    text.push('\n');
    Ok(text)
}

fn all(settings: &Settings, accounts: &[String]) -> Result<Node, Refusal> {
    let mut entries = vec![("hub", settings.document(&policies::hub(settings, accounts), None))];
    if settings.identity.is_some() {
        entries.push(("hubTrust", hub_trust(settings)?));
    }
    let spokes: Vec<Option<&str>> =
        if accounts.is_empty() { vec![None] } else { accounts.iter().map(|account| Some(account.as_str())).collect() };
    let mut each = Vec::new();
    for account in spokes {
        each.push(Node::map([
            ("account", Node::text(account.unwrap_or("*"))),
            ("trust", trust(settings, account)?),
            ("observe", settings.document(&policies::observe(settings), account)),
            ("enforce", settings.document(&policies::enforce(settings), account)),
        ]));
    }
    entries.push(("accounts", Node::List(each)));
    Ok(Node::map(entries))
}

fn trust(settings: &Settings, account: Option<&str>) -> Result<Node, Refusal> {
    if settings.hub_role.is_none() {
        return refuse("a trust policy names the controller's own role: give --hub-role-arn");
    }
    Ok(settings.document(&policies::trust(settings, settings.external_id.is_some()), account))
}

fn hub_trust(settings: &Settings) -> Result<Node, Refusal> {
    let Some(identity) = &settings.identity else {
        return refuse("who gets the controller's own role depends on the cluster: give --hub-identity");
    };
    if matches!(identity, super::HubIdentity::Irsa { .. }) && settings.hub_role.is_none() {
        return refuse("the OIDC provider is in the account of the controller's own role: give --hub-role-arn");
    }
    Ok(settings.document(&policies::hub_trust(settings, identity), settings.hub_account()))
}

fn yaml(node: &Node) -> Result<String, Refusal> {
    let text = serde_yaml::to_string(node).map_err(|error| Refusal(error.to_string()))?;
    // To readers of YAML 1.1, which CloudFormation's tools are, a bare one is a date.
    Ok(VERSIONS.iter().fold(text, |text, version| text.replace(&format!(": {version}\n"), &format!(": '{version}'\n"))))
}
