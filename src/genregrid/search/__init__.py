"""Search of a model's settings by Optuna, on validation tracks only."""

from importlib.util import find_spec

from genregrid.errors import UserError


def require_optuna() -> None:
    """Refuse to go on without the extra that a search needs.

    Raises:
        UserError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise UserError('sweep=optuna needs Optuna, which is not installed: pip install -e ".[search]".')
