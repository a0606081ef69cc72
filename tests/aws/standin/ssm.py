"""What moto's Systems Manager lacks: managed nodes, service settings, and much of documents."""

import re
from datetime import datetime, timezone

from moto.core.responses import ActionResult

from .call import current
from .documents import Documents
from .errors import AwsError
from .paging import page_of
from .state import state

# Every documented setting (domain 3.1), with what a new account answers. The value of an unset
# host management role is UNCONFIRMED there: `$None` is what is reported.
SETTING_DEFAULTS = {
    "/ssm/appmanager/appmanager-enabled": "False",
    "/ssm/automation/customer-script-log-destination": "",
    "/ssm/automation/customer-script-log-group-name": "",
    "/ssm/automation/enable-adaptive-concurrency": "False",
    "/ssm/documents/console/public-sharing-permission": "Enable",
    "/ssm/managed-instance/activation-tier": "standard",
    "/ssm/managed-instance/default-ec2-instance-management-role": "$None",
    "/ssm/opsinsights/opscenter": "Disabled",
    "/ssm/parameter-store/default-parameter-tier": "Standard",
    "/ssm/parameter-store/high-throughput-enabled": "false",
}
ROLE_SETTING = "/ssm/managed-instance/default-ec2-instance-management-role"
# The values that a setting takes, in their only casing (domain 3.1). What AWS answers to others is UNCONFIRMED.
SETTING_VALUES = {
    "/ssm/appmanager/appmanager-enabled": r"True|False",
    "/ssm/automation/customer-script-log-destination": r"CloudWatch",
    "/ssm/automation/customer-script-log-group-name": r"[.\-_/#A-Za-z0-9]{1,512}",
    "/ssm/automation/enable-adaptive-concurrency": r"True|False",
    "/ssm/documents/console/public-sharing-permission": r"Enable|Disable",
    "/ssm/managed-instance/activation-tier": r"standard|advanced",
    ROLE_SETTING: r"([\w+=,.@-]+/)*[\w+=,.@-]{1,64}",
    "/ssm/opsinsights/opscenter": r"Enabled|Disabled",
    "/ssm/parameter-store/default-parameter-tier": r"Standard|Advanced|Intelligent-Tiering",
    "/ssm/parameter-store/high-throughput-enabled": r"true|false",
}
SETTING_ARN = re.compile(r"arn:[\w-]+:ssm:[\w-]+:\d{12}:servicesetting(/.+)")
NODE_FILTERS = {
    "InstanceIds": "InstanceId",
    "PingStatus": "PingStatus",
    "PlatformTypes": "PlatformType",
    "PlatformType": "PlatformType",
    "AgentVersion": "AgentVersion",
    "IamRole": "IamRole",
    "ResourceType": "ResourceType",
}


def setting_id_in(given):
    """A setting's id, which may be given as an ARN."""
    by_arn = SETTING_ARN.fullmatch(given)
    return by_arn.group(1) if by_arn else given


def keep_setting(account, region, setting_id, value, modified_by, status=None):
    """Sets a setting as somebody's call does. AWS's own examples disagree about the status (domain 3)."""
    state.service_settings[account, region, setting_id] = {
        "SettingValue": value,
        "LastModifiedDate": datetime.now(timezone.utc),
        "LastModifiedUser": modified_by,
        "Status": status or state.settings_of(account).customized_status,
    }


class StandinSsm(Documents):
    def describe_instance_information(self):
        """Stopped and terminated nodes are not listed (domain 0); pages hold 10, at most 50."""
        size = self._get_int_param("MaxResults", 10)
        if not 5 <= size <= 50:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy "
                "constraint: Member must have value between 5 and 50",
            )
        place = (self.current_account, self.region)
        nodes = [n for n in state.ssm_instances.get(place, []) if not self._stopped(n["InstanceId"])]
        for wanted in self._get_param("Filters") or []:
            nodes = [n for n in nodes if self._matches(n, wanted["Key"], wanted["Values"])]
        for wanted in self._get_param("InstanceInformationFilterList") or []:
            nodes = [n for n in nodes if self._matches(n, wanted["key"], wanted["valueSet"])]
        page, token = page_of(nodes, size, self._get_param("NextToken"), "InvalidNextToken")
        return ActionResult({"InstanceInformationList": page, "NextToken": token})

    def _stopped(self, instance_id):
        from moto.ec2.models import ec2_backends

        backend = ec2_backends[self.current_account][self.region]
        return any(
            instance.id == instance_id and instance.state not in ("pending", "running")
            for reservation in backend.reservations.values()
            for instance in reservation.instances
        )

    def _matches(self, node, key, values):
        if key not in NODE_FILTERS:
            raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid.")
        return node.get(NODE_FILTERS[key], "EC2Instance") in values

    def get_service_setting(self):
        return ActionResult({"ServiceSetting": self._setting(self._setting_id())})

    def update_service_setting(self):
        setting_id, value = self._setting_id(), self._get_param("SettingValue") or ""
        if not re.fullmatch(SETTING_VALUES[setting_id], value, re.ASCII):
            raise AwsError("ValidationException", f"{value} is no value of the setting {setting_id}.")
        keep_setting(self.current_account, self.region, setting_id, value, current.get().caller_arn)
        return ActionResult({})

    def reset_service_setting(self):
        setting_id = self._setting_id()
        state.service_settings.pop((self.current_account, self.region, setting_id), None)
        return ActionResult({"ServiceSetting": self._setting(setting_id)})

    def _setting_id(self):
        given = self._get_param("SettingId")
        setting_id = setting_id_in(given)
        missing = state.settings.service_settings_missing.get(self.region, [])
        if setting_id not in SETTING_DEFAULTS or setting_id in missing:
            raise AwsError("ServiceSettingNotFound", f"Setting {given} is not found.")
        return setting_id

    def _setting(self, setting_id):
        stored = state.service_settings.get((self.current_account, self.region, setting_id))
        unset = {"SettingValue": SETTING_DEFAULTS[setting_id], "Status": "Default"}
        return {
            "SettingId": setting_id,
            "ARN": f"arn:{self.partition}:ssm:{self.region}:{self.current_account}"
            f":servicesetting{setting_id}",
            **(stored or unset),
        }
