"""What the process costs the machine."""

from voiced.edge.machine import give_back, load_meter


def test_memory_that_nobody_needs_is_given_back() -> None:
    load = load_meter()
    before = load().rss_mb
    pieces = [bytes(2_000) for _ in range(40_000)]
    full = load().rss_mb
    kept = pieces[-1]  # at the end of the heap: what is free below it stays with the process by itself
    del pieces
    give_back()
    after = load().rss_mb
    assert full > before + 60
    assert after < before + 20
    assert len(kept) == 2_000
