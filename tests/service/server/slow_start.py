"""A supervisor whose workers take longer to start than it waits between two checks of them.

Called as `python -m tests.service.server.slow_start`; prints "started" once they are.
"""

import logging
import sys

from bentoml._internal.utils import circus
from circus.sockets import CircusSocket
from circus.watcher import Watcher

from service.server import supervisor

START_SECONDS = 3 * supervisor.CHECK_SECONDS

logging.basicConfig(stream=sys.stdout)


def say(_: object) -> None:
    """Report the start, and stop."""
    print("started", flush=True)
    arbiter.loop.add_callback(arbiter.stop)


watcher = Watcher("one", sys.executable, args=["-c", "import time; time.sleep(600)"], env={})
supervisor.install_supervisor(say)
arbiter = circus.create_standalone_arbiter(
    [watcher],
    sockets=[CircusSocket(name="http", host="127.0.0.1", port=0)],
    warmup_delay=START_SECONDS,
)
arbiter.start()
