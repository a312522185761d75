"""The wake models: loaded, computed and compared as the daemon does it at its start."""

import time

from voiced.check.findings import Finding, Visit, failed, passed, reason
from voiced.edge.models import LICENCE_NOTE
from voiced.errors import ModelError
from voiced.house import make_ears


def check(visit: Visit) -> list[Finding]:
    """Load the configured words."""
    words = [word.model for word in visit.config.wake.words]
    tried = f"load {', '.join(words)}"
    began = time.monotonic()
    try:
        make_ears(visit.config)
    except ModelError as exc:
        return [failed("models", tried, *reason(exc))]
    took = round(time.monotonic() - began, 2)
    found = f"all there, and this machine computes them rightly ({took} s)"
    return [passed("models", tried, found, words=", ".join(words), seconds=took, licence=LICENCE_NOTE)]
