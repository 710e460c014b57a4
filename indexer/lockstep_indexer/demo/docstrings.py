"""The demo's corpus: what the interpreter's own standard library says about itself.

Sources are parsed, never imported, so reading them runs none of their code.
"""

import ast
import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from lockstep.corpus.documents import Document

# Well-known modules, chosen so that questions people really ask have their answers here.
MODULES = (
    "argparse", "ast", "asyncio", "base64", "bisect", "calendar", "collections", "concurrent",
    "configparser", "contextlib", "copy", "csv", "ctypes", "datetime", "decimal", "difflib",
    "email", "enum", "fileinput", "fractions", "ftplib", "functools", "getpass", "glob", "gzip",
    "heapq", "hmac", "html", "http", "imaplib", "importlib", "inspect", "ipaddress", "json",
    "locale", "logging", "lzma", "mailbox", "mimetypes", "multiprocessing", "operator", "os",
    "pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "sched", "secrets",
    "shelve", "shlex", "shutil", "smtplib", "socket", "socketserver", "sqlite3", "ssl",
    "statistics", "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading",
    "timeit", "tkinter", "tokenize", "traceback", "types", "typing", "unittest", "urllib", "uuid",
    "venv", "warnings", "weakref", "xml", "zipfile", "zoneinfo",
)  # fmt: skip
MIN_CHARS = 80


def read_docstrings(library: Path | None = None) -> Iterator[Document]:
    """One document for each public class or function that explains itself, modules first."""
    library = library or Path(sysconfig.get_path("stdlib"))
    for module in MODULES:
        for path in _sources(library, module):
            name = ".".join(path.relative_to(library).with_suffix("").parts)
            yield from _module_documents(name.removesuffix(".__init__"), path)


def _sources(library: Path, module: str) -> Iterator[Path]:
    if (path := library / f"{module}.py").is_file():
        yield path
    elif (folder := library / module).is_dir():
        yield from sorted(
            p for p in folder.rglob("*.py") if "test" not in p.relative_to(library).parts[1]
        )


def _module_documents(module: str, path: Path) -> Iterator[Document]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # the library ships files that are broken on purpose
        return
    seen: set[str] = set()
    for name, node in _walk(module, tree):
        docstring = inspect.cleandoc(ast.get_docstring(node) or "")
        if len(docstring) >= MIN_CHARS and name not in seen:
            seen.add(name)
            yield Document(
                id=name,
                title=name,
                text=docstring,
                metadata={"module": module.split(".")[0], "kind": _KINDS[type(node)]},
            )


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_KINDS: dict[type, str] = {
    ast.Module: "module",
    ast.ClassDef: "class",
    ast.FunctionDef: "function",
    ast.AsyncFunctionDef: "function",
}


def _walk(name: str, node: Documented) -> Iterator[tuple[str, Documented]]:
    """A node and what is public within it, by dotted names."""
    yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, Documented) and not child.name.startswith("_"):
                yield from _walk(f"{name}.{child.name}", child)
