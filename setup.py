"""Find the packages of a wheel; all else about it is in pyproject.toml.

There a project can have its packages found or listed, not both, and one of ours is found by no
search: the folder of the released model.
"""

from setuptools import find_packages, setup

ROOMS = ("training", "export", "service")

setup(
    packages=[
        *find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]),
        "service.fashion_lenet",
    ]
)
