"""Managed nodes and service settings."""

import pytest
from conftest import ACCOUNT, OTHER, REGION, refused

ROLE_SETTING = "/ssm/managed-instance/default-ec2-instance-management-role"


def node(n, **fields):
    return {"InstanceId": f"i-{n:017x}", "PingStatus": "Online", "AgentVersion": "3.3.40.0", **fields}


def feed(standin, *nodes):
    place = {"account": ACCOUNT, "region": REGION}
    standin.control("POST", "ssm-instances", {**place, "instances": list(nodes)})


def test_pages_of_nodes(standin):
    ssm = standin.client("ssm")
    assert ssm.describe_instance_information()["InstanceInformationList"] == []
    feed(standin, *[node(n) for n in range(60)])
    first = ssm.describe_instance_information()
    assert len(first["InstanceInformationList"]) == 10
    sizes = [
        len(page["InstanceInformationList"])
        for page in ssm.get_paginator("describe_instance_information").paginate(MaxResults=50)
    ]
    assert sizes == [50, 10]
    for size in (4, 51):
        with refused("ValidationException"):
            ssm.describe_instance_information(MaxResults=size)
    with refused("InvalidNextToken"):
        ssm.describe_instance_information(NextToken="nonsense")
    feed(standin, node(1))
    assert len(ssm.describe_instance_information()["InstanceInformationList"]) == 1
    other = standin.client("ssm", account=OTHER)
    assert other.describe_instance_information()["InstanceInformationList"] == []


def test_filters_of_nodes(standin):
    lost = node(2, PingStatus="ConnectionLost", PlatformType="Linux")
    feed(standin, node(1), lost)
    ssm = standin.client("ssm")

    def ids(key, *values):
        answer = ssm.describe_instance_information(Filters=[{"Key": key, "Values": list(values)}])
        return [n["InstanceId"] for n in answer["InstanceInformationList"]]

    assert ids("PingStatus", "ConnectionLost") == [lost["InstanceId"]]
    assert ids("InstanceIds", lost["InstanceId"]) == [lost["InstanceId"]]
    assert len(ids("AgentVersion", "3.3.40.0")) == 2
    assert len(ids("ResourceType", "EC2Instance")) == 2
    with refused("InvalidFilterKey"):
        ids("nosuch", "x")


def test_stopped_nodes_are_left_out(standin, ec2):
    made = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    feed(standin, {"InstanceId": made, "PingStatus": "Online"})
    ssm = standin.client("ssm")
    assert len(ssm.describe_instance_information()["InstanceInformationList"]) == 1
    ec2.stop_instances(InstanceIds=[made])
    assert ssm.describe_instance_information()["InstanceInformationList"] == []


def test_service_settings(standin):
    ssm = standin.client("ssm")
    unset = ssm.get_service_setting(SettingId=ROLE_SETTING)["ServiceSetting"]
    arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:servicesetting{ROLE_SETTING}"
    assert (unset["SettingValue"], unset["Status"], unset["ARN"]) == ("$None", "Default", arn)
    assert "LastModifiedUser" not in unset
    ssm.update_service_setting(SettingId=arn, SettingValue="role")
    stored = ssm.get_service_setting(SettingId=arn)["ServiceSetting"]
    assert (stored["SettingValue"], stored["Status"], stored["SettingId"]) == ("role", "Customized", ROLE_SETTING)
    assert stored["LastModifiedUser"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert stored["LastModifiedDate"].year >= 2024
    elsewhere = standin.client("ssm", region="us-east-1").get_service_setting(SettingId=ROLE_SETTING)
    assert elsewhere["ServiceSetting"]["SettingValue"] == "$None"
    reset = ssm.reset_service_setting(SettingId=ROLE_SETTING)["ServiceSetting"]
    assert reset["SettingValue"] == "$None"
    with refused("ServiceSettingNotFound"):
        ssm.get_service_setting(SettingId="/ssm/nosuch")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("/ssm/appmanager/appmanager-enabled", "True", "true"),
        ("/ssm/automation/customer-script-log-destination", "CloudWatch", "S3"),
        ("/ssm/automation/customer-script-log-group-name", "/aws/ssm/scripts", "a group"),
        ("/ssm/automation/enable-adaptive-concurrency", "True", "yes"),
        ("/ssm/documents/console/public-sharing-permission", "Disable", "Disabled"),
        ("/ssm/managed-instance/activation-tier", "advanced", "Advanced"),
        (ROLE_SETTING, "service-role/r", "/service-role/r"),
        ("/ssm/opsinsights/opscenter", "Enabled", "Enable"),
        ("/ssm/parameter-store/default-parameter-tier", "Intelligent-Tiering", "intelligent-tiering"),
        ("/ssm/parameter-store/high-throughput-enabled", "true", "True"),
    ],
)
def test_each_setting_takes_its_own_values(standin, name, good, bad):
    ssm = standin.client("ssm")
    before = ssm.get_service_setting(SettingId=name)["ServiceSetting"]["SettingValue"]
    for value in (bad, ""):
        with refused("ValidationException"):
            ssm.update_service_setting(SettingId=name, SettingValue=value)
    assert ssm.get_service_setting(SettingId=name)["ServiceSetting"]["SettingValue"] == before
    ssm.update_service_setting(SettingId=name, SettingValue=good)
    assert ssm.get_service_setting(SettingId=name)["ServiceSetting"]["SettingValue"] == good


def test_a_region_without_a_setting(standin):
    standin.settings(service_settings_missing={REGION: [ROLE_SETTING]})
    ssm = standin.client("ssm")
    for call in (ssm.get_service_setting, ssm.reset_service_setting):
        with refused("ServiceSettingNotFound"):
            call(SettingId=ROLE_SETTING)
    with refused("ServiceSettingNotFound"):
        ssm.update_service_setting(SettingId=ROLE_SETTING, SettingValue="r")
    assert standin.client("ssm", region="us-east-1").get_service_setting(SettingId=ROLE_SETTING)


def test_settings_that_somebody_else_changed(standin):
    ssm, place = standin.client("ssm"), {"account": ACCOUNT, "region": REGION, "id": ROLE_SETTING}
    other = f"arn:aws:sts::{ACCOUNT}:assumed-role/QuickSetup/x"
    standin.control("POST", "service-settings", {**place, "value": "theirs", "modified_by": other})

    def read():
        found = ssm.get_service_setting(SettingId=ROLE_SETTING)["ServiceSetting"]
        return found["SettingValue"], found["LastModifiedUser"], found["Status"]

    assert read() == ("theirs", other, "Customized")
    standin.control("POST", "service-settings", {**place, "status": "PendingUpdate"})
    assert read() == ("theirs", other, "PendingUpdate")
    for spelled in ("Custom", "Default"):
        standin.settings(customized_status=spelled)
        ssm.update_service_setting(SettingId=ROLE_SETTING, SettingValue="ours")
        assert read() == ("ours", f"arn:aws:iam::{ACCOUNT}:root", spelled)
    ssm.reset_service_setting(SettingId=ROLE_SETTING)
    assert "LastModifiedUser" not in ssm.get_service_setting(SettingId=ROLE_SETTING)["ServiceSetting"]
    assert standin.refusal("POST", "service-settings", {**place, "id": "/ssm/nosuch"}) == 404
