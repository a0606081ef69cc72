"""Who calls: static root keys, and sessions made by sts:AssumeRole."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from moto.iam.models import iam_backends
from moto.sts.responses import TokenResponse
from moto.utilities.utils import get_partition

from . import policies
from .call import current
from .errors import AwsError, expired, skewed, unknown_credentials
from .policies import as_list, statement_covers
from .state import state

ROOT_KEY = re.compile(r"AKIA(\d{12})ROOT")
ROLE_ARN = re.compile(r"arn:[\w-]+:iam::(\d{12}):role/(.+)")
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}")
EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}")
CHAINED_SECONDS = 3600
SIGNING_TIME = "%Y%m%dT%H%M%SZ"
MAX_SKEW = timedelta(minutes=5)


@dataclass
class Session:
    """A role session. `policy` is its inline session policy, parsed."""

    access_key: str
    secret: str
    token: str
    account: str
    role: str
    role_id: str
    name: str
    policy: dict | None
    expires: datetime

    @property
    def arn(self):
        partition = self.role.split(":")[1]
        role_name = self.role.rpartition("/")[2]
        return f"arn:{partition}:sts::{self.account}:assumed-role/{role_name}/{self.name}"


def identify(call):
    """Fills in the caller, or refuses the credentials as the service would."""
    partition = get_partition(call.region)
    if call.access_key is None:
        role = ROLE_ARN.fullmatch(call.params.get("RoleArn", ""))
        if not call.action.startswith("AssumeRoleWith") or not role:
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        call.account = role.group(1)
        call.caller_arn = "anonymous"
        return
    check_signing_time(call)
    root = ROOT_KEY.fullmatch(call.access_key)
    if root:
        call.account = root.group(1)
        call.caller_arn = f"arn:{partition}:iam::{call.account}:root"
        return
    session = state.sessions.get(call.access_key)
    if session is None or session.token != call.session_token:
        raise unknown_credentials(call)
    call.account, call.role, call.caller_arn = session.account, session.role, session.arn
    call.session = session
    if session.expires <= datetime.now(timezone.utc):
        raise expired(call)
    policies.check(call)


def check_signing_time(call):
    """A request that was signed more than five minutes from now, by AWS's clock, is refused."""
    if call.signed_at is None:
        return
    try:
        signed = datetime.strptime(call.signed_at, SIGNING_TIME).replace(tzinfo=timezone.utc)
    except ValueError:
        return
    now = datetime.now(timezone.utc)
    if abs(now - signed) > MAX_SKEW:
        raise skewed(call, signed.strftime(SIGNING_TIME), now.strftime(SIGNING_TIME), signed < now)


def sessions():
    """Every session that was handed out, with its credentials: to act as one, and to look for them where none may be."""
    return [
        {
            "access_key": s.access_key,
            "secret": s.secret,
            "token": s.token,
            "account": s.account,
            "role": s.role,
            "policy": s.policy,
        }
        for s in state.sessions.values()
    ]


def expire_sessions(account=None, role=None):
    """Ends the sessions of an account or a role at once. Answers how many."""
    ended = [
        s
        for s in state.sessions.values()
        if account in (None, s.account) and role in (None, s.role)
    ]
    for session in ended:
        session.expires = datetime.now(timezone.utc)
    return len(ended)


def trust_allows(trust, need, call):
    """Whether a role's trust policy lets the caller in, external id and all."""
    verdicts = {
        statement["Effect"]
        for statement in as_list(trust.get("Statement", []))
        if statement_covers(statement, need) and principal_matches(statement.get("Principal", {}), call)
    }
    return "Allow" in verdicts and "Deny" not in verdicts


def principal_matches(principal, call):
    """A principal is everybody, an account, a role, or one session of a role."""
    if principal == "*":
        return True
    partition = get_partition(call.region)
    own = {
        "*",
        call.account,
        f"arn:{partition}:iam::{call.account}:root",
        call.caller_arn,
        call.role,
    }
    return any(entry in own for entry in as_list(principal.get("AWS", [])))


def invalid(message):
    return AwsError("ValidationError", message)


