"""`python -m service` classifies picture files without a server."""

import signal
import sys

INTERRUPTED = 128 + signal.SIGINT  # as a shell reports a program that a signal ended
NOBODY_READS = 128 + 13  # SIGPIPE, which not every system has


def run() -> int:
    """Run the command line; return its exit status, without a traceback where a person stops it."""
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
