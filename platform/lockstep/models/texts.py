"""Texts that tokenizers can read."""

from collections.abc import Sequence

from lockstep.errors import InvalidInput


def check_unicode(texts: Sequence[str], *, quote: bool) -> None:
    """Raise InvalidInput for a lone surrogate, which no tokenizer takes."""
    for position, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"There is a lone surrogate in {named(texts, position, quote=quote)}; "
                "expected Unicode text."
            ) from error


def named(texts: Sequence[str], position: int, *, quote: bool) -> str:
    """A text as messages name it; queries by position only: their words must not reach a log."""
    name = f"text {position + 1} of {len(texts)}"
    return f"{name}, which begins {texts[position][:80]!r}" if quote else name
