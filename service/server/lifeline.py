"""Exit of the workers when their parent exits, for any reason: they would keep its port.

Each worker reads from a pipe. Only the parent has the other end, which closes when it exits.
"""

import os
import threading

LIFELINE = "LENET_LIFELINE"  # variable with the descriptor of a worker's end


def hold() -> None:
    """In the parent: make workers that start from now on exit with this process."""
    theirs, _ours = os.pipe()
    os.set_inheritable(theirs, True)
    os.environ[LIFELINE] = str(theirs)


def end_with_parent() -> None:
    """In a worker: exit as soon as the parent has exited."""
    descriptor = os.environ.get(LIFELINE)
    if descriptor is not None:
        threading.Thread(target=_wait, args=(int(descriptor),), daemon=True).start()


def _wait(descriptor: int) -> None:
    os.read(descriptor, 1)  # nothing is ever sent
    os._exit(1)
