"""`python -m service` classifies picture files without a server."""

import os
import signal
import sys

INTERRUPTED = 128 + signal.SIGINT  # as a shell reports a program that a signal ended
NOBODY_READS = 128 + 13  # SIGPIPE, which not every system has


def run() -> int:
    """Run the command line; return its exit status, without a traceback where a person stops it."""
    try:
        from service.command_line import main

        status = main(sys.argv[1:])
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer is written at the end, and must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS


if __name__ == "__main__":
    sys.exit(run())
