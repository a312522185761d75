"""Sound files and small documents fetched by http or https (aiohttp): limited in size and time, redirects judged.

The library is loaded when first something is to be fetched: 8 MB. Certificates are checked against those of the system.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from voiced import __version__
from voiced.errors import CommandError, MissingPartError
from voiced.places import Url, allowed_url, redirected, whole_url

if TYPE_CHECKING:
    import aiohttp

LARGEST = 20 * 2**20
"""Bytes of a sound file."""
LARGEST_DOCUMENT = 2**20
"""Bytes."""
PATIENCE_S = 20.0
"""For the whole of it."""
_CONNECT_S = 5.0
_REDIRECTS = 3
_AUDIO = ("audio/", "application/ogg", "application/octet-stream", "video/ogg", "binary/octet-stream")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be fetched."""

    accept: str
    fits: Callable[[str], bool]
    """Whether a content type is what is wanted."""
    what: str
    code: str
    """Of the error where it does not fit."""
    largest: int


async def download(place: str, allowed: tuple[str, ...], *, patience_s: float = PATIENCE_S) -> bytes:
    """Return what is at an address.

    Args:
        place: The address.
        allowed: Beginnings of addresses that may be fetched.
        patience_s: Seconds until all of it must be here.

    Raises:
        CommandError: If it may not be fetched, is not there, is no sound, or is too much.
        MissingPartError: If the library is not there.

    """
    sound = _Wanted("audio/*", lambda kind: kind.startswith(_AUDIO), "sound", "not_audio", LARGEST)
    return await _fetch(place, lambda url: allowed_url(url, allowed), sound, patience_s)


async def document(place: str, *, patience_s: float = PATIENCE_S) -> object:
    """Return the JSON document at an address, or where that host leads from there.

    Args:
        place: The address.
        patience_s: Seconds until all of it must be here.

    Raises:
        CommandError: If it is not there, is no JSON, or is too much.
        MissingPartError: If the library is not there.

    """
    asked = whole_url(place)
    wanted = _Wanted("application/json", lambda kind: "json" in kind, "JSON", "invalid", LARGEST_DOCUMENT)
    content = await _fetch(place, lambda url: redirected(url, asked), wanted, patience_s)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise CommandError(f"what is at {place} is no JSON: {exc}") from exc


async def _fetch(place: str, judge: Callable[[str], Url], wanted: _Wanted, patience_s: float) -> bytes:
    try:
        await asyncio.to_thread(import_module, "aiohttp")  # takes 0.2 s on a PC
        import aiohttp  # noqa: PLC0415 - see above
        from yarl import URL  # noqa: PLC0415 - part of aiohttp
    except ImportError as exc:
        raise MissingPartError(f"aiohttp cannot be loaded ({exc}); install voiced anew") from exc
    url = judge(place)
    patience = aiohttp.ClientTimeout(total=patience_s, connect=_CONNECT_S)
    headers = {"User-Agent": f"voiced/{__version__}", "Accept": wanted.accept, "Accept-Encoding": "identity"}
    try:
        async with aiohttp.ClientSession(
            timeout=patience, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            for _ in range(1 + _REDIRECTS):
                async with session.get(URL(str(url), encoded=True), allow_redirects=False) as answer:
                    if answer.status not in {301, 302, 303, 307, 308}:
                        return await _content(answer, url, wanted)
                    url = judge(urljoin(str(url), answer.headers.get("Location", "")))
    except TimeoutError as exc:
        raise CommandError(f"{url} was not here within {patience_s:g} s", code="unavailable") from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise CommandError(f"{url} cannot be fetched: {exc}", code="unavailable") from exc
    raise CommandError(f"{place} redirects more than {_REDIRECTS} times", code="refused")


async def _content(answer: "aiohttp.ClientResponse", url: Url, wanted: _Wanted) -> bytes:
    if answer.status in {404, 410}:
        raise CommandError(f"there is nothing at {url} (HTTP {answer.status})", code="not_found")
    if answer.status in {401, 403}:
        raise CommandError(f"{url} is not for us (HTTP {answer.status})", code="refused")
    if answer.status != 200:
        raise CommandError(f"{url} cannot be fetched: HTTP {answer.status}", code="unavailable")
    if not wanted.fits(answer.content_type):
        raise CommandError(f"{url} is {answer.content_type[:80]}, not {wanted.what}", code=wanted.code)
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > wanted.largest:
            raise CommandError(f"{url} has more than {wanted.largest // 2**20} MB", code="too_long")
    return bytes(content)
