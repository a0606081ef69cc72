//! What `ssm-ready iam-policy` prints.

use super::{
    INLINE_POLICIES_LIMIT, Kind, MANAGED_POLICY_LIMIT, Node, Policy, Roles, Settings, cloudformation, policies,
    terraform,
};

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
    /// What the role that changes AWS may do beyond that for objects of a kind.
    Enforce(Kind),
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
    let account = accounts.first().map(String::as_str);
    match part {
        Part::Hub | Part::HubTrust | Part::Trust => {}
        Part::Observe => _ = fits("observe", &policies::observe(settings), settings, account)?,
        Part::Enforce(kind) if format == Format::Json => {
            fits(kind.policy(), &policies::enforce(settings, kind), settings, account)?;
        }
        Part::Enforce(_) | Part::All => all_fit(settings, format, account)?,
    }
    match (format, part) {
        (Format::Json, _) => json(settings, part, accounts),
        (_, Part::Trust | Part::HubTrust) => refuse(
            "a template has the trust policy within the role: use --part all, observe, enforce or hub, or --format json",
        ),
        (_, Part::Enforce(Kind::RegionPosture | Kind::AccountPosture)) => refuse(
            "a template has each policy with the role that it belongs to: use --part all or enforce with --kind, or --format json",
        ),
        (Format::CloudFormation, Part::Hub) => yaml(&cloudformation::hub(settings, accounts)),
        (Format::CloudFormation, _) => yaml(&cloudformation::spoke(settings, roles)),
        (Format::Terraform, Part::Hub) => Ok(terraform::hub(settings, accounts)),
        (Format::Terraform, _) => Ok(terraform::spoke(settings, roles)),
    }
}

/// The length of a policy, if a managed policy can be as long.
fn fits(name: &str, policy: &Policy, settings: &Settings, account: Option<&str>) -> Result<usize, Refusal> {
    let length = settings.length(policy, account);
    if length > MANAGED_POLICY_LIMIT {
        return Err(Refusal(format!(
            "the policy {name} would have {length} characters, and IAM allows {MANAGED_POLICY_LIMIT}: give fewer or shorter paths, managed policies, regions or features"
        )));
    }
    Ok(length)
}

/// Whether each policy can be a managed one, and, in templates, those can be inline that are.
fn all_fit(settings: &Settings, format: Format, account: Option<&str>) -> Result<(), Refusal> {
    let mut inline = fits("observe", &policies::observe(settings), settings, account)?;
    for (kind, policy) in settings.enforce() {
        let length = fits(kind.policy(), &policy, settings, account)?;
        inline += if cloudformation::managed(kind).is_none() { length } else { 0 };
    }
    if format != Format::Json && inline > INLINE_POLICIES_LIMIT {
        return Err(Refusal(format!(
            "observe and enforce would have {inline} characters together, and IAM allows {INLINE_POLICIES_LIMIT} inline: give fewer regions or features, or a shorter path"
        )));
    }
    Ok(())
}

fn json(settings: &Settings, part: Part, accounts: &[String]) -> Result<String, Refusal> {
    let account = match (part, accounts) {
        (Part::Trust | Part::Observe | Part::Enforce(_), [_, _, ..]) => {
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
        Part::Enforce(kind) => {
            let policy = policies::enforce(settings, kind);
            if policy.statements.is_empty() {
                return Err(Refusal(format!("{} has nothing of the features that are chosen", kind.policy())));
            }
            settings.document(&policy, account)
        }
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
        let mut policies = vec![
            ("account", Node::text(account.unwrap_or("*"))),
            ("trust", trust(settings, account)?),
            ("observe", settings.document(&policies::observe(settings), account)),
        ];
        let of_kinds = settings.enforce();
        policies.extend(of_kinds.iter().map(|(kind, policy)| (kind.policy(), settings.document(policy, account))));
        each.push(Node::map(policies));
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
