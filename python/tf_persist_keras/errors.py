"""What the user can put right."""


class ExportError(Exception):
    """The model cannot be exported; the text says why and what to do next."""


def first_line(error: BaseException) -> str:
    """The first line of an error that is not ours, with its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
