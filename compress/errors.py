"""The one error that users see."""


class CompressError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, and what to do about it."""


class UnavailableError(CompressError):
    """What this machine lacks: a GPU, or a package that is not installed."""
