"""Errors for problems that the user can solve."""


class ExportError(Exception):
    """The model cannot be exported; the text says why and what to do next."""


def first_line(error: BaseException) -> str:
    """The first line of a foreign error, or its type if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
