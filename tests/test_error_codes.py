"""Programs read the codes of errors, so no error is raised without one."""

from __future__ import annotations

import re

from error_codes import UNCODED, coded_sentences, error_classes

SENTENCES = list(coded_sentences())


def test_every_error_is_raised_with_a_code() -> None:
    assert [f"{each.module}:{each.line}: {each.sentence}" for each in SENTENCES if not each.code] == []


def test_codes_are_lower_case_words_joined_by_underscores() -> None:
    codes = {each.code for each in SENTENCES} - {"not_a_{kind}"}  # one for each kind of result
    assert {code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)} == set()


def test_every_class_of_errors_has_a_code_of_its_own() -> None:
    own = {name: vars(kind).get("code") for name, kind in error_classes().items()}
    assert all(own.values())
    assert len(set(own.values())) == len(own)


def test_codes_of_classes_are_left_to_their_classes() -> None:
    """So that catching a class and reading its code is the same, unless the code says something else."""
    of_class = {kind.code: name for name, kind in error_classes().items() if name not in UNCODED}
    others = {
        (each.code, each.kind, each.module)
        for each in SENTENCES
        if each.code in of_class and each.kind != of_class[each.code]
    }
    assert others == set()
