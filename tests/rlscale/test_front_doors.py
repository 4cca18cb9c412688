"""Whatever a command is given, it answers or refuses in one sentence, and changes nothing but its output.

``benchmarks/front_doors.py`` tries thousands of such inputs, with limits of time and memory.
"""

import shutil

import pytest
from doors import DOORS, Case, Try, fill, tries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

#: Doors whose fits or figures take long; each is tried less often.
SLOW = ("report", "report of a fit", "compare", "backtest", "fit with draws", "horizon", "train", "train on")
QUICK = tuple(name for name in DOORS if name not in SLOW)

few = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    place = tmp_path_factory.mktemp("good")
    fill(place)
    return place


@pytest.fixture(scope="module")
def outcome(good, tmp_path_factory):
    """What is wrong with the answer to a try; nothing, as it should be."""

    def of(attempt: Try, draw) -> list[str]:
        place = tmp_path_factory.mktemp("place")
        shutil.copytree(good, place, dirs_exist_ok=True)
        case = Case(attempt, place, draw)
        answer = case.ask()
        found = case.faults(answer)
        shutil.rmtree(place)
        return [*found, answer.err] if found else []

    return of


@few
@settings(max_examples=60)
@given(data=st.data())
def test_quick_doors_answer_or_refuse(outcome, data):
    assert outcome(data.draw(tries(QUICK)), data.draw) == []


@few
@settings(max_examples=8)
@given(data=st.data())
def test_slow_doors_answer_or_refuse(outcome, data):
    assert outcome(data.draw(tries(SLOW)), data.draw) == []
