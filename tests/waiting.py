"""Waiting for what must happen, with a limit that nobody reaches but a failure, however busy the machine is."""

import asyncio
from collections.abc import Callable
from typing import Any


async def eventually(condition: Callable[[], Any], what: str = "", patience_s: float = 20.0) -> None:
    """Return as soon as ``condition()`` holds."""
    try:
        async with asyncio.timeout(patience_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not happen within {patience_s} s: {what}") from None
