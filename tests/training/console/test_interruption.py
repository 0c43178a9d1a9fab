"""The first signal is remembered, the second acts, and the handlers are restored."""

import signal
from collections.abc import Iterator

import pytest

from training.console.interruption import Interrupted, Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_a_check(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(number)
        assert "stopping after this step" in capsys.readouterr().err
        with pytest.raises(Interrupted, match=number.name) as caught:
            interruption.check()
    assert caught.value.exit_status == 128 + number


@pytest.fixture
def _ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal: background commands of a shell script ignore Ctrl-C, also in tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
def test_the_second_ctrl_c_acts_at_once() -> None:
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
