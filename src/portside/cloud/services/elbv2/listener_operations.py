"""The part of the ELBv2 API that is about listeners and rules.

Validates, writes, and answers once the proxy has taken it up (`proxy_loop.py`). Whether a port can be had is asked
before anything is written, so that a listener that cannot listen is never half-made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.elbv2 import attributes, records
from portside.cloud.services.elbv2.answers import (
    described_listener,
    described_rule,
    given_tags,
    group_of,
    listener_of,
    load_balancer_of,
    page,
    rule_of,
)
from portside.cloud.services.elbv2.certificate_operations import CertificateOperations
from portside.cloud.services.elbv2.proxy_loop import ProxyLoop
from portside.cloud.services.elbv2.records import Listener, Rule
from portside.cloud.services.elbv2.rules import PROTOCOLS, actions, check_redirects, conditions, groups_of, invalid
from portside.cloud.services.elbv2.target_loop import TargetLoop

MOST_LISTENERS = 50
MOST_RULES = 100


class ListenerOperations(CertificateOperations):
    """A part of `ElbApi`."""

    _database: Database
    _ids: Ids
    _target_loop: TargetLoop
    _proxy_loop: ProxyLoop

    # Listeners

    @operation("CreateListener")
    async def create_listener(self, caller: Caller, params: Params) -> Params:
        balancer = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        if params.get("Protocol") is None or params.get("Port") is None:
            raise AwsError("ValidationError", "A listener needs a protocol and a port")
        protocol, port = str(params["Protocol"]), int(params["Port"])
        _check_protocol(protocol)
        wanted = actions(params["DefaultActions"])
        check_redirects(wanted, protocol, port)
        self._check_groups(caller, balancer.arn, wanted)
        security = await self._security(caller, params, protocol)
        present = next((li for li in records.listeners(self._database, balancer.arn) if li.port == port), None)
        if present is not None:
            same = (present.protocol, present.certificate, present.ssl_policy)
            if self._default(present).actions == wanted and same == (
                protocol,
                security.certificate,
                security.policy,
            ):
                await self._listens(present)
                return {"Listeners": [described_listener(self._database, present)]}
            raise AwsError("DuplicateListener", "A listener already exists on this port for this load balancer")
        if len(records.listeners(self._database, balancer.arn)) >= MOST_LISTENERS:
            raise AwsError("TooManyListeners", f"A load balancer can have {MOST_LISTENERS} listeners at most")
        await self._check_port(balancer.arn, port)
        arn = balancer.arn.replace(":loadbalancer/", ":listener/", 1) + f"/{self._ids.hex(16)}"
        record = Listener(
            arn, balancer.arn, port, protocol, certificate=security.certificate, ssl_policy=security.policy
        )
        tags = given_tags(params)
        with self._database.write() as tx:
            if any(li.port == port for li in records.listeners(tx, balancer.arn)):
                raise AwsError(
                    "DuplicateListener", "A listener already exists on this port for this load balancer"
                )
            records.store_listener(tx, record)
            records.store_rule(tx, Rule(self._rule_arn(arn), arn, None, (), wanted))
            records.store_tags(tx, arn, tags)
            self._moved(tx, groups_of(wanted))
        await self._listens(record)
        return {"Listeners": [described_listener(self._database, record)]}

    @operation("DescribeListeners")
    def describe_listeners(self, caller: Caller, params: Params) -> Params:
        if params.get("ListenerArns"):
            found = [listener_of(self._database, arn) for arn in params["ListenerArns"]]
        elif params.get("LoadBalancerArn"):
            balancer = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
            found = records.listeners(self._database, balancer.arn)
        else:
            raise AwsError("ValidationError", "You must specify either listener ARNs or a load balancer ARN")
        shown, marker = page([described_listener(self._database, each) for each in found], params)
        return {"Listeners": shown, "NextMarker": marker}

    @operation("ModifyListener")
    async def modify_listener(self, caller: Caller, params: Params) -> Params:
        present = listener_of(self._database, params["ListenerArn"])
        protocol = str(params.get("Protocol") or present.protocol)
        _check_protocol(protocol)
        default = self._default(present)
        wanted = default.actions
        if params.get("DefaultActions"):
            wanted = actions(params["DefaultActions"])
            self._check_groups(caller, present.load_balancer, wanted)
        port = int(params.get("Port") or present.port)
        for rule in records.rules(self._database, present.arn):
            check_redirects(wanted if rule.priority is None else rule.actions, protocol, port)
        security = await self._security(caller, params, protocol, present)
        if port != present.port:
            others = records.listeners(self._database, present.load_balancer)
            if any(li.port == port for li in others):
                raise AwsError(
                    "DuplicateListener", "A listener already exists on this port for this load balancer"
                )
            await self._check_port(present.load_balancer, port)
        with self._database.write() as tx:
            record = replace(
                listener_of(tx, present.arn),
                port=port,
                protocol=protocol,
                certificate=security.certificate,
                ssl_policy=security.policy,
            )
            # What a listener had as an HTTPS one goes with the protocol.
            if protocol == "HTTP":
                record = replace(record, certificates=())
            records.store_listener(tx, record)
            records.store_rule(tx, replace(default, actions=wanted))
            self._moved(tx, [*groups_of(default.actions), *groups_of(wanted)])
        await self._listens(record)
        return {"Listeners": [described_listener(self._database, record)]}

    @operation("DeleteListener")
    async def delete_listener(self, caller: Caller, params: Params) -> Params:
        present = listener_of(self._database, params["ListenerArn"])
        used = [arn for rule in records.rules(self._database, present.arn) for arn in groups_of(rule.actions)]
        with self._database.write() as tx:
            records.delete(tx, present.arn)
            self._moved(tx, used)
        await self._proxy_loop.taken_up()
        return {}

    @operation("DescribeListenerAttributes")
    def describe_listener_attributes(self, caller: Caller, params: Params) -> Params:
        record = listener_of(self._database, params["ListenerArn"])
        return {"Attributes": attributes.listed(attributes.LISTENER, record.attributes)}

    @operation("ModifyListenerAttributes")
    async def modify_listener_attributes(self, caller: Caller, params: Params) -> Params:
        present = listener_of(self._database, params["ListenerArn"])
        wanted = attributes.changed(attributes.LISTENER, present.attributes, params["Attributes"], "Listener")
        with self._database.write() as tx:
            records.store_listener(tx, replace(present, attributes=wanted))
            tx.after_commit(self._proxy_loop.wake)
        await self._proxy_loop.taken_up()
        return {"Attributes": attributes.listed(attributes.LISTENER, wanted)}

    # Rules

    @operation("CreateRule")
    async def create_rule(self, caller: Caller, params: Params) -> Params:
        listener = listener_of(self._database, params["ListenerArn"])
        _check_transforms(params)
        wanted, when = actions(params["Actions"]), conditions(params["Conditions"])
        check_redirects(wanted, listener.protocol, listener.port)
        self._check_groups(caller, listener.load_balancer, wanted)
        priority = _priority(params["Priority"])
        record = Rule(self._rule_arn(listener.arn), listener.arn, priority, when, wanted)
        tags = given_tags(params)
        with self._database.write() as tx:
            others = records.rules(tx, listener.arn)
            if any(rule.priority == priority for rule in others):
                raise AwsError("PriorityInUse", f"Priority '{priority}' is currently in use")
            every = [
                rule for li in records.listeners(tx, listener.load_balancer) for rule in records.rules(tx, li.arn)
            ]
            if sum(rule.priority is not None for rule in every) >= MOST_RULES:
                raise AwsError("TooManyRules", f"A load balancer can have {MOST_RULES} rules at most")
            records.store_rule(tx, record)
            records.store_tags(tx, record.arn, tags)
            self._moved(tx, groups_of(wanted))
        await self._proxy_loop.taken_up()
        return {"Rules": [described_rule(record)]}

    @operation("DescribeRules")
    def describe_rules(self, caller: Caller, params: Params) -> Params:
        if params.get("RuleArns"):
            found = [rule_of(self._database, arn) for arn in params["RuleArns"]]
        elif params.get("ListenerArn"):
            found = records.rules(self._database, listener_of(self._database, params["ListenerArn"]).arn)
        else:
            raise AwsError("ValidationError", "You must specify either listener rule ARNs or a listener ARN")
        shown, marker = page([described_rule(rule) for rule in found], params)
        return {"Rules": shown, "NextMarker": marker}

    @operation("ModifyRule")
    async def modify_rule(self, caller: Caller, params: Params) -> Params:
        present = rule_of(self._database, params["RuleArn"])
        if present.priority is None:
            raise AwsError("OperationNotPermitted", "Default rule '" + present.arn + "' cannot be modified")
        _check_transforms(params)
        record = present
        if params.get("Actions"):
            record = replace(record, actions=actions(params["Actions"]))
            listener = listener_of(self._database, present.listener)
            check_redirects(record.actions, listener.protocol, listener.port)
            self._check_groups(caller, listener.load_balancer, record.actions)
        if params.get("Conditions"):
            record = replace(record, conditions=conditions(params["Conditions"]))
        with self._database.write() as tx:
            records.store_rule(tx, record)
            self._moved(tx, [*groups_of(present.actions), *groups_of(record.actions)])
        await self._proxy_loop.taken_up()
        return {"Rules": [described_rule(record)]}

    @operation("DeleteRule")
    async def delete_rule(self, caller: Caller, params: Params) -> Params:
        present = rule_of(self._database, params["RuleArn"])
        if present.priority is None:
            raise AwsError("OperationNotPermitted", f"Default rule '{present.arn}' cannot be deleted")
        with self._database.write() as tx:
            records.delete(tx, present.arn)
            self._moved(tx, groups_of(present.actions))
        await self._proxy_loop.taken_up()
        return {}

    @operation("SetRulePriorities")
    async def set_rule_priorities(self, caller: Caller, params: Params) -> Params:
        wanted: dict[str, int] = {}
        for pair in params["RulePriorities"]:
            rule = rule_of(self._database, pair["RuleArn"])
            if rule.priority is None:
                raise AwsError("OperationNotPermitted", f"Default rule '{rule.arn}' has no priority to set")
            wanted[rule.arn] = _priority(pair["Priority"])
        with self._database.write() as tx:
            moved = [replace(rule_of(tx, arn), priority=priority) for arn, priority in wanted.items()]
            for listener in {rule.listener for rule in moved}:
                taken: set[int] = set()
                for rule in records.rules(tx, listener):
                    priority = wanted.get(rule.arn, rule.priority)
                    if priority is None:
                        continue
                    if priority in taken:
                        raise AwsError("PriorityInUse", f"Priority '{priority}' is currently in use")
                    taken.add(priority)
            for rule in moved:
                records.store_rule(tx, rule)
            tx.after_commit(self._proxy_loop.wake)
        await self._proxy_loop.taken_up()
        return {"Rules": [described_rule(rule) for rule in moved]}

    # What several operations share

    def _default(self, listener: Listener) -> Rule:
        return next(rule for rule in records.rules(self._database, listener.arn) if rule.priority is None)

    def _rule_arn(self, listener: str) -> str:
        return listener.replace(":listener/", ":listener-rule/", 1) + f"/{self._ids.hex(16)}"

    def _check_groups(self, caller: Caller, balancer: str, wanted: Iterable[Params]) -> None:
        for arn in groups_of(wanted):
            group = group_of(self._database, caller, arn)
            if any(other != balancer for other in records.load_balancers_of(self._database, arn)):
                raise AwsError(
                    "TargetGroupAssociationLimit",
                    f"The following target groups cannot be associated with more than one"
                    f" load balancer: {group.arn}",
                )

    async def _check_port(self, balancer: str, port: int) -> None:
        obstacle = await self._proxy_loop.obstacle(balancer, port)
        if obstacle is not None:
            raise invalid(f"The load balancer cannot listen on port {port} of this machine: {obstacle}")

    async def _listens(self, listener: Listener) -> None:
        """Raise 503 unless it does; a later call of the same finds it as it is then."""
        await self._proxy_loop.taken_up()
        silence = self._proxy_loop.silence(listener.load_balancer, listener.port)
        if silence is not None:
            raise AwsError(
                "ServiceUnavailable",
                f"The load balancer does not listen on port {listener.port} of this machine yet: {silence}",
                status=503,
            )

    def _moved(self, tx: Transaction, groups: Iterable[str]) -> None:
        """The rules changed: the proxy follows, and so do the health checks of the groups concerned."""
        tx.after_commit(self._proxy_loop.wake)
        for arn in dict.fromkeys(groups):
            tx.after_commit(lambda arn=arn: self._target_loop.wake_group(arn))  # type: ignore[misc]


def _check_protocol(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise AwsError(
            "ValidationError", f"Listener protocol '{protocol}' must be one of '{', '.join(PROTOCOLS)}'"
        )


def _check_transforms(params: Params) -> None:
    if params.get("Transforms"):
        raise invalid("portside's load balancers do not rewrite requests: a rule can have no transforms")


def _priority(value: object) -> int:
    priority = int(str(value))
    if not 1 <= priority <= 50000:
        raise AwsError("ValidationError", f"Priority '{priority}' must be between 1 and 50000")
    return priority
