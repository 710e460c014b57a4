"""How the hits of a search look: two lines of text each, with the words that matched."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.constrain import Constrain
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from lockstep_indexer.cli.facets import facet_tables
from lockstep_indexer.cli.render import note, plural, printable

if TYPE_CHECKING:
    from lockstep.lexical.bm25 import Bm25Settings
    from lockstep.search.highlights import Highlighter, Sentence
    from lockstep.search.request import Hit, SearchResponse
    from lockstep.store.port import Json

MAX_TEXT_WIDTH = 96
TEXT_LINES = 2


def highlighter(settings: "Bm25Settings", query: str) -> "Highlighter":
    from lockstep.lexical.bm25 import Bm25Encoder
    from lockstep.search.highlights import Highlighter

    lexical = Bm25Encoder(settings)
    return Highlighter(lexical.encode_query(query), query, lexical)


def excerpt(text: str, matcher: "Highlighter", length: int) -> Text:
    """The part of a text, about `length` characters, that holds most of the matched words."""
    flat = printable(text)
    start = _best_start([begin for begin, _ in matcher.spans(flat)], len(flat), length)
    cut = flat[start : start + length]
    if start + length < len(flat):
        cut = f"{cut[: cut.rfind(' ')] if ' ' in cut else cut} …"
    shown = Text(f"… {cut}" if start else cut)
    for begin, end in matcher.spans(shown.plain):
        shown.stylize("match", begin, end)
    return shown


def _best_start(begins: list[int], total: int, length: int) -> int:
    """Where a window of `length` characters begins that covers most of the matches."""
    if total <= length or not begins:
        return 0
    lead = length // 5  # some words before the first match
    first = max(begins, key=lambda b: sum(b <= other < b + length - lead for other in begins))
    start = max(0, first - lead)
    return start if first > lead else 0


class Answers:
    """The answers to several queries, laid out for the width there is."""

    def __init__(
        self,
        queries: Sequence[str],
        answers: Sequence["SearchResponse"],
        settings: "Bm25Settings",
        *,
        lag: int,
        first_rank: int,
    ) -> None:
        self._queries = queries
        self._answers = answers
        self._settings = settings
        self._lag = lag
        self._first_rank = first_rank

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, MAX_TEXT_WIDTH)
        for query, answer in zip(self._queries, self._answers, strict=True):
            if len(self._queries) > 1:
                yield Constrain(
                    Rule(Text(printable(query), "name"), align="left", style="faint"), width
                )
            yield from self._hits(query, answer, width)
            yield from _filtered(answer)
            yield from facet_tables(answer)
            yield _footer(answer)
        if self._lag:
            yield note(
                f"{plural(self._lag, 'change')} of the corpus not applied to this index yet."
            )

    def _hits(self, query: str, answer: "SearchResponse", width: int) -> RenderResult:
        matcher = highlighter(self._settings, query)
        if not answer.hits:
            yield Text("Nothing found.", "warn")
        for rank, hit in enumerate(answer.hits, start=self._first_rank):
            yield _head(rank, hit)
            if hit.highlights:
                text = Text(" … ").join(map(_sentence, hit.highlights))
            else:
                text = excerpt(hit.text, matcher, (width - 5) * TEXT_LINES - 4)
            yield Constrain(Padding(text, (0, 0, 0, 5), expand=False), width)
            if hit.explain is not None:
                yield Text(f"     {_explained(hit)}", "faint")
            if hit.boosts is not None:
                yield Text(f"     {_boosted(hit.boosts)}", "faint")
            if hit.rerank is not None:
                yield Text(f"     {_reranked(hit.rerank)}", "faint")


def rendered(
    queries: Sequence[str],
    answers: Sequence["SearchResponse"],
    settings: "Bm25Settings",
    *,
    lag: int,
    first_rank: int,
) -> Answers:
    return Answers(queries, answers, settings, lag=lag, first_rank=first_rank)


def _sentence(sentence: "Sentence") -> Text:
    shown = Text(printable(sentence.text))
    if len(shown.plain) == len(sentence.text):  # else the places have moved
        for begin, end in sentence.terms:
            shown.stylize("match", begin - sentence.start, end - sentence.start)
    return shown


def _head(rank: int, hit: "Hit") -> Text:
    title, name = printable(hit.title), printable(hit.document_id)
    named = title and title != name
    return Text.assemble(
        (f"{rank:>3}  ", "faint"),
        (f"{hit.score:.4f}  ", "command"),
        (title if named else name, "name"),
        (f"  {name}" if named else "", "faint"),
    )


def _explained(hit: "Hit") -> str:
    places = (hit.explain or {}).items()
    return " · ".join(f"{name}: {_place(place)}" for name, place in places)


def _place(place: "Json") -> str:
    added = f"adds {place['weight']:g} × {place['normalised']:.4f} = {place['contribution']:.4f}"
    if place["rank"] is None:
        return f"not ranked, {added}"
    return f"rank {place['rank']}, score {place['score']:.4f}, {added}"


def _boosted(boosts: "Json") -> str:
    parts = (
        f"{p['kind']} of {printable(p['field'])}: {p['weight']:g} × {p['value']:.4f}"
        for p in boosts["parts"]
    )
    return f"base {boosts['base']:.4f} · " + " · ".join(parts)


def _reranked(rerank: "Json") -> str:
    before = f"rank {rerank['rank_before']}, score {rerank['score_before']:.4f} before"
    return f"reranked: {rerank['score']:.4f}, {before}"


def _filtered(answer: "SearchResponse") -> Iterator[Text]:
    """What the filter leaves, where that was asked for: none, or all, is no filter as meant."""
    explain = answer.explain or {}
    matching, passages = explain.get("matching_filter"), explain.get("passages", 0)
    if matching is None:
        return
    whole = plural(passages, "passage")
    if not matching:
        yield note(f"The filter matches none of {whole}: check its keys and values.")
    elif matching == passages:
        yield note(f"The filter matches all of {whole}: it leaves nothing out.")
    else:
        yield Text(f"The filter matches {matching:,} of {whole}.", "faint")


def _footer(answer: "SearchResponse") -> Text:
    took = answer.took_ms
    stages = f"encode {took.encode:.1f}, search {took.search:.1f}"
    models = answer.model_version
    if answer.reranker is not None:
        stages += f", rerank {took.rerank:.1f}"
        models += f" · {answer.reranker}"
    if any(hit.highlights is not None for hit in answer.hits):
        stages += f", highlight {took.highlight:.1f}"
    return Text(f"{answer.index_version} · {models} · {took.total:.1f} ms ({stages})", "faint")