class StandinSts(TokenResponse):
    """moto hands out credentials for any role to anybody, and never lets them expire."""

    def assume_role(self):
        call = current.get()
        role = self._role_to_assume(call)
        self._check_duration(call, role)
        policy = self._session_policy(call)
        answer = super().assume_role()
        self._remember(answer.result["Credentials"], role, policy)
        return answer

    def assume_role_with_web_identity(self):
        role = self._role_to_assume(current.get(), checked=False)
        answer = super().assume_role_with_web_identity()
        self._remember(answer.result["Credentials"], role, None)
        return answer

    def get_caller_identity(self):
        call = current.get()
        answer = super().get_caller_identity()
        user = f"{call.session.role_id}:{call.session.name}" if call.session else call.account
        account = state.settings.identity_accounts.get(call.role, call.account)
        arn = call.caller_arn.replace(f"::{call.account}:", f"::{account}:")
        answer.result.update(UserId=user, Account=account, Arn=arn)
        return answer

    def _role_to_assume(self, call, checked=True):
        arn = call.params.get("RoleArn", "")
        refused = AwsError(
            "AccessDenied",
            f"User: {call.caller_arn} is not authorized to perform: sts:{call.action} on resource: {arn}",
            403,
        )
        if not SESSION_NAME.fullmatch(call.params.get("RoleSessionName", "")):
            raise invalid("Invalid value at 'roleSessionName'")
        external_id = call.params.get("ExternalId")
        if external_id is not None and not EXTERNAL_ID.fullmatch(external_id):
            raise invalid("Invalid value at 'externalId'")
        target = ROLE_ARN.fullmatch(arn)
        if not target:
            raise invalid(f"{arn} is invalid")
        check_region(call, target.group(1))
        roles = iam_backends[target.group(1)][self.partition].get_roles()
        role = next((r for r in roles if r.arn == arn), None)
        if role is None:
            raise refused
        trust = json.loads(role.assume_role_policy_document)
        if checked and not all(trust_allows(trust, need, call) for need in policies.assume_needs(call)):
            raise refused
        return role

    def _check_duration(self, call, role):
        seconds = self._get_int_param("DurationSeconds", CHAINED_SECONDS)
        if seconds < 900:
            raise invalid(
                f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy "
                "constraint: Member must have value greater than or equal to 900"
            )
        if call.session and seconds > CHAINED_SECONDS:
            raise invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit "
                "for roles assumed by role chaining."
            )
        if seconds > int(role.max_session_duration or CHAINED_SECONDS):
            raise invalid(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )

    def _session_policy(self, call):
        text = call.params.get("Policy")
        if text is None:
            return None
        if len(text) > 2048:
            raise invalid("Value at 'policy' must have length less than or equal to 2048")
        try:
            return json.loads(text)
        except ValueError:
            raise AwsError("MalformedPolicyDocument", "The policy is not valid JSON.") from None

    def _remember(self, granted, role, policy):
        """Keeps moto's new credentials as a session; `session_seconds` may cut its life short."""
        short = state.settings.session_seconds
        if short is not None:
            granted.expiration = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=short)
        state.sessions[granted.access_key_id] = Session(
            access_key=granted.access_key_id,
            secret=granted.secret_access_key,
            token=granted.session_token,
            account=granted.account_id,
            role=role.arn,
            role_id=role.id,
            name=granted.session_name,
            policy=policy,
            expires=granted.expiration.replace(tzinfo=timezone.utc),
        )


def check_region(call, account):
    """A Region that is not enabled for an account answers nobody of it (domain 7)."""
    settings = state.settings_of(account)
    if [account, call.region] not in settings.disabled_regions:
        return
    if call.service == "sts":
        raise AwsError(
            "RegionDisabledException",
            f"STS is not activated in this region for account:{account}. Your account administrator "
            "can activate STS in this region using the IAM Console.",
            403,
        )
    if call.protocol != "ec2":
        raise unknown_credentials(call)
    if settings.disabled_region_code == "OptInRequired":
        raise AwsError(
            "OptInRequired",
            "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
            403,
        )
    raise unknown_credentials(call)
