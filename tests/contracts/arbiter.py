"""An arbiter with one process, which is killed once; prints the arbiter's state as JSON.

Called as `python arbiter.py FILE`; the process writes into FILE each time that it is started.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bentoml._internal.utils.circus import create_standalone_arbiter
from circus.watcher import Watcher

OUT = Path(sys.argv[1])
CHILD = "import os, sys, time; open(sys.argv[1], 'a').write(os.environ['START']); time.sleep(600)"
CHECK_SECONDS, LOOK_SECONDS = 0.1, 0.02

steps: list[str] = []
pids: list[int] = []


def before(watcher: Watcher, **_: Any) -> bool:
    steps.append("before")
    watcher.env["START"] = str(len(pids))
    return True


def after(**_: Any) -> bool:
    steps.append("after")
    return True


watcher = Watcher(
    "one", sys.executable, args=["-c", CHILD, str(OUT)], env=dict(os.environ), graceful_timeout=5
)
watcher.hooks["before_spawn"], watcher.hooks["after_spawn"] = before, after
arbiter = create_standalone_arbiter([watcher], check_delay=CHECK_SECONDS)
stopping: list[bool] = []


def look() -> None:
    """Kill the first process once it runs, and stop when there is a second."""
    written = OUT.read_text() if OUT.exists() else ""
    for process in watcher.get_active_processes():
        if process.pid not in pids and len(written) == len(pids) + 1:
            pids.append(process.pid)
            if len(pids) == 1:
                process.send_signal(signal.SIGKILL)
    if len(pids) < 2:
        arbiter.loop.call_later(LOOK_SECONDS, look)
        return
    stopping.append(arbiter._stopping)
    arbiter.stop()
    stopping.append(arbiter._stopping)


arbiter.start(lambda *_: arbiter.loop.call_later(LOOK_SECONDS, look))
print(
    json.dumps(
        {
            "steps": steps,
            "starts": OUT.read_text(),
            "processes": len(set(pids)),
            "numprocesses": watcher.numprocesses,
            "respawn": watcher.respawn,
            "its watchers": arbiter.watchers == [watcher],
            "check_delay": arbiter.check_delay,
            "stopping": stopping,
            "busy": arbiter._exclusive_running_command,
        }
    )
)
