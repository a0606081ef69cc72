//! Writes of what Systems Manager and EC2 keep once for an account and region.

use std::collections::BTreeMap;

use aws_sdk_ssm::types::{DocumentFormat, DocumentType, ResourceTypeForTagging};
use ssm_ready_core::{
    calls::Operation,
    facts::settings::{DocumentVersion, MetadataField, SESSION_DOCUMENT, Setting},
    fault::Fault,
    write::{DocumentChange, Written},
};

use super::{
    answer::done_if,
    client::{At, AwsCloud},
    convert::settings::tags_of,
    write::accepted,
};

impl AwsCloud {
    pub(super) async fn update_setting(&self, at: At<'_>, setting: Setting, value: &str) -> Result<Written, Fault> {
        self.call(at, Operation::UpdateServiceSetting, |clients| {
            clients.ssm_writes().update_service_setting().setting_id(setting.id()).setting_value(value).send()
        })
        .await?;
        Ok(Written::Done)
    }

    pub(super) async fn reset_setting(&self, at: At<'_>, setting: Setting) -> Result<Written, Fault> {
        self.call(at, Operation::ResetServiceSetting, |clients| {
            clients.ssm_writes().reset_service_setting().setting_id(setting.id()).send()
        })
        .await?;
        Ok(Written::Done)
    }

    pub(super) async fn modify_metadata_defaults(
        &self,
        at: At<'_>,
        values: &BTreeMap<MetadataField, String>,
    ) -> Result<Written, Fault> {
        let operation = Operation::ModifyInstanceMetadataDefaults;
        let hops = values.get(&MetadataField::HopLimit).map(|text| hop_limit(text)).transpose()?;
        let value = |field| values.get(&field).map(String::as_str);
        let answer = self
            .call(at, operation, |clients| {
                clients
                    .ec2_writes()
                    .modify_instance_metadata_defaults()
                    .set_http_tokens(value(MetadataField::HttpTokens).map(Into::into))
                    .set_http_put_response_hop_limit(hops)
                    .set_http_endpoint(value(MetadataField::HttpEndpoint).map(Into::into))
                    .set_instance_metadata_tags(value(MetadataField::InstanceMetadataTags).map(Into::into))
                    .set_http_tokens_enforced(value(MetadataField::HttpTokensEnforced).map(Into::into))
                    .send()
            })
            .await?;
        accepted(operation, answer.r#return)
    }

    pub(super) async fn change_document(
        &self,
        at: At<'_>,
        operation: Operation,
        change: &DocumentChange,
    ) -> Result<Written, Fault> {
        match change {
            DocumentChange::Create { content, tags } => {
                let made = self.call(at, operation, |clients| {
                    clients
                        .ssm_writes()
                        .create_document()
                        .name(SESSION_DOCUMENT)
                        .document_type(DocumentType::Session)
                        .document_format(DocumentFormat::Json)
                        .content(content)
                        .set_tags(Some(tags_of(tags)).filter(|tags| !tags.is_empty()))
                        .send()
                });
                made.await.map(|_| Written::Done)
            }
            DocumentChange::Update(content) => {
                let made = self.call(at, operation, |clients| {
                    clients
                        .ssm_writes()
                        .update_document()
                        .name(SESSION_DOCUMENT)
                        // The only one that AWS updates.
                        .document_version(DocumentVersion::Latest.as_str())
                        .document_format(DocumentFormat::Json)
                        .content(content)
                        .send()
                });
                done_if(made.await, &["DuplicateDocumentContent"])
            }
            DocumentChange::Use(version) => {
                let used = self.call(at, operation, |clients| {
                    clients
                        .ssm_writes()
                        .update_document_default_version()
                        .name(SESSION_DOCUMENT)
                        .document_version(version)
                        .send()
                });
                used.await.map(|_| Written::Done)
            }
            DocumentChange::Tag(tags) => {
                let tagged = self.call(at, operation, |clients| {
                    clients
                        .ssm_writes()
                        .add_tags_to_resource()
                        .resource_type(ResourceTypeForTagging::Document)
                        .resource_id(SESSION_DOCUMENT)
                        .set_tags(Some(tags_of(tags)))
                        .send()
                });
                tagged.await.map(|_| Written::Done)
            }
            DocumentChange::Untag(keys) => {
                let untagged = self.call(at, operation, |clients| {
                    clients
                        .ssm_writes()
                        .remove_tags_from_resource()
                        .resource_type(ResourceTypeForTagging::Document)
                        .resource_id(SESSION_DOCUMENT)
                        .set_tag_keys(Some(keys.iter().cloned().collect()))
                        .send()
                });
                untagged.await.map(|_| Written::Done)
            }
            DocumentChange::Delete => {
                let deleted = self.call(at, operation, |clients| {
                    clients.ssm_writes().delete_document().name(SESSION_DOCUMENT).send()
                });
                done_if(deleted.await, &["InvalidDocument"])
            }
        }
    }
}

/// The hop limit, as the SDK takes it.
fn hop_limit(text: &str) -> Result<i32, Fault> {
    text.parse().map_err(|_| {
        Fault::from_answer(
            Operation::ModifyInstanceMetadataDefaults,
            "InvalidHopLimit",
            400,
            &format!("{text:?} is no whole number, so nothing was asked of AWS"),
        )
    })
}
