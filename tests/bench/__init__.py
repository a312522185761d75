"""Measurements, each against a named reference in the same run: ``python -m tests.bench NAME [--json] [--quick]``.

Absolute figures belong to the machine they were taken on; ratios are what to compare.
"""
