"""What all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings
from workspaces import Templates

# A promotion asks both versions every sampled query. Tests promote all day, with models that tell
# nothing about quality: few queries and samples are enough, too few for the latency gate to have a
# say. Tests of the gates choose for themselves.
os.environ.setdefault("LOCKSTEP_GATES__QUERIES", "10")
os.environ.setdefault("LOCKSTEP_GATES__IDENTITY_SAMPLES", "64")
# Two untrained models differ in what they find; now and then a gate is sure of it.
os.environ.setdefault("LOCKSTEP_GATES__KNOWN_ITEM_MARGIN", "1")

# Compiling even a tiny model takes a second. Tests of compiled queries ask for it.
os.environ.setdefault("LOCKSTEP_QUERY_ENCODER", "torch")

# A busy machine is no bug: no example has a deadline.
settings.register_profile("lockstep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockstep")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A Ray takes the longest to set up, and workers steal from each other's end: it comes first.

    Else each worker that gets one of its tests sets one up.
    """
    items.sort(key=lambda item: "test_ray_engine" not in item.nodeid)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Built workspaces, for tests to start from copies of."""
    return Templates(tmp_path_factory.mktemp("templates"))
