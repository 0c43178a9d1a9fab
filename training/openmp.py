"""How OpenMP's threads wait. To be set before torch is loaded, which reads it then."""

import os

# Threads that wait by spinning take the cores from those they wait for as soon as
# anything else runs beside them: training was 2 to 7 times slower for it.
OPENMP = {"OMP_WAIT_POLICY": "PASSIVE"}


def wait_without_spinning() -> None:
    """Set it, unless the user has chosen otherwise."""
    for name, value in OPENMP.items():
        os.environ.setdefault(name, value)
