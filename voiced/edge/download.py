"""A sound file fetched by http or https (aiohttp): limited in size and time, redirects judged like the first address.

The library is loaded when first something is to be fetched: 8 MB. Certificates are checked against those of the system.
"""

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from voiced import __version__
from voiced.errors import CommandError, MissingPartError
from voiced.places import Url, allowed_url

if TYPE_CHECKING:
    import aiohttp

LARGEST = 20 * 2**20
"""Bytes of a sound file."""
PATIENCE_S = 20.0
"""For the whole of it."""
_CONNECT_S = 5.0
_REDIRECTS = 3
_AUDIO = ("audio/", "application/ogg", "application/octet-stream", "video/ogg", "binary/octet-stream")


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
    try:
        import aiohttp  # noqa: PLC0415 - see above
        from yarl import URL  # noqa: PLC0415 - part of aiohttp
    except ImportError as exc:
        raise MissingPartError(f"aiohttp cannot be loaded ({exc}); install voiced anew") from exc
    url = allowed_url(place, allowed)
    patience = aiohttp.ClientTimeout(total=patience_s, connect=_CONNECT_S)
    headers = {"User-Agent": f"voiced/{__version__}", "Accept": "audio/*", "Accept-Encoding": "identity"}
    try:
        async with aiohttp.ClientSession(
            timeout=patience, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            for _ in range(1 + _REDIRECTS):
                async with session.get(URL(str(url), encoded=True), allow_redirects=False) as answer:
                    if answer.status not in {301, 302, 303, 307, 308}:
                        return await _content(answer, url)
                    url = allowed_url(urljoin(str(url), answer.headers.get("Location", "")), allowed)
    except TimeoutError as exc:
        raise CommandError(f"{url} was not here within {patience_s:g} s", code="unavailable") from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise CommandError(f"{url} cannot be fetched: {exc}", code="unavailable") from exc
    raise CommandError(f"{place} redirects more than {_REDIRECTS} times", code="refused")


async def _content(answer: "aiohttp.ClientResponse", url: Url) -> bytes:
    if answer.status in {404, 410}:
        raise CommandError(f"there is nothing at {url} (HTTP {answer.status})", code="not_found")
    if answer.status in {401, 403}:
        raise CommandError(f"{url} is not for us (HTTP {answer.status})", code="refused")
    if answer.status != 200:
        raise CommandError(f"{url} cannot be fetched: HTTP {answer.status}", code="unavailable")
    if not answer.content_type.startswith(_AUDIO):
        raise CommandError(f"{url} is {answer.content_type[:80]}, not sound", code="not_audio")
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > LARGEST:
            raise CommandError(f"{url} has more than {LARGEST // 2**20} MB", code="too_long")
    return bytes(content)
