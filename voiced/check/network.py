"""The way to the service: the time, the name, the encryption."""

import asyncio
import ctypes
import ctypes.util
import socket
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from voiced.check.findings import Finding, Visit, failed, passed, skipped, warned
from voiced.core.realtime.endpoint import Endpoint

LIMIT_S = 10.0
BUILT = datetime(2026, 11, 1, tzinfo=UTC)
"""A clock that shows an earlier time is wrong: this program did not exist."""
SOON_DAYS = 7


def clock(_visit: Visit) -> list[Finding]:
    """Ask the kernel whether somebody keeps its clock right."""
    now = datetime.now(UTC)
    tried = "ask the kernel's clock"
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < BUILT:
        remedy = "set the time (sudo timedatectl set-ntp true): certificates and tokens are refused otherwise"
        return [failed("time", tried, f"it says {shown}, which is long past", remedy)]
    if _is_kept():
        return [passed("time", tried, f"{shown}, kept by a time service", synchronised=True)]
    remedy = "sudo timedatectl set-ntp true, unless this machine gets its time in another way"
    return [warned("time", tried, f"{shown}; nobody keeps it right", remedy, synchronised=False)]


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``; the rest is room. Source: adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def _is_kept() -> bool:
    """Whether the kernel's clock is synchronised, as ``timedatectl`` finds out: maximum error below 16 s."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    state = _Timex()
    return bool(libc.adjtimex(ctypes.byref(state)) >= 0 and state.maxerror < 16_000_000)


async def name(visit: Visit) -> list[Finding]:
    """Look up the host of the service."""
    where = visit.where
    if where is None:
        return [skipped("lookup", "no service is configured")]
    host = urlsplit(where.url).hostname or ""
    tried = f"look up {host}"
    began = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as exc:
        why = f"no answer within {LIMIT_S:g} s" if isinstance(exc, TimeoutError) else _why(exc)
        return [failed("lookup", tried, why, "check the network, the DNS server, and realtime.endpoint")]
    took = round((time.monotonic() - began) * 1000)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    return [passed("lookup", tried, f"{', '.join(addresses[:4])} in {took} ms", milliseconds=took)]


async def encryption(visit: Visit) -> list[Finding]:
    """Shake hands with the service's host, as far as TLS."""
    where = visit.where
    if where is None:
        return [skipped("tls", "no service is configured")]
    if not where.encrypted:
        return [skipped("tls", "the connection to the service is not encrypted")]
    tried = f"shake hands with {where.host}"
    try:
        async with asyncio.timeout(LIMIT_S):
            return [await _handshake(where, visit.config.realtime.ca_file, tried)]
    except ssl.SSLCertVerificationError as exc:
        remedy = "check this machine's clock and realtime.endpoint, or name the certificates in realtime.ca_file"
        return [failed("tls", tried, f"the certificate is not trusted ({exc.verify_message})", remedy)]
    except ssl.SSLError as exc:
        return [failed("tls", tried, f"no TLS there ({exc.reason})", "check scheme and port of realtime.endpoint")]
    except ConnectionRefusedError:
        return [failed("tls", tried, "nothing listens there", "check scheme, host and port of realtime.endpoint")]
    except ConnectionError:
        remedy = "check scheme and port of realtime.endpoint: it seems to speak no TLS"
        return [failed("tls", tried, "it hung up during the handshake", remedy)]
    except TimeoutError:
        return [failed("tls", tried, f"no answer within {LIMIT_S:g} s", "check the network, proxies and firewalls")]
    except OSError as exc:
        return [failed("tls", tried, _why(exc), "check the network and realtime.endpoint")]


async def _handshake(where: Endpoint, ca_file: str, tried: str) -> Finding:
    context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file or None)
    parts = urlsplit(where.url)
    _, writer = await asyncio.open_connection(
        parts.hostname, parts.port or 443, ssl=context, server_hostname=parts.hostname
    )
    try:
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = shown.getpeercert() or {}
        version = shown.version() or "TLS"
    finally:
        writer.close()
        await writer.wait_closed()
    end = str(certificate.get("notAfter", ""))
    days = (ssl.cert_time_to_seconds(end) - time.time()) / 86_400
    found = f"{version}, certificate good for {days:.0f} more days"
    if days < SOON_DAYS:
        return warned("tls", tried, found, "have the server's certificate renewed", days=round(days, 1))
    return passed("tls", tried, found, days=round(days, 1))


def _why(exc: Exception) -> str:
    return str(getattr(exc, "strerror", None) or exc) or type(exc).__name__
