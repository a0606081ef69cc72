"""EC2 as a whole: what holds for every action, security groups, and small repairs of moto."""

from moto.core.responses import ActionResult
from moto.ec2 import utils
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupRule
from moto.ec2.models import subnets as subnet_models
from moto.ec2.models import vpcs as vpc_models
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPC
from moto.ec2.responses import EC2Response
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.iam.models import iam_backends
from moto.utilities.utils import get_partition

from .endpoints import Endpoints, settle_all
from .errors import AwsError
from .metadata import MetadataDefaults
from .paging import page_of
from .services import EndpointServices
from .state import state

# The list in the answer, and the largest MaxResults (domain 7). The smallest is 5.
PAGES = {
    "DescribeVpcs": ("Vpcs", 1000),
    "DescribeSubnets": ("Subnets", 1000),
    "DescribeRouteTables": ("RouteTables", 100),
    "DescribeSecurityGroups": ("SecurityGroups", 1000),
    "DescribeSecurityGroupRules": ("SecurityGroupRules", 1000),
    "DescribeNetworkAcls": ("NetworkAcls", 1000),
    "DescribeNetworkInterfaces": ("NetworkInterfaces", 1000),
    "DescribeDhcpOptions": ("DhcpOptions", 1000),
}
FILTER_VALUES = 200
GROUP_PARAMS = ("GroupId", "GroupIds", "SecurityGroupIds", "AddSecurityGroupIds")


def _given_or(prefix, random_id):
    """The next id of a kind that the setting `next_ids` gives, so that written examples can be applied as they are."""

    def next_id():
        given = next((i for i in state.settings.next_ids if i.startswith(prefix)), None)
        if given:
            state.settings.next_ids.remove(given)
        return given or random_id()

    return next_id


vpc_models.random_vpc_id = _given_or("vpc-", vpc_models.random_vpc_id)
subnet_models.random_subnet_id = _given_or("subnet-", subnet_models.random_subnet_id)


class Groups(EC2BaseResponse):
    """Security groups that are visible only after a while, and in use."""

    def create_security_group(self):
        answer = super().create_security_group()
        delay = state.settings.group_visibility_delay_seconds
        state.group_visible_at[answer.result["GroupId"]] = state.now(self.ec2_backend.account_id) + delay
        return answer

    def describe_security_groups(self):
        answer = super().describe_security_groups()
        groups = answer.result["SecurityGroups"]
        return ActionResult({"SecurityGroups": [g for g in groups if not self._unseen(g.id)]})

    def delete_security_group(self):
        """moto deletes groups that network interfaces or rules of other groups still name."""
        group_id = self._get_param("GroupId")
        used = any(
            group_id == group.id for eni in self.ec2_backend.enis.values() for group in eni.group_set
        )
        if used or self._named_by_a_rule(group_id):
            raise AwsError("DependencyViolation", f"resource {group_id} has a dependent object")
        return super().delete_security_group()

    def _named_by_a_rule(self, group_id):
        return any(
            rule.source_group.get("GroupId") == group_id
            for groups in self.ec2_backend.groups.values()
            for group in groups.values()
            if group.id != group_id
            for rule in (*group.ingress_rules, *group.egress_rules)
        )

    def authorize_security_group_ingress(self):
        return self._all_or_nothing("ingress_rules", super().authorize_security_group_ingress)

    def authorize_security_group_egress(self):
        return self._all_or_nothing("egress_rules", super().authorize_security_group_egress)

    def revoke_security_group_ingress(self):
        return self._all_or_nothing("ingress_rules", super().revoke_security_group_ingress)

    def revoke_security_group_egress(self):
        return self._all_or_nothing("egress_rules", super().revoke_security_group_egress)

    def _all_or_nothing(self, rules, change):
        """moto keeps the first rules of a refused call, and answers only the last ones made."""
        group = self.ec2_backend.get_security_group_from_id(self._get_param("GroupId"))
        before = list(getattr(group, rules, ()))
        try:
            answer = change()
        except Exception:
            if group:
                setattr(group, rules, before)
            raise
        if "SecurityGroupRules" in answer.result:
            known = {rule.id for rule in before}
            added = [rule for rule in getattr(group, rules) if rule.id not in known]
            answer.result["SecurityGroupRules"] = added
        return answer

    def _unseen(self, group_id):
        return state.now(self.ec2_backend.account_id) < state.group_visible_at.get(group_id, 0)

    def check_groups_seen(self):
        """A new group may not be found yet by another call (domain 1.7)."""
        for name in GROUP_PARAMS:
            given = self._get_param(name, [])
            for group_id in given if isinstance(given, list) else [given]:
                if self._unseen(group_id):
                    raise AwsError(
                        "InvalidGroup.NotFound", f"The security group '{group_id}' does not exist"
                    )


