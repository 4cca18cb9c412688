"""Whatever a command is given, it answers or refuses in one sentence, and changes nothing but its output.

``benchmarks/front_doors.py`` tries thousands of such inputs, with limits of time and memory.
"""

import shutil

import pytest
import yaml
from doors import CONFIG, DOORS, Answer, Case, Try, ask, faults, fill, tries
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

#: Doors whose fits or figures take long; each is tried less often.
SLOW = ("report", "report of a fit", "compare", "backtest", "fit with draws", "horizon", "train", "train on")
QUICK = tuple(name for name in DOORS if name not in SLOW)

#: The same few each time, and no search for a smaller one where one fails: each takes a while.
few = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    place = tmp_path_factory.mktemp("good")
    fill(place)
    return place


@pytest.fixture(scope="module")
def outcome(good, tmp_path_factory):
    """What is wrong with the answer to a try; nothing, as it should be."""

    def of(attempt: Try, draw, status: int | None = None) -> list[str]:
        place = tmp_path_factory.mktemp("place")
        shutil.copytree(good, place, dirs_exist_ok=True)
        case = Case(attempt, place, draw)
        answer = case.ask()
        found = case.faults(answer)
        if status is not None and answer.status != status:
            found.append(f"status {answer.status}, not {status}")
        shutil.rmtree(place)
        return [*found, answer.err] if found else []

    return of


@pytest.mark.parametrize("name", [name for name in DOORS if name != "report"])  # as "report of a fit"
def test_every_door_opens_to_a_good_input(outcome, name):
    words = tuple(word.replace("{table}", "wide.csv") for word in DOORS[name].words)
    assert outcome(Try(name, words, None), None, status=0) == []


@settings(few, max_examples=50)
@given(data=st.data())
def test_quick_doors_answer_or_refuse(outcome, data):
    assert outcome(data.draw(tries(QUICK)), data.draw) == []


@settings(few, max_examples=5)
@given(data=st.data())
def test_slow_doors_answer_or_refuse(outcome, data):
    assert outcome(data.draw(tries(SLOW)), data.draw) == []


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(0, "nu 0.4\n", "rlscale: warning: look\n"), None),
        (Answer(2, "", "rlscale: x.csv does not exist; check the path.\n"), None),
        (Answer(2, "", "rlscale: E must be finite: got nan.\n"), None),
        (Answer(1, "", "Traceback (most recent call last):\n"), "status 1"),
        (Answer(0, "nu nan\n", ""), "prints a number that is none"),
        (Answer(0, "x\x1b[31m\n", ""), "prints characters that a terminal obeys"),
        (Answer(0, "", "file.py:3: RuntimeWarning: overflow\n"), "'Warning: ' on stderr"),
        (Answer(2, "", "rlscale: one\nrlscale: two\n"), "does not refuse in one sentence"),
        (Answer(2, "", ""), "does not refuse in one sentence"),
    ],
)
def test_what_is_wrong_with_an_answer_is_seen(answer, fault):
    found = faults(answer, DOORS["fit"])
    assert found == [] if fault is None else fault in found


def test_a_network_wider_than_any_number_of_units_is_refused_before_it_is_built(tmp_path):
    """Found by the longer run: torch cannot count its weights."""
    spec = {"name": "s", "base": {**CONFIG, "model": {"width": 1e300}}, "axes": {"seed": [0]}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    answer = ask(DOORS["plan"].words, tmp_path)
    assert faults(answer, DOORS["plan"]) == []
    assert answer.status == 2
