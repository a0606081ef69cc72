"""What roles have to be allowed for calls to services other than EC2: resources and condition keys."""

import json

import pytest
from conftest import OTHER, REGION, refused
from test_documents import NAME, content
from test_policies import Role, allow
from test_identity import assume
from test_roles import CORE, PATCH, TRUST
from test_ssm import ROLE_SETTING

TAG = "ssmready.dev/cluster"
OURS = [{"Key": TAG, "Value": "main"}]
THEIRS = [{"Key": TAG, "Value": "other"}]
REQUEST = {f"aws:RequestTag/{TAG}": "main"}
RESOURCE = {f"aws:ResourceTag/{TAG}": "main"}


@pytest.fixture
def role(standin):
    return Role(standin)


def role_arn(name, path="/"):
    return f"arn:aws:iam::{OTHER}:role{path}{name}"


def profile_arn(name, path="/"):
    return f"arn:aws:iam::{OTHER}:instance-profile{path}{name}"


def may(role, service, *statements):
    role.may(*statements)
    return role.standin.client(service, credentials=assume(role.standin))


def test_a_setting_by_its_arn(role):
    tier = "/ssm/managed-instance/activation-tier"
    arn = f"arn:aws:ssm:{REGION}:{OTHER}:servicesetting{tier}"
    ssm = may(role, "ssm", allow(["ssm:GetServiceSetting", "ssm:UpdateServiceSetting", "ssm:ResetServiceSetting"], arn))
    ssm.get_service_setting(SettingId=tier)
    ssm.update_service_setting(SettingId=arn, SettingValue="advanced")
    ssm.reset_service_setting(SettingId=tier)
    for call in (ssm.get_service_setting, ssm.reset_service_setting):
        with refused("AccessDeniedException") as answer:
            call(SettingId=ROLE_SETTING)
        assert f"servicesetting{ROLE_SETTING}" in answer.message


def test_the_role_of_host_management_has_to_be_passed(role):
    update = allow("ssm:UpdateServiceSetting", f"arn:aws:ssm:{REGION}:{OTHER}:servicesetting{ROLE_SETTING}")
    value = {"SettingId": ROLE_SETTING, "SettingValue": "service-role/nodes"}
    arn = role_arn("nodes", "/service-role/")

    def passing(resource, service):
        return allow("iam:PassRole", resource, StringEquals={"iam:PassedToService": service})

    for statements in (
        [],
        [passing(role_arn("nodes"), "ssm.amazonaws.com")],
        [passing(arn, "ec2.amazonaws.com")],
    ):
        with refused("AccessDeniedException") as answer:
            may(role, "ssm", update, *statements).update_service_setting(**value)
        assert f"iam:PassRole on resource: {arn}" in answer.message
    may(role, "ssm", update, passing(arn, "ssm.amazonaws.com")).update_service_setting(**value)


def test_documents_by_name_and_tags(role):
    arn = f"arn:aws:ssm:{REGION}:{OTHER}:document/{NAME}"
    made = {"Name": NAME, "DocumentType": "Session", "Content": content()}
    creation = [
        allow("ssm:CreateDocument", arn, StringEquals=REQUEST),
        allow("ssm:AddTagsToResource", arn, StringEquals=REQUEST),
    ]
    with refused("AccessDeniedException") as answer:
        may(role, "ssm", creation[0]).create_document(**made, Tags=OURS)
    assert f"ssm:AddTagsToResource on resource: {arn}" in answer.message
    ssm = may(role, "ssm", *creation)
    for tags in ([], THEIRS):
        with refused("AccessDeniedException"):
            ssm.create_document(**made, Tags=tags)
    with refused("AccessDeniedException"):
        ssm.create_document(**{**made, "Name": "another"}, Tags=OURS)
    ssm.create_document(**made, Tags=OURS)
    calls = {
        "ssm:UpdateDocument": lambda ssm: ssm.update_document(
            Name=NAME, DocumentVersion="$LATEST", Content=content(runAsEnabled=True)
        ),
        "ssm:UpdateDocumentDefaultVersion": lambda ssm: ssm.update_document_default_version(
            Name=NAME, DocumentVersion="2"
        ),
        "ssm:GetDocument": lambda ssm: ssm.get_document(Name=NAME),
        "ssm:DescribeDocument": lambda ssm: ssm.describe_document(Name=NAME),
        "ssm:RemoveTagsFromResource": lambda ssm: ssm.remove_tags_from_resource(
            ResourceType="Document", ResourceId=NAME, TagKeys=["x"]
        ),
        "ssm:DeleteDocument": lambda ssm: ssm.delete_document(Name=NAME),
    }
    for action, call in calls.items():
        for resource, tags in ((arn, {f"aws:ResourceTag/{TAG}": "other"}), (arn + "2", RESOURCE)):
            with refused("AccessDeniedException"):
                call(may(role, "ssm", allow(action, resource, StringEquals=tags)))
        call(may(role, "ssm", allow(action, arn, StringEquals=RESOURCE)))


