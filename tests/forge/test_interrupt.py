"""Signals that end a program."""

import os
import signal

import pytest

from forge.core.interrupt import deferred_interrupt, termination_interrupts


def test_a_termination_is_noted_once_and_interrupts_after_that():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), termination_interrupts():
        with deferred_interrupt() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupted()
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
