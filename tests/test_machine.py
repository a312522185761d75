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


LARGE = """
import sys
from voiced.edge.machine import keep_little_memory, load_meter

if sys.argv[1] == "kept":
    keep_little_memory()
load = load_meter()
kept = []
before = load().rss_mb
for _ in range(8):
    message = b"x" * 10_000_000
    kept += [bytes(2_000) for _ in range(10)]  # small ones that stay, behind it
    del message
print(load().rss_mb - before)
"""


def grown_mb(how: str) -> float:
    done = subprocess.run([sys.executable, "-c", LARGE, how], check=True, timeout=60, capture_output=True, text=True)
    return float(done.stdout)


def test_large_blocks_leave_nothing_behind() -> None:
    assert grown_mb("kept") < 2
    assert grown_mb("as usual") > 8  # else there is nothing to do any more