def test_which_tags_may_be_taken_away(role):
    arn = f"arn:aws:ssm:{REGION}:{OTHER}:document/{NAME}"
    owner = role.standin.client("ssm", account=OTHER)
    owner.create_document(Name=NAME, DocumentType="Session", Content=content(), Tags=OURS)
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": [TAG]}}
    ssm = may(role, "ssm", allow("ssm:RemoveTagsFromResource", arn, **only))
    with refused("AccessDeniedException"):
        ssm.remove_tags_from_resource(ResourceType="Document", ResourceId=NAME, TagKeys=[TAG, "CostCenter"])
    ssm.remove_tags_from_resource(ResourceType="Document", ResourceId=NAME, TagKeys=[TAG])


def create(iam, name="nodes", path="/ops/", **options):
    return iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=TRUST, **options)


def test_roles_by_path_tags_and_boundary(role):
    arn = role_arn("*", "/ops/")
    bounded = {"iam:PermissionsBoundary": PATCH}
    statements = [
        allow("iam:CreateRole", arn, StringEquals={**REQUEST, **bounded}),
        allow("iam:TagRole", arn, StringEquals=REQUEST),
    ]
    # The policy of a boundary is looked for only after the call was allowed.
    with refused("AccessDenied") as answer:
        create(may(role, "iam", statements[0]), Tags=OURS, PermissionsBoundary=PATCH)
    assert f"iam:TagRole on resource: {role_arn('nodes', '/ops/')}" in answer.message
    iam = may(role, "iam", *statements)
    for options in (
        {"Tags": OURS},
        {"PermissionsBoundary": PATCH},
        {"Tags": THEIRS, "PermissionsBoundary": PATCH},
        {"Tags": OURS, "PermissionsBoundary": CORE},
        {"Tags": OURS, "PermissionsBoundary": PATCH, "path": "/"},
    ):
        with refused("AccessDenied"):
            create(iam, **options)
    create(iam, Tags=OURS, PermissionsBoundary=PATCH)
    create(role.iam, "theirs", Tags=THEIRS)
    for action, call in {
        "iam:GetRole": lambda iam, name: iam.get_role(RoleName=name),
        "iam:ListRolePolicies": lambda iam, name: iam.list_role_policies(RoleName=name),
        "iam:ListAttachedRolePolicies": lambda iam, name: iam.list_attached_role_policies(RoleName=name),
        "iam:UpdateAssumeRolePolicy": lambda iam, name: iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=TRUST
        ),
        "iam:UntagRole": lambda iam, name: iam.untag_role(RoleName=name, TagKeys=["x"]),
        "iam:DeleteRole": lambda iam, name: iam.delete_role(RoleName=name),
    }.items():
        iam = may(role, "iam", allow(action, arn, StringEquals=RESOURCE))
        with refused("AccessDenied") as answer:
            call(iam, "theirs")
        assert f"{action} on resource: {role_arn('theirs', '/ops/')}" in answer.message
        call(iam, "nodes")


def test_which_policies_may_be_attached(role):
    create(role.iam)
    arn = role_arn("nodes", "/ops/")
    both = ["iam:AttachRolePolicy", "iam:DetachRolePolicy"]
    iam = may(role, "iam", allow(both, arn, ArnEquals={"iam:PolicyARN": CORE}))
    with refused("AccessDenied"):
        iam.attach_role_policy(RoleName="nodes", PolicyArn=PATCH)
    iam.attach_role_policy(RoleName="nodes", PolicyArn=CORE)
    iam.detach_role_policy(RoleName="nodes", PolicyArn=CORE)


def test_a_boundary_is_asked_of_the_role_as_it_is_and_of_the_one_that_is_put(role):
    create(role.iam)
    bounded = {"iam:PermissionsBoundary": PATCH}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:GetObject")]})
    policy = {"RoleName": "nodes", "PolicyName": "p", "PolicyDocument": document}
    actions = ["iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary"]
    iam = may(role, "iam", allow(actions, role_arn("nodes", "/ops/"), StringEquals=bounded))
    with refused("AccessDenied"):
        iam.put_role_policy(**policy)
    with refused("AccessDenied"):
        iam.put_role_permissions_boundary(RoleName="nodes", PermissionsBoundary=CORE)
    iam.put_role_permissions_boundary(RoleName="nodes", PermissionsBoundary=PATCH)
    iam.put_role_policy(**policy)
    iam.delete_role_policy(RoleName="nodes", PolicyName="p")


