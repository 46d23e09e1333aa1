"""Search the settings of a model with Optuna, on validation tracks only."""

from importlib.util import find_spec

from genregrid.errors import UserError


def require_optuna() -> None:
    """Check that the extra of a search is installed.

    Raises:
        UserError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise UserError("it needs Optuna", key="sweep", value="optuna", hint='run `pip install -e ".[search]"`')
