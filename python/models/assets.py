"""Text files that models include as assets."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def asset_file(folder: Path, name: str, lines: Sequence[str]) -> Iterator[str]:
    """A text file beside the model's folder while it is built.

    Graphs keep the path that an asset had, so the file is given as a bare name in the current folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder.parent):
        path = Path(name)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield name
        path.unlink()
