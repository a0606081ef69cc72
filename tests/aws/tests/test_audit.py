"""What tells of sessions: rules of EventBridge, trails and topics."""

import json

import pytest
from conftest import ACCOUNT, OTHER, REGION, refused

RULE = "ssm-ready-session-audit"
ARN = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{RULE}"
PATTERN = json.dumps({"source": ["aws.ssm"]})
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:sessions"


@pytest.fixture
def events(standin):
    return standin.client("events")


def put(events, **options):
    return events.put_rule(**{"Name": RULE, "EventPattern": PATTERN, "State": "ENABLED", **options})


def tags(events):
    return {tag["Key"]: tag["Value"] for tag in events.list_tags_for_resource(ResourceARN=ARN)["Tags"]}


def target(number):
    return {"Id": f"t{number}", "Arn": f"{TOPIC}-{number}"}


def targets(events):
    return {t["Id"] for t in events.list_targets_by_rule(Rule=RULE)["Targets"]}


def test_there_is_no_rule_until_it_is_made(events):
    for call in (
        lambda: events.describe_rule(Name=RULE),
        lambda: events.list_targets_by_rule(Rule=RULE),
        lambda: events.list_tags_for_resource(ResourceARN=ARN),
        lambda: events.put_targets(Rule=RULE, Targets=[target(1)]),
        lambda: events.remove_targets(Rule=RULE, Ids=["t1"]),
        lambda: events.tag_resource(ResourceARN=ARN, Tags=[{"Key": "a", "Value": "1"}]),
        lambda: events.untag_resource(ResourceARN=ARN, TagKeys=["a"]),
    ):
        with refused("ResourceNotFoundException"):
            call()
    assert put(events, Tags=[{"Key": "a", "Value": "1"}])["RuleArn"] == ARN
    found = events.describe_rule(Name=RULE)
    assert (found["Arn"], found["EventPattern"], found["State"]) == (ARN, PATTERN, "ENABLED")
    assert tags(events) == {"a": "1"}


def test_a_rule_becomes_what_is_said_but_for_its_targets_and_tags(events):
    put(events, ScheduleExpression="rate(1 hour)", Description="x", Tags=[{"Key": "a", "Value": "1"}])
    events.put_targets(Rule=RULE, Targets=[target(1)])
    events.disable_rule(Name=RULE)
    put(events, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "1"}])
    found = events.describe_rule(Name=RULE)
    assert found["State"] == "ENABLED" and "ScheduleExpression" not in found and "Description" not in found
    assert (targets(events), tags(events)) == ({"t1"}, {"a": "1"})


def test_patterns_are_checked(events):
    for wrong in ("no JSON", json.dumps({"source": "aws.ssm"})):
        with refused("InvalidEventPatternException"):
            put(events, EventPattern=wrong)
    with refused("ValidationException"):
        put(events, EventPattern=json.dumps({"source": ["x" * 5000]}))


def test_targets_are_limited_and_replaced_by_their_ids(events):
    put(events)
    events.put_targets(Rule=RULE, Targets=[target(n) for n in range(5)])
    with refused("LimitExceededException"):
        events.put_targets(Rule=RULE, Targets=[target(5)])
    events.put_targets(Rule=RULE, Targets=[{"Id": "t1", "Arn": TOPIC, "Input": "{}"}])
    kept = next(t for t in events.list_targets_by_rule(Rule=RULE)["Targets"] if t["Id"] == "t1")
    assert kept == {"Id": "t1", "Arn": TOPIC, "Input": "{}"}
    events.remove_targets(Rule=RULE, Ids=["t1", "never"])
    assert targets(events) == {"t0", "t2", "t3", "t4"}


def test_entries_that_are_not_done_are_told_of_with_200(standin, events):
    put(events)
    standin.fault(effect="unsuccessful", service="events", action="PutTargets", times=1, code="InternalException")
    answer = events.put_targets(Rule=RULE, Targets=[target(1)])
    assert answer["FailedEntryCount"] == 1
    assert answer["FailedEntries"][0]["ErrorCode"] == "InternalException"
    assert targets(events) == set()
    assert events.put_targets(Rule=RULE, Targets=[target(1)])["FailedEntryCount"] == 0
    standin.fault(effect="unsuccessful", service="events", action="RemoveTargets", times=1)
    answer = events.remove_targets(Rule=RULE, Ids=["t1"])
    assert answer["FailedEntries"][0]["ErrorCode"] == "ConcurrentModificationException"
    assert targets(events) == {"t1"}


def test_a_rule_with_targets_is_not_deleted(events):
    put(events, Tags=[{"Key": "a", "Value": "1"}])
    events.put_targets(Rule=RULE, Targets=[target(1)])
    with refused("ValidationException"):
        events.delete_rule(Name=RULE)
    events.remove_targets(Rule=RULE, Ids=["t1"])
    events.delete_rule(Name=RULE)
    with refused("ResourceNotFoundException"):
        events.describe_rule(Name=RULE)
    # Another one of the name has nothing of it.
    put(events)
    assert tags(events) == {}


