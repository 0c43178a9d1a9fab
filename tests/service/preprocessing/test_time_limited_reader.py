"""The reader of any file is stopped after a given CPU time of its thread."""

import time
from threading import Thread

import pytest

from service.errors import TooLarge
from service.preprocessing import time_limited_reader
from service.preprocessing.time_limited_reader import TimeLimitedReader


def spend(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.fixture
def short_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limited_reader, "MAX_DECODE_CPU_SECONDS", 0.05)


def test_it_reads_as_a_file_does() -> None:
    reader = TimeLimitedReader(b"picture")
    assert (reader.read(3), reader.read(), reader.read()) == (b"pic", b"ture", b"")
    assert reader.getvalue() == b"picture"


@pytest.mark.usefixtures("short_of_time")
def test_after_the_time_nothing_is_read() -> None:
    reader = TimeLimitedReader(b"picture")
    spend(0.06)
    with pytest.raises(TooLarge, match=r"not read in 0\.05 s of CPU time: save it"):
        reader.read(1)


@pytest.mark.usefixtures("short_of_time")
def test_the_time_of_other_threads_is_theirs() -> None:
    reader = TimeLimitedReader(b"picture")
    other = Thread(target=spend, args=(0.06,))
    other.start()
    other.join()
    assert reader.read(3) == b"pic"


@pytest.mark.usefixtures("short_of_time")
def test_another_thread_has_time_of_its_own() -> None:
    reader = TimeLimitedReader(b"picture")
    spend(0.06)
    read: list[bytes] = []
    other = Thread(target=lambda: read.append(reader.read(3)))
    other.start()
    other.join()
    assert read == [b"pic"]
