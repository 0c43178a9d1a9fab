"""Semantic Versioning 2.0.0: what a version of a model looks like."""

import re

# https://semver.org, "Backus-Naur Form Grammar for Valid SemVer Versions".
NUMBER = r"(0|[1-9][0-9]*)"  # no leading zero, in a pre-release's numbers neither
PRE_RELEASE = rf"({NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
BUILD = r"[0-9A-Za-z-]+"
SEMANTIC_VERSION = re.compile(
    rf"{NUMBER}\.{NUMBER}\.{NUMBER}"
    rf"(-{PRE_RELEASE}(\.{PRE_RELEASE})*)?"
    rf"(\+{BUILD}(\.{BUILD})*)?"
)


def semantic_version(text: str) -> str:
    """Return a version as it is.

    Raises:
        ValueError: it is no semantic version.
    """
    if not SEMANTIC_VERSION.fullmatch(text):
        raise ValueError(
            f"{text!r} is no semantic version (https://semver.org): three numbers such as 1.0.0, "
            "and perhaps a pre-release (1.0.0-rc.1) and a build (1.0.0+5114f85), are right"
        )
    return text
