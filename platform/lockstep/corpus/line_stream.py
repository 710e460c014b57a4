"""Lines of a file, plain or gzip, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.errors import InvalidInput

_BUFFER_BYTES = 1 << 18
_BOM = b"\xef\xbb\xbf"


class LineStream:
    """Iterates over the lines of a file; None stands for a line of more than `limit` bytes.

    The mark that some programs put at the start of UTF-8 files is left out. Raises InvalidInput
    where the file cannot be read on: it is truncated, damaged, or not what its name says.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._raw: io.FileIO | None = None
        self.line = 0  # the number of the line given last, from 1

    @property
    def offset(self) -> int:
        """Bytes read of the file as it is stored."""
        return self._raw.tell() if self._raw else 0

    def __iter__(self) -> Iterator[bytes | None]:
        with _readable(self._path, self), self._open() as stream:
            while line := self._next(stream):
                self.line += 1
                if self.line == 1:
                    line = line.removeprefix(_BOM)
                yield line if len(line) <= self._limit else self._skip(stream, line)

    def _next(self, stream: io.BufferedReader) -> bytes:
        return stream.readline(self._limit + 1)

    def _skip(self, stream: io.BufferedReader, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = stream.readline(_BUFFER_BYTES)

    @contextmanager
    def _open(self) -> Iterator[io.BufferedReader]:
        with self._path.open("rb", buffering=0) as raw:
            self._raw = raw
            buffered = io.BufferedReader(raw, _BUFFER_BYTES)
            if self._path.suffix != ".gz":
                yield buffered
                return
            with gzip.GzipFile(fileobj=buffered) as unzipped:
                yield io.BufferedReader(unzipped, _BUFFER_BYTES)


@contextmanager
def _readable(path: Path, stream: LineStream) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise InvalidInput(
            f"'{path}' is truncated: it ends after line {stream.line}, "
            "in the middle of its gzip data.",
            next_step="Copy the file again.",
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(
            f"'{path}' is damaged after line {stream.line}: {error}; expected gzip data.",
            next_step="Copy the file again.",
        ) from error
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be read: {error.strerror or error}.") from error
