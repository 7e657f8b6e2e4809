"""No request is lost to a rollout; a container that is killed under load costs at most gateway errors and half answers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker_fixtures import connection
from worlds.rollouts import Site, load, until
from worlds.steady import CONNECTIONS, CUT_OFF

pytestmark = pytest.mark.docker

RATE = 500
KILLS = 2
ROLLOUTS = 5
# What a client sees of a killed container: the load balancer's word for it, or, where the answer had begun, its half.
KILLED = {"502", "503", "504", CUT_OFF}


@pytest.fixture
def site(host: str, busybox: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, busybox, "127.0.0.67")
    try:
        made.begin()
        yield made
    finally:
        made.end()


def test_rollouts_under_load_lose_no_request_and_a_killed_container_is_replaced(site: Site, host: str) -> None:
    with load(site, RATE) as asked:
        for _ in range(ROLLOUTS):
            site.rollout()
    assert asked.failed == {}
    assert asked.seen["sent"] > 100 * ROLLOUTS

    choose = random.Random(1)
    with load(site, RATE) as asked:
        for _ in range(KILLS):
            victim = choose.choice(site.tasks())
            with connection(host) as engine:
                engine.request("POST", f"/containers/{victim['containers'][0]['runtimeId']}/kill")
                assert engine.getresponse().status == 204
            until(lambda gone=victim["taskArn"]: gone not in {each["taskArn"] for each in site.tasks()})
            until(lambda: site.steady() and site.healthy() == 2)
        time.sleep(1)
    assert set(asked.failed) <= KILLED
    assert asked.failed.get(CUT_OFF, 0) <= KILLS * CONNECTIONS, "only what was being answered at that moment"
    assert sum(asked.failed.values()) < KILLS * RATE, "each for less than a second"
