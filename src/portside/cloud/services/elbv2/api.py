"""The ELBv2 API: Application Load Balancers, their attributes and tags.

Validates, writes and answers. Target groups are in `group_operations.py`, listeners and rules in
`listener_operations.py`, what concerns TLS in `certificate_operations.py`, reserved capacity in
`capacity_operations.py`; all are parts of `ElbApi`. Network and gateway load balancers, Lambda targets and
authentication are refused.
"""

from __future__ import annotations

import re
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, Service, operation, operations_of
from portside.cloud.services.elbv2 import access_logs, attributes, capacity_operations, records
from portside.cloud.services.elbv2.access_logs import Grants, Place
from portside.cloud.services.elbv2.answers import (
    described_load_balancer,
    given_tags,
    group_of,
    load_balancer_of,
    page,
)
from portside.cloud.services.elbv2.capacity_operations import CapacityOperations
from portside.cloud.services.elbv2.certificate_operations import MOST_CERTIFICATES, Certificates
from portside.cloud.services.elbv2.group_operations import NAME, GroupOperations
from portside.cloud.services.elbv2.listener_operations import ListenerOperations
from portside.cloud.services.elbv2.proxy_loop import ProxyLoop
from portside.cloud.services.elbv2.records import LoadBalancer
from portside.cloud.services.elbv2.routing import Resolve
from portside.cloud.services.elbv2.rules import invalid
from portside.cloud.services.elbv2.target_loop import TargetLoop

DELETION_PROTECTION = "deletion_protection.enabled"
LIMITS = {
    "application-load-balancers": 50,
    "certificates-per-application-load-balancer": MOST_CERTIFICATES,
    "listeners-per-application-load-balancer": 50,
    "rules-per-application-load-balancer": 100,
    "target-groups": 3000,
    "target-groups-per-action-on-application-load-balancer": 5,
    "target-groups-per-application-load-balancer": 100,
    "target-id-registrations-per-application-load-balancer": 1000,
    "targets-per-application-load-balancer": 1000,
    "condition-values-per-alb-rule": 5,
    "condition-wildcards-per-alb-rule": 5,
}


