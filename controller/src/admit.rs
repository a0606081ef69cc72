//! Who may use an `AwsAccount`, for what, and how far.

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement, jiff::Timestamp};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use ssm_ready_core::reason::Reason;
use ssm_ready_crds::{AccessKind, AwsAccount, NamespaceSource};

use crate::posture::Posture;

/// Why an object may not do what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Whether an account admits a posture. Everything is looked at anew on every pass: what is revoked ends at once.
///
/// # Errors
/// The reason that the object shows.
pub fn admit<P: Posture>(
    posture: &P,
    account: Option<&AwsAccount>,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let name = posture.account();
    let Some(account) = account else {
        return Err(Refusal::new(
            Reason::DependencyNotReady,
            format!("there is no AwsAccount {name}: create it, or correct spec.target.accountRef"),
        ));
    };
    let namespace = posture.namespace().unwrap_or_default();
    let grants = account.spec.access.iter().filter(|access| {
        let kinds = access.kinds.as_deref().unwrap_or(&[AccessKind::VpcPosture]);
        kinds.contains(&P::ACCESS) && in_namespaces(&access.namespaces, &namespace, labels)
    });
    let Some(ceiling) = grants.map(|access| access.max_mode).max() else {
        return Err(Refusal::new(
            Reason::AccessNotGranted,
            format!(
                "AwsAccount {name} does not let namespace {namespace} use it for {}: have its owner add both to spec.access",
                P::KIND
            ),
        ));
    };
    if posture.mode() > ceiling {
        return Err(Refusal::new(
            Reason::ModeNotAllowed,
            format!(
                "spec.mode {:?} goes beyond {ceiling:?}, which AwsAccount {name} grants namespace {namespace}: set spec.mode: {ceiling:?}, or have maxMode raised",
                posture.mode()
            ),
        ));
    }
    let allowed = account.spec.regions.as_ref().map(|regions| &regions.allowed);
    if let (Some(region), Some(allowed)) = (posture.region(), allowed)
        && !allowed.iter().any(|known| known == region)
    {
        return Err(Refusal::new(
            Reason::RegionNotAllowed,
            format!("AwsAccount {name} does not allow {region}: have it added to spec.regions.allowed"),
        ));
    }
    Ok(())
}

/// The refusal of a posture whose account is there, but stored in a form that this version does not read.
#[must_use]
pub fn unreadable_account(name: &str) -> Refusal {
    Refusal::new(
        Reason::DependencyNotReady,
        format!("AwsAccount {name} is there, but cannot be read: correct it as its condition Ready says"),
    )
}

fn in_namespaces(namespaces: &ssm_ready_crds::Namespaces, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    match namespaces.from {
        NamespaceSource::All => true,
        NamespaceSource::Names => namespaces.names.iter().flatten().any(|name| name == namespace),
        // A selector that cannot be read selects nothing: emptiness grants nothing.
        NamespaceSource::Selector => namespaces
            .selector
            .clone()
            .filter(|selector| !selector.match_expressions.iter().flatten().any(compares_with_nothing))
            .and_then(|selector| Selector::try_from(selector).ok())
            .is_some_and(|selector| !selector.selects_all() && selector.matches(labels)),
    }
}

/// `NotIn` no values would let in everybody. Kubernetes takes no such selector.
fn compares_with_nothing(expression: &LabelSelectorRequirement) -> bool {
    matches!(expression.operator.as_str(), "In" | "NotIn") && expression.values.iter().flatten().next().is_none()
}

/// Older first: by creation, then by UID.
pub fn age_key<K: kube::Resource>(object: &K) -> (Option<Timestamp>, Option<String>) {
    (object.meta().creation_timestamp.as_ref().map(|t| t.0), object.meta().uid.clone())
}

