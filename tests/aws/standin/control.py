"""The control API under /_standin/, in JSON."""

import json
from urllib.parse import parse_qs

from . import endpoints, identity, metadata, ssm
from .state import state


class NotHere(Exception):
    """No such resource."""


def answer(app, request):
    """Status, headers and body for a control request."""
    try:
        status, document = _route(app, request)
    except NotHere as error:
        status, document = 404, {"error": str(error)}
    except (ValueError, TypeError, KeyError) as error:
        status, document = 400, {"error": f"{type(error).__name__}: {error}"}
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _route(app, request):
    parts = request.path.strip("/").split("/")[1:]
    body = json.loads(request.body or b"{}")
    match request.method, parts:
        case "GET", ["health"]:
            return 200, {"status": "ok", "plain": app.plain}
        case "GET", ["calls"]:
            since = int(parse_qs(request.query).get("since", ["0"])[0])
            return 200, app.recorder.since(since)
        case "DELETE", ["calls"]:
            app.recorder.clear()
        case "GET", ["counts"]:
            return 200, app.recorder.counts()
        case "POST", ["reset"]:
            app.reset()
        case _ if app.plain:
            raise NotHere("not with --plain")
        case "GET", ["faults"]:
            return 200, app.faults.as_list()
        case "POST", ["faults"]:
            return 201, {"id": app.faults.add(body)}
        case "DELETE", ["faults"]:
            app.faults.clear()
        case "DELETE", ["faults", fault_id]:
            app.faults.remove(int(fault_id))
        case "GET", ["settings"]:
            return 200, state.common_settings.as_dict()
        case "POST", ["settings"]:
            state.common_settings.merge(body)
            return 200, state.common_settings.as_dict()
        case "POST", ["accounts", account, "settings"]:
            state.own(account).merge(body)
            return 200, state.own(account).as_dict()
        case "POST", ["accounts", account, "skip"]:
            with state.lock:
                state.skipped_seconds[account] += float(body["seconds"])
        case "GET", ["sessions"]:
            return 200, identity.sessions()
        case "POST", ["sessions", "expire"]:
            return 200, {"expired": identity.expire_sessions(body.get("account"), body.get("role"))}
        case "POST", ["ssm-instances"]:
            state.ssm_instances[body["account"], body["region"]] = body["instances"]
        case "POST", ["service-settings"]:
            with state.lock:
                _force_setting(body)
        case "POST", ["metadata-defaults"]:
            with state.lock:
                _declare_metadata(body)
        case "POST", ["endpoints", endpoint_id]:
            with state.lock:
                _force_endpoint(endpoint_id, body)
        case "POST", ["vpcs", vpc_id]:
            with state.lock:
                _force_vpc(vpc_id, body)
        case "POST", ["subnets", subnet_id]:
            with state.lock:
                _force_subnet(subnet_id, body)
        case _:
            raise NotHere(f"{request.method} {request.path}")
    return 200, {}


def _backend(body):
    from moto.ec2.models import ec2_backends

    return ec2_backends[body["account"]][body["region"]]


def _existing(resources, resource_id):
    if resource_id not in resources:
        raise NotHere(resource_id)
    return resources[resource_id]


def _force_setting(body):
    """Sets a service setting as somebody else would; without a value only its status and last modifier are changed."""
    account, region, setting_id = body["account"], body["region"], body["id"]
    if setting_id not in ssm.SETTING_DEFAULTS:
        raise NotHere(setting_id)
    kept = state.service_settings.get((account, region, setting_id), {})
    ssm.keep_setting(
        account,
        region,
        setting_id,
        body.get("value", kept.get("SettingValue", ssm.SETTING_DEFAULTS[setting_id])),
        body.get("modified_by", kept.get("LastModifiedUser", f"arn:aws:iam::{account}:user/somebody")),
        body.get("status", kept.get("Status")),
    )


def _declare_metadata(body):
    """Sets metadata defaults by a declarative policy of the organisation, or takes the policy away."""
    place = body["account"], body["region"]
    if not body.get("declared", True):
        state.metadata_declared.pop(place, None)
        return
    unknown = set(body.get("values", {})) - set(metadata.FIELDS)
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    state.metadata_declared[place] = {
        "values": body.get("values", {}),
        "exception_message": body.get("exception_message"),
    }


def _force_endpoint(endpoint_id, body):
    """Puts an endpoint into a state for good, or changes who manages it."""
    backend = _backend(body)
    endpoints.settle_all(backend)
    endpoint = _existing(backend.vpc_end_points, endpoint_id)
    if "state" in body:
        endpoint.state, endpoint.due = body["state"], None
    endpoint.last_error = body.get("last_error", endpoint.last_error)
    endpoint.requester_managed = body.get("requester_managed", endpoint.requester_managed)


def _force_vpc(vpc_id, body):
    """Says who owns a VPC, and which private hosted zones are associated with it."""
    _existing(_backend(body).vpcs, vpc_id)
    if "owner_id" in body:
        state.vpc_owners[vpc_id] = body["owner_id"]
    if "hosted_zones" in body:
        state.hosted_zones[vpc_id] = set(body["hosted_zones"])


def _force_subnet(subnet_id, body):
    """Sets how many addresses are free now; further network interfaces take from it."""
    subnet = _backend(body).get_subnet(subnet_id)
    taken = subnet._available_ip_addresses - subnet.available_ip_address_count
    subnet._available_ip_addresses = body["available_ip_address_count"] + taken
