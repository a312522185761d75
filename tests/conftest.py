"""Fixtures of more than one file of tests."""

import gc
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from voiced.edge.mosquitto import Mosquitto

# A busy machine is no fault of ours: nothing here is right or wrong for the time it takes. And the fixtures that all
# examples of a test share hold nothing of the one before.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("untimed")


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a thread of paho or an open socket behind."""
    yield
    gc.collect()  # an unclosed socket warns here, and warnings are errors
    assert [thread.name for thread in threading.enumerate() if "paho" in thread.name] == []


@pytest_asyncio.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with Mosquitto(tmp_path) as running:
        yield running
