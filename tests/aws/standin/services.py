"""What each Region offers as endpoint services."""

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase

from moto.core.responses import ActionResult
from moto.ec2.responses._base_response import EC2BaseResponse

from .errors import AwsError
from .paging import page_of
from .state import state

INTERFACE_SERVICES = (
    "ec2", "ec2messages", "kms", "logs", "monitoring", "s3", "ssm", "ssmmessages", "sts",
)  # fmt: skip

# The prefix varies by service, not only by partition (domain 1.2): these alone have another one.
# The Gateway form of S3 keeps the usual prefix everywhere.
OTHER_PREFIXES = (
    ("cn-", "cn.com.amazonaws", {"ec2", "s3", "sts", "monitoring"}),
    ("us-iso-", "gov.ic.c2s", {"ec2"}),
    ("us-isob-", "gov.sgov.sc2s", {"ec2"}),
)
# The domain of the agent's hostnames (domain 1.2).
DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-de-", "amazonaws.eu"),
)


def domain_of(region):
    return next((d for prefix, d in DOMAINS if region.startswith(prefix)), "amazonaws.com")


@dataclass(frozen=True)
class Offer:
    """One service in one Region: S3 has two under one name, a Gateway and an Interface."""

    name: str
    short: str
    kind: str
    zones: tuple
    private_dns_names: tuple
    ip_types: tuple = ("ipv4", "ipv6")

    def detail(self):
        """As a ServiceDetail. Zones are (name, id) pairs."""
        digest = hashlib.sha256(f"{self.name} {self.kind}".encode()).hexdigest()
        detail = {
            "ServiceName": self.name,
            "ServiceId": f"vpce-svc-{digest[:17]}",
            "ServiceType": [{"ServiceType": self.kind}],
            "AvailabilityZones": [name for name, _ in self.zones],
            "AvailabilityZoneIds": [zone_id for _, zone_id in self.zones],
            "Owner": "amazon",
            "BaseEndpointDnsNames": [f"{self.name.split('.', 2)[2]}.vpce.amazonaws.com"],
            "VpcEndpointPolicySupported": True,
            "AcceptanceRequired": False,
            "ManagesVpcEndpoints": False,
            "SupportedIpAddressTypes": list(self.ip_types),
            "Tags": [],
        }
        if self.private_dns_names:
            detail["PrivateDnsName"] = self.private_dns_names[0]
            detail["PrivateDnsNames"] = [{"PrivateDnsName": n} for n in self.private_dns_names]
            detail["PrivateDnsNameVerificationState"] = "verified"
        return detail


def offers(backend):
    """The offers in the Region of a moto EC2 backend, by name."""
    region = backend.region_name
    zones = tuple((z.name, z.zone_id) for z in backend.describe_availability_zones())
    missing = state.settings.services_missing.get(region, ())
    found = []
    for short in INTERFACE_SERVICES:
        if short in missing:
            continue
        prefix = next(
            (p for start, p, names in OTHER_PREFIXES if region.startswith(start) and short in names),
            "com.amazonaws",
        )
        wanted = state.settings.service_zones.get(f"{region}/{short}")
        served = tuple(z for z in zones if wanted is None or z[0] in wanted)
        host = f"{short}.{region}.{domain_of(region)}"
        found.append(Offer(f"{prefix}.{region}.{short}", short, "Interface", served, (host,)))
    if "s3" not in missing:
        found.append(Offer(f"com.amazonaws.{region}.s3", "s3", "Gateway", zones, ()))
    return sorted(found, key=lambda offer: (offer.name, offer.kind))


class EndpointServices(EC2BaseResponse):
    """moto's list has no Regions without ec2messages, no `owner` filter, and only `com.amazonaws`."""

    def describe_vpc_endpoint_services(self):
        found = offers(self.ec2_backend)
        names = self._get_param("ServiceNames", [])
        for name in names:
            if all(offer.name != name for offer in found):
                raise no_such_service(name)
        if names:
            found = [offer for offer in found if offer.name in names]
        for wanted, values in self._filters_from_querystring().items():
            found = [offer for offer in found if self._passes(offer, wanted, values)]
        size = self._get_int_param("MaxResults", 1000)
        page, token = page_of(found, size, self._get_param("NextToken"), "InvalidNextToken")
        return ActionResult(
            {
                "ServiceNames": list(dict.fromkeys(offer.name for offer in page)),
                "ServiceDetails": [offer.detail() for offer in page],
                "NextToken": token,
            }
        )

    def _passes(self, offer, wanted, values):
        fields = {
            "service-name": offer.name,
            "service-type": offer.kind,
            "owner": "amazon",
            "service-region": self.region,
        }
        if wanted not in fields:
            raise AwsError("InvalidFilter", f"The filter '{wanted}' is invalid.")
        return any(fnmatchcase(fields[wanted], value) for value in values)


def no_such_service(name):
    return AwsError("InvalidServiceName", f"The Vpc Endpoint Service '{name}' does not exist")
