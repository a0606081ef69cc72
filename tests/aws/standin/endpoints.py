"""VPC endpoints with a life: pending, available, deleting, gone (domain 1.3 to 1.8).

moto's are available at once, keep no promise about private DNS, groups, tokens or quotas, and
cannot be changed in most of their fields. Only moto's VPCs, subnets, groups, network interfaces
and route tables are used here.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatchcase

from moto.core.responses import ActionResult
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.ec2.utils import random_id, random_private_ip

from .call import current
from .errors import AwsError
from .paging import page_of
from .services import no_such_service, offers
from .state import state

FULL_ACCESS = json.dumps(
    {
        "Version": "2008-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
    }
)
POLICY_LIMIT = 20480
# A deleting endpoint holds its DNS name until it is gone (domain 1.7).
HOLDS_DNS = {"pendingAcceptance", "pending", "available", "partial", "deleting"}
COUNTS = HOLDS_DNS | {"failed", "rejected", "expired"}
DNS_ATTRIBUTES = "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {}"


@dataclass
class Endpoint:
    """One endpoint. `due` is when it leaves its state; times are seconds of its account's clock."""

    backend: object
    offer: object
    vpc_id: str
    state: str = "pending"
    due: float | None = None
    visible_at: float = 0.0
    policy: str = FULL_ACCESS
    subnet_ids: list = field(default_factory=list)
    group_ids: list = field(default_factory=list)
    route_table_ids: list = field(default_factory=list)
    interfaces: dict = field(default_factory=dict)
    private_dns: bool = False
    ip_type: str = "ipv4"
    dns_options: dict = field(default_factory=dict)
    requester_managed: bool = False
    last_error: dict | None = None
    id: str = field(default_factory=lambda: random_id("vpce"))
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def is_gateway(self):
        return self.offer.kind == "Gateway"

    @property
    def settings(self):
        return state.settings_of(self.backend.account_id)

    @property
    def tags(self):
        return self.backend.tags.get(self.id, {})

    def settle(self, now):
        """Moves on through the states whose time is over."""
        while self.due is not None and now >= self.due:
            if self.state == "pending":
                outcome = self.settings.endpoint_outcomes.get(self.offer.short, self.settings.endpoint_outcome)
                self.state, self.due = outcome["state"], None
                self.last_error = outcome.get("last_error")
            elif self.state == "deleting":
                for subnet_id in list(self.interfaces):
                    self.detach(subnet_id)
                self.state = "deleted"
                self.due += self.settings.endpoint_deleted_seconds
            else:
                self.due = None
                self.backend.vpc_end_points.pop(self.id, None)
                self.backend.tags.pop(self.id, None)

    def start_deleting(self, now):
        """Routes go at once; network interfaces at the end."""
        for table_id in self.route_table_ids:
            self.drop_route(table_id)
        self.state = "deleting"
        self.due = now + self.settings.endpoint_deleting_seconds

    def attach(self, subnet):
        """One network interface for each subnet, with the endpoint's groups."""
        taken = {eni.private_ip_address for eni in self.backend.enis.values()}
        address = random_private_ip(subnet.cidr_block)
        while address in taken:
            address = random_private_ip(subnet.cidr_block)
        eni = self.backend.create_network_interface(
            subnet, address, group_ids=self.group_ids, description=f"VPC Endpoint Interface {self.id}"
        )
        eni.interface_type = "vpc_endpoint"
        eni.requester_managed = True
        eni.status = "in-use"
        self.interfaces[subnet.id] = eni.id

    def detach(self, subnet_id):
        self.backend.enis.pop(self.interfaces.pop(subnet_id), None)

    def regroup(self):
        groups = [self.backend.get_security_group_from_id(g) for g in self.group_ids]
        for eni_id in self.interfaces.values():
            self.backend.enis[eni_id]._group_set = list(groups)

    def prefix_list(self):
        lists = self.backend.managed_prefix_lists.values()
        return next(p.id for p in lists if p.prefix_list_name == self.offer.name)

    def add_route(self, table_id):
        self.backend.create_route(
            table_id, None, destination_prefix_list_id=self.prefix_list(), gateway_id=self.id
        )

    def drop_route(self, table_id):
        table = self.backend.route_tables.get(table_id)
        if table:
            table._routes.pop(f"{table_id}~{self.prefix_list()}", None)

    def view(self):
        """As DescribeVpcEndpoints shows it."""
        groups = [self.backend.get_security_group_from_id(g) for g in self.group_ids]
        view = {
            "VpcEndpointId": self.id,
            "VpcEndpointType": self.offer.kind,
            "VpcId": self.vpc_id,
            "ServiceName": self.offer.name,
            "State": cased(self.state, self.id),
            "PolicyDocument": self.policy,
            "RouteTableIds": self.route_table_ids,
            "SubnetIds": self.subnet_ids,
            "Groups": [{"GroupId": g.id, "GroupName": g.name} for g in groups if g],
            "IpAddressType": self.ip_type,
            "DnsOptions": self.dns_options,
            "PrivateDnsEnabled": self.private_dns,
            "RequesterManaged": self.requester_managed,
            "NetworkInterfaceIds": list(self.interfaces.values()),
            "DnsEntries": self._dns_entries(),
            "CreationTimestamp": self.created,
            "Tags": [{"Key": k, "Value": v} for k, v in self.tags.items()],
            "OwnerId": self.backend.account_id,
        }
        if self.last_error:
            view["LastError"] = {
                "Code": self.last_error.get("code"),
                "Message": self.last_error.get("message"),
            }
            view["FailureReason"] = self.last_error.get("message")
        return view

    def _dns_entries(self):
        if self.is_gateway:
            return []
        suffix = f"{self.offer.short}.{self.backend.region_name}.vpce.amazonaws.com"
        names = [f"{self.id}.{suffix}"]
        if self.private_dns:
            names.extend(self.offer.private_dns_names)
        return [{"DnsName": name, "HostedZoneId": "Z00000000STANDIN"} for name in names]