/// The older of the rivals for one target, if one is older than the object itself.
pub fn older_rival<'a, K: kube::Resource>(object: &K, rivals: impl IntoIterator<Item = &'a K>) -> Option<&'a K> {
    let mine = age_key(object);
    rivals.into_iter().filter(|rival| age_key(*rival) < mine).min_by_key(|rival| age_key(*rival))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use proptest::prelude::*;
    use ssm_ready_crds::VpcPosture;

    use super::*;

    const WORDS: [&str; 4] = ["ssm", "team", "", "kubernetes.io/metadata.name"];
    const OPERATORS: [&str; 6] = ["In", "NotIn", "Exists", "DoesNotExist", "in", ""];

    fn word() -> impl Strategy<Value = String> {
        proptest::sample::select(WORDS.to_vec()).prop_map(str::to_owned)
    }

    fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map(word(), word(), 0..4)
    }

    fn selectors() -> impl Strategy<Value = LabelSelector> {
        let values = proptest::option::of(proptest::collection::vec(word(), 0..3));
        let expression =
            (word(), proptest::sample::select(OPERATORS.to_vec()), values).prop_map(|(key, operator, values)| {
                LabelSelectorRequirement { key, operator: operator.to_owned(), values }
            });
        let expressions = proptest::option::of(proptest::collection::vec(expression, 0..3));
        (proptest::option::of(labels()), expressions)
            .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
    }

    /// What Kubernetes says of a selector; none for one that it does not take, or that is empty.
    fn as_documented(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Option<bool> {
        let expressions = selector.match_expressions.as_deref().unwrap_or_default();
        let equal = selector.match_labels.clone().unwrap_or_default();
        if expressions.is_empty() && equal.is_empty() {
            return None;
        }
        let mut all = equal.iter().all(|(key, value)| labels.get(key) == Some(value));
        for LabelSelectorRequirement { key, operator, values } in expressions {
            let values = values.as_deref().unwrap_or_default();
            let value = labels.get(key);
            all &= match operator.as_str() {
                "In" if !values.is_empty() => value.is_some_and(|v| values.contains(v)),
                "NotIn" if !values.is_empty() => value.is_none_or(|v| !values.contains(v)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => return None,
            };
        }
        Some(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_selector_grants_what_kubernetes_says_and_nothing_where_it_is_wrong(
            selector in selectors(),
            labels in labels(),
        ) {
            let namespaces = ssm_ready_crds::Namespaces {
                from: NamespaceSource::Selector,
                names: None,
                selector: Some(selector.clone()),
            };
            let expected = as_documented(&selector, &labels).unwrap_or(false);
            prop_assert_eq!(in_namespaces(&namespaces, "team", &labels), expected);
        }
    }

    fn account(access: &str) -> AwsAccount {
        serde_yaml::from_str(&format!(
            "{{apiVersion: ssmready.dev/v1alpha1, kind: AwsAccount, metadata: {{name: prod}}, spec: {{accountId: '111122223333', regions: {{allowed: [eu-west-1]}}, access: [{access}]}}}}"
        ))
        .unwrap()
    }

    fn posture(mode: &str, region: &str) -> VpcPosture {
        serde_yaml::from_str(&format!(
            "{{apiVersion: ssmready.dev/v1alpha1, kind: VpcPosture, metadata: {{name: main, namespace: team}}, spec: {{mode: {mode}, target: {{accountRef: {{name: prod}}, region: {region}, vpcId: vpc-0ffffffffffffff01}}}}}}"
        ))
        .unwrap()
    }

    #[test]
    fn access_is_granted_by_name_label_or_to_all_and_by_nothing_else() {
        let labels: BTreeMap<String, String> = [("ssm".to_owned(), "allowed".to_owned())].into();
        for (access, granted) in [
            ("", false),
            ("{name: a, namespaces: {from: Names, names: [team]}, maxMode: Enforce}", true),
            ("{name: a, namespaces: {from: Names, names: [other]}, maxMode: Enforce}", false),
            ("{name: a, namespaces: {from: Names}, maxMode: Enforce}", false),
            ("{name: a, namespaces: {from: All}, maxMode: Enforce}", true),
            (
                "{name: a, namespaces: {from: Selector, selector: {matchLabels: {ssm: allowed}}}, maxMode: Enforce}",
                true,
            ),
            ("{name: a, namespaces: {from: Selector, selector: {matchLabels: {ssm: other}}}, maxMode: Enforce}", false),
            ("{name: a, namespaces: {from: Selector, selector: {}}, maxMode: Enforce}", false),
            ("{name: a, namespaces: {from: Selector}, maxMode: Enforce}", false),
            (
                "{name: a, namespaces: {from: Selector, selector: {matchExpressions: [{key: ssm, operator: In, values: [allowed]}]}}, maxMode: Enforce}",
                true,
            ),
        ] {
            let outcome = admit(&posture("Enforce", "eu-west-1"), Some(&account(access)), &labels);
            assert_eq!(outcome.is_ok(), granted, "{access}: {outcome:?}");
            if let Err(refusal) = outcome {
                assert_eq!(refusal.reason, Reason::AccessNotGranted, "{access}");
            }
        }
    }

    #[test]
    fn the_widest_grant_sets_the_ceiling() {
        let observe = "{name: a, namespaces: {from: All}, maxMode: Observe}";
        let both = format!("{observe}, {{name: b, namespaces: {{from: Names, names: [team]}}, maxMode: Enforce}}");
        for (access, mode, reason) in [
            (observe, "Observe", None),
            (observe, "Enforce", Some(Reason::ModeNotAllowed)),
            (both.as_str(), "Enforce", None),
        ] {
            let outcome = admit(&posture(mode, "eu-west-1"), Some(&account(access)), &BTreeMap::new());
            assert_eq!(outcome.err().map(|r| r.reason), reason, "{access} {mode}");
        }
    }

    #[test]
    fn regions_and_absent_accounts_are_refused() {
        let all = "{name: a, namespaces: {from: All}, maxMode: Enforce}";
        let outcome = admit(&posture("Enforce", "us-east-1"), Some(&account(all)), &BTreeMap::new());
        assert_eq!(outcome.unwrap_err().reason, Reason::RegionNotAllowed);
        let outcome = admit(&posture("Enforce", "eu-west-1"), None, &BTreeMap::new());
        assert_eq!(outcome.unwrap_err().reason, Reason::DependencyNotReady);
    }

    #[test]
    fn the_older_works() {
        let at = |second, uid: &str| {
            let mut posture = posture("Enforce", "eu-west-1");
            posture.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::from_second(second).unwrap()));
            posture.metadata.uid = Some(uid.to_owned());
            posture
        };
        let (old, twin, young) = (at(1, "a"), at(1, "b"), at(2, "0"));
        assert_eq!(older_rival(&old, [&twin, &young]).map(|r| r.metadata.uid.clone()), None);
        assert_eq!(older_rival(&twin, [&old, &young]).unwrap().metadata.uid.as_deref(), Some("a"));
        assert_eq!(older_rival(&young, [&twin, &old]).unwrap().metadata.uid.as_deref(), Some("a"));
    }
}