class Profiles(EC2BaseResponse):
    """One profile for an instance, whatever gave it to it; and one that EC2 has heard of."""

    def associate_iam_instance_profile(self):
        instance_id = self._get_param("InstanceId")
        instance = self.ec2_backend.get_instance(instance_id)
        arn = self._get_param("IamInstanceProfile.Arn")
        if profile_of(self.current_account, self.region, arn) is None:
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({arn}) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN",
            )
        if instance.iam_instance_profile:
            raise AwsError("IncorrectState", f"There is an existing association for instance {instance_id}")
        return super().associate_iam_instance_profile()


def profile_of(account, region, arn):
    """The profile of an ARN, once it can be seen."""
    profiles = iam_backends[account][get_partition(region)].instance_profiles.values()
    found = next((profile for profile in profiles if profile.arn == arn), None)
    if found is None:
        return None
    now = state.now(account)
    return None if now < state.iam_visible_at.get((account, "profile", found.name), now) else found


class StandinEc2(Endpoints, EndpointServices, Groups, MetadataDefaults, Profiles, EC2Response):
    """The whole of EC2, over moto's."""

    def call_action(self):
        self._check_filters()
        settle_all(self.ec2_backend)
        self.check_groups_seen()
        return super().call_action()

    def _check_filters(self):
        """At most 200 values in a filter (domain 7)."""
        for name, values in self._filters_from_querystring().items():
            if len(values) > FILTER_VALUES:
                raise AwsError("FilterLimitExceeded", f"The filter {name} has too many values.")

    def modify_vpc_attribute(self):
        """One attribute a call (domain 1.4); moto takes several."""
        given = [name for name in self.params if name.startswith("Enable")]
        if len(given) > 1:
            raise AwsError(
                "InvalidParameterCombination", "Fields for multiple attribute types specified."
            )
        return super().modify_vpc_attribute()

    def describe_regions(self):
        """moto lists the Regions that are not enabled as well, and those of other partitions."""
        regions = super().describe_regions().result["Regions"]
        regions = [r for r in regions if get_partition(r.name) == get_partition(self.region)]
        if not self._get_bool_param("AllRegions"):
            disabled = {r for a, r in state.settings.disabled_regions if a == self.ec2_backend.account_id}
            regions = [r for r in regions if r.name not in disabled and r.opt_in_status != "not-opted-in"]
        return ActionResult({"Regions": regions})

    def describe_instances(self):
        """moto pages reservations, but takes any MaxResults and crashes on an unknown token."""
        size = self._max_results(1000)
        if size and self._get_param("InstanceIds"):
            raise AwsError(
                "InvalidParameterCombination",
                "The parameter instancesSet cannot be used with the parameter maxResults",
            )
        token = self.params.pop("NextToken", None)
        self.params["MaxResults"] = len(self.ec2_backend.reservations) + 1
        found = super().describe_instances().result["Reservations"]
        page, token = page_of(found, size or 1000, token, "InvalidNextToken")
        return ActionResult({"Reservations": page, "NextToken": token})

    def serialized(self, action_result):
        """moto answers most lists whole, whatever MaxResults says."""
        action = self._get_action()
        if action in PAGES and isinstance(action_result.result, dict):
            key, largest = PAGES[action]
            page, token = page_of(
                list(action_result.result[key]),
                self._max_results(largest) or 1000,
                self._get_param("NextToken"),
                "InvalidNextToken",
            )
            action_result = ActionResult({key: page, "NextToken": token})
        return super().serialized(action_result)

    def _max_results(self, largest):
        size = self._get_int_param("MaxResults")
        if size is not None and not 5 <= size <= largest:
            raise AwsError(
                "InvalidParameterValue",
                f"Value ( {size} ) for parameter maxResults is invalid. "
                f"Expecting a value between 5 and {largest}.",
            )
        return size


