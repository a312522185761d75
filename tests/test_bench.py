"""The benches run, and give the keys that scripts rely on; what they measure is never judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = {
    "sessions": {"rollovers", "samples_lost", "turns_lost", "kills", "answered", "reported", "dropped"},
    "outbox": {"turns", "arrived", "lost", "doubles", "kills"},
    "start": {"cpu_s", "wall_s", "rss_mb", "rss_breakdown_mb", "reference", "ratio_cpu"},
}


@pytest.mark.timeout(160)  # several processes and conversations at a time
@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_bench_gives_its_keys(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", name, "--quick", "--json"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() >= KEYS[name]
