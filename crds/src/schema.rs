//! The schemas of the resources, in the form that Kubernetes and its users expect.
//!
//! The derived schemas are not used as they come, because kube's derive
//! - marks every optional field `nullable`, which makes an explicit null mean something else than absence and breaks
//!   server-side apply;
//! - lets the description of a type replace that of the optional field that holds it;
//! - drops the descriptions of enum values;
//! - writes the defaults of nested objects out in full at each level;
//! - has no default for `status`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use crate::{AccountPosture, AwsAccount, NEVER_OBSERVED, RegionPosture, VpcPosture};

/// Regions as AWS names them; new ones need no new release.
pub(crate) const REGION: &str = "^[a-z]{2,5}(-[a-z]+){1,3}-[0-9]{1,2}$";

/// Paths of IAM roles: a slash, or parts between slashes.
pub(crate) const IAM_PATH: &str = "^/([!-.0-~]+/)*$";

/// ARNs of managed policies, AWS's or of an account.
pub(crate) const POLICY_ARN: &str = r"^arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/([!-.0-~]+/)*[\w+=,.@-]{1,128}$";

/// Names that postures and lists refer to: DNS labels.
pub(crate) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Name of a bucket of S3, but for the look of an address.
pub(crate) const BUCKET: &str = r"^[a-z0-9](\.?(-+\.?)*[a-z0-9])*$";

/// Folder in a bucket: no slash at either end, no wildcards.
pub(crate) const KEY_PREFIX: &str = r"^[A-Za-z0-9!_.'()=+@:,-]+(/[A-Za-z0-9!_.'()=+@:,-]+)*$";

const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// The CustomResourceDefinitions of every kind.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![AwsAccount::crd(), VpcPosture::crd(), RegionPosture::crd(), AccountPosture::crd()]
}

/// A CustomResourceDefinition as the YAML that is installed.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let mut value = serde_yaml::to_value(crd)?;
    whole_numbers(&mut value);
    Ok(format!(
        "# Made from the Rust types in crds/src by their tests; do not edit.\n{}",
        serde_yaml::to_string(&value)?
    ))
}

/// Bounds are floats in a JSONSchemaProps, and `1.0` reads badly under an integer.
fn whole_numbers(value: &mut serde_yaml::Value) {
    match value {
        serde_yaml::Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0) {
                *number = serde_yaml::Number::from(float as i64);
            }
        }
        serde_yaml::Value::Sequence(values) => values.iter_mut().for_each(whole_numbers),
        serde_yaml::Value::Mapping(values) => values.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// One CEL rule, with a message that says what to do.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// The schema of a whole object of a kind.
pub(crate) fn object<Spec: JsonSchema, Status: JsonSchema>(description: &str) -> Schema {
    let spec = schema_of::<Spec>();
    let mut status = schema_of::<Status>();
    // An object that no controller has looked at must not seem done to those who compare generations.
    status.insert("default".into(), json!({ "observedGeneration": NEVER_OBSERVED }));
    json_schema!({
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": { "spec": spec, "status": status },
        "x-kubernetes-validations": [rule(
            "self.metadata.name.size() <= 63",
            "metadata.name must be at most 63 characters; choose a shorter name",
        )],
    })
}

fn schema_of<T: JsonSchema>() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    match settings.into_generator().into_root_schema_for::<T>().to_value() {
        Value::Object(mut schema) => {
            tidy(&mut schema);
            schema
        }
        _ => Map::new(),
    }
}

fn tidy(schema: &mut Map<String, Value>) {
    schema.remove("title");
    unwrap_option(schema);
    collect_enum(schema);

    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = unwrap_lines(description);
    }
    // The defaults of the fields follow from their own schemas, so that each is written in one place.
    if schema.contains_key("properties") && schema.get("default").is_some_and(Value::is_object) {
        schema.insert("default".into(), json!({}));
    }

    for (_, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        property.as_object_mut().into_iter().for_each(tidy);
    }
    for key in ["items", "additionalProperties"] {
        schema.get_mut(key).and_then(Value::as_object_mut).into_iter().for_each(tidy);
    }
    // `kubectl explain` puts the description of the items behind that of the list, which has said what they are.
    if let Some(items) = schema.get_mut("items").filter(|items| items.get("enum").is_some())
        && let Some(Value::String(description)) = items.get_mut("description")
        && let Some((_, values)) = description.split_once("\n\n")
    {
        *description = values.to_owned();
    }
}

/// `Option<T>` comes as `T` or null, in three spellings; absence is all that is meant.
fn unwrap_option(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(alternatives)) = schema.remove("anyOf") {
        for alternative in alternatives {
            let Value::Object(alternative) = alternative else { continue };
            if alternative.get("type").is_some_and(|kind| kind == "null") {
                continue;
            }
            for (key, value) in alternative {
                // The description of the field says more than that of its type.
                schema.entry(key).or_insert(value);
            }
        }
    }
    if let Some(kind) = schema.get_mut("type")
        && let Some(only) = kind.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned()
    {
        *kind = only;
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// An enum whose values have descriptions comes as alternatives; Kubernetes wants the values in one list, and the
/// descriptions are kept in that of the field.
fn collect_enum(schema: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = schema.remove("oneOf") else { return };
    let mut values = Vec::new();
    let mut description =
        schema.get("description").and_then(Value::as_str).map(|text| unwrap_lines(text) + "\n\n").unwrap_or_default();
    for alternative in &alternatives {
        let Some(value) = alternative.get("const").and_then(Value::as_str) else { continue };
        let meaning = alternative.get("description").and_then(Value::as_str).unwrap_or_default();
        description += &format!("{value}: {}\n\n", unwrap_lines(meaning));
        values.push(Value::from(value));
    }
    schema.insert("type".into(), "string".into());
    schema.insert("enum".into(), values.into());
    schema.insert("description".into(), description.trim_end().into());
}

/// Lines of one paragraph are joined: where a doc comment was broken means nothing to its reader.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// `metav1.Condition` in a list by type, with the bounds that the type from k8s-openapi lacks.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of how things stand.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "The aspect, such as Ready.",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
                },
                "status": {
                    "type": "string",
                    "description": "Whether it holds: True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "type": "string",
                    "description": "Why, in one word for programs.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "Why, and what to do about it, for people. It may be empty.",
                    "maxLength": 32768,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When status last changed.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "Generation of the spec that this is about.",
                },
            },
        },
    })
}

/// `metav1.LabelSelector` with bounds and list types, and not empty: an empty one would match everything.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [rule(
            "(has(self.matchLabels) && size(self.matchLabels) > 0) || \
             (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "an empty selector would match every namespace; give matchLabels or matchExpressions, or use from: All",
        )],
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that must all be there with these values. At most 32.",
                "maxProperties": 32,
                "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements that must all hold. At most 32.",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "description": "One requirement of a label.",
                    "required": ["key", "operator"],
                    "x-kubernetes-validations": [rule(
                        "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "In and NotIn need values; Exists and DoesNotExist take none",
                    )],
                    "properties": {
                        "key": {
                            "type": "string",
                            "description": "Key of the label.",
                            "minLength": 1,
                            "maxLength": 317,
                            "pattern": LABEL_KEY,
                        },
                        "operator": {
                            "type": "string",
                            "description": "How the label relates to values.",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "type": "array",
                            "description": "Values to compare with; for In and NotIn only. At most 32.",
                            "maxItems": 32,
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
                        },
                    },
                },
            },
        },
    })
}
