//! `ssm-ready iam-policy`: the policies that the controller needs, in the form in which they are wanted.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, ValueEnum, builder::PossibleValue};
use ssm_ready_core::iam::{self, Feature, Format, HubIdentity, Kind, Part, Partition, Settings};

/// What to print, and for what.
#[derive(Clone, Args)]
pub struct IamPolicyArgs {
    /// The controller's --cluster-id: only what carries it in its tags may be changed
    #[arg(long, env = "SSM_READY_CLUSTER_ID", value_name = "ID", value_parser = crate::args::cluster_id)]
    cluster_id: String,

    /// Which policy to print
    ///
    /// hub: what the controller's own role may do. hub-trust: who gets that role. trust, observe, enforce: of the roles
    /// in an account; the role that changes AWS needs observe and, for each kind of object in use, one more: enforce for
    /// VpcPostures, enforce-region for RegionPostures, enforce-account for AccountPostures. all: in JSON all of these; in
    /// a template the two roles of an account.
    #[arg(long, value_name = "PART", default_value = "all")]
    part: PartArg,

    /// In which form
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: FormatArg,

    /// An account that the controller works in; can be given several times
    ///
    /// Without it, the policies name no account. Templates take the account that they are used in.
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Vec<String>,

    /// The partition of the accounts
    ///
    /// Templates find it out by themselves.
    #[arg(long, value_name = "NAME", default_value = "aws")]
    partition: PartitionArg,

    /// The kinds of objects that use the accounts, for --part all and templates; several times, or with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "vpc-posture")]
    kind: Vec<KindArg>,

    /// What the controller is to do; can be given several times, or with commas
    ///
    /// Without it, what objects take whose adoption, ownership and existing are at their defaults.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    feature: Vec<FeatureArg>,

    /// A path of the roles and profiles that AccountPostures declare, or that are set for Default Host Management; can be
    /// given several times
    ///
    /// Nothing is made, changed or passed outside of these.
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = role_path)]
    managed_role_path: Vec<String>,

    /// The ARN of the permissions boundary that AccountPostures give to roles (guardrails of the AwsAccount)
    ///
    /// Without it, whoever may write roles can give them everything. In each account, its policy of the same name.
    #[arg(long, value_name = "ARN", value_parser = policy_arn)]
    managed_role_boundary: Option<String>,

    /// The ARN of a managed policy that roles may get beyond AWS's own for Systems Manager (guardrails of the
    /// AwsAccount); can be given several times
    #[arg(long, value_name = "ARN", value_parser = policy_arn)]
    managed_policy: Vec<String>,

    /// The ARN of the controller's own role
    #[arg(long, value_name = "ARN", value_parser = role_arn)]
    hub_role_arn: Option<String>,

    /// The external id that the AwsAccount gives; it is printed
    ///
    /// Leave it out for templates, which then ask for it.
    #[arg(long, env = "SSM_READY_EXTERNAL_ID", hide_env_values = true, value_name = "TEXT", value_parser = external_id)]
    external_id: Option<String>,

    /// The organisation in which the accounts have to be
    #[arg(long, value_name = "ID", value_parser = organization)]
    org_id: Option<String>,

    /// The regions in which the roles may act, with commas; without it, all
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = region)]
    regions: Vec<String>,

    /// The path of the roles
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = role_path)]
    role_path: String,

    /// What the names of the roles begin with: PREFIX is the role that changes AWS, PREFIX-observe the one that looks
    #[arg(long, value_name = "PREFIX", default_value = "ssm-ready", value_parser = role_prefix)]
    role_prefix: String,

    /// How the controller gets its own role, for hub-trust
    ///
    /// With pod-identity, the roles allow sts:TagSession too: the tags of its sessions go along.
    #[arg(long, value_name = "WAY")]
    hub_identity: Option<IdentityArg>,

    /// The cluster's OIDC issuer, without https://
    #[arg(long, value_name = "HOST/PATH", required_if_eq("hub_identity", "irsa"), value_parser = issuer)]
    oidc_provider: Option<String>,

    /// The ARN of the cluster, to admit only its pods, with pod-identity
    #[arg(long, value_name = "ARN")]
    eks_cluster_arn: Option<String>,

    /// The controller's namespace
    #[arg(long, value_name = "NAME", default_value = "ssm-ready")]
    namespace: String,

    /// The controller's service account
    #[arg(long, value_name = "NAME", default_value = "ssm-ready")]
    service_account: String,
}

