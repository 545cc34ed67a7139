"""A docstring -> (body, summary line) as plain prose, or nothing."""

import re

BODY_WORDS = (12, 400)
"""The fewest words of a body that there is something to summarise in, and the most that are kept."""
SUMMARY_WORDS = (3, 25)

_DROPPED = re.compile(
    r"(other )?(param(eter)?s?|arg(ument)?s?|keyword arg(ument)?s?|kwargs|attributes?|returns?|yields?|raises?|warns?|"
    r"receives|examples?|usage|see also|references?|methods|properties|inputs?|outputs?|shape|fields|options|"
    r"literature|seealso|doctest|demo|author|authors|bibliography|citation|todo|\.\.)",
    re.IGNORECASE,
)
_KEPT = re.compile(r"(notes?|explanation|description|details?|summary|warnings?|discussion|algorithm|overview)", re.I)
_UNDERLINE = re.compile(r"^\s*([-=~^*#+\"'`_])\1{2,}\s*$")
_FIELD = re.compile(
    r"^\s*[:@](param|type|arg|return|rtype|raise|raises|var|ivar|cvar|keyword|seealso|except|note)\w*\b"
)
_LISTED = re.compile(r"^\s*([-*+•]|\d+[.)]|\(\w\))\s")
_DEFINED = re.compile(r"^\s*[\w*.,\[\] |]+(\([^)]*\))?\s?:(\s|$)")
_CODE = re.compile(r"^\s*(>>>|\.\.\. |In \[|\$ |#|@|import |from \w+ import |def |class |return |\|.*\||.*[-=+]{4,})")
_ROLE = re.compile(r":[\w:+.-]+:`~?\.?([^`<]*?)(?:\s*<[^>]*>)?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^>]+>`_{0,2}")
_MARKDOWN_LINK = re.compile(r"\[([^\]]+)\]\((?:[^)]+)\)|\[`?([\w.]+)`?\](?:\[[^\]]*\])?")
_PUNCTUATED = re.compile(r"[.!?][\"')\]`]*$")
_WORD = re.compile(r"^[\"'(]*[A-Za-z][A-Za-z'-]*[\"'),.;:!?]*$")


def pair_of(docstring: str) -> tuple[str, str] | None:
    """A cleaned docstring (as `ast.get_docstring` gives it) -> (body, summary), or None when either is no prose.

    The summary is the first paragraph. Of the rest only prose is kept: doctests, code, tables, lists of parameters
    and what stands under headings such as "Returns" or "See Also" are left out.
    """
    paragraphs = _paragraphs(docstring)
    summary = summary_of(docstring) if len(paragraphs) > 1 else None
    if summary is None:
        return None
    body = " ".join(prose for prose in map(plain, _prose(paragraphs[1:])) if prose)
    words = body.split()
    if len(words) < BODY_WORDS[0] or not is_prose(body) or normal(summary) in normal(body):
        return None
    return " ".join(words[: BODY_WORDS[1]]), summary


def summary_of(docstring: str) -> str | None:
    """The first paragraph of a cleaned docstring as plain prose, or None when it is none or no single line's worth."""
    paragraphs = _paragraphs(docstring)
    summary = plain(" ".join(paragraphs[0])) if paragraphs else ""
    fits = SUMMARY_WORDS[0] <= len(summary.split()) <= SUMMARY_WORDS[1]
    return summary if fits and _is_summary(paragraphs[0], summary) else None


def plain(text: str) -> str:
    """Text without the marks of reStructuredText and Markdown, its white space made single spaces."""
    text = _ROLE.sub(lambda found: found[1].rpartition(".")[2] or found[1], text)
    text = _LINK.sub(r"\1", text)
    text = _MARKDOWN_LINK.sub(lambda found: found[1] or found[2], text)
    text = re.sub(r"\[\d+\]_?|\|(\w+)\|", r"\1", text)
    text = re.sub(r"`+|\*\*|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)", "", text)
    text = re.sub(r"(?<=\w)_(?=[\s.,;]|$)", "", text)
    return " ".join(text.split()).removesuffix("::").rstrip(" :")


def normal(text: str) -> str:
    """What two texts have in common when only case, punctuation and spacing differ."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def is_prose(text: str) -> bool:
    """Whether at least three of four words are words of a natural language by their letters, most of them English's."""
    words = text.split()
    spelled = sum(bool(_WORD.match(word)) for word in words)
    return text.isascii() and spelled >= 0.75 * len(words)


def _paragraphs(docstring: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    fenced = False
    for line in docstring.expandtabs().splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            found.append([])
        elif fenced:
            continue
        elif line.strip():
            found[-1].append(line.rstrip())
        else:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


def _is_summary(lines: list[str], summary: str) -> bool:
    if any(_CODE.match(line) or _UNDERLINE.match(line) or _FIELD.match(line) for line in lines):
        return False
    if _heading(lines[0]) is not None or not summary[0].isalpha() or "://" in summary:
        return False
    return is_prose(summary) and not re.match(r"(todo|fixme|deprecated|copyright|usage|see |\w+\()", summary, re.I)


def _heading(line: str) -> str | None:
    """The title of a section, when this line is one by its words."""
    title = line.strip().strip("*#").rstrip(":").strip()
    known = _DROPPED.fullmatch(title) or _KEPT.fullmatch(title)
    return title if known and len(title.split()) <= 3 else None


def _prose(paragraphs: list[list[str]]) -> list[str]:
    """The paragraphs that are running text, joined to one line each."""
    kept: list[str] = []
    dropping = False
    for lines in paragraphs:
        title = _heading(lines[0])
        underlined = len(lines) > 1 and _UNDERLINE.match(lines[1]) is not None
        if title is not None or underlined:
            dropping = not _KEPT.fullmatch(title or lines[0].strip())
            lines = [line.removeprefix("    ") for line in lines[2 if underlined else 1 :]]
        indented = bool(lines) and all(line.startswith("  ") for line in lines)
        if dropping or not lines or indented or lines[0].lstrip().startswith(".. "):
            continue
        lines = _until_table(lines)
        text = " ".join(line.strip() for line in lines)
        if len(text.split()) >= 4 and is_prose(plain(text)):
            kept.append(text if _PUNCTUATED.search(text) else text.rstrip(" :") + ".")
    return kept


def _until_table(lines: list[str]) -> list[str]:
    """The lines before the first that is code, a list's item, a field or a definition."""
    for index, line in enumerate(lines):
        if any(mark.match(line) for mark in (_CODE, _LISTED, _FIELD, _UNDERLINE)):
            return lines[:index]
        if _heading(line) is not None or (_DEFINED.match(line) and len(line.partition(":")[0].split()) < 3):
            return lines[:index]
    return lines
