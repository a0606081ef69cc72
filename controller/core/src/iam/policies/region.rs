//! What settings of a region take. Settings carry no tags, so that whose a value is, the controller alone can tell.

use super::{Settings, Statement, Text, action, audit_rule, only_regions, pass, session_document, setting};
use crate::{
    calls::Operation as O,
    facts::settings::Setting,
    iam::{Feature, Policy},
    region::HOST_MANAGEMENT_SERVICE,
};

/// The statements for a RegionPosture.
pub(super) fn policy(settings: &Settings) -> Policy {
    let has = |feature: Feature| settings.features.contains(&feature);
    let change = [O::UpdateServiceSetting, O::ResetServiceSetting].map(action);
    let host = Setting::HostManagementRole;
    let mut statements = Vec::new();
    if has(Feature::HostManagement) {
        statements.extend([
            Statement::allow(
                "SetHostManagement",
                "the setting that switches Default Host Management on, and off",
                change.clone(),
                [setting(host)],
            ),
            pass(
                "PassHostManagementRole",
                "whoever sets a role there passes it to Systems Manager; to nothing else",
                settings,
                &[HOST_MANAGEMENT_SERVICE],
            ),
        ]);
    }
    if has(Feature::ServiceSettings) {
        let others = Setting::ALL.into_iter().filter(|other| *other != host).map(setting);
        let why = "the other settings that a RegionPosture can declare";
        statements.push(Statement::allow("SetServiceSettings", why, change, others));
    }
    if has(Feature::MetadataDefaults) {
        statements.push(Statement::allow(
            "SetMetadataDefaults",
            "the metadata defaults of new instances, for which AWS knows no resource to name",
            [action(O::ModifyInstanceMetadataDefaults)],
            [Text::from("*")],
        ));
    }
    if has(Feature::SessionPreferences) {
        document(settings, &mut statements);
    }
    if has(Feature::SessionAudit) {
        rule(settings, &mut statements);
    }
    statements.extend(only_regions(settings));
    Policy { statements }
}

fn document(settings: &Settings, statements: &mut Vec<Statement>) {
    let has = |feature: Feature| settings.features.contains(&feature);
    let on = |sid, why, operations: &[O]| {
        Statement::allow(sid, why, operations.iter().copied().map(action), [session_document()])
    };
    statements.extend([
        on(
            "CreateSessionPreferences",
            "only a document that is tagged as ours from the start; Systems Manager cannot tell that from tagging one that has no tag of any cluster. With `take-over` another cluster's too",
            &[O::CreateDocument, O::AddTagsToResource],
        )
        .made_ours()
        .not_of_others(settings),
        on(
            "ChangeSessionPreferences",
            "new versions, and which one is used, while the document has our tag",
            &[O::UpdateDocument, O::UpdateDocumentDefaultVersion],
        )
        .ours(),
    ]);
    if has(Feature::Tags) {
        let why = "declared tags that were edited or lost; never those that make the document ours";
        statements.push(on("TagSessionPreferences", why, &[O::AddTagsToResource]).ours().no_ownership());
    }
    if has(Feature::Deletion) {
        statements.extend([
            on("DeleteSessionPreferences", "only while the document has our tag", &[O::DeleteDocument]).ours(),
            on(
                "LetGoOfSessionPreferences",
                "takes the owner tag, and no other, off a document that stays when its object is deleted",
                &[O::RemoveTagsFromResource],
            )
            .ours()
            .only_owner(),
        ]);
    }
}

/// What the rule takes: PutRule both makes and changes one, and with tags asks for TagResource too.
fn rule(settings: &Settings, statements: &mut Vec<Statement>) {
    let on =
        |sid, why, operations: &[O]| Statement::allow(sid, why, operations.iter().copied().map(action), [audit_rule()]);
    statements.extend([
        on(
            "CreateSessionAudit",
            "only a rule that is tagged as ours from the start; EventBridge cannot tell that from tagging one that has no tag of any cluster. With `take-over` another cluster's too",
            &[O::PutRule, O::TagResource],
        )
        .made_ours()
        .not_of_others(settings),
        on(
            "ChangeSessionAudit",
            "its pattern, state and target, while the rule has our tag",
            &[O::PutRule, O::PutTargets],
        )
        .ours(),
    ]);
    if settings.features.contains(&Feature::Deletion) {
        statements.extend([
            on("DeleteSessionAudit", "only while the rule has our tag", &[O::RemoveTargets, O::DeleteRule]).ours(),
            on(
                "LetGoOfSessionAudit",
                "takes the owner tag, and no other, off a rule that stays when its object is deleted",
                &[O::UntagResource],
            )
            .ours()
            .only_owner(),
        ]);
    }
}
