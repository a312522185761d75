"""The Realtime service on this machine, for the demo and for tests. It knows nothing of the daemon's own protocol code.

The facts (what was said, which sound, what failed) come from a :class:`Scenario`; :mod:`.session` turns client events
into them, and :mod:`.dialect` writes them down as the GA or the preview interface does.
"""

from voiced.simulator.admission import Rules
from voiced.simulator.command import serve_forever
from voiced.simulator.recording import Recording
from voiced.simulator.scenario import DEFAULT, Connection, Refusal, Scenario, ToolCall, Turn, load_scenario
from voiced.simulator.server import Simulator

__all__ = [
    "DEFAULT",
    "Connection",
    "Recording",
    "Refusal",
    "Rules",
    "Scenario",
    "Simulator",
    "ToolCall",
    "Turn",
    "load_scenario",
    "serve_forever",
]
