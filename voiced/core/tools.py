"""What a profile may let the model do, as the service is told."""

from collections.abc import Mapping
from typing import Any

GOODBYE = "end_conversation"
"""The tool by which the model ends a conversation."""

TOOLS: dict[str, Mapping[str, Any]] = {
    "goodbye": {
        "type": "function",
        "name": GOODBYE,
        "description": (
            "Ends the conversation. Call it when the person says goodbye, or wants nothing more; "
            "say a short goodbye in the same answer."
        ),
        "parameters": {"type": "object", "properties": {}},
    }
}
"""By their names in the configuration."""