def repair_moto():
    """Changes inside moto that no subclass of its API reaches."""
    # moto shows every VPC and subnet as owned by the account that lists it: no shared VPCs.
    VPC.owner_id = property(lambda self: state.vpc_owners.get(self.id, self.ec2_backend.account_id))
    Subnet.owner_id = property(
        lambda self: state.vpc_owners.get(self.vpc_id, self.ec2_backend.account_id)
    )
    # moto looks through the tags of every resource for the tags of one: slow with many VPCs.
    TaggedEC2Resource.get_tags = _own_tags
    # moto asks for all of a filter's values, or only for values of the filter; AWS for any.
    utils.is_filter_matching = _any_value_matches
    # moto knows no interface-type or requester-managed filter for network interfaces.
    original = NetworkInterface.get_filter_value

    def get_filter_value(self, name, method_name=None):
        known = {"interface-type", "requester-managed", "status"}
        return getattr(self, name.replace("-", "_")) if name in known else original(self, name, method_name)

    NetworkInterface.get_filter_value = get_filter_value
    # moto writes the state of a subnet's IPv6 block as a dictionary in words.
    Subnet.ipv6_cidr_block_association_set = property(_ipv6_blocks)
    # moto counts the IPv6 addresses of a subnet that has no others; AWS counts IPv4 alone.
    counted = Subnet.available_ip_address_count.fget
    Subnet.available_ip_address_count = property(lambda self: 0 if self.ipv6_native else counted(self))
    # moto forgets the description of a rule for a prefix list, and tells rules for one group apart
    # by their descriptions, which AWS does not.
    SecurityGroupRule.__init__ = _rule_with_prefix_list_description
    SecurityGroupRule.__eq__ = _same_rule
    SecurityGroup._flattened_rules = _with_prefix_list_descriptions


def _ipv6_blocks(subnet):
    return [
        {
            "ipv6CidrBlock": association["ipv6CidrBlock"],
            "associationId": association["associationId"],
            "ipv6CidrBlockState": association["ipv6CidrBlockState"],
        }
        for association in subnet.ipv6_cidr_block_associations.values()
        if association["ipv6CidrBlockState"]["State"] == "associated"
    ]


_moto_rule_init = SecurityGroupRule.__init__
_moto_same_rule = SecurityGroupRule.__eq__
_moto_flattened_rules = SecurityGroup._flattened_rules


def _rule_with_prefix_list_description(rule, *args, **kwargs):
    _moto_rule_init(rule, *args, **kwargs)
    prefix_list = kwargs.get("prefix_list_id", args[7] if len(args) > 7 else None)
    rule.prefix_list_description = (prefix_list or {}).get("Description")


def _same_rule(rule, other):
    described = rule.source_group, other.source_group
    bare = [{k: v for k, v in group.items() if k != "Description"} for group in described]
    rule.source_group, other.source_group = bare
    try:
        return _moto_same_rule(rule, other)
    finally:
        rule.source_group, other.source_group = described


def _with_prefix_list_descriptions(group, rules):
    views = _moto_flattened_rules(group, rules)
    for view in views:
        view.prefix_list_ids = [
            {"PrefixListId": rule.prefix_list_id, "Description": rule.prefix_list_description}
            for rule in rules
            if rule.prefix_list_id
            and (rule.ip_protocol, rule.from_port, rule.to_port)
            == (view.ip_protocol, view.from_port, view.to_port)
        ]
    return views


def _own_tags(resource):
    prefix = utils.get_prefix(resource.id)
    return [
        {
            "resource_id": resource.id,
            "key": key,
            "value": value,
            "resource_type": utils.EC2_PREFIX_TO_RESOURCE.get(prefix, ""),
        }
        for key, value in resource.ec2_backend.tags.get(resource.id, {}).items()
    ]


_moto_matching = utils.is_filter_matching


def _any_value_matches(resource, name, values):
    """`values` is a list from a call, or one word where moto asks itself."""
    if not isinstance(values, (list, tuple, set)):
        return _moto_matching(resource, name, values)
    return any(_moto_matching(resource, name, [value]) for value in values)