class ElbApi(GroupOperations, ListenerOperations, CapacityOperations):
    """Answers the operations of ELBv2."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        resolve: Resolve,
        target_loop: TargetLoop,
        proxy_loop: ProxyLoop,
        certificates: Certificates,
        grants: Grants,
        log: Log,
    ) -> None:
        database.migrate("elbv2", records.MIGRATIONS)
        capacity_operations.migrate(database)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._resolve = resolve
        self._target_loop = target_loop
        self._proxy_loop = proxy_loop
        self._certificates = certificates
        self._grants = grants
        self._log = log.bind(service="elbv2")

    def service(self) -> Service:
        return Service("elbv2", operations_of(self))

    # Load balancers

    def _described(self, record: LoadBalancer, state: str = "active") -> Params:
        return described_load_balancer(record, state, self._proxy_loop.address_of(record.arn))

    @operation("CreateLoadBalancer")
    async def create_load_balancer(self, caller: Caller, params: Params) -> Params:
        name, kind = str(params["Name"]), params.get("Type") or "application"
        if not NAME.fullmatch(name) or name.startswith("internal-"):
            raise AwsError(
                "ValidationError",
                f"The load balancer name '{name}' must have 1 to 32 letters, digits and hyphens, must not begin"
                " or end with a hyphen and must not begin with 'internal-'",
            )
        if kind != "application":
            raise AwsError("InvalidConfigurationRequest", f"portside has no load balancers of type '{kind}'")
        vpc, zones = await self._zones(caller, params)
        groups = params.get("SecurityGroups") or await self._default_group(caller, vpc)
        scheme = params.get("Scheme") or "internet-facing"
        prefix = "internal-" if scheme == "internal" else ""
        arn = f"arn:aws:elasticloadbalancing:{caller.region}:{caller.account}:loadbalancer/app/{name}"
        record = LoadBalancer(
            arn=f"{arn}/{self._ids.hex(16)}",
            region=caller.region,
            name=name,
            created_at=self._clock.now(),
            dns_name=f"{prefix}{name}-{self._ids.digits(10)}.{caller.region}.elb.localhost",
            scheme=scheme,
            ip_address_type=params.get("IpAddressType") or "ipv4",
            vpc=vpc,
            zones=zones,
            security_groups=tuple(groups),
        )
        tags = given_tags(params)
        with self._database.write() as tx:
            for present in records.load_balancers(tx, caller.region):
                if present.name != name:
                    continue
                own = {"arn": present.arn, "created_at": present.created_at, "dns_name": present.dns_name}
                if replace(record, **own) == replace(present, attributes=()):  # type: ignore[arg-type]
                    return {"LoadBalancers": [self._described(present)]}
                raise AwsError(
                    "DuplicateLoadBalancerName",
                    f"A load balancer with the same name '{name}' exists, but with different settings",
                )
            if len(records.load_balancers(tx, caller.region)) >= LIMITS["application-load-balancers"]:
                raise AwsError("TooManyLoadBalancers", "The limit of load balancers has been reached")
            records.store_load_balancer(tx, record)
            records.store_tags(tx, record.arn, tags)
        self._log.info("load balancer created", name=name, address=record.dns_name)
        return {"LoadBalancers": [self._described(record, "provisioning")]}

    @operation("DescribeLoadBalancers")
    def describe_load_balancers(self, caller: Caller, params: Params) -> Params:
        if params.get("LoadBalancerArns"):
            found = [load_balancer_of(self._database, caller, arn) for arn in params["LoadBalancerArns"]]
        else:
            found = records.load_balancers(self._database, caller.region)
            if params.get("Names"):
                missing = [name for name in params["Names"] if name not in {lb.name for lb in found}]
                if missing:
                    raise AwsError("LoadBalancerNotFound", f"Load balancers '[{', '.join(missing)}]' not found")
                found = [balancer for balancer in found if balancer.name in params["Names"]]
        shown, marker = page([self._described(balancer) for balancer in found], params)
        return {"LoadBalancers": shown, "NextMarker": marker}

    @operation("DeleteLoadBalancer")
    async def delete_load_balancer(self, caller: Caller, params: Params) -> Params:
        record = records.load_balancer(self._database, params["LoadBalancerArn"])
        if record is None:
            return {}
        if attributes.value(attributes.LOAD_BALANCER, record.attributes, DELETION_PROTECTION) == "true":
            raise AwsError(
                "OperationNotPermitted",
                f"Load balancer '{record.arn}' cannot be deleted because deletion protection is enabled",
            )
        used = records.groups_of_load_balancer(self._database, record.arn)
        with self._database.write() as tx:
            records.delete(tx, record.arn)
            self._moved(tx, used)
        await self._proxy_loop.taken_up()
        self._log.info("load balancer deleted", name=record.name)
        return {}

    @operation("DescribeLoadBalancerAttributes")
    def describe_load_balancer_attributes(self, caller: Caller, params: Params) -> Params:
        record = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        return {"Attributes": attributes.listed(attributes.LOAD_BALANCER, record.attributes)}

    @operation("ModifyLoadBalancerAttributes")
    async def modify_load_balancer_attributes(self, caller: Caller, params: Params) -> Params:
        record = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        wanted = attributes.changed(
            attributes.LOAD_BALANCER, record.attributes, params["Attributes"], "Load balancer"
        )
        where = access_logs.place(replace(record, attributes=wanted))
        if where is not None and where != access_logs.place(record):
            await self._try_logs(caller, record, where)
        with self._database.write() as tx:
            present = load_balancer_of(tx, caller, record.arn)
            wanted = attributes.changed(
                attributes.LOAD_BALANCER, present.attributes, params["Attributes"], "Load balancer"
            )
            records.store_load_balancer(tx, replace(present, attributes=wanted))
            tx.after_commit(self._proxy_loop.wake)
        await self._proxy_loop.taken_up()
        return {"Attributes": attributes.listed(attributes.LOAD_BALANCER, wanted)}

    async def _try_logs(self, caller: Caller, record: LoadBalancer, where: Place) -> None:
        """The bucket must be there, let load balancers write, and take a first object."""
        if not where.bucket:
            raise invalid(
                "The value of 'access_logs.s3.bucket' must be specified when 'access_logs.s3.enabled' is 'true'"
            )
        key = where.key(caller.account, access_logs.TEST_FILE)
        own = Caller.root(caller.account, caller.region)
        context = {
            "aws:sourceaccount": (caller.account,),
            "aws:sourcearn": (record.arn,),
            "s3:x-amz-acl": ("bucket-owner-full-control",),
        }
        refused = invalid(f"Access Denied for bucket: {where.bucket}. Please check S3bucket permission")
        try:
            policy = (await self._calls("s3", "GetBucketPolicy", {"Bucket": where.bucket}, own))["Policy"]
            resource = f"arn:aws:s3:::{where.bucket}/{key}"
            if not self._grants(policy, access_logs.writers(record.region), "s3:PutObject", resource, context):
                raise refused
            body = f"Enable AccessLog for ELB: {record.name}\n".encode()
            await self._calls("s3", "PutObject", {"Bucket": where.bucket, "Key": key, "Body": body}, own)
        except AwsError as error:
            if error.status >= 500:
                raise
            raise refused from None

    @operation("SetSecurityGroups")
    def set_security_groups(self, caller: Caller, params: Params) -> Params:
        record = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        groups = tuple(str(each) for each in params["SecurityGroups"])
        with self._database.write() as tx:
            records.store_load_balancer(tx, replace(record, security_groups=groups))
        return {"SecurityGroupIds": list(groups)}

    @operation("SetSubnets")
    async def set_subnets(self, caller: Caller, params: Params) -> Params:
        record = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        _, zones = await self._zones(caller, params)
        kind = params.get("IpAddressType") or record.ip_address_type
        changed = replace(record, zones=zones, ip_address_type=kind)
        with self._database.write() as tx:
            records.store_load_balancer(tx, changed)
        shown = described_load_balancer(changed)
        return {"AvailabilityZones": shown["AvailabilityZones"], "IpAddressType": kind}

    @operation("SetIpAddressType")
    def set_ip_address_type(self, caller: Caller, params: Params) -> Params:
        record = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        with self._database.write() as tx:
            records.store_load_balancer(tx, replace(record, ip_address_type=params["IpAddressType"]))
        return {"IpAddressType": params["IpAddressType"]}

    # Tags and limits

    @operation("AddTags")
    def add_tags(self, caller: Caller, params: Params) -> Params:
        tags = given_tags(params)
        with self._database.write() as tx:
            for arn in params["ResourceArns"]:
                self._check_exists(caller, arn)
                records.store_tags(tx, arn, tags)
        return {}

    @operation("RemoveTags")
    def remove_tags(self, caller: Caller, params: Params) -> Params:
        with self._database.write() as tx:
            for arn in params["ResourceArns"]:
                self._check_exists(caller, arn)
                records.delete_tags(tx, arn, params["TagKeys"])
        return {}

    @operation("DescribeTags")
    def describe_tags(self, caller: Caller, params: Params) -> Params:
        shown = []
        for arn in params["ResourceArns"]:
            self._check_exists(caller, arn)
            tags = records.tags(self._database, arn)
            shown.append({"ResourceArn": arn, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]})
        return {"TagDescriptions": shown}

    @operation("DescribeAccountLimits")
    def describe_account_limits(self, caller: Caller, params: Params) -> Params:
        limits: list[Params] = [{"Name": name, "Max": str(most)} for name, most in LIMITS.items()]
        shown, marker = page(limits, params)
        return {"Limits": shown, "NextMarker": marker}

    def _check_exists(self, caller: Caller, arn: str) -> None:
        if ":loadbalancer/" in arn:
            load_balancer_of(self._database, caller, arn)
        elif ":targetgroup/" in arn:
            group_of(self._database, caller, arn)
        elif ":listener/" in arn and records.listener(self._database, arn) is None:
            raise AwsError("ListenerNotFound", f"Listener '{arn}' not found")
        elif ":listener-rule/" in arn and records.rule(self._database, arn) is None:
            raise AwsError("RuleNotFound", f"Rule '{arn}' not found")
        elif not re.match(r"arn:aws:elasticloadbalancing:[^:]+:[^:]+:(listener|listener-rule)/", arn):
            raise AwsError("ValidationError", f"'{arn}' is not a valid ARN")

    # What EC2 knows

    async def _zones(self, caller: Caller, params: Params) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The VPC, and zone and subnet for each of the subnets asked for."""
        wanted = list(params.get("Subnets") or [])
        wanted += [str(mapping["SubnetId"]) for mapping in params.get("SubnetMappings") or []]
        if not wanted:
            raise AwsError(
                "ValidationError", "At least two subnets in two different Availability Zones must be specified"
            )
        try:
            answer = await self._calls("ec2", "DescribeSubnets", {"SubnetIds": wanted}, caller)
        except AwsError as error:
            if error.code != "InvalidSubnetID.NotFound":
                raise
            raise AwsError("SubnetNotFound", error.message) from None
        found = {str(subnet["SubnetId"]): subnet for subnet in answer.get("Subnets", [])}
        missing = [subnet for subnet in wanted if subnet not in found]
        if missing:
            raise AwsError("SubnetNotFound", f"The subnet ID '{missing[0]}' does not exist")
        zones = tuple((str(found[subnet]["AvailabilityZone"]), subnet) for subnet in dict.fromkeys(wanted))
        names = [zone for zone, _ in zones]
        if len(set(names)) < 2:
            raise AwsError(
                "ValidationError", "At least two subnets in two different Availability Zones must be specified"
            )
        if len(set(names)) < len(names):
            raise AwsError(
                "InvalidConfigurationRequest",
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            )
        vpcs = {str(found[subnet]["VpcId"]) for _, subnet in zones}
        if len(vpcs) > 1:
            raise AwsError("InvalidConfigurationRequest", "All subnets must belong to the same VPC")
        return vpcs.pop(), zones

    async def _default_group(self, caller: Caller, vpc: str) -> list[str]:
        filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
        answer = await self._calls("ec2", "DescribeSecurityGroups", {"Filters": filters}, caller)
        return [str(group["GroupId"]) for group in answer.get("SecurityGroups", [])][:1]
