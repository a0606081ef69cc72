"""What tells of sessions: rules of EventBridge, trails and topics, where moto lacks something or is lax."""

import json

from moto.cloudtrail.models import Trail, cloudtrail_backends
from moto.cloudtrail.responses import CloudTrailResponse
from moto.core.responses import ActionResult
from moto.events.responses import EventsHandler
from moto.sns.responses import SNSResponse

from .call import current
from .errors import AwsError, denied
from .state import state

MAX_PATTERN = 4096
MAX_TARGETS = 5
MAX_TAGS = 50
# What a trail records that was never told what to.
DEFAULT_SELECTOR = {
    "ReadWriteType": "All",
    "IncludeManagementEvents": True,
    "DataResources": [],
    "ExcludeManagementEventSources": [],
}


def repair_moto():
    """Trails need no bucket: there is no S3 here."""
    Trail.check_bucket_exists = lambda self: None


class StandinEvents(EventsHandler):
    def put_rule(self):
        """The rule becomes what is said, and nothing of what it was is kept but its targets and tags: tags are for one
        that is made."""
        name = self._get_param("Name") or ""
        if len(self._get_param("EventPattern") or "") > MAX_PATTERN:
            raise AwsError("ValidationException", "The event pattern is too long.")
        if name in self.events_backend.event_buses["default"].rules:
            tagger = self.events_backend.tagger
            arn = self.events_backend.describe_rule(name, None).arn
            kept = tagger.list_tags_for_resource(arn)
            answer = super().put_rule()
            tagger.delete_all_tags_for_resource(arn)
            tagger.tag_resource(arn, kept["Tags"])
            return answer
        self._check_tags([], self._get_param("Tags") or [])
        return super().put_rule()

    def put_targets(self):
        rule = self.events_backend.describe_rule(self._get_param("Rule"), None)
        given = self._get_param("Targets") or []
        ids = {target["Id"] for target in [*rule.targets, *given]}
        if len(ids) > MAX_TARGETS:
            raise AwsError("LimitExceededException", "The rule has as many targets as it may have.")
        return self._failed([target["Id"] for target in given]) or super().put_targets()

    def remove_targets(self):
        self.events_backend.describe_rule(self._get_param("Rule"), None)
        return self._failed(self._get_param("Ids") or []) or super().remove_targets()

    def tag_resource(self):
        kept = self.events_backend.list_tags_for_resource(self._get_param("ResourceARN"))
        self._check_tags(kept["Tags"], self._get_param("Tags") or [])
        return super().tag_resource()

    def _check_tags(self, kept, given):
        if any(tag["Key"].lower().startswith("aws:") for tag in given):
            raise AwsError("ValidationException", "Tag keys starting with 'aws:' are reserved for system use.")
        if len({tag["Key"] for tag in [*kept, *given]}) > MAX_TAGS:
            raise AwsError("LimitExceededException", "There are too many tags.")

    def _failed(self, ids):
        """The answer of 200 that tells of entries which were not done, if a fault wants that."""
        faults = current.get().unsuccessful
        if not faults:
            return None
        code = faults[0].code or "ConcurrentModificationException"
        entries = [{"TargetId": i, "ErrorCode": code, "ErrorMessage": faults[0].message} for i in ids]
        return json.dumps({"FailedEntryCount": len(entries), "FailedEntries": entries}), self.response_headers


class StandinCloudTrail(CloudTrailResponse):
    def describe_trails(self):
        """With shadows: the trails of all regions, and those of the organisation."""
        shadows = self._get_bool_param("includeShadowTrails", True)
        trails = self._shown() if shadows else self.cloudtrail_backend.trails.values()
        return json.dumps({"trailList": [trail.description(include_region=True) for trail in trails]})

    def get_trail_status(self):
        return json.dumps(self._trail(self._get_param("Name")).status.description())

    def get_event_selectors(self):
        trail = self._trail(self._get_param("TrailName"))
        answer = {"TrailARN": trail.arn}
        if trail.advanced_event_selectors:
            answer["AdvancedEventSelectors"] = trail.advanced_event_selectors
        else:
            answer["EventSelectors"] = trail.event_selectors or [DEFAULT_SELECTOR]
        return json.dumps(answer)

    def put_event_selectors(self):
        """Selectors of one kind take the place of those of the other."""
        trail = self.cloudtrail_backend.get_trail(self._get_param("TrailName"))
        trail.event_selectors, trail.advanced_event_selectors = [], []
        return super().put_event_selectors()

    def _shown(self):
        """Every trail that the region shows to the account."""
        organizations = state.settings.organizations
        ours = organizations.get(self.current_account)
        shown = []
        for account, backends in list(cloudtrail_backends.items()):
            own = account == self.current_account
            if not own and (ours is None or organizations.get(account) != ours):
                continue
            for backend in list(backends.values()):
                for trail in backend.trails.values():
                    here = trail.is_multi_region or trail.region_name == self.region
                    if here and (own or trail.is_org_trail):
                        shown.append(trail)
        return shown

    def _trail(self, given):
        """A trail by its name, which a shadow does not have here, or by its ARN. What AWS answers to an account that asks
        about the organisation's trail is UNCONFIRMED."""
        for trail in self._shown():
            if given == trail.arn or (trail.region_name == self.region and given == trail.trail_name):
                if trail.account_id != self.current_account:
                    raise denied(current.get(), resource=trail.arn)
                return trail
        raise AwsError("TrailNotFoundException", f"Unknown trail: {given} for the user: {self.current_account}")


class StandinSns(SNSResponse):
    def get_topic_attributes(self) -> ActionResult:
        """Of the region alone; and to another account only where the topic's policy says so."""
        arn = self._get_param("TopicArn") or ""
        parts = arn.split(":")
        if len(parts) != 6 or parts[3] != self.region:
            raise AwsError("InvalidParameter", "Invalid parameter: TopicArn")
        topic = self.backend.get_topic(arn)
        if topic.account_id != self.current_account and not self._admits(topic):
            raise denied(current.get(), why="because no resource-based policy allows it", resource=arn)
        return super().get_topic_attributes()

    def _admits(self, topic):
        """Whether a statement names the account and asks for nothing else: no condition is looked into."""
        account = self.current_account
        names = {"*", account, f"arn:{self.partition}:iam::{account}:root"}
        for statement in json.loads(topic.policy).get("Statement", []):
            principal = statement.get("Principal", {})
            named = principal.get("AWS", []) if isinstance(principal, dict) else principal
            named = set(named if isinstance(named, list) else [named])
            if statement["Effect"] == "Allow" and named & names and "Condition" not in statement:
                return True
        return False
