"""Our own statements are as they were sealed, and their stored scores are those of the stored curves."""

from pathlib import Path

import pytest

from rlscale.analysis.curves.curve_set import join_curves
from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.forecast.record import curves_hash, read_statement
from rlscale.analysis.forecast.scoring import read_score, score

ROOT = Path(__file__).parents[3]
STATEMENTS = sorted((ROOT / "data" / "forecasts").glob("*/statement*.json"))
SCORES = sorted((ROOT / "data" / "forecasts").glob("*/score*.json"))


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.parent.name)
def test_a_statement_is_as_it_was_sealed_from_curves_that_are_here(path):
    statement = read_statement(path)
    assert curves_hash(load_curves(ROOT / statement.curves.source)) == statement.curves.sha256


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.parent.name)
def test_a_stored_score_is_that_of_the_stored_curves(path):
    stored = read_score(path)
    statement = next(one for one in map(read_statement, STATEMENTS) if one.sha256 == stored.statement_sha256)
    if stored.first_row is None:
        assert "run_times_unknown" in stored.warning_codes
    else:
        assert stored.first_row > statement.sealed  # both in UTC
    new = load_curves(path.with_name("curves.parquet"))
    both = join_curves([new, load_curves(ROOT / statement.curves.source)])
    found = score(statement, next(c for c in (new, both) if curves_hash(c) == stored.curves_sha256))
    for again, kept in zip(found.items, stored.items, strict=True):
        assert again.item == kept.item
        # A fit of other versions of the libraries moves nu and N_opt in the last digits.
        values, expected = ([one.measured for one in scored.outcomes] for scored in (again, kept))
        assert values == pytest.approx(expected, rel=1e-3)
        assert [one.hit for one in again.outcomes] == [one.hit for one in kept.outcomes]
