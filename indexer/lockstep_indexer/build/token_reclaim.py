"""What the token cache need not keep any longer."""

from collections.abc import Iterator
from dataclasses import replace

from lockstep.bootstrap import Workspace
from lockstep.corpus.change_log import Corpora
from lockstep_indexer.encode.token_cache import TokenCache, folder_of
from lockstep_indexer.encode.token_file import newest_path
from lockstep_indexer.encode.token_upkeep import Forgotten

_UNLIMITED = 1 << 40  # what is to be dropped is not decided by the limit here


def forget_tokens(workspace: Workspace, *, dry_run: bool) -> Forgotten:
    """Drop what belongs to no model version or to no document; all where the cache is off."""
    folder = folder_of(workspace.settings)
    if newest_path(folder) is None:
        return Forgotten()
    kept = workspace.settings.token_cache_gb > 0
    models = {version.digest for version in workspace.models.list()} if kept else set()
    with TokenCache.to_read(folder) if dry_run else TokenCache(folder, _UNLIMITED) as cache:
        forgotten = cache.forget(models, _hashes(workspace.corpora), dry_run=dry_run)
        return replace(forgotten, damaged=cache.damaged)


def _hashes(corpora: Corpora) -> Iterator[str]:
    for name in corpora.names():
        for _, content_hash, _ in corpora.fingerprints(name):
            if content_hash is not None:
                yield content_hash
