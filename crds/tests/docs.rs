//! The pages of the documentation that are made from the definitions of our kinds are up to date.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};

use serde_json::{Map, Value};

/// What is shown of each kind: examples, in the order in which somebody would read them.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("AwsAccount", &["01-account.yaml"]),
    ("VpcPosture", &["02-smallest.yaml", "03-vpc.yaml", "04-observe.yaml"]),
    ("RegionPosture", &["06-region-posture.yaml", "07-session-audit.yaml", "08-session-logs.yaml"]),
    ("AccountPosture", &["05-account-posture.yaml"]),
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn each_kind_has_its_page() {
    for crd in ssm_ready_crds::all() {
        let kind = crd.spec.names.kind.clone();
        let (_, examples) =
            EXAMPLES.iter().find(|(known, _)| *known == kind).unwrap_or_else(|| panic!("{kind}: no example"));
        let crd = serde_json::to_value(&crd).unwrap();
        let page = page(&kind, &crd, examples);
        let path = repository().join(format!("docs/{}.md", kind.to_lowercase()));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found,
            page,
            "docs/{}.md is not up to date: UPDATE_DOCS=1 cargo test -p ssm-ready-crds",
            kind.to_lowercase()
        );
    }
}

fn page(kind: &str, crd: &Value, examples: &[&str]) -> String {
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let names = &crd["spec"]["names"];
    let mut page = String::new();
    writeln!(page, "# {kind}\n\n{}\n", text(&schema["description"])).unwrap();
    writeln!(
        page,
        "`{}/{}`, {}; short name `{}`.\n",
        crd["spec"]["group"].as_str().unwrap(),
        version["name"].as_str().unwrap(),
        if crd["spec"]["scope"] == "Cluster" { "cluster-scoped" } else { "namespaced" },
        names["shortNames"][0].as_str().unwrap()
    )
    .unwrap();
    page.push_str("## Columns\n\n| Column | Shown | From |\n|---|---|---|\n");
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let wide = column["priority"].as_i64().unwrap_or_default() > 0;
        let shown = if wide { "with `-o wide`" } else { "always" };
        writeln!(
            page,
            "| {} | {shown} | `{}` |",
            column["name"].as_str().unwrap(),
            cell(column["jsonPath"].as_str().unwrap())
        )
        .unwrap();
    }
    page.push_str("\n## Examples\n");
    for example in examples {
        let text = std::fs::read_to_string(repository().join("examples").join(example)).unwrap();
        write!(page, "\n```yaml\n{}```\n", text).unwrap();
    }
    page.push_str("\n## Fields\n\nRequired fields are marked with *. A default is set by the API server.\n");
    for part in ["spec", "status"] {
        object(&mut page, part, &schema["properties"][part]);
    }
    page
}

/// An object's fields as a table, then those of the objects in it.
fn object(page: &mut String, path: &str, schema: &Value) {
    let empty = Map::new();
    let fields = schema["properties"].as_object().unwrap_or(&empty);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    write!(page, "\n### {path}\n\n{}\n", text(&schema["description"])).unwrap();
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        writeln!(page, "- {}", rule["message"].as_str().unwrap_or_else(|| rule["rule"].as_str().unwrap())).unwrap();
    }
    page.push_str("\n| Field | Type | Meaning |\n|---|---|---|\n");
    let mut inner = Vec::new();
    for (name, field) in fields {
        let star = if required.contains(&name.as_str()) { "*" } else { "" };
        writeln!(page, "| `{name}`{star} | {} | {} |", cell(&kind_of(field)), cell(&meaning(field))).unwrap();
        let (mark, of) = match field["type"].as_str() {
            Some("array") => ("[]", &field["items"]),
            _ => ("", field),
        };
        if of["properties"].is_object() {
            inner.push((format!("{path}.{name}{mark}"), of));
        }
    }
    for (path, field) in inner {
        object(page, &path, field);
    }
}

fn kind_of(field: &Value) -> String {
    match field["type"].as_str() {
        Some("array") => format!("list of {}", kind_of(&field["items"])),
        Some("object") if field["additionalProperties"].is_object() => "map".to_owned(),
        Some(known) => known.to_owned(),
        None if field["x-kubernetes-int-or-string"] == true => "integer or string".to_owned(),
        None => "any".to_owned(),
    }
}

fn meaning(field: &Value) -> String {
    let mut parts = vec![text(&field["description"])];
    let values = if field["type"] == "array" { &field["items"]["enum"] } else { &field["enum"] };
    if let Some(values) = values.as_array() {
        let values: Vec<String> = values.iter().map(|v| format!("`{}`", v.as_str().unwrap_or("null"))).collect();
        parts.push(format!("One of {}.", values.join(", ")));
    }
    for (key, label) in [("minimum", "At least"), ("maximum", "At most")] {
        if let Some(bound) = field[key].as_f64() {
            parts.push(format!("{label} {bound}."));
        }
    }
    for (key, label) in [("maxItems", "items"), ("maxLength", "characters")] {
        if let Some(bound) = field[key].as_i64() {
            parts.push(format!("At most {bound} {label}."));
        }
    }
    for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if !field["properties"].is_object()
            && let Some(message) = rule["message"].as_str()
        {
            parts.push(format!("{message}."));
        }
    }
    if let Some(default) = field.get("default") {
        parts.push(format!("Default: `{default}`."));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

fn text(description: &Value) -> String {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Within a table, a bar is a border and what looks like a tag would be one.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// Every page is in the table of contents, every link leads somewhere, and every command of ours that is shown exists.
#[test]
fn the_book_hangs_together() {
    let docs = repository().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut broken = Vec::new();
    let mut pages: Vec<_> = std::fs::read_dir(&docs).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    for path in &pages {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            broken.push(format!("{name} is not in SUMMARY.md"));
        }
    }
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| repository().join(name)));
    for path in &pages {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if !target.exists() {
                broken.push(format!("{}: {link}", path.display()));
            } else if !anchor.is_empty() && target.is_file() {
                let text = std::fs::read_to_string(&target).unwrap();
                if !text.lines().filter_map(|line| line.strip_prefix('#')).any(|line| slug(line) == anchor) {
                    broken.push(format!("{}: {link} (no such heading)", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The targets of a page's links that lead within the repository.
fn links(text: &str) -> Vec<&str> {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        code ^= line.trim_start().starts_with("```");
        !code
    });
    lines
        .flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// A heading's anchor.
fn slug(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
