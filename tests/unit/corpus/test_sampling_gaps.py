"""A log with wide gaps is sampled as evenly as one without."""

from pathlib import Path

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Document


def test_every_seed_takes_others_though_a_few_documents_change_all_the_time(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'corpus.db'}")
    database.migrate()
    corpora = Corpora(database)
    corpora.create("docs")
    corpora.write("docs", [Document(f"cold-{n}", "text") for n in range(400)])
    for revision in range(200):
        corpora.write("docs", [Document(f"hot-{n}", f"text {revision}") for n in range(40)])
    one, other = ({d.id for d in corpora.sample("docs", 50, seed)} for seed in (1, 2))
    assert len(one) == len(other) == 50
    assert len(one & other) < 20  # 6 expected of 440; all 50 where the same ones fill the gaps
    assert {d.id for d in corpora.sample("docs", 50, 1)} == one
    database.close()
