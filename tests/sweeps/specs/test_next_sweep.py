"""The spec of further runs holds them and no run that the sweep has, with what goes with each width."""

import pytest

from rlscale.scaling.errors import InputError
from rlscale.sweeps.specs.next_sweep import FurtherRuns, next_values
from rlscale.sweeps.specs.spec import expand, parse_spec

SO_FAR = parse_spec(
    {
        "name": "s",
        "base": {"task": "digits-bandit"},
        "axes": [
            {"width": [0.1, 0.4], "interactions": [4000, 1000], "learning_rate": [1e-3, 2e-3]},
            {"seed": [0, 1]},
        ],
        "tuning": None,
    },
    source="s.yaml",
)
RUNS = [
    FurtherRuns(0.1, 3999.7, 1.0, 2),  # more seeds
    FurtherRuns(0.4, 4004.0, 4.0, 1),  # longer
    FurtherRuns(0.8, 1234.6, None, 2),  # a new width
]


def test_further_runs_extend_the_sweep():
    before = expand(SO_FAR)
    values = next_values(SO_FAR, RUNS)
    assert values["name"] == "s"
    after = expand(parse_spec(values, source="next.yaml"))
    assert not {config.run_id for config in before} & {config.run_id for config in after}
    told = [
        (config.model.width, config.interactions, config.agent.learning_rate, config.seed) for config in after
    ]
    assert told == [
        (0.1, 4000, 1e-3, 2),
        (0.1, 4000, 1e-3, 3),
        (0.4, 4000, 2e-3, 0),
        (0.8, 1230, 2e-3, 0),
        (0.8, 1230, 2e-3, 1),
    ]


def test_a_length_that_all_runs_share_may_stand_in_the_base():
    shared = {
        "name": "s",
        "base": {"task": "digits-bandit", "interactions": 1000},
        "axes": {"width": [0.1, 0.4]},
    }
    values = next_values(parse_spec(shared, source="s.yaml"), [FurtherRuns(0.1, 2000.0, 2.0, 2)])
    assert values["axes"] == [{"width": [0.1, 0.1], "interactions": [2000, 2000], "seed": [0, 1]}]
    assert "interactions" not in values["base"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([{"depth": [1, 2]}], "has no axis 'width'"),
        ([{"width": [0.1, 0.4]}, {"horizon": [1, 8]}], r"varies agent\.horizon beside the width"),
    ],
)
def test_a_sweep_that_varies_something_else_is_refused(axes, message):
    base = {"task": "digits-bandit", "interactions": 1000}
    spec = parse_spec({"name": "s", "base": base, "axes": axes}, source="s.yaml")
    with pytest.raises(InputError, match=message) as refusal:
        next_values(spec, RUNS)
    assert refusal.value.code == "other_axes"
