"""Each hostile request gets an answer that names its fault, and the worker keeps serving."""

from collections.abc import Iterator
from itertools import chain

import pytest

from tests.hostile import png
from tests.hostile.cases import Case, picture
from tests.hostile.connection import exchange
from tests.hostile.kinds import KINDS
from tests.serving import Server

CASES = list(chain.from_iterable(kind.CASES for kind in KINDS))
GOOD = picture("a good one", png.GOOD, 200)
LONGEST_ERROR = 1000  # characters: an error repeats no more of what was sent


@pytest.fixture(scope="module", autouse=True)
def same_worker(server: Server) -> Iterator[None]:
    """The worker is the same process afterwards."""
    before = [worker.pid for worker in server.workers()]
    yield
    assert [worker.pid for worker in server.workers()] == before
    assert len(before) == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_answer_names_the_fault(case: Case, server: Server) -> None:
    answer = exchange(server.port, [case.request()], case.method)
    assert answer.status == case.status, answer.content[:500]
    if case.status != 200:
        assert case.says in answer.error
        assert len(answer.error) <= LONGEST_ERROR
    assert "Traceback" not in server.log()
    assert exchange(server.port, [GOOD.request()]).status == 200


def test_the_cases_are_many_and_differ() -> None:
    assert len(CASES) >= 800
    assert len({case.name for case in CASES}) == len(CASES)
    sent = [case.request() for case in CASES if isinstance(case.body, bytes)]
    assert len(set(sent)) == len(sent)


def test_refusals_are_most_of_them_and_say_something() -> None:
    refused = [case for case in CASES if case.status != 200]
    assert len(refused) >= 600
    assert all(400 <= case.status < 500 or case.status == 501 for case in refused)
    assert sum(not case.says for case in refused) < 20
