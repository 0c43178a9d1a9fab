"""Check the version of a model against Semantic Versioning 2.0.0."""

import re

# https://semver.org, "Backus-Naur Form Grammar for Valid SemVer Versions".
NUMBER = r"(0|[1-9][0-9]*)"  # no leading zero, also in a pre-release
PRE_RELEASE = rf"({NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
BUILD = r"[0-9A-Za-z-]+"
SEMANTIC_VERSION = re.compile(
    rf"{NUMBER}\.{NUMBER}\.{NUMBER}"
    rf"(-{PRE_RELEASE}(\.{PRE_RELEASE})*)?"
    rf"(\+{BUILD}(\.{BUILD})*)?"
)


def semantic_version(text: str) -> str:
    """Return a version unchanged if it is valid.

    Raises:
        ValueError: it is not a semantic version.
    """
    if not SEMANTIC_VERSION.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a semantic version (https://semver.org): expected three numbers "
            "such as 1.0.0, and optionally a pre-release (1.0.0-rc.1) and a build (1.0.0+5114f85)"
        )
    return text
