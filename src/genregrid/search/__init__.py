"""Search of a model's settings by Optuna, on validation tracks only."""

from importlib.util import find_spec

from genregrid.errors import UserError

if find_spec("optuna") is None:
    raise UserError('sweep=optuna needs Optuna, which is not installed: pip install -e ".[search]".')
