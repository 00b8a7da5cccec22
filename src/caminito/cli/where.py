"""The little language of `--where`: what is asked of columns, as a person types it.

    sex=F                   this value                    age=30..40     from 30 to 40, both included
    colour=red|green        one of these                  age=30..       from 30 on; ..40: up to 40
    city=?                  missing

Several are separated by commas. A name or a value with a comma, an equals sign, a bar or two dots in it is put in
quotes, of either kind; a quote inside is doubled. What is in quotes is taken as it stands: "?" is a question mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from caminito._errors import ConfigError

__all__ = ["EXAMPLE", "Wanted", "conditions"]

EXAMPLE = '"sex=F, age=30..40, city=?"'

Wanted = str | None | tuple[str | None, str | None] | list[str | None]
"""A value, None for missing, (low, high), or a choice of values."""


def conditions(text: str) -> dict[str, Wanted]:
    """What is asked of each column.

    Raises
    ------
    ConfigError
        If the text does not say so; the message shows where.

    Examples
    --------
    >>> conditions("sex=F, age=30..40, city=?, colour=red|green")
    {'sex': 'F', 'age': ('30', '40'), 'city': None, 'colour': ['red', 'green']}
    """
    found: dict[str, Wanted] = {}
    tokens = list(_tokens(text))
    place = 0
    while tokens[place].kind != "end":
        name = tokens[place]
        if name.kind != "text":
            _refuse(text, name.at, f"expected the name of a column, got {name.text!r}")
        compared = next((i for i, character in enumerate(name.text) if character in "<>!"), -1)
        equals = tokens[place + 1].kind == "="
        if not name.quoted and (compared >= 0 if not equals else compared == len(name.text) - 1 >= 0):
            _refuse(text, name.at + compared, "expected name=value; a comparison is an interval: age=30.. or age=..40")
        if not equals:
            _refuse(text, tokens[place + 1].at, f"expected = after {name.text!r}, got {_what(tokens[place + 1])}")
        if name.text in found:
            _refuse(text, name.at, f"expected each column once, got {name.text!r} again; one interval says both ends")
        place += 2
        begin = place
        while tokens[place].kind not in (",", "end"):
            if tokens[place].kind == "=":
                _refuse(text, tokens[place].at, "expected a comma before the next name, got a second =")
            place += 1
        found[name.text] = _value(text, name.text, tokens[begin:place], tokens[place].at)
        if tokens[place].kind == ",":
            place += 1
            if tokens[place].kind == "end":
                _refuse(text, tokens[place].at, "expected another name=value after the last comma, got nothing")
    if not found:
        _refuse(text, 0, "expected name=value, got nothing")
    return found


class _Token(NamedTuple):
    kind: str
    text: str
    at: int
    quoted: bool = False


def _tokens(text: str) -> Iterator[_Token]:
    """Words without the spaces around them, and the signs = , | .. between; an "end" comes last."""
    place = 0
    while place < len(text):
        sign = ".." if text.startswith("..", place) else text[place]
        if sign in ("=", ",", "|", ".."):
            yield _Token(sign, sign, place)
            place += len(sign)
        elif sign in "\"'":
            word, after = _quoted(text, place)
            yield _Token("text", word, place, quoted=True)
            place = after
        elif sign.isspace():
            place += 1
        else:
            begin = place
            while place < len(text) and text[place] not in "=,|" and not text.startswith("..", place):
                place += 1
            yield _Token("text", text[begin:place].rstrip(), begin)
    yield _Token("end", "", len(text))


def _quoted(text: str, begin: int) -> tuple[str, int]:
    mark, word, place = text[begin], "", begin + 1
    while True:
        end = text.find(mark, place)
        if end < 0:
            _refuse(text, begin, "expected a quote to be closed, got none that closes this one")
        word += text[place:end]
        if not text.startswith(mark, end + 1):
            return word, end + 1
        word, place = word + mark, end + 2


def _value(text: str, name: str, tokens: list[_Token], end: int) -> Wanted:
    """What the tokens between = and the next comma ask for."""
    at = tokens[0].at if tokens else end
    kinds = [token.kind for token in tokens]
    if not tokens:
        _refuse(text, at, f'expected a value for {name!r}, got nothing; ? is missing, "" is an empty text')
    if ".." in kinds:
        low, high = tokens[: kinds.index("..")], tokens[kinds.index("..") + 1 :]
        for token in (*low[1:], *high[1:]):
            _refuse(text, token.at, f"expected an interval low..high, got {_what(token)} too much")
        if not low and not high:
            _refuse(text, at, "expected an interval with at least one end, got none")
        for token in (*low, *high):
            if token.kind != "text" or _word(token) is None:
                _refuse(text, token.at, f"expected the end of an interval, got {token.text!r}")
        return (low[0].text if low else None, high[0].text if high else None)
    for odd, token in enumerate(tokens):
        if (token.kind == "text") == bool(odd % 2):
            wanted = "one of several values" if token.kind == "|" else "a comma or | before the next value"
            _refuse(text, token.at, f"expected {wanted}, got {_what(token)}")
    if kinds[-1] == "|":
        _refuse(text, end, "expected one more value after |, got nothing")
    words = [_word(token) for token in tokens[::2]]
    return words[0] if len(words) == 1 else words


def _word(token: _Token) -> str | None:
    return None if token.text == "?" and not token.quoted else token.text


def _what(token: _Token) -> str:
    return "nothing" if token.kind == "end" else repr(token.text)


def _refuse(text: str, at: int, why: str) -> NoReturn:
    shown = "".join(" " if character.isspace() else character for character in text)
    raise ConfigError(f"--where: {why}.\n  {shown}\n  {' ' * at}^\nWrite for example --where {EXAMPLE}.")
