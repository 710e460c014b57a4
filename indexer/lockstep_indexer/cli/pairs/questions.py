"""`lockstep pairs questions`: a language model asks what passages of a corpus answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType

from lockstep_indexer.cli.options import CorpusArgument, command
from lockstep_indexer.cli.pairs.written import OutputOption
from lockstep_indexer.cli.render import done, facts, next_step, note, plural
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.settings import Settings
    from lockstep_indexer.train.questions.budget import Budget
    from lockstep_indexer.train.questions.endpoint import ChatEndpoint
    from lockstep_indexer.train.questions.generate import Choice, Generated
    from lockstep_indexer.train.questions.prompt import Prompt


def questions(
    session: Session,
    corpus: CorpusArgument,
    output: OutputOption,
    max_requests: Annotated[
        int, typer.Option(metavar="N", help="Spend cap of this run: requests, failed ones too.")
    ] = 2000,
    max_tokens: Annotated[
        int,
        typer.Option(metavar="N", help="Spend cap of this run: tokens asked and answered."),
    ] = 2_000_000,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Of an API like OpenAI's. By default setting chat_url."),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The language model. By default setting chat_model."),
    ] = None,
    passages: Annotated[
        int, typer.Option(metavar="N", help="To ask about, at most; drawn at random.")
    ] = 1000,
    count: Annotated[int, typer.Option(metavar="N", help="Questions for each passage.")] = 3,
    prompt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to ask, with {count} and {passage} to be put in.",
        ),
    ] = None,
    round_trip: Annotated[
        Literal["model", "bm25", "none"],
        typer.Option(help="By what a question must find its own passage to be kept."),
    ] = "model",
    k: Annotated[
        int, typer.Option("--k", metavar="N", help="Among how many hits it must find it.")
    ] = 10,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="The model that cuts passages and searches them. By default the live version's.",
        ),
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET",
            help="A BEIR folder, or the name of imported judged queries, whose answers are not "
            "asked about: what you evaluate by.",
        ),
    ] = None,
    held_out_split: Annotated[str, typer.Option(help="Which judgments to hold out.")] = "test",
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Requests under way at once.")
    ] = 4,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="For one answer to come.")
    ] = 60.0,
    language: Annotated[str, typer.Option(help="Of BM25's words.")] = "english",
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is drawn at random.")] = 7,
) -> None:
    """Have a language model write questions, as pairs.

    The key comes from the environment: LOCKSTEP_CHAT_API_KEY. Answers are kept in the workspace as
    they come, so that a run that was stopped goes on where it was and pays for nothing twice.
    Questions that are no good, or do not find their own passage, are thrown away and counted.
    """
    from lockstep_indexer.train.data.row_files import pair_rows, require_writable, write_rows
    from lockstep_indexer.train.negatives.held_out import judged_documents
    from lockstep_indexer.train.questions.budget import Budget
    from lockstep_indexer.train.questions.generate import Choice, RoundTrip
    from lockstep_indexer.train.questions.run import Listener, ask_about

    choice = Choice(
        passages=passages, round_trip=RoundTrip(round_trip), k=k, language=language, seed=seed
    )
    budget = Budget(max_requests, max_tokens)
    asked = _prompt(prompt, count)
    require_writable(output, apart_from=[prompt] if prompt else [])
    with session.workspace() as workspace, session.bars() as bars:
        generated = ask_about(
            workspace,
            corpus,
            _endpoint(workspace.settings, url, llm, timeout_s),
            asked,
            budget,
            choice,
            model=model,
            concurrency=concurrency,
            held_out=judged_documents(workspace, corpus, held_out or [], held_out_split),
            listener=Listener(stage=bars.stage, report=bars.counted),
        )
        _require_any(generated, budget)
        write_rows(output, pair_rows(generated.data), generated.data.lineage)
    session.show(
        _json(generated, budget, output), *_rendered(generated, budget, choice, corpus, output)
    )


def _endpoint(
    settings: "Settings", url: str | None, llm: str | None, timeout_s: float
) -> "ChatEndpoint":
    from lockstep_indexer.train.questions.endpoint import ChatEndpoint

    key = settings.chat_api_key
    return ChatEndpoint(
        url if url is not None else settings.chat_url,
        llm if llm is not None else settings.chat_model,
        key.get_secret_value() if key else None,
        timeout_s=timeout_s,
    )


def _prompt(path: Path | None, count: int) -> "Prompt":
    from lockstep.errors import InvalidInput
    from lockstep_indexer.train.questions.prompt import Prompt

    if path is None:
        return Prompt(count=count)
    try:
        return Prompt(path.read_text(encoding="utf-8"), count)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The prompt '{path}' is not UTF-8; expected text.") from error


def _require_any(generated: "Generated", budget: "Budget") -> None:
    from lockstep.errors import InvalidInput

    if len(generated.data):
        return
    told = ", ".join(f"{count:,} {flaw}" for flaw, count in generated.flaws.most_common())
    refused = generated.asked.last_refusal
    cap = f"the spend cap of {budget.reached} was reached" if budget.reached else ""
    why = "; ".join(filter(None, [told, cap, refused and f"the endpoint refused: {refused}"]))
    raise InvalidInput(
        f"Not one question is left of {plural(len(generated.asked.answers), 'answer')}: "
        f"{why or 'the answers held none'}. Nothing was written.",
        next_step="Look at what the model answers, raise --k or the caps, or take --round-trip "
        "none.",
    )


def _json(generated: "Generated", budget: "Budget", output: Path) -> Json:
    asked = generated.asked
    return {
        "output": str(output),
        "fingerprint": generated.data.fingerprint,
        "pairs": len(generated.data),
        "passages": generated.passages,
        "answered": len(asked.answers),
        "cached": asked.cached,
        "refused": asked.refused,
        "thrown_away": {str(flaw): count for flaw, count in generated.flaws.items()},
        "spent": budget.to_json(),
        "lineage": generated.data.lineage,
    }


def _rendered(
    generated: "Generated", budget: "Budget", choice: "Choice", corpus: str, output: Path
) -> list[RenderableType]:
    asked = generated.asked
    told = ", ".join(f"{count:,} {flaw}" for flaw, count in generated.flaws.most_common())
    spent = f"{plural(budget.requests, 'request')}, {plural(budget.tokens, 'token')}"
    if budget.estimated:
        spent += f" (of them {budget.estimated:,} estimated)"
    parts: list[RenderableType] = [
        done(f"{output}: {plural(len(generated.data), 'question')} with their passages"),
        facts(
            [
                ("passages", f"{len(asked.answers):,} of {generated.passages:,} answered"),
                ("kept from before", f"{asked.cached:,}" if asked.cached else ""),
                ("thrown away", told or "none"),
                ("round trip", f"{choice.round_trip}, among the first {choice.k}"),
                ("spent", spent),
            ]
        ),
    ]
    if asked.refused:
        parts.append(
            note(f"{plural(asked.refused, 'passage')} refused, the last: {asked.last_refusal}")
        )
    if budget.reached:
        parts.append(
            note(
                f"The spend cap of {budget.reached} was reached. Run it again to go on: "
                "what was answered is kept."
            )
        )
    mine = f"lockstep mine {corpus} --pairs {output} --output negatives.jsonl"
    return [*parts, next_step(mine, "Find hard negatives")]


def add_to(pairs: typer.Typer) -> None:
    example = "lockstep pairs questions docs --passages 500 --output questions.jsonl"
    command(pairs, "questions", example=example)(questions)
