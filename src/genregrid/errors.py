"""The one kind of error that is told to the user as a sentence instead of a traceback."""


class UserError(ValueError):
    """A user's mistake or a missing thing: one sentence that says what came, what was expected and the way out.

    ``train.py`` and ``evaluate.py`` print it to standard error and exit with code 2.
    """
