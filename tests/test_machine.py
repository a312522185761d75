"""What the process costs the machine."""

import subprocess
import sys

STORY = """
from voiced.edge.machine import give_back, load_meter

load = load_meter()
before = load().rss_mb
pieces = [bytes(2_000) for _ in range(40_000)]
full = load().rss_mb
kept = pieces[-1]  # at the end of the heap: what is free below it stays with the process by itself
del pieces
give_back()
after = load().rss_mb
assert full > before + 60, (before, full)
assert after < before + 20, (before, after)
assert len(kept) == 2_000
"""


def test_memory_that_nobody_needs_is_given_back() -> None:
    # In a process of its own: this one has had more memory already than the story asks for.
    subprocess.run([sys.executable, "-c", STORY], check=True, timeout=60)
