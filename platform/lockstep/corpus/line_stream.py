"""Lines of a file, plain or gzip, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
        self._offset = 0
        self.line = 0  # the number of the line given last, from 1

    @property
    def offset(self) -> int:
        """Bytes read of the file as it is stored."""
        if self._raw is not None and not self._raw.closed:
            self._offset = self._raw.tell()
        return self._offset

    def __iter__(self) -> Iterator[bytes | None]:
        with _readable(self._path, self), self._open() as stream:
            while line := stream.readline(self._limit + len(b"\r\n")):
                self.line += 1
                if len(line.rstrip(b"\r\n")) <= self._limit:
                    yield line.removeprefix(_BOM) if self.line == 1 else line
                else:
                    _pass_over_rest(line, stream)
                    yield None

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        with self._path.open("rb", buffering=0) as raw:
            self._raw = raw
            buffered = io.BufferedReader(raw, _BUFFER_BYTES)
            if self._path.suffix.lower() != ".gz":
                yield buffered
            else:
                with gzip.GzipFile(fileobj=buffered) as unzipped:
                    yield io.BufferedReader(unzipped, _BUFFER_BYTES)
            self._offset = raw.tell()


def _pass_over_rest(line: bytes, stream: BinaryIO) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(_BUFFER_BYTES)


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
