"""The session document: versions, the default, what its content may be, and its life."""

import json

import pytest
from conftest import ACCOUNT, refused

NAME = "SSM-SessionManagerRunShell"


def content(**inputs):
    return json.dumps({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": inputs})


@pytest.fixture
def ssm(standin):
    return standin.client("ssm")


def create(ssm, text=None, **options):
    return ssm.create_document(
        Name=NAME, DocumentType="Session", DocumentFormat="JSON", Content=text or content(), **options
    )["DocumentDescription"]


def update(ssm, text, version="$LATEST", **options):
    return ssm.update_document(Name=NAME, DocumentVersion=version, Content=text, **options)["DocumentDescription"]


def seen(ssm, version):
    found = ssm.get_document(Name=NAME, DocumentVersion=version, DocumentFormat="JSON")
    return found["DocumentVersion"], found["Content"], found["Status"]


def test_there_is_none_until_it_is_made(ssm):
    for call in (ssm.get_document, ssm.describe_document, ssm.delete_document):
        with refused("InvalidDocument"):
            call(Name=NAME)
    for call in (
        lambda: update(ssm, content()),
        lambda: ssm.update_document_default_version(Name=NAME, DocumentVersion="1"),
    ):
        with refused("InvalidDocument"):
            call()
    made = create(ssm, Tags=[{"Key": "a", "Value": "b"}])
    assert (made["DocumentVersion"], made["DefaultVersion"], made["LatestVersion"]) == ("1", "1", "1")
    assert ssm.describe_document(Name=NAME)["Document"]["Tags"] == [{"Key": "a", "Value": "b"}]
    with refused("DocumentAlreadyExists"):
        create(ssm)
    ssm.delete_document(Name=NAME)
    with refused("InvalidDocument"):
        ssm.get_document(Name=NAME)


def test_a_new_version_is_not_the_default(ssm):
    first, second = content(), content(runAsEnabled=True)
    create(ssm, first)
    described = update(ssm, second)
    assert (described["DocumentVersion"], described["DefaultVersion"], described["LatestVersion"]) == ("2", "1", "2")
    assert seen(ssm, "$DEFAULT") == ("1", first, "Active")
    assert seen(ssm, "$LATEST") == seen(ssm, "2") == ("2", second, "Active")
    assert ssm.get_document(Name=NAME)["DocumentVersion"] == "1"
    for version in ("$DEFAULT", "$LATEST"):
        described = ssm.describe_document(Name=NAME, DocumentVersion=version)["Document"]
        assert (described["DefaultVersion"], described["LatestVersion"]) == ("1", "2")
    ssm.update_document_default_version(Name=NAME, DocumentVersion="2")
    assert seen(ssm, "$DEFAULT") == ("2", second, "Active")
    for version in ("3", "$LATEST"):
        with refused("InvalidDocumentVersion"):
            ssm.update_document_default_version(Name=NAME, DocumentVersion=version)
    with refused("InvalidDocumentVersion"):
        ssm.get_document(Name=NAME, DocumentVersion="3")


def test_only_the_newest_version_is_compared_and_updated(ssm):
    first, second = content(), content(runAsEnabled=True)
    create(ssm, first)
    with refused("DuplicateDocumentContent"):
        update(ssm, first)
    update(ssm, second, VersionName="a")
    with refused("InvalidDocumentVersion"):
        update(ssm, first, version="1")
    with refused("DuplicateDocumentContent"):
        update(ssm, second)
    with refused("DuplicateDocumentVersionName"):
        update(ssm, first, VersionName="a")
    assert update(ssm, first)["DocumentVersion"] == "3"


def test_versions_come_to_an_end(standin, ssm):
    standin.settings(document_version_quota=2)
    create(ssm)
    update(ssm, content(runAsEnabled=True))
    with refused("DocumentVersionLimitExceeded"):
        update(ssm, content(runAsEnabled=False))


def test_a_version_takes_its_time(standin, ssm):
    standin.settings(document_pending_seconds=60)
    assert create(ssm)["Status"] == "Creating"
    assert seen(ssm, "$DEFAULT")[2] == "Creating"
    with refused("InvalidDocumentOperation"):
        update(ssm, content(runAsEnabled=True))
    standin.control("POST", f"accounts/{ACCOUNT}/skip", {"seconds": 61})
    assert update(ssm, content(runAsEnabled=True))["Status"] == "Updating"
    assert (seen(ssm, "$DEFAULT")[2], seen(ssm, "$LATEST")[2]) == ("Active", "Updating")
    with refused("InvalidDocumentVersion"):
        ssm.update_document_default_version(Name=NAME, DocumentVersion="2")
    standin.control("POST", f"accounts/{ACCOUNT}/skip", {"seconds": 61})
    ssm.update_document_default_version(Name=NAME, DocumentVersion="2")
    assert seen(ssm, "$DEFAULT")[::2] == ("2", "Active")


def test_tags(ssm):
    create(ssm)
    place = {"ResourceType": "Document", "ResourceId": NAME}
    ssm.add_tags_to_resource(**place, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ssm.remove_tags_from_resource(**place, TagKeys=["a", "c"])
    assert ssm.describe_document(Name=NAME)["Document"]["Tags"] == [{"Key": "b", "Value": "2"}]
    with refused("InvalidResourceId"):
        ssm.add_tags_to_resource(ResourceType="Document", ResourceId="nosuch", Tags=[])


ALL = {
    "s3BucketName": "", "s3KeyPrefix": "", "s3EncryptionEnabled": True, "cloudWatchLogGroupName": "",
    "cloudWatchEncryptionEnabled": True, "cloudWatchStreamingEnabled": True, "kmsKeyId": "", "runAsEnabled": False,
    "runAsDefaultUser": "", "idleSessionTimeout": "60", "maxSessionDuration": "1440",
    "shellProfile": {"windows": "", "linux": "date"},
}  # fmt: skip


@pytest.mark.parametrize(
    "inputs",
    [ALL, {}, {"idleSessionTimeout": "1", "maxSessionDuration": ""}],
)
def test_content_that_fits(ssm, inputs):
    assert create(ssm, content(**inputs))["DocumentType"] == "Session"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "InvalidDocumentContent"),
        ("[]", "InvalidDocumentContent"),
        (json.dumps({"schemaVersion": "2.2", "sessionType": "Standard_Stream"}), "InvalidDocumentSchemaVersion"),
        (json.dumps({"schemaVersion": "1.0", "sessionType": "Other"}), "InvalidDocumentContent"),
        (content(idleSessionTimeout=20), "InvalidDocumentContent"),
        (content(idleSessionTimeout="0"), "InvalidDocumentContent"),
        (content(idleSessionTimeout="61"), "InvalidDocumentContent"),
        (content(maxSessionDuration="1441"), "InvalidDocumentContent"),
        (content(maxSessionDuration="ten"), "InvalidDocumentContent"),
        (content(runAsEnabled="true"), "InvalidDocumentContent"),
        (content(shellProfile={"macos": "date"}), "InvalidDocumentContent"),
        (content(noSuchInput=""), "InvalidDocumentContent"),
        (content(shellProfile={"linux": "x" * 65536}), "MaxDocumentSizeExceeded"),
    ],
)
def test_content_that_does_not_fit(ssm, text, code):
    with refused(code):
        create(ssm, text)
    create(ssm)
    with refused(code):
        update(ssm, text)


def test_reserved_names(ssm):
    for name in ("AWS-Mine", "amazon-mine", "AWSSupport-Mine"):
        with refused("ValidationException"):
            ssm.create_document(Name=name, DocumentType="Session", Content=content())


def test_another_format_is_answered_as_json(ssm):
    text = "schemaVersion: '1.0'\nsessionType: Standard_Stream\ninputs: {idleSessionTimeout: '20'}\n"
    ssm.create_document(Name=NAME, DocumentType="Session", DocumentFormat="YAML", Content=text)
    assert json.loads(seen(ssm, "$DEFAULT")[1])["inputs"] == {"idleSessionTimeout": "20"}
