"""`python -m service`: classify image files without a server."""

import signal
import sys

INTERRUPTED = 128 + signal.SIGINT  # a shell's exit status for a program ended by a signal
NOBODY_READS = 128 + 13  # SIGPIPE, which not every system has


def run() -> int:
    """Return the exit status of the command line; no traceback on Ctrl+C or a broken pipe."""
    try:
        from service.cli.main import main
        from service.cli.standard_streams import drop_what_is_left, open_closed_streams

        open_closed_streams()
        try:
            return main(sys.argv[1:])
        finally:
            drop_what_is_left()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return NOBODY_READS


if __name__ == "__main__":
    sys.exit(run())
