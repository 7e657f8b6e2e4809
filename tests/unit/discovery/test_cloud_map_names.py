"""Names of Cloud Map for the name server."""

from portside.cloud.machine.resolver import Address
from portside.cloud.services.discovery.names import CloudMapNames
from portside.testing.calls import ScriptedCalls


async def test_names_are_read_once_and_again_after_a_change() -> None:
    calls = ScriptedCalls()
    entries = [{"Id": "1", "Attributes": {"AWS_INSTANCE_IPV4": "172.17.0.2", "AWS_INSTANCE_PORT": "80"}}]
    reads = []

    def namespaces(params):
        reads.append(params)
        spaces = [{"Id": "ns-1", "Name": "Internal.test", "Type": "DNS_PRIVATE"}]
        return {"Namespaces": [*spaces, {"Id": "ns-2", "Name": "api", "Type": "HTTP"}]}

    calls.answers |= {
        ("servicediscovery", "ListNamespaces"): namespaces,
        ("servicediscovery", "ListServices"): lambda _: {"Services": [{"Id": "srv-1", "Name": "web"}]},
        ("servicediscovery", "ListInstances"): lambda _: {"Instances": entries},
    }
    names = CloudMapNames(calls, "000000000000", "us-east-1")
    assert await names.lookup("web.internal.test") == [Address("172.17.0.2", 80)]
    assert await names.lookup("ip-172-17-0-2.web.internal.test") == [Address("172.17.0.2", 80)]
    assert await names.lookup("other.internal.test") == []
    assert await names.lookup("web.api") is None  # an HTTP namespace has no names
    assert await names.lookup("example.com") is None
    assert len(reads) == 1
    entries.clear()
    names.forget("us-east-1")
    assert await names.lookup("web.internal.test") == []
    assert len(reads) == 2
