"""Whatever a stranger passes: an answer, or one short line; no other exception, and in time."""

from __future__ import annotations

import pytest

from tests.wrong_calls import wrong_calls
from tests.wrong_lines import wrong_lines


@pytest.mark.parametrize("seed", [1, 2])
def test_wrong_arguments_of_public_functions(seed):
    assert wrong_calls(seed, 400) == []


def test_wrong_command_lines():
    assert wrong_lines(1, 40) == []


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_wrong_arguments(seed):
    assert wrong_calls(seed, 2000) == []


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_wrong_command_lines(seed):
    assert wrong_lines(seed, 2000) == []
