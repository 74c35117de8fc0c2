"""Tests run beside each other: what they calculate, they calculate on one core.

Small matrices and small trees gain nothing by threads that wait for each other. The libraries read these variables when
they are loaded, which is after this.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
