"""One AWS call as it came in: who, what, where."""

import json
import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

CREDENTIAL = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")
SECRET = re.compile(r"external_?id|secret|password|session_?token|security_?token|webidentitytoken", re.I)

TAGGING = {
    ("iam", "CreateRole"): ("iam", "TagRole"),
    ("iam", "CreateInstanceProfile"): ("iam", "TagInstanceProfile"),
    ("events", "PutRule"): ("events", "TagResource"),
    ("ssm", "CreateDocument"): ("ssm", "AddTagsToResource"),
}

current = ContextVar("call")
"""The call being answered, for the parts that run inside moto."""


@dataclass
class Request:
    """An HTTP request, read in full."""

    method: str
    target: str
    headers: dict
    body: bytes

    @property
    def path(self):
        return urlsplit(self.target).path

    @property
    def query(self):
        return urlsplit(self.target).query


@dataclass
class Call:
    """An AWS call. `account` and the fields below it are filled in by `identity`."""

    service: str
    action: str
    region: str
    protocol: str
    access_key: str | None
    session_token: str | None
    params: dict
    signed_at: str | None = None
    account: str | None = None
    role: str | None = None
    caller_arn: str | None = None
    session: object = None
    unsuccessful: list = field(default_factory=list)

    @property
    def dry_run(self):
        return self.params.get("DryRun", "").lower() == "true"

    @property
    def tagging(self):
        """The service and action that tags in a creation take as well, if it has any (domain 8)."""
        if self.protocol == "ec2":
            tagged = any(k.startswith("TagSpecification.") for k in self.params)
            return ("ec2", "CreateTags") if tagged else None
        tagged = any(k.startswith("Tags.member.") for k in self.params) or self.params.get("Tags", "[]") != "[]"
        return TAGGING.get((self.service, self.action)) if tagged else None

    def masked_params(self):
        """The parameters as recorded: secrets never are."""
        return {
            key: "***" if SECRET.search(key) else value for key, value in self.params.items()
        }


def parse(request):
    """The AWS call in an HTTP request: from the signature's scope, and the protocol's action."""
    headers = request.headers
    scope = CREDENTIAL.search(headers.get("authorization", ""))
    access_key, region, service = scope.groups() if scope else (None, "us-east-1", None)
    target = headers.get("x-amz-target")
    if target:
        action, protocol = target.rpartition(".")[2], "json"
        params = _json_params(request.body)
    elif service == "s3":
        from .targets import s3_action

        action, bucket = s3_action(request.method, request.path, request.query)
        protocol, params = "s3", {"Bucket": bucket} if bucket else {}
    else:
        form = request.body.decode("utf-8", "replace") or request.query
        params = dict(parse_qsl(form, keep_blank_values=True))
        action = params.pop("Action", f"{request.method} {request.path}")
        params.pop("Version", None)
        protocol = "ec2" if service == "ec2" else "query"
    if service is None:
        service = "sts" if action.startswith("AssumeRoleWith") else "unknown"
    return Call(
        service=service,
        action=action,
        region=region,
        protocol=protocol,
        access_key=access_key,
        session_token=headers.get("x-amz-security-token"),
        params=params,
        signed_at=headers.get("x-amz-date") if scope else None,
    )


def _json_params(body):
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in document.items()
    }