def test_tags_of_a_rule(events):
    put(events)
    events.tag_resource(ResourceARN=ARN, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    events.untag_resource(ResourceARN=ARN, TagKeys=["a", "never"])
    assert tags(events) == {"b": "2"}
    with refused("LimitExceededException"):
        events.tag_resource(ResourceARN=ARN, Tags=[{"Key": f"k{n}", "Value": ""} for n in range(50)])
    with refused("ValidationException"):
        events.tag_resource(ResourceARN=ARN, Tags=[{"Key": "aws:x", "Value": ""}])


def test_each_service_has_its_own_words_for_failures(standin):
    calls = {
        "events": lambda client: client.describe_rule(Name=RULE),
        "cloudtrail": lambda client: client.describe_trails(),
        "sns": lambda client: client.get_topic_attributes(TopicArn=TOPIC),
    }
    for effect, codes in (
        ("http500", {"events": "InternalException", "cloudtrail": "InternalFailure", "sns": "InternalError"}),
        ("denied", {"events": "AccessDeniedException", "cloudtrail": "AccessDeniedException", "sns": "AuthorizationError"}),
        ("throttle", {"events": "ThrottlingException", "cloudtrail": "ThrottlingException", "sns": "Throttling"}),
    ):
        for service, code in codes.items():
            standin.fault(effect=effect, service=service, times=1)
            with refused(code):
                calls[service](standin.client(service))


def trail(cloudtrail, name, **options):
    return cloudtrail.create_trail(Name=name, S3BucketName="bucket", **options)["TrailARN"]


def shown(cloudtrail, **options):
    return {t["TrailARN"]: t["HomeRegion"] for t in cloudtrail.describe_trails(**options)["trailList"]}


def test_trails_of_all_regions_have_shadows(standin):
    here, there = standin.client("cloudtrail"), standin.client("cloudtrail", region="us-east-1")
    own = trail(here, "own")
    everywhere = trail(there, "everywhere", IsMultiRegionTrail=True)
    trail(there, "far")
    assert shown(here) == {own: REGION, everywhere: "us-east-1"}
    assert shown(here, includeShadowTrails=False) == {own: REGION}
    assert shown(standin.client("cloudtrail", account=OTHER)) == {}
    # By its ARN, a shadow is asked about like any other; by its name, only where it is at home.
    there.start_logging(Name="everywhere")
    assert here.get_trail_status(Name=everywhere)["IsLogging"]
    assert not here.get_trail_status(Name="own")["IsLogging"]
    assert here.get_event_selectors(TrailName=everywhere)["TrailARN"] == everywhere
    for name in ("everywhere", f"{everywhere}-not"):
        with refused("TrailNotFoundException"):
            here.get_trail_status(Name=name)
        with refused("TrailNotFoundException"):
            here.get_event_selectors(TrailName=name)


def test_a_trail_records_all_management_events_until_it_is_told(standin):
    cloudtrail = standin.client("cloudtrail")
    trail(cloudtrail, "own")
    (selector,) = cloudtrail.get_event_selectors(TrailName="own")["EventSelectors"]
    assert (selector["ReadWriteType"], selector["IncludeManagementEvents"]) == ("All", True)
    field = {"Field": "eventCategory", "Equals": ["Data"]}
    advanced = [{"Name": "data", "FieldSelectors": [field]}]
    cloudtrail.put_event_selectors(TrailName="own", AdvancedEventSelectors=advanced)
    answer = cloudtrail.get_event_selectors(TrailName="own")
    assert answer["AdvancedEventSelectors"] == advanced and "EventSelectors" not in answer
    basic = [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": True}]
    cloudtrail.put_event_selectors(TrailName="own", EventSelectors=basic)
    answer = cloudtrail.get_event_selectors(TrailName="own")
    assert answer["EventSelectors"] == basic and "AdvancedEventSelectors" not in answer


def test_the_trail_of_an_organisation_is_shown_and_keeps_to_itself(standin):
    standin.settings(organizations={ACCOUNT: "o-1", OTHER: "o-1", "333333333333": "o-2"})
    management = standin.client("cloudtrail", account=OTHER)
    of_all = trail(management, "organisation", IsMultiRegionTrail=True, IsOrganizationTrail=True)
    trail(management, "theirs", IsMultiRegionTrail=True)
    member = standin.client("cloudtrail")
    assert shown(member) == {of_all: REGION}
    assert shown(standin.client("cloudtrail", account="333333333333")) == {}
    for call in (
        lambda: member.get_trail_status(Name=of_all),
        lambda: member.get_event_selectors(TrailName=of_all),
    ):
        with refused("AccessDeniedException"):
            call()
    assert not management.get_trail_status(Name="organisation")["IsLogging"]


def test_a_topic_has_a_policy_and_perhaps_a_key(standin):
    sns = standin.client("sns")
    with refused("NotFound", 404):
        sns.get_topic_attributes(TopicArn=TOPIC)
    sns.create_topic(Name="sessions")
    attributes = sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]
    assert "AWS:SourceOwner" in attributes["Policy"] and "KmsMasterKeyId" not in attributes
    sns.set_topic_attributes(TopicArn=TOPIC, AttributeName="KmsMasterKeyId", AttributeValue="alias/aws/sns")
    assert sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]["KmsMasterKeyId"] == "alias/aws/sns"
    for wrong in (TOPIC.replace(REGION, "us-east-1"), "arn:aws:sns"):
        with refused("InvalidParameter"):
            sns.get_topic_attributes(TopicArn=wrong)


def test_a_topic_of_another_account_is_told_of_where_its_policy_says_so(standin):
    standin.client("sns").create_topic(Name="sessions")
    other = standin.client("sns", account=OTHER)
    with refused("AuthorizationError", 403):
        other.get_topic_attributes(TopicArn=TOPIC)
    statement = {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "sns:GetTopicAttributes", "Resource": TOPIC}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    standin.client("sns").set_topic_attributes(TopicArn=TOPIC, AttributeName="Policy", AttributeValue=policy)
    assert other.get_topic_attributes(TopicArn=TOPIC)["Attributes"]["TopicArn"] == TOPIC
