"""The instance types of a region are those that moto knows, though they are read later."""

import subprocess
import sys

COMPARE = """
import json
from moto.utilities.utils import load_resource
from portside.cloud.moto_server import offerings
offerings.install()
from moto.ec2.models import instance_types
table = instance_types.INSTANCE_TYPE_OFFERINGS
assert sorted(table) == ["availability-zone", "availability-zone-id", "region"], sorted(table)
assert all(isinstance(rows, offerings.Offerings) for regions in table.values() for rows in regions.values())
for kind in table:
    own = load_resource(f"ec2/resources/instance_type_offerings/{kind}/eu-west-1.json")
    assert list(table[kind]["eu-west-1"]) == [row | {"LocationType": kind} for row in own]
    assert len(own) > 300
from moto.ec2.models import ec2_backends
found = ec2_backends["000000000000"]["eu-west-1"].describe_instance_type_offerings(
    "availability-zone", {"instance-type": ["t3.micro"]}
)
print(json.dumps(sorted(row["Location"] for row in found)))
"""


def test_a_region_offers_what_moto_says_and_no_region_is_kept_in_memory():
    # In a process of its own, for here moto may be loaded already.
    done = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '["eu-west-1a", "eu-west-1b", "eu-west-1c"]'
