"""Documents of Systems Manager: what moto lacks or is lax in for those of type Session."""

import json
import re

import yaml
from moto.core.responses import ActionResult
from moto.ssm.models import Document
from moto.ssm.responses import SimpleSystemManagerResponse

from .errors import AwsError
from .state import state

MAX_BYTES = 64 * 1024
MAX_DOCUMENTS = 500
RESERVED = ("aws", "amazon", "amzn", "AWSEC2", "AWSConfigRemediation", "AWSSupport")
SESSION_TYPES = ("Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port")
NUMBER = re.compile(r"[1-9][0-9]*")
# The inputs of a session document (domain 4): the Python type of each, and the largest number of minutes in a string.
INPUTS = {
    "s3BucketName": str,
    "s3KeyPrefix": str,
    "s3EncryptionEnabled": bool,
    "cloudWatchLogGroupName": str,
    "cloudWatchEncryptionEnabled": bool,
    "cloudWatchStreamingEnabled": bool,
    "kmsKeyId": str,
    "runAsEnabled": bool,
    "runAsDefaultUser": str,
    "idleSessionTimeout": str,
    "maxSessionDuration": str,
    "shellProfile": dict,
}
MINUTES = {"idleSessionTimeout": 60, "maxSessionDuration": 1440}


def bad_content(why):
    return AwsError("InvalidDocumentContent", f"The content for the document is not valid: {why}.")


def parsed(text, form):
    """The content as an object, whichever format it is in."""
    try:
        content = yaml.safe_load(text) if form == "YAML" else json.loads(text)
    except (ValueError, yaml.YAMLError):
        raise bad_content(f"it is not {form}") from None
    if not isinstance(content, dict):
        raise bad_content("it is no object")
    return content


def check_session(text, form):
    """The content of a session document (domain 4). Inputs that its schema lacks are refused: the stricter reading."""
    content = parsed(text, form)
    if content.get("schemaVersion") != "1.0":
        raise AwsError("InvalidDocumentSchemaVersion", "The version of the document schema isn't supported.")
    if content.get("sessionType") not in SESSION_TYPES:
        raise bad_content("sessionType is none")
    inputs = content.get("inputs", {})
    if not isinstance(inputs, dict):
        raise bad_content("inputs is no object")
    for name, value in inputs.items():
        if type(value) is not INPUTS.get(name):
            raise bad_content(f"inputs.{name}")
        minutes = MINUTES.get(name)
        # An empty one is no limit.
        if minutes and value and not (NUMBER.fullmatch(value) and int(value) <= minutes):
            raise bad_content(f"inputs.{name} is not from 1 to {minutes}")
    profile = inputs.get("shellProfile", {})
    if not set(profile) <= {"windows", "linux"} or not all(isinstance(v, str) for v in profile.values()):
        raise bad_content("inputs.shellProfile")


class Documents(SimpleSystemManagerResponse):
    def create_document(self):
        name, form = self._get_param("Name") or "", self._get_param("DocumentFormat", "JSON")
        content = self._get_param("Content") or ""
        if name.lower().startswith(tuple(prefix.lower() for prefix in RESERVED)):
            raise AwsError("ValidationException", f"{name} begins with a prefix that is reserved.")
        if name in self.ssm_backend._documents:
            raise AwsError("DocumentAlreadyExists", f"Document with same name {name} already exists")
        if len(self.ssm_backend._documents) >= MAX_DOCUMENTS:
            raise AwsError("DocumentLimitExceeded", "You can have at most 500 active SSM documents.")
        self._check_size(content)
        if self._get_param("DocumentType") == "Session":
            check_session(content, form)
        super().create_document()
        documents = self.ssm_backend._documents[name]
        return ActionResult({"DocumentDescription": self._begin(documents, "1", "Creating")})

    def update_document(self):
        """Makes a version; the default stays where it is. moto compares with all versions, AWS with the newest."""
        documents = self._documents()
        latest = documents.get_latest_version()
        content, form = self._get_param("Content") or "", self._get_param("DocumentFormat", "JSON")
        version_name = self._get_param("VersionName")
        if self._get_param("DocumentVersion") not in ("$LATEST", latest.document_version):
            raise AwsError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
        self._settle(documents)
        if latest.status != "Active":
            raise AwsError("InvalidDocumentOperation", "The newest version of the document is not active yet.")
        self._check_size(content)
        if latest.document_type == "Session":
            check_session(content, form)
        if version_name and documents.find_by_version_name(version_name):
            raise AwsError("DuplicateDocumentVersionName", "The version name has already been used.")
        if content == latest.content:
            raise AwsError(
                "DuplicateDocumentContent",
                "The content of the association document matches another document. "
                "Change the content of the document and try again.",
            )
        if len(documents.versions) >= state.settings.document_version_quota:
            raise AwsError("DocumentVersionLimitExceeded", "The document has too many versions.")
        version = str(int(latest.document_version) + 1)
        new = Document(
            account_id=self.current_account,
            name=latest.name,
            version_name=version_name,
            content=content,
            document_type=latest.document_type,
            document_format=form,
            requires=latest.requires,
            attachments=latest.attachments,
            target_type=latest.target_type,
            document_version=version,
        )
        documents.add_new_version(new)
        return ActionResult({"DocumentDescription": self._begin(documents, version, "Updating")})

    def get_document(self):
        self._find_version()
        return super().get_document()

    def describe_document(self):
        self._find_version()
        return super().describe_document()

    def update_document_default_version(self):
        documents, version = self._documents(), self._get_param("DocumentVersion") or ""
        self._settle(documents)
        found = documents.find_by_version(version)
        if found is None:
            raise AwsError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
        if found.status != "Active":
            raise AwsError("InvalidDocumentVersion", f"Version {version} of the document is not active yet.")
        return super().update_document_default_version()

    def _documents(self):
        documents = self.ssm_backend._documents.get(self._get_param("Name"))
        if not documents:
            raise AwsError("InvalidDocument", f"Document with name {self._get_param('Name')} does not exist.")
        return documents

    def _find_version(self):
        """moto has no $DEFAULT, and calls the document missing where a version is."""
        documents = self._documents()
        self._settle(documents)
        version = self._get_param("DocumentVersion")
        if version == "$DEFAULT":
            self.body = json.dumps({**json.loads(self.body), "DocumentVersion": documents.default_version})
        elif version not in (None, "$LATEST") and not documents.find_by_version(version):
            raise AwsError("InvalidDocumentVersion", "The document version is not valid or does not exist.")

    def _check_size(self, content):
        if len(content.encode()) > MAX_BYTES:
            raise AwsError("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")

    def _begin(self, documents, version, status):
        """Starts the life of a version; answers its description."""
        made = documents.versions[version]
        made.status = status
        made.active_at = state.now(self.current_account) + state.settings.document_pending_seconds
        tags = self.ssm_backend._get_documents_tags(made.name)
        return documents.describe(document_version=version, tags=tags)

    def _settle(self, documents):
        now = state.now(self.current_account)
        for version in documents.versions.values():
            if now >= getattr(version, "active_at", now):
                version.status = "Active"
