//! The files that are shipped for Prometheus, Grafana and kube-state-metrics, judged by what they are about.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::Value;
use ssm_ready_tests::repository;

fn file(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value.pointer(at).and_then(Value::as_array).unwrap_or_else(|| panic!("no list {at} in {value}"))
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("no text {at} in {value}"))
}

/// The names of metrics in a query: what stands before a brace, a bracket, or nothing, and is no function or keyword.
fn metrics(query: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| word(c) || c == '{' || c == '"' || c == '[') {
        let skip_to = |end: char| rest[start + 1..].find(end).map_or(rest.len(), |at| start + 1 + at + 1);
        match rest.as_bytes()[start] {
            b'{' => rest = &rest[skip_to('}')..],
            b'"' => rest = &rest[skip_to('"')..],
            b'[' => rest = &rest[skip_to(']')..],
            _ => {
                let end = rest[start..].find(|c: char| !word(c)).map_or(rest.len(), |at| start + at);
                let name = &rest[start..end];
                if name.contains('_') && !rest[end..].trim_start().starts_with('(') && !name.starts_with('_') {
                    names.insert(name.to_owned());
                }
                rest = &rest[end..];
            }
        }
    }
    // Labels of by, on and group_left have no underscore.
    names
}

/// Each name that a series has in a real run.
fn known() -> BTreeSet<String> {
    let text = file(super::GOLDEN);
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

fn ensure_known(what: &str, query: &str) {
    let (used, known) = (metrics(query), known());
    assert!(!used.is_empty(), "{what}: no metric in {query}");
    for name in used {
        assert!(known.contains(&name), "{what}: no run has {name}, of {query}");
    }
}

#[test]
fn names_are_found_in_queries() {
    let query = r#"histogram_quantile(0.9, sum by (le) (rate(a_bucket{x="y_z"}[10m]))) / on (job) b_total and on (job, instance) c_info > 3"#;
    assert_eq!(metrics(query).into_iter().collect::<Vec<_>>(), ["a_bucket", "b_total", "c_info"]);
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let alerts = yaml("charts/ssm-ready/files/alerts.yaml");
    let page = file("docs/alerts.md");
    let mut headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut names = Vec::new();
    for rule in list(&alerts, "/groups").iter().flat_map(|group| list(group, "/rules")) {
        let name = text(rule, "/alert");
        ensure_known(name, text(rule, "/expr"));
        assert!(text(rule, "/for").ends_with('m'), "{name}");
        assert!(["critical", "warning", "info"].contains(&text(rule, "/labels/severity")), "{name}");
        for annotation in ["summary", "description"] {
            assert!(text(rule, &format!("/annotations/{annotation}")).ends_with('.'), "{name}: {annotation}");
        }
        let runbook = format!("https://ssm-ready.github.io/ssm-ready/alerts.html#{}", name.to_lowercase());
        assert_eq!(text(rule, "/annotations/runbook_url"), runbook);
        names.push(name);
    }
    names.sort_unstable();
    headings.sort_unstable();
    assert_eq!(names, headings, "docs/alerts.md has a heading for each alert");
}

#[test]
fn every_panel_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&file("charts/ssm-ready/files/dashboard.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        assert!(ids.insert(panel["id"].as_u64()), "two panels with one id: {panel}");
        if panel["type"] == "row" {
            continue;
        }
        let title = text(panel, "/title");
        for target in list(panel, "/targets") {
            ensure_known(title, text(target, "/expr"));
            assert_eq!(text(target, "/datasource/uid"), "${datasource}", "{title}");
            asked.extend(metrics(text(target, "/expr")));
        }
    }
    for variable in list(&dashboard, "/templating/list").iter().filter(|v| v["type"] == "query") {
        ensure_known(text(variable, "/name"), text(variable, "/definition"));
    }
    // What is our own is worth a panel.
    for name in known().iter().filter(|name| name.starts_with("ssm_ready_")) {
        let stem = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(asked.iter().any(|asked| asked.starts_with(stem)), "no panel shows {name}");
    }
}

/// The schema of a field, by the steps of kube-state-metrics: names, and `[key=value]` in a list.
fn field<'a>(schema: &'a Value, path: &[Value]) -> Option<&'a Value> {
    path.iter().try_fold(schema, |schema, step| match step.as_str()? {
        step if step.starts_with('[') => {
            let (key, _) = step.trim_matches(['[', ']']).split_once('=')?;
            let items = &schema["items"];
            items["properties"].get(key).map(|_| items)
        }
        step => schema["properties"].get(step),
    })
}

#[test]
fn kube_state_metrics_is_told_of_fields_that_there_are() {
    let config = yaml("charts/ssm-ready/files/kube-state-metrics.yaml");
    assert_eq!(config["kind"], "CustomResourceStateMetrics");
    let crds: Vec<Value> = ssm_ready_crds::all().into_iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    let mut kinds = BTreeSet::new();
    for resource in list(&config, "/spec/resources") {
        let kind = text(resource, "/groupVersionKind/kind");
        let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
        assert_eq!(crd["spec"]["group"], resource["groupVersionKind"]["group"]);
        let version = list(crd, "/spec/versions").iter().find(|v| v["name"] == resource["groupVersionKind"]["version"]);
        let mut schema = version.unwrap()["schema"]["openAPIV3Schema"].clone();
        schema["properties"]["metadata"] =
            serde_json::json!({ "properties": { "name": { "type": "string" }, "namespace": { "type": "string" } } });
        for metric in list(resource, "/metrics") {
            let each = &metric["each"];
            let (inner, path) = match text(each, "/type") {
                "Info" => (&each["info"], Vec::new()),
                "Gauge" => (&each["gauge"], list(each, "/gauge/path").to_vec()),
                other => panic!("{other}"),
            };
            let labels = |of: &Value| -> Vec<Vec<Value>> {
                let labels = of["labelsFromPath"].as_object().into_iter().flatten();
                labels.map(|(_, path)| path.as_array().unwrap().clone()).collect()
            };
            for outer in labels(metric) {
                assert!(field(&schema, &outer).is_some_and(|f| f["type"] != "object"), "{kind}: {outer:?}");
            }
            let mut base = field(&schema, &path).unwrap_or_else(|| panic!("{kind}: {path:?}"));
            if base["type"] == "array" {
                base = &base["items"];
            }
            let value = inner["valueFrom"].as_array().cloned().into_iter();
            for inner in labels(inner).into_iter().chain(value) {
                assert!(field(base, &inner).is_some(), "{kind}: {path:?} {inner:?}");
            }
        }
        kinds.insert(kind);
    }
    let all: BTreeSet<&str> = crds.iter().map(|crd| text(crd, "/spec/names/kind")).collect();
    assert_eq!(kinds, all, "every kind is told of");
}