def cased(name, endpoint_id):
    """The wire has lower camel, the model Pascal (domain 1.7). `mixed`: half of them each."""
    casing = state.settings.state_casing
    if casing == "mixed":
        casing = "pascal" if hashlib.sha256(endpoint_id.encode()).digest()[0] % 2 else "lower"
    return name[0].upper() + name[1:] if casing == "pascal" else name


def settle_all(backend):
    """Brings every endpoint of an account and Region up to now. Called before each EC2 action."""
    now = state.now(backend.account_id)
    for endpoint in list(backend.vpc_end_points.values()):
        endpoint.settle(now)


def invalid(message):
    return AwsError("InvalidParameter", message)


def not_found(endpoint_id):
    return AwsError(
        "InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint Id '{endpoint_id}' does not exist"
    )


def checked_policy(text):
    """A policy is JSON of at most 20,480 characters, white space included (domain 1.6)."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or len(text) > POLICY_LIMIT:
        raise AwsError("InvalidPolicyDocument", "The policy document is invalid.")
    return text


class Endpoints(EC2BaseResponse):
    """The endpoint actions of EC2."""

    # Create

    def create_vpc_endpoint(self):
        backend = self.ec2_backend
        wanted = {k: v for k, v in self.params.items() if k not in ("ClientToken", "DryRun")}
        token = self._get_param("ClientToken")
        remembered = state.tokens.get((backend.account_id, backend.region_name, token)) if token else None
        if remembered:
            endpoint, params = remembered
            if params != wanted:
                raise AwsError(
                    "IdempotentParameterMismatch",
                    f"The client token {token} was already used with different parameters.",
                )
        else:
            endpoint = self._create()
            if token:
                state.tokens[backend.account_id, backend.region_name, token] = (endpoint, wanted)
        return ActionResult({"VpcEndpoint": endpoint.view(), "ClientToken": token})

    def _create(self):
        backend = self.ec2_backend
        vpc = backend.get_vpc(self._get_param("VpcId"))
        owner = state.vpc_owners.get(vpc.id, backend.account_id)
        if owner != backend.account_id:
            # A participant cannot create endpoints in a shared VPC (domain 1.5; the code is UNCONFIRMED).
            raise AwsError("OperationNotPermitted", f"The VPC {vpc.id} is owned by {owner}.")
        now = state.now(backend.account_id)
        endpoint = Endpoint(
            backend,
            self._offer(),
            vpc.id,
            due=now + state.settings.endpoint_pending_seconds,
            visible_at=now + state.settings.endpoint_visibility_delay_seconds,
        )
        if self._get_param("PolicyDocument"):
            endpoint.policy = checked_policy(self._get_param("PolicyDocument"))
        self._check_quota(endpoint)
        if endpoint.is_gateway:
            self._fill_gateway(endpoint)
        else:
            self._fill_interface(endpoint, vpc)
        backend.vpc_end_points[endpoint.id] = endpoint
        for table_id in endpoint.route_table_ids:
            endpoint.add_route(table_id)
        for subnet_id in endpoint.subnet_ids:
            endpoint.attach(backend.get_subnet(subnet_id))
        tags = self._parse_tag_specification("vpc-endpoint").get("vpc-endpoint", {})
        backend.create_tags([endpoint.id], tags)
        return endpoint

    def _offer(self):
        name = self._get_param("ServiceName")
        kind = self._get_param("VpcEndpointType", "Gateway")
        named = [offer for offer in offers(self.ec2_backend) if offer.name == name]
        if not named:
            raise no_such_service(name)
        for offer in named:
            if offer.kind == kind:
                return offer
        raise invalid(f"The VPC endpoint type {kind} is not supported by the service {name}.")

    def _check_quota(self, endpoint):
        """Interface endpoints are counted in a VPC, gateway endpoints in a Region (domain 1.6)."""
        others = [
            e
            for e in self.ec2_backend.vpc_end_points.values()
            if e.state in COUNTS
            and e.is_gateway == endpoint.is_gateway
            and (e.is_gateway or e.vpc_id == endpoint.vpc_id)
        ]
        quota = state.settings.endpoint_quota["gateway" if endpoint.is_gateway else "interface"]
        if len(others) >= quota:
            raise AwsError(
                "VpcEndpointLimitExceeded",
                f"The maximum number of {endpoint.offer.kind} VPC endpoints has been reached.",
            )

    def _fill_gateway(self, endpoint):
        endpoint.dns_options = self._dns_options(endpoint, "service-defined")
        endpoint.route_table_ids = list(dict.fromkeys(self._get_param("RouteTableIds", [])))
        for table_id in endpoint.route_table_ids:
            self._check_route_table(endpoint, table_id)

    def _fill_interface(self, endpoint, vpc):
        endpoint.ip_type = self._get_param("IpAddressType", "ipv4")
        endpoint.dns_options = self._dns_options(endpoint, endpoint.ip_type)
        endpoint.group_ids = self._get_param("SecurityGroupIds", [])
        if not endpoint.group_ids:
            endpoint.group_ids = [self.ec2_backend.get_default_security_group(vpc.id).id]
        self._check_groups(endpoint, endpoint.group_ids)
        endpoint.subnet_ids = list(dict.fromkeys(self._get_param("SubnetIds", [])))
        self._check_subnets(endpoint, endpoint.subnet_ids)
        # Left out, private DNS reportedly ends up on (domain 1.4).
        if self._get_param("PrivateDnsEnabled", True):
            self._check_private_dns(endpoint)
            endpoint.private_dns = True

    def _dns_options(self, endpoint, record_type):
        given = self._get_param("DnsOptions", {})
        inbound = given.get("PrivateDnsOnlyForInboundResolverEndpoint", False)
        if inbound and not any(
            e.is_gateway and e.vpc_id == endpoint.vpc_id and e.state in HOLDS_DNS
            for e in self.ec2_backend.vpc_end_points.values()
        ):
            raise invalid(
                "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC "
                f"{endpoint.vpc_id} must have a Gateway endpoint for the service."
            )
        options = {"DnsRecordIpType": given.get("DnsRecordIpType", record_type)}
        if not endpoint.is_gateway and endpoint.offer.short == "s3":
            options["PrivateDnsOnlyForInboundResolverEndpoint"] = inbound
        return options

    # Checks that creation and change share

    def _check_private_dns(self, endpoint):
        vpc = self.ec2_backend.get_vpc(endpoint.vpc_id)
        if not (flag(vpc.enable_dns_support) and flag(vpc.enable_dns_hostnames)):
            raise invalid(DNS_ATTRIBUTES.format(vpc.id))
        taken = set(state.hosted_zones.get(vpc.id, ()))
        for other in self.ec2_backend.vpc_end_points.values():
            if (
                other.id != endpoint.id
                and other.vpc_id == vpc.id
                and other.private_dns
                and other.state in HOLDS_DNS
            ):
                taken.update(other.offer.private_dns_names)
        for name in endpoint.offer.private_dns_names:
            if name in taken:
                raise invalid(
                    "private-dns-enabled cannot be set because there is already a conflicting "
                    f"DNS domain for {name} in the VPC {vpc.id}"
                )

    def _check_groups(self, endpoint, group_ids):
        for group_id in group_ids:
            group = self.ec2_backend.get_security_group_from_id(group_id)
            if group is None or group.vpc_id != endpoint.vpc_id:
                raise AwsError(
                    "InvalidGroup.NotFound", f"The security group '{group_id}' does not exist"
                )

    def _check_subnets(self, endpoint, added):
        """`added` are among the endpoint's subnets as they will be."""
        backend = self.ec2_backend
        subnets = [backend.get_subnet(subnet_id) for subnet_id in endpoint.subnet_ids]
        served = {name for name, _ in endpoint.offer.zones}
        zones = [subnet.availability_zone for subnet in subnets]
        for subnet in subnets:
            if subnet.vpc_id != endpoint.vpc_id:
                raise AwsError(
                    "InvalidSubnetId.NotFound",
                    f"The subnet {subnet.id} does not belong to the VPC {endpoint.vpc_id}",
                )
            if subnet.availability_zone not in served:
                raise invalid(
                    f"The VPC endpoint service {endpoint.offer.name} does not support "
                    f"the availability zone of the subnet: {subnet.id}."
                )
            if zones.count(subnet.availability_zone) > 1:
                raise AwsError(
                    "DuplicateSubnetsInSameZone",
                    f"Found another VPC endpoint subnet in the availability zone of {subnet.id}",
                )
            full = not subnet.ipv6_native and subnet.available_ip_address_count < 1
            if subnet.id in added and full:
                raise AwsError(
                    "InsufficientFreeAddressesInSubnet",
                    f"The subnet {subnet.id} has no free addresses.",
                )
        self._check_ip_type(endpoint, subnets)

    def _check_ip_type(self, endpoint, subnets):
        """Every subnet, and the service, must have each family (domain 1.3)."""
        needs = {"ipv4": {"ipv4"}, "ipv6": {"ipv6"}, "dualstack": {"ipv4", "ipv6"}}
        wanted = needs.get(endpoint.ip_type)
        if wanted is None or not wanted <= set(endpoint.offer.ip_types):
            raise invalid(f"The IP address type {endpoint.ip_type} is not supported by the service.")
        for subnet in subnets:
            has = {"ipv6"} if subnet.ipv6_cidr_block_associations else set()
            if not subnet.ipv6_native:
                has.add("ipv4")
            if not wanted <= has or (endpoint.ip_type == "ipv6" and not subnet.ipv6_native):
                raise invalid(
                    f"The subnet {subnet.id} does not support the IP address type {endpoint.ip_type}."
                )

    def _check_route_table(self, endpoint, table_id):
        table = self.ec2_backend.get_route_table(table_id)
        if table.vpc_id != endpoint.vpc_id:
            raise AwsError(
                "InvalidRouteTableID.NotFound", f"The routeTable ID '{table_id}' does not exist"
            )
        prefix_list = endpoint.prefix_list()
        if f"{table_id}~{prefix_list}" in table._routes:
            raise AwsError(
                "RouteAlreadyExists",
                f"route table {table_id} already has a route with destination-prefix-list-id {prefix_list}",
            )

    # Describe

    def describe_vpc_endpoints(self):
        found = self._visible()
        ids = self._get_param("VpcEndpointIds", [])
        for endpoint_id in ids:
            if endpoint_id not in found:
                raise not_found(endpoint_id)
        chosen = [found[i] for i in ids] if ids else list(found.values())
        for name, values in self._filters_from_querystring().items():
            chosen = [e for e in chosen if passes(e, name, values)]
        size = self._get_int_param("MaxResults", 1000)
        page, token = page_of(chosen, size, self._get_param("NextToken"), "InvalidNextToken")
        return ActionResult({"VpcEndpoints": [e.view() for e in page], "NextToken": token})

    def _visible(self):
        """EC2 is eventually consistent: a new endpoint may not be there yet (domain 1.7)."""
        now = state.now(self.ec2_backend.account_id)
        return {e.id: e for e in self.ec2_backend.vpc_end_points.values() if now >= e.visible_at}

    # Modify

    def modify_vpc_endpoint(self):
        endpoint_id = self._get_param("VpcEndpointId")
        endpoint = self._visible().get(endpoint_id)
        if endpoint is None or endpoint.state == "deleted":
            raise not_found(endpoint_id)
        if endpoint.requester_managed:
            raise AwsError(
                "OperationNotPermitted", f"The endpoint {endpoint_id} is managed by another service."
            )
        if endpoint.state != "available":
            raise AwsError(
                "IncorrectState", f"The endpoint {endpoint_id} is in the state {endpoint.state}."
            )
        policy = FULL_ACCESS if self._get_param("ResetPolicy") else endpoint.policy
        if self._get_param("PolicyDocument"):
            policy = checked_policy(self._get_param("PolicyDocument"))
        if endpoint.is_gateway:
            self._modify_routes(endpoint)
        else:
            self._modify_interface(endpoint)
        endpoint.policy = policy
        return ActionResult({"Return": True})

    def _modify_routes(self, endpoint):
        added = [t for t in self._get_param("AddRouteTableIds", []) if t not in endpoint.route_table_ids]
        removed = self._get_param("RemoveRouteTableIds", [])
        for table_id in added:
            self._check_route_table(endpoint, table_id)
        for table_id in removed:
            self.ec2_backend.get_route_table(table_id)
        for table_id in removed:
            if table_id in endpoint.route_table_ids:
                endpoint.drop_route(table_id)
                endpoint.route_table_ids.remove(table_id)
        for table_id in added:
            endpoint.add_route(table_id)
            endpoint.route_table_ids.append(table_id)

    def _modify_interface(self, endpoint):
        """Checks the endpoint as it would be, then changes it: a refused change changes nothing."""
        subnet_ids = changed(
            endpoint.subnet_ids, self._get_param("AddSubnetIds", []), self._get_param("RemoveSubnetIds", [])
        )
        group_ids = changed(
            endpoint.group_ids,
            self._get_param("AddSecurityGroupIds", []),
            self._get_param("RemoveSecurityGroupIds", []),
        )
        if not group_ids:
            raise invalid("An interface endpoint must have at least one security group.")
        ip_type = self._get_param("IpAddressType", endpoint.ip_type)
        private_dns = self._get_param("PrivateDnsEnabled", endpoint.private_dns)
        planned = Endpoint(
            endpoint.backend,
            endpoint.offer,
            endpoint.vpc_id,
            id=endpoint.id,
            subnet_ids=subnet_ids,
            group_ids=group_ids,
            ip_type=ip_type,
        )
        self._check_subnets(planned, set(subnet_ids) - set(endpoint.subnet_ids))
        self._check_groups(planned, group_ids)
        if private_dns and not endpoint.private_dns:
            self._check_private_dns(planned)
        if self._get_param("DnsOptions"):
            endpoint.dns_options = self._dns_options(planned, ip_type)
        endpoint.private_dns, endpoint.ip_type = private_dns, ip_type
        endpoint.group_ids = group_ids
        for subnet_id in set(endpoint.subnet_ids) - set(subnet_ids):
            endpoint.detach(subnet_id)
        for subnet_id in subnet_ids:
            if subnet_id not in endpoint.interfaces:
                endpoint.attach(self.ec2_backend.get_subnet(subnet_id))
        endpoint.subnet_ids = subnet_ids
        endpoint.regroup()

    # Delete, and tag

    def delete_vpc_endpoints(self):
        """200 is not success: what could not be deleted is in Unsuccessful (domain 1.8)."""
        now = state.now(self.ec2_backend.account_id)
        visible = self._visible()
        unsuccessful = []
        for endpoint_id in self._get_param("VpcEndpointIds", []):
            endpoint = visible.get(endpoint_id)
            refusal = self._delete_refusal(endpoint_id, endpoint)
            if refusal:
                code, message = refusal
                unsuccessful.append(
                    {"ResourceId": endpoint_id, "Error": {"Code": code, "Message": message}}
                )
            elif endpoint.state != "deleting":
                endpoint.start_deleting(now)
        return ActionResult({"Unsuccessful": unsuccessful})

    def _delete_refusal(self, endpoint_id, endpoint):
        if endpoint is None or endpoint.state == "deleted":
            return (
                "InvalidVpcEndpoint.NotFound",
                f"The Vpc Endpoint Id '{endpoint_id}' does not exist",
            )
        for fault in current.get().unsuccessful:
            return fault.code or "InternalError", fault.message
        if endpoint.requester_managed:
            return (
                "OperationNotPermitted",
                f"The endpoint {endpoint_id} is managed by another service.",
            )
        return None

    def create_tags(self):
        """moto tags endpoints that do not exist."""
        visible = self._visible()
        for resource_id in self._get_param("Resources", []):
            if resource_id.startswith("vpce-") and resource_id not in visible:
                raise not_found(resource_id)
        return super().create_tags()

    # What endpoints stand in; moto deletes it under them

    def delete_subnet(self):
        subnet_id = self._get_param("SubnetId")
        if any(eni.subnet.id == subnet_id for eni in self.ec2_backend.enis.values()):
            raise dependency(f"The subnet '{subnet_id}'")
        return super().delete_subnet()

    def delete_vpc(self):
        vpc_id = self._get_param("VpcId")
        endpoints = self.ec2_backend.vpc_end_points.values()
        if any(e.vpc_id == vpc_id and e.state != "deleted" for e in endpoints):
            raise dependency(f"The vpc '{vpc_id}'")
        return super().delete_vpc()


def dependency(what):
    return AwsError("DependencyViolation", f"{what} has dependencies and cannot be deleted.")


def changed(before, added, removed):
    return [i for i in dict.fromkeys([*before, *added]) if i not in removed]


def flag(value):
    """moto keeps a VPC attribute as a word or as a boolean."""
    return str(value).lower() == "true"


def passes(endpoint, name, values):
    """Whether an endpoint passes one filter: any of its values, `*` and `?` as wildcards."""
    fields = {
        "vpc-endpoint-id": endpoint.id,
        "vpc-id": endpoint.vpc_id,
        "service-name": endpoint.offer.name,
        "service-region": endpoint.backend.region_name,
        "vpc-endpoint-state": endpoint.state,
        "vpc-endpoint-type": endpoint.offer.kind,
        "ip-address-type": endpoint.ip_type,
    }
    if name == "tag-key":
        actual = list(endpoint.tags)
    elif name.startswith("tag:"):
        actual = [v for k, v in endpoint.tags.items() if k == name[4:]]
    elif name in fields:
        actual = [fields[name]]
    else:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    if name == "vpc-endpoint-state":
        values = [value[:1].lower() + value[1:] for value in values]
    return any(fnmatchcase(a, value) for a in actual for value in values)