impl std::fmt::Debug for IamPolicyArgs {
    /// Without the external id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IamPolicyArgs").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

/// Prints what is asked for. A reader that has seen enough is no error.
///
/// # Errors
/// What is missing, or does not go together.
pub fn print(args: IamPolicyArgs) -> anyhow::Result<()> {
    let text = text(args)?;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

fn text(args: IamPolicyArgs) -> anyhow::Result<String> {
    let IamPolicyArgs {
        cluster_id,
        part,
        format,
        account,
        partition,
        kind,
        feature,
        managed_role_path,
        managed_role_boundary,
        managed_policy,
        hub_role_arn,
        external_id,
        org_id,
        regions,
        role_path,
        role_prefix,
        hub_identity,
        oidc_provider,
        eks_cluster_arn,
        namespace,
        service_account,
    } = args;
    let identity = match (hub_identity, oidc_provider) {
        (Some(IdentityArg::Irsa), Some(provider)) => Some(HubIdentity::Irsa { provider }),
        (Some(IdentityArg::PodIdentity), _) => Some(HubIdentity::PodIdentity { cluster: eks_cluster_arn }),
        _ => None,
    };
    let features = if feature.is_empty() { Feature::defaults() } else { feature.into_iter().map(|f| f.0).collect() };
    let settings = Settings {
        partition: partition.0,
        cluster_id,
        role_path,
        role_prefix,
        hub_role: hub_role_arn,
        external_id,
        organization: org_id,
        regions: regions.into_iter().collect(),
        kinds: kind.into_iter().map(|k| k.0).collect(),
        features,
        managed_role_paths: managed_role_path.into_iter().collect(),
        managed_role_boundary,
        managed_policies: managed_policy.into_iter().collect(),
        identity,
        namespace,
        service_account,
    };
    Ok(iam::render(&settings, part.0, format.0, &account)?)
}

/// A value of the core that is chosen by name.
macro_rules! by_name {
    ($($name:ident($of:ty) { $($value:expr => $text:expr,)* })*) => {
        $(
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            struct $name($of);

            impl ValueEnum for $name {
                fn value_variants<'a>() -> &'a [Self] {
                    const ALL: &[$name] = &[$($name($value)),*];
                    ALL
                }

                fn to_possible_value(&self) -> Option<PossibleValue> {
                    $(if self.0 == $value {
                        return Some(PossibleValue::new($text));
                    })*
                    None
                }
            }
        )*
    };
}

by_name! {
    PartArg(Part) {
        Part::Hub => "hub",
        Part::HubTrust => "hub-trust",
        Part::Trust => "trust",
        Part::Observe => "observe",
        Part::Enforce(Kind::VpcPosture) => Kind::VpcPosture.policy(),
        Part::Enforce(Kind::RegionPosture) => Kind::RegionPosture.policy(),
        Part::Enforce(Kind::AccountPosture) => Kind::AccountPosture.policy(),
        Part::All => "all",
    }
    FormatArg(Format) {
        Format::Json => "json",
        Format::CloudFormation => "cloudformation",
        Format::Terraform => "terraform",
    }
    PartitionArg(Partition) {
        Partition::Aws => Partition::Aws.name(),
        Partition::AwsCn => Partition::AwsCn.name(),
        Partition::AwsUsGov => Partition::AwsUsGov.name(),
        Partition::AwsEusc => Partition::AwsEusc.name(),
        Partition::AwsIso => Partition::AwsIso.name(),
        Partition::AwsIsoB => Partition::AwsIsoB.name(),
        Partition::AwsIsoE => Partition::AwsIsoE.name(),
        Partition::AwsIsoF => Partition::AwsIsoF.name(),
    }
    KindArg(Kind) {
        Kind::VpcPosture => Kind::VpcPosture.name(),
        Kind::RegionPosture => Kind::RegionPosture.name(),
        Kind::AccountPosture => Kind::AccountPosture.name(),
    }
    FeatureArg(Feature) {
        Feature::VpcEndpoints => Feature::VpcEndpoints.name(),
        Feature::SecurityGroup => Feature::SecurityGroup.name(),
        Feature::ExistingSecurityGroups => Feature::ExistingSecurityGroups.name(),
        Feature::S3Gateway => Feature::S3Gateway.name(),
        Feature::DnsAttributes => Feature::DnsAttributes.name(),
        Feature::Tags => Feature::Tags.name(),
        Feature::Deletion => Feature::Deletion.name(),
        Feature::TakeOver => Feature::TakeOver.name(),
        Feature::HostedZones => Feature::HostedZones.name(),
        Feature::HostManagement => Feature::HostManagement.name(),
        Feature::ServiceSettings => Feature::ServiceSettings.name(),
        Feature::MetadataDefaults => Feature::MetadataDefaults.name(),
        Feature::SessionPreferences => Feature::SessionPreferences.name(),
        Feature::SessionAudit => Feature::SessionAudit.name(),
        Feature::Roles => Feature::Roles.name(),
        Feature::InstanceProfiles => Feature::InstanceProfiles.name(),
        Feature::AttachOnlyRoles => Feature::AttachOnlyRoles.name(),
        Feature::ProfileAttachment => Feature::ProfileAttachment.name(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum IdentityArg {
    /// IAM roles for service accounts: takes --oidc-provider
    Irsa,
    /// EKS Pod Identity
    PodIdentity,
}

/// A text of these characters, so many of them.
fn checked(text: &str, length: std::ops::RangeInclusive<usize>, others: &str, advice: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    if length.contains(&text.len()) && text.chars().all(fine) { Ok(text.to_owned()) } else { Err(advice.to_owned()) }
}

fn account(text: &str) -> Result<String, String> {
    match text.parse::<ssm_ready_core::ids::AccountId>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err("give an account id of 12 digits".to_owned()),
    }
}

fn role_arn(text: &str) -> Result<String, String> {
    match text.parse::<ssm_ready_core::ids::RoleArn>() {
        Ok(arn) => Ok(arn.to_string()),
        Err(_) => Err("give the ARN of a role, such as arn:aws:iam::999988887777:role/ssm-ready-hub".to_owned()),
    }
}

/// A managed policy of AWS's own or of an account's, without anything that stands for more than one.
fn policy_arn(text: &str) -> Result<String, String> {
    let advice = "give the ARN of a managed policy, such as arn:aws:iam::111122223333:policy/team/extra";
    let known = |account: &str| account == "aws" || account.parse::<ssm_ready_core::ids::AccountId>().is_ok();
    match text.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "iam", "", account, name]
            if partition.starts_with("aws") && known(account) && name.starts_with("policy/") =>
        {
            checked(text, 20..=2048, ":/_+=,.@-", advice)
        }
        _ => Err(advice.to_owned()),
    }
}

fn external_id(text: &str) -> Result<String, String> {
    checked(text, 2..=1224, "_+=,.@:/-", "use 2 to 1224 letters, digits and _+=,.@:/-")
}

fn organization(text: &str) -> Result<String, String> {
    let advice = "give the id of an organisation, such as o-a1b2c3d4e5";
    if !text.starts_with("o-") {
        return Err(advice.to_owned());
    }
    checked(text, 12..=34, "-", advice)
}

fn region(text: &str) -> Result<String, String> {
    checked(text, 5..=32, "-", "give regions such as eu-west-1,eu-central-1")
}

fn role_path(text: &str) -> Result<String, String> {
    let advice = "give a path that begins and ends with a slash, such as /platform/";
    if !(text.starts_with('/') && text.ends_with('/')) {
        return Err(advice.to_owned());
    }
    checked(text, 1..=512, "/_+=,.@-", advice)
}

fn role_prefix(text: &str) -> Result<String, String> {
    checked(text, 1..=40, "_+=,.@-", "use 1 to 40 letters, digits and _+=,.@-")
}

fn issuer(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    checked(
        bare,
        3..=255,
        "/_.:-",
        "give the issuer of the cluster, such as oidc.eks.eu-west-1.amazonaws.com/id/0123ABCD",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn run(args: &[&str]) -> Result<String, String> {
        let words = ["ssm-ready", "iam-policy", "--cluster-id=main"];
        match Cli::try_parse_from(words.iter().chain(args)).map_err(|error| error.to_string())?.command {
            Command::IamPolicy(args) => {
                assert!(!format!("{args:?}").contains("s3cret"), "the external id is in the debug output");
                text(*args).map_err(|error| error.to_string())
            }
            _ => panic!("another command"),
        }
    }

    #[test]
    fn everything_can_be_chosen() {
        let features: Vec<Feature> = FeatureArg::value_variants().iter().map(|chosen| chosen.0).collect();
        assert_eq!(features, Feature::ALL);
        let kinds: Vec<Kind> = KindArg::value_variants().iter().map(|chosen| chosen.0).collect();
        assert_eq!(kinds, Kind::ALL);
        for feature in Feature::ALL {
            let kind = feature.kinds()[0].name();
            let chosen = format!("--feature={}", feature.name());
            run(&["--part=all", "--hub-role-arn=arn:aws:iam::999988887777:role/hub", "--kind", kind, &chosen]).unwrap();
        }
    }

    #[test]
    fn every_part_and_form_is_printed() {
        let given = ["--hub-role-arn=arn:aws:iam::999988887777:role/hub", "--external-id=s3cret-id"];
        for (part, says) in [
            ("hub", "sts:AssumeRole"),
            ("trust", "s3cret-id"),
            ("observe", "ec2:DescribeVpcs"),
            ("enforce", "ec2:CreateVpcEndpoint"),
            ("enforce-region", "ssm:UpdateServiceSetting"),
            ("enforce-account", "iam:CreateRole"),
            ("all", "\"accounts\""),
        ] {
            let part = format!("--part={part}");
            let printed = run(&[&part, "--account=111122223333", given[0], given[1]]).unwrap();
            assert!(printed.contains(says), "{part}: {printed}");
            assert!(serde_json::from_str::<serde_json::Value>(&printed).is_ok(), "{part}: {printed}");
        }
        for (format, says) in [("cloudformation", "AWS::IAM::Role"), ("terraform", "resource \"aws_iam_role\"")] {
            assert!(run(&[&format!("--format={format}")]).unwrap().contains(says));
            let hub = [&format!("--format={format}"), "--part=hub", "--hub-identity=pod-identity"];
            assert!(run(&hub).unwrap().contains("pods.eks.amazonaws.com"));
        }
        let features = run(&["--part=enforce", "--feature=take-over,deletion", "--feature=tags"]).unwrap();
        assert!(features.contains("\"TakeOver\"") && !features.contains("CreateVpcEndpoint"), "{features}");
    }

    #[test]
    fn what_is_asked_for_is_in_what_is_printed() {
        let hub = "--hub-role-arn=arn:aws:iam::999988887777:role/hub";
        let irsa = ["--part=hub-trust", "--hub-identity=irsa", "--oidc-provider=oidc.example/id/1", hub];
        let pods = ["--part=hub-trust", "--hub-identity=pod-identity", hub];
        let cluster = "arn:aws:eks:eu-west-1:999988887777:cluster/main";
        let eks = format!("--eks-cluster-arn={cluster}");
        for (given, more, says) in [
            (&irsa[..], vec![], "system:serviceaccount:ssm-ready:ssm-ready"),
            (
                &irsa[..],
                vec!["--namespace=platform", "--service-account=keeper"],
                "system:serviceaccount:platform:keeper",
            ),
            (&pods[..], vec![eks.as_str()], cluster),
            (&["--part=hub"], vec!["--org-id=o-a1b2c3d4e5"], "o-a1b2c3d4e5"),
            (&["--part=hub"], vec!["--role-path=/platform/"], "role/platform/ssm-ready"),
            (&["--part=hub"], vec!["--role-prefix=keeper"], "role/keeper"),
            (&["--part=observe"], vec!["--regions=eu-west-1"], "eu-west-1"),
            (&["--part=enforce"], vec!["--partition=aws-cn"], "arn:aws-cn:ec2:"),
            (&["--part=all", hub], vec!["--kind=vpc-posture,region-posture"], "\"enforce-region\""),
            (&["--format=terraform"], vec!["--kind=account-posture"], "enforce_account"),
            (&["--part=enforce-account"], vec!["--managed-role-path=/managed/"], "role/managed/*"),
            (
                &["--part=enforce-account"],
                vec!["--managed-role-boundary=arn:aws:iam::111122223333:policy/bound"],
                "iam:PermissionsBoundary",
            ),
            (
                &["--part=enforce-account", "--account=444455556666"],
                vec!["--managed-policy=arn:aws:iam::111122223333:policy/team/extra"],
                "arn:aws:iam::444455556666:policy/team/extra",
            ),
        ] {
            let words: Vec<&str> = given.iter().copied().chain(more.iter().copied()).collect();
            let printed = run(&words).unwrap();
            assert!(printed.contains(says), "{words:?}: {printed}");
            if !more.is_empty() {
                let without = run(given).unwrap();
                assert!(!without.contains(says), "{given:?} says {says} by itself: {without}");
            }
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let cases: [(&[&str], &str); 21] = [
            (&["--part=trust"], "--hub-role-arn"),
            (&["--part=hub-trust"], "--hub-identity"),
            (&["--part=hub-trust", "--hub-identity=irsa"], "--oidc-provider"),
            (&["--part=hub-trust", "--hub-identity=irsa", "--oidc-provider=oidc.example/id/1"], "--hub-role-arn"),
            (&["--part=trust", "--format=terraform"], "--format json"),
            (&["--part=observe", "--account=111122223333", "--account=444455556666"], "one --account"),
            (&["--account=1"], "12 digits"),
            (&["--partition=aws-moon"], "aws-us-gov"),
            (&["--feature=everything"], "vpc-endpoints"),
            (&["--hub-role-arn=hub"], "the ARN of a role"),
            (&["--external-id=a b"], "2 to 1224"),
            (&["--org-id=x"], "o-a1b2c3d4e5"),
            (&["--regions=eu west"], "eu-west-1,eu-central-1"),
            (&["--role-path=platform"], "begins and ends with a slash"),
            (&["--role-prefix=a/b"], "1 to 40"),
            (&["--oidc-provider=a b"], "the issuer of the cluster"),
            (&["--kind=fleet"], "account-posture"),
            (&["--part=enforce-region", "--format=terraform"], "--kind"),
            (&["--managed-role-path=managed"], "begins and ends with a slash"),
            (&["--managed-role-boundary=arn:aws:iam::111122223333:role/x"], "the ARN of a managed policy"),
            (&["--managed-policy=arn:aws:iam::111122223333:policy/*"], "the ARN of a managed policy"),
        ];
        for (args, says) in cases {
            let error = run(args).unwrap_err();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }
}
