//! Service settings, the session document and metadata defaults.

use std::collections::BTreeMap;

use aws_sdk_ec2::types as ec2;
use aws_sdk_ssm::{operation::get_document::GetDocumentOutput, types as ssm};
use jiff::Timestamp;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        settings::{
            DocumentStatus, MetadataDefaults, MetadataField, SessionDocument, SessionDocumentInfo, SettingValue,
        },
    },
    fault::Fault,
    ids::Region,
};

use super::{given, is, required};
use crate::aws::answer::unreadable;

/// What AWS is reported to say where the role of Default Host Management was never set.
const UNSET: &str = "$None";

/// A service setting.
pub(in crate::aws) fn setting_value(setting: &ssm::ServiceSetting) -> SettingValue {
    SettingValue {
        value: given(setting.setting_value()).filter(|value| !is(value, UNSET)),
        status: setting.status().unwrap_or_default().to_owned(),
        // What is no ARN, such as `System`, is nobody who changed it.
        modified_by: given(setting.last_modified_user()).filter(|user| user.starts_with("arn:")),
        modified_at: setting.last_modified_date().and_then(timestamp),
    }
}

/// AWS's times are of milliseconds, but come as decimal numbers, which are read a few nanoseconds off.
fn timestamp(time: &aws_smithy_types::DateTime) -> Option<Timestamp> {
    let millis = i64::from((time.subsec_nanos() + 500_000) / 1_000_000);
    Timestamp::from_millisecond(time.secs().checked_mul(1000)?.checked_add(millis)?).ok()
}

/// A version of the session document.
pub(in crate::aws) fn document(answer: &GetDocumentOutput) -> Result<SessionDocument, Fault> {
    let needed = |field, value| given(value).ok_or_else(|| unreadable(Operation::GetDocument, field));
    Ok(SessionDocument {
        version: needed("DocumentVersion", answer.document_version())?,
        content: needed("Content", answer.content())?,
        status: DocumentStatus::parse(answer.status().map_or("", ssm::DocumentStatus::as_str)),
    })
}

/// The session document as a whole.
pub(in crate::aws) fn document_info(document: &ssm::DocumentDescription) -> Result<SessionDocumentInfo, Fault> {
    let needed = |field, value| given(value).ok_or_else(|| unreadable(Operation::DescribeDocument, field));
    Ok(SessionDocumentInfo {
        default_version: needed("DefaultVersion", document.default_version())?,
        latest_version: needed("LatestVersion", document.latest_version())?,
        tags: document.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect(),
    })
}

/// The metadata defaults of an account and region.
pub(in crate::aws) fn defaults(given_defaults: &ec2::InstanceMetadataDefaultsResponse) -> MetadataDefaults {
    let texts = [
        (MetadataField::HttpTokens, given_defaults.http_tokens().map(|v| v.as_str().to_owned())),
        (MetadataField::HopLimit, given_defaults.http_put_response_hop_limit().map(|hops| hops.to_string())),
        (MetadataField::HttpEndpoint, given_defaults.http_endpoint().map(|v| v.as_str().to_owned())),
        (MetadataField::InstanceMetadataTags, given_defaults.instance_metadata_tags().map(|v| v.as_str().to_owned())),
        (MetadataField::HttpTokensEnforced, given_defaults.http_tokens_enforced().map(|v| v.as_str().to_owned())),
    ];
    let values: BTreeMap<MetadataField, String> = texts
        .into_iter()
        .filter_map(|(field, text)| Some((field, text?.to_ascii_lowercase())))
        // AWS leaves a field without a default out; should it say so in words, that is no value either.
        .filter(|(field, text)| !text.is_empty() && text != field.no_preference())
        .collect();
    MetadataDefaults {
        values,
        by_declarative_policy: given_defaults.managed_by().is_some_and(|by| is(by.as_str(), "declarative-policy")),
        exception_message: given(given_defaults.managed_exception_message()),
    }
}

/// A region.
pub(in crate::aws) fn region(region: &ec2::Region) -> Option<Region> {
    let name = required("region", "RegionName", region.region_name())?;
    name.parse().inspect_err(|error| tracing::warn!(%error, "left out: a region whose name is none")).ok()
}

/// Tags, as the SDK takes them.
pub(in crate::aws) fn tags_of(tags: &Tags) -> Vec<ssm::Tag> {
    // Both parts are there, which is all that building one needs.
    tags.iter().filter_map(|(key, value)| ssm::Tag::builder().key(key).value(value).build().ok()).collect()
}
