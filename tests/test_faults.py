"""A few faults of the lab with every run; ``python -m tests.bench faults`` goes through all of them."""

import tempfile
from pathlib import Path

import pytest

from tests.bench.faults import AREAS
from tests.lab.faults import FAULTS
from tests.lab.lab import a_lab
from tests.soundbed import require_pulseaudio

CHOSEN = (
    "broker_killed",
    "microphone_unplugged_and_plugged_at_once",
    "ledger_corrupt",
    "microphone_replaced_by_a_sounding_monitor",
)


@pytest.mark.timeout(120)
async def test_after_a_fault_it_waits_for_its_name_and_the_next_wake_is_answered() -> None:
    """In one house, one after the other; what was lost was told."""
    require_pulseaudio()
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        async with a_lab(Path(name)) as lab:
            for one in [fault for fault in FAULTS if fault.name in CHOSEN]:
                outcome = await lab.suffer(one.name, one.area, one.act)
                assert outcome.recovered, f"{one.name}: {outcome.trouble}\n{lab.log()}"
                assert outcome.unreported == 0, one.name
            await lab.healthy()
            assert "last wake: hey_jarvis at 20" in lab.keeper.status
            assert lab.keeper.listens() == []


def test_the_lab_knows_forty_faults_and_more_each_by_its_own_name() -> None:
    assert len(AREAS) == 6
    names = [one.name for one in FAULTS]
    assert len(names) == len(set(names)) >= 40
    assert set(CHOSEN) <= set(names)
