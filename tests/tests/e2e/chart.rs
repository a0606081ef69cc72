//! What of the chart is made from elsewhere is fresh: UPDATE_CHART=1 writes it anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use ssm_ready_tests::{Helm, kubernetes::documents, repository};

/// A definition above this size gets near the limit of 256 KiB for what client-side apply keeps in an annotation.
const LARGEST_CRD: usize = 200_000;
/// What comes after this line of Chart.yaml is made from the code and the examples.
const GENERATED: &str = "  # Generated: UPDATE_CHART=1 cargo test --workspace --test e2e chart::\n";

fn chart_file(name: &str) -> String {
    fs::read_to_string(Helm::chart().join(name)).unwrap_or_default()
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_CHART").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not up to date: UPDATE_CHART=1 cargo test --workspace --test e2e chart::",
        path.display()
    );
}

fn yaml_files(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.map(|f| (f.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&f).unwrap())).collect()
}

#[test]
fn the_chart_has_the_definitions_of_our_kinds_and_no_others() {
    let (theirs, ours) = (repository().join("crds"), Helm::chart().join("files/crds"));
    let definitions = yaml_files(&theirs);
    assert!(definitions.len() >= 2);
    for (name, text) in &definitions {
        check(&ours.join(name), text);
        // As it is stored by client-side apply.
        let size = serde_json::to_string(&yaml(text)).unwrap().len().max(text.len());
        assert!(size < LARGEST_CRD, "{name} has {size} bytes");
    }
    assert!(yaml_files(&ours).keys().eq(definitions.keys()), "files/crds has files that crds/ has not");
}

#[test]
fn the_chart_is_described_as_it_is() {
    let workspace = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(workspace.contains(&format!("\nversion = \"{version}\"\n")));
    let oldest = workspace.split_once("features = [\"v1_").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;

    let text = chart_file("Chart.yaml");
    let chart = yaml(&text);
    assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
    assert_eq!(chart["kubeVersion"], format!(">=1.{oldest}.0-0"), "k8s-openapi is built for 1.{oldest}");

    // What Artifact Hub shows.
    let (mut kinds, mut examples) = (String::new(), String::new());
    for text in yaml_files(&repository().join("crds")).values() {
        let crd = yaml(text);
        let spec = &crd["spec"];
        let kind = spec["names"]["kind"].as_str().unwrap();
        let schema = &spec["versions"][0]["schema"]["openAPIV3Schema"];
        let description = schema["description"].as_str().unwrap().lines().next().unwrap();
        writeln!(kinds, "    - kind: {kind}").unwrap();
        writeln!(kinds, "      version: {}", spec["versions"][0]["name"].as_str().unwrap()).unwrap();
        writeln!(kinds, "      name: {}", crd["metadata"]["name"].as_str().unwrap()).unwrap();
        writeln!(kinds, "      displayName: {kind}").unwrap();
        writeln!(kinds, "      description: {}", serde_json::to_string(description).unwrap()).unwrap();
    }
    for text in yaml_files(&repository().join("examples")).values() {
        for object in documents(text).unwrap() {
            let kind = &object.types.as_ref().unwrap().kind;
            if object.types.as_ref().unwrap().api_version.starts_with("ssmready.dev/")
                && !examples.contains(&format!("kind: {kind}\n"))
            {
                let text = serde_yaml::to_string(&object).unwrap();
                let mut lines = text.trim_end().lines();
                writeln!(examples, "    - {}", lines.next().unwrap()).unwrap();
                lines.for_each(|line| writeln!(examples, "      {line}").unwrap());
            }
        }
    }
    let values = yaml(&chart_file("values.yaml"));
    let part = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let image = format!("{}/{}:{version}", part(&values["image"], "registry"), part(&values["image"], "repository"));
    let (own, _) = text.split_once(GENERATED).expect("the line that starts what is generated");
    let expected = format!(
        "{own}{GENERATED}  artifacthub.io/crds: |\n{kinds}  artifacthub.io/crdsExamples: |\n{examples}  \
         artifacthub.io/images: |\n    - name: ssm-ready\n      image: {image}\n"
    );
    check(&Helm::chart().join("Chart.yaml"), &expected);
    for annotation in ["crds", "crdsExamples", "images"] {
        let text = part(&yaml(&expected)["annotations"], &format!("artifacthub.io/{annotation}"));
        assert!(!yaml(&text).as_array().unwrap().is_empty(), "{annotation}");
    }
}

/// Each value is in the schema and each property of the schema is a value; unknown ones are refused at each level.
#[test]
fn the_schema_knows_each_value_and_nothing_else() {
    fn compare(path: &str, values: &Map<String, Value>, schema: &Value) {
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(schema["additionalProperties"], false, "{path}");
        let own = properties.keys().filter(|name| path != "." || *name != "global");
        let names: Vec<_> = values.keys().collect();
        let mut known: Vec<_> = own.collect();
        known.sort();
        // Optional parts of settings that Kubernetes knows have no value of their own.
        known.retain(|name| values.contains_key(*name) || ![".affinity.", ".strategy.", ".resources."].contains(&path));
        let mut names = names.clone();
        names.sort();
        assert_eq!(known, names, "at {path}");
        for (name, value) in values {
            let inner = &properties[name];
            if let (Value::Object(value), true) = (value, inner.get("properties").is_some()) {
                compare(&format!("{path}{name}."), value, inner);
            }
        }
    }
    let values = yaml(&chart_file("values.yaml"));
    let schema: Value = serde_json::from_str(&chart_file("values.schema.json")).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["properties"]["global"]["type"], "object");
    compare(".", values.as_object().unwrap(), &schema);
}

#[test]
fn each_value_is_documented() {
    let readme = chart_file("README.md");
    fn walk(path: &str, value: &Value, readme: &str) {
        let documented = readme.lines().filter(|line| line.starts_with(&format!("| {path} |"))).collect::<Vec<_>>();
        match value {
            Value::Object(map) if documented.is_empty() && !map.is_empty() => {
                for (name, inner) in map {
                    let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&name, inner, readme);
                }
            }
            _ => {
                assert_eq!(documented.len(), 1, "{path} in README.md");
                let description = documented[0].rsplit('|').nth(1).unwrap().trim();
                assert!(!description.is_empty(), "{path} has no description in values.yaml");
            }
        }
    }
    walk("", &yaml(&chart_file("values.yaml")), &readme);
}

/// The variables that the chart sets are the flags that the binary has, and no flag is left out.
#[test]
fn the_chart_sets_each_flag_of_the_controller() {
    use clap::CommandFactory as _;
    let controller = ssm_ready::args::Cli::command().find_subcommand("controller").unwrap().clone();
    let helpers = chart_file("templates/_helpers.tpl");
    let in_chart: std::collections::BTreeSet<&str> =
        helpers.split('"').filter(|text| text.starts_with("SSM_READY_")).collect();
    for flag in controller.get_arguments().filter_map(|argument| argument.get_env()?.to_str()) {
        assert!(in_chart.contains(flag), "{flag} is not set by the chart");
    }
}
