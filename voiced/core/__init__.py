"""Decisions: pure functions over values. No I/O, clock, thread, event loop or logging."""
