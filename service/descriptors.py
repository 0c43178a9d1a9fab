"""How many files a process may have open, connections among them."""

import sys

if sys.platform == "win32":
    DESCRIPTORS = 8192  # the C library's most
else:
    import resource

    DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
