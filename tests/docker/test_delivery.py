"""From commit to production, with constant load on both environments: the steps of the demo, as a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "examples"))

from delivery import Story


@pytest.mark.docker
def test_a_commit_is_built_once_runs_in_staging_waits_for_a_person_and_runs_in_production(host, tmp_path):
    story = Story(tmp_path, "127.0.0.62")
    try:
        story.tell()
    finally:
        story.clean()
