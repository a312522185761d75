"""voiced: a daemon that listens for its name, then talks.

Sound flows one way: microphone, gate, wake word, session, playout, speaker. ``core`` decides and is pure;
``edge`` holds one file per outside library; ``app`` joins them.
"""

__version__ = "0.1.0"
