"""``voiced check``: tries every part that the daemon needs, and says what was found and what to do.

One file for each subject; none of them changes anything but a file that it takes away again.
"""

from voiced.check.command import SUBJECTS, run

__all__ = ["SUBJECTS", "run"]