def test_profiles_and_the_role_that_goes_into_one(role):
    create(role.iam)
    arn, passed = profile_arn("nodes", "/ops/"), role_arn("nodes", "/ops/")
    creation = allow(["iam:CreateInstanceProfile", "iam:TagInstanceProfile"], arn, StringEquals=REQUEST)
    iam = may(role, "iam", creation)
    for options in ({"Tags": THEIRS, "Path": "/ops/"}, {"Tags": OURS, "Path": "/"}, {"Path": "/ops/"}):
        with refused("AccessDenied"):
            iam.create_instance_profile(InstanceProfileName="nodes", **options)
    iam.create_instance_profile(InstanceProfileName="nodes", Path="/ops/", Tags=OURS)
    both = {"InstanceProfileName": "nodes", "RoleName": "nodes"}
    add = allow("iam:AddRoleToInstanceProfile", arn, StringEquals=RESOURCE)
    for service in (None, "ssm.amazonaws.com"):
        passing = [allow("iam:PassRole", passed, StringEquals={"iam:PassedToService": service})] if service else []
        with refused("AccessDenied") as answer:
            may(role, "iam", add, *passing).add_role_to_instance_profile(**both)
        assert f"iam:PassRole on resource: {passed}" in answer.message
    passing = allow("iam:PassRole", passed, StringEquals={"iam:PassedToService": "ec2.amazonaws.com"})
    may(role, "iam", add, passing).add_role_to_instance_profile(**both)
    for action, call in {
        "iam:GetInstanceProfile": lambda iam: iam.get_instance_profile(InstanceProfileName="nodes"),
        "iam:RemoveRoleFromInstanceProfile": lambda iam: iam.remove_role_from_instance_profile(**both),
        "iam:UntagInstanceProfile": lambda iam: iam.untag_instance_profile(
            InstanceProfileName="nodes", TagKeys=["x"]
        ),
        "iam:DeleteInstanceProfile": lambda iam: iam.delete_instance_profile(InstanceProfileName="nodes"),
    }.items():
        with refused("AccessDenied"):
            call(may(role, "iam", allow(action, profile_arn("other", "/ops/"))))
        call(may(role, "iam", allow(action, arn, StringEquals=RESOURCE)))


def test_metadata_defaults_and_regions_have_no_resource(role):
    ec2 = may(role, "ec2", allow(["ec2:GetInstanceMetadataDefaults", "ec2:DescribeRegions"]))
    ec2.get_instance_metadata_defaults()
    ec2.describe_regions()
    with refused("UnauthorizedOperation"):
        ec2.modify_instance_metadata_defaults(HttpTokens="required")
    may(role, "ec2", allow("ec2:ModifyInstanceMetadataDefaults")).modify_instance_metadata_defaults(
        HttpTokens="required"
    )


def test_simulation_knows_the_same_keys(role):
    role.may(allow("iam:PassRole", role_arn("nodes"), StringEquals={"iam:PassedToService": "ssm.amazonaws.com"}))

    def decision(service):
        entry = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string", "ContextKeyValues": [service]}
        return role.iam.simulate_principal_policy(
            PolicySourceArn=role_arn("spoke"),
            ActionNames=["iam:PassRole"],
            ResourceArns=[role_arn("nodes")],
            ContextEntries=[entry],
        )["EvaluationResults"][0]["EvalDecision"]

    assert (decision("ssm.amazonaws.com"), decision("ec2.amazonaws.com")) == ("allowed", "implicitDeny")


