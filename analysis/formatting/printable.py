"""Makes text from stores and files safe to show, in a terminal or on a page. Imports nothing."""

from __future__ import annotations


def printable(text: str, *, keep_lines: bool = False) -> str:
    """``text`` without characters that are obeyed instead of being shown.

    Escape sequences, overrides of the writing direction, other invisible characters and lone
    surrogates become U+FFFD. White space becomes spaces, and so do line ends unless ``keep_lines``.
    """
    if text.isprintable():
        return text
    kept = "\n" if keep_lines else ""
    return "".join(
        character
        if character.isprintable() or character in kept
        else " "
        if character.isspace()
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
