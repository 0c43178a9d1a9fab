"""Workers end with their parent, however it ends: else they would keep its port.

A pipe tells them, of which the parent alone has the other end: it closes when the parent is gone.
"""

import os
import threading

LIFELINE = "LENET_LIFELINE"  # where a worker finds the descriptor of its end


def hold() -> None:
    """In the parent: have the workers that start from now on end with this process."""
    theirs, _ours = os.pipe()
    os.set_inheritable(theirs, True)
    os.environ[LIFELINE] = str(theirs)


def end_with_parent() -> None:
    """In a worker: end at once when the parent has."""
    descriptor = os.environ.get(LIFELINE)
    if descriptor is not None:
        threading.Thread(target=_wait, args=(int(descriptor),), daemon=True).start()


def _wait(descriptor: int) -> None:
    os.read(descriptor, 1)  # nothing is ever sent
    os._exit(1)