def test_a_profile_for_an_instance_that_has_none(role):
    create(role.iam)
    role.iam.create_instance_profile(InstanceProfileName="nodes", Path="/ops/")
    role.iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName="nodes")
    theirs = role.standin.client("ec2", account=OTHER)
    vpc = theirs.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = theirs.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    launched = theirs.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet)
    instance = launched["Instances"][0]["InstanceId"]
    request = {"InstanceId": instance, "IamInstanceProfile": {"Arn": profile_arn("nodes", "/ops/")}}

    def attach(path):
        return allow(
            "ec2:AssociateIamInstanceProfile",
            f"arn:aws:ec2:{REGION}:{OTHER}:instance/*",
            Null={"ec2:InstanceProfile": "true"},
            ArnLike={"ec2:NewInstanceProfile": profile_arn("*", path)},
        )

    passing = allow("iam:PassRole", role_arn("nodes", "/ops/"), StringEquals={"iam:PassedToService": "ec2.amazonaws.com"})
    for statements in ([attach("/ops/")], [passing], [attach("/other/"), passing]):
        with refused("UnauthorizedOperation"):
            may(role, "ec2", *statements).associate_iam_instance_profile(**request)
    ec2 = may(role, "ec2", attach("/ops/"), passing)
    ec2.associate_iam_instance_profile(**request)
    with refused("UnauthorizedOperation"):
        ec2.associate_iam_instance_profile(**request)


def test_a_rule_by_name_and_tags(role):
    arn = f"arn:aws:events:{REGION}:{OTHER}:rule/audit"
    put = {"Name": "audit", "EventPattern": '{"source":["aws.ssm"]}'}
    creation = [
        allow("events:PutRule", arn, StringEquals=REQUEST),
        allow("events:TagResource", arn, StringEquals=REQUEST),
    ]
    change = allow(
        ["events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:DeleteRule"], arn, StringEquals=RESOURCE
    )
    with refused("AccessDeniedException") as answer:
        may(role, "events", creation[0]).put_rule(**put, Tags=OURS)
    assert f"events:TagResource on resource: {arn}" in answer.message
    events = may(role, "events", *creation)
    for tags in (THEIRS, []):
        with refused("AccessDeniedException"):
            events.put_rule(**put, Tags=tags)
    with refused("AccessDeniedException"):
        events.put_rule(**{**put, "Name": "other"}, Tags=OURS)
    events.put_rule(**put, Tags=OURS)
    # Afterwards it is known by the tags that it has.
    with refused("AccessDeniedException"):
        events.put_targets(Rule="audit", Targets=[{"Id": "a", "Arn": "arn:aws:sqs:eu-west-1:222222222222:q"}])
    events = may(role, "events", change)
    events.put_rule(**put)
    events.put_targets(Rule="audit", Targets=[{"Id": "a", "Arn": "arn:aws:sqs:eu-west-1:222222222222:q"}])
    root = role.standin.client("events", account=OTHER)
    root.tag_resource(ResourceARN=arn, Tags=THEIRS)
    for call in (
        lambda: events.put_rule(**put),
        lambda: events.remove_targets(Rule="audit", Ids=["a"]),
        lambda: events.delete_rule(Name="audit"),
    ):
        with refused("AccessDeniedException"):
            call()
    root.tag_resource(ResourceARN=arn, Tags=OURS)
    untag = allow("events:UntagResource", arn, **{"ForAllValues:StringEquals": {"aws:TagKeys": ["owner"]}})
    with refused("AccessDeniedException"):
        may(role, "events", untag).untag_resource(ResourceARN=arn, TagKeys=["owner", TAG])
    may(role, "events", untag).untag_resource(ResourceARN=arn, TagKeys=["owner"])
    events = may(role, "events", change)
    events.remove_targets(Rule="audit", Ids=["a"])
    events.delete_rule(Name="audit")


def test_trails_and_topics_by_their_arns(role):
    root = role.standin.client("cloudtrail", account=OTHER)
    arn = root.create_trail(Name="all-of-it", S3BucketName="b")["TrailARN"]
    cloudtrail = may(role, "cloudtrail", allow(["cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"], arn))
    cloudtrail.get_trail_status(Name=arn)
    cloudtrail.get_event_selectors(TrailName=arn)
    for call in (
        cloudtrail.describe_trails,
        lambda: cloudtrail.get_trail_status(Name=f"{arn}-2"),
        lambda: cloudtrail.get_event_selectors(TrailName=f"{arn}-2"),
    ):
        with refused("AccessDeniedException"):
            call()
    may(role, "cloudtrail", allow("cloudtrail:DescribeTrails", "*")).describe_trails()
    role.standin.client("sns", account=OTHER).create_topic(Name="t")
    topic = f"arn:aws:sns:{REGION}:{OTHER}:t"
    sns = may(role, "sns", allow("sns:GetTopicAttributes", topic))
    sns.get_topic_attributes(TopicArn=topic)
    with refused("AuthorizationError", 403) as answer:
        sns.get_topic_attributes(TopicArn=f"{topic}2")
    assert f"sns:GetTopicAttributes on resource: {topic}2" in answer.message
