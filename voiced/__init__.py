"""voiced: a daemon that listens for its name, then talks.

Sound flows one way: microphone, gate, wake word, session, playout, speaker. ``core`` decides and is pure;
``edge`` holds one file per outside library; ``app`` joins them.
"""

import os

__version__ = "0.1.0"

# The wake models multiply small matrices: threads of BLAS would cost more than they bring, and a spinning pool would
# never let the machine idle. Must be said before numpy is first imported.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
