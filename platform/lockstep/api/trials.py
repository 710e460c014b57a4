"""Trials: letting live traffic meet a version before it is promoted."""

from fastapi import APIRouter

from lockstep.api.caller import AdminCaller
from lockstep.api.problems import documented
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas.trials import StopTrialBody, TrialBody, TrialView
from lockstep.index.trials import Trial
from lockstep.search.trial_report import TrialReport

router = APIRouter(prefix="/v1/corpora/{corpus}/trial", tags=["trials"])


@router.post("", status_code=201, responses=documented(404, 409, 413, 415, 422, 500, 503, 507))
def start(corpus: str, body: TrialBody, running: RunningDep, _: AdminCaller) -> TrialView:
    """Let a share of the live searches meet a candidate or retired version; 409 while one does.

    Every server follows within a second, once it has loaded the version. The trial ends when a
    version goes live or this one is dropped, and stops where a limit is passed.
    """
    workspace = running.workspace
    live = workspace.rollouts.live(corpus)
    trial = workspace.trials.start(live, body.version, body.exposure(), reason=body.reason)
    running.traffic.watch.wake()
    return _view(running, trial)


@router.get("", responses=documented(404, 503))
def show(corpus: str, running: RunningDep, _: AdminCaller) -> TrialView:
    """The running trial of a corpus, or the last one, with what it has shown so far."""
    running.workspace.corpora.info(corpus)  # raises CorpusNotFound
    return _view(running, running.workspace.trials.latest(corpus))


@router.delete("", responses=documented(404, 413, 415, 422, 500, 503, 507))
def stop(
    corpus: str, running: RunningDep, _: AdminCaller, body: StopTrialBody | None = None
) -> TrialView:
    """End the running trial: every search is answered by the live version again."""
    running.workspace.corpora.info(corpus)  # raises CorpusNotFound
    trial = running.workspace.trials.stop(corpus, reason=body.reason if body else "")
    running.traffic.watch.wake()
    return _view(running, trial)


def _view(running: Running, trial: Trial) -> TrialView:
    workspace = running.workspace
    return TrialView.of(TrialReport.of(workspace.trials, workspace.query_log, trial))
