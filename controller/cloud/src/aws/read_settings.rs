//! Reads of what Systems Manager and EC2 keep once for an account and region.

use aws_sdk_ssm::types::DocumentFormat;
use ssm_ready_core::{
    calls::Operation,
    facts::settings::{
        DocumentVersion, MetadataDefaults, SESSION_DOCUMENT, SessionDocument, SessionDocumentInfo, Setting,
        SettingValue,
    },
    fault::Fault,
    ids::Region,
};

use super::{
    answer::{none_if, unreadable},
    client::{At, AwsCloud},
    convert::settings::{defaults, document, document_info, region, setting_value},
    read::each,
};

/// There is no document of the name.
const NO_DOCUMENT: &[&str] = &["InvalidDocument"];

impl AwsCloud {
    pub(super) async fn read_setting(&self, at: At<'_>, setting: Setting) -> Result<Option<SettingValue>, Fault> {
        let operation = Operation::GetServiceSetting;
        let answer =
            self.call(at, operation, |clients| clients.ssm().get_service_setting().setting_id(setting.id()).send());
        let Some(answer) = none_if(answer.await, &["ServiceSettingNotFound"])? else { return Ok(None) };
        let read = answer.service_setting().ok_or_else(|| unreadable(operation, "ServiceSetting"))?;
        Ok(Some(setting_value(read)))
    }

    pub(super) async fn read_session_document(
        &self,
        at: At<'_>,
        version: DocumentVersion,
    ) -> Result<Option<SessionDocument>, Fault> {
        let answer = self.call(at, Operation::GetDocument, |clients| {
            clients
                .ssm()
                .get_document()
                .name(SESSION_DOCUMENT)
                .document_version(version.as_str())
                // One that was written as YAML is answered as JSON all the same.
                .document_format(DocumentFormat::Json)
                .send()
        });
        none_if(answer.await, NO_DOCUMENT)?.map(|answer| document(&answer)).transpose()
    }

    pub(super) async fn read_session_document_info(&self, at: At<'_>) -> Result<Option<SessionDocumentInfo>, Fault> {
        let operation = Operation::DescribeDocument;
        let answer = self.call(at, operation, |clients| {
            clients
                .ssm()
                .describe_document()
                .name(SESSION_DOCUMENT)
                .document_version(DocumentVersion::Default.as_str())
                .send()
        });
        let Some(answer) = none_if(answer.await, NO_DOCUMENT)? else { return Ok(None) };
        let read = answer.document().ok_or_else(|| unreadable(operation, "Document"))?;
        document_info(read).map(Some)
    }

    pub(super) async fn read_metadata_defaults(&self, at: At<'_>) -> Result<MetadataDefaults, Fault> {
        let answer = self
            .call(at, Operation::GetInstanceMetadataDefaults, |clients| {
                clients.ec2().get_instance_metadata_defaults().send()
            })
            .await?;
        // Where nothing was ever set there is nothing to be read.
        Ok(answer.account_level().map(defaults).unwrap_or_default())
    }

    pub(super) async fn read_regions(&self, at: At<'_>) -> Result<Vec<Region>, Fault> {
        // Without AllRegions: the enabled ones. There are no pages.
        let answer =
            self.call(at, Operation::DescribeRegions, |clients| clients.ec2().describe_regions().send()).await?;
        Ok(each(answer.regions(), region))
    }
}
