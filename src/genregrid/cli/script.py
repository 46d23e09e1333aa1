"""Run a script's Hydra main and return its exit code: a user's mistake is one sentence, without a traceback."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from traceback import walk_tb

import hydra

from genregrid.cli.argument import check_form, with_hint, with_music
from genregrid.cli.job import Job, Main
from genregrid.cli.mistake import missing_group, mistake_of, output_mistake, print_mistake
from genregrid.cli.override import with_literal_text
from genregrid.config import register_schemas
from genregrid.errors import UserError, is_interruption, printable
from genregrid.training.devices import forget_ranks, is_first_process


def run_script(main: Main, optional_groups: Mapping[str, str], conf: Path, name: str) -> int:
    """Run `main` for each job of the command line.

    Args:
        main: a function of a module, which `Job` calls.
        optional_groups: for each part of the configuration that may be null, an override that fills it.
        conf: the folder of the configuration.
        name: of the primary YAML file.

    Returns:
        The exit code: 0 if every job succeeded, 2 after a user's mistake or a failed job, 130 after ctrl-C.
    """
    forget_ranks()
    os.environ["MPLBACKEND"] = "agg"  # figures are written to files; an unknown name would be an error
    if not is_first_process():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the end
    given = sys.argv[1:]
    if name == "train":
        given = with_music(given)
    sys.argv[1:] = map(with_literal_text, given)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors, instead of printing them and exiting with 1
    if os.environ.get("GENREGRID_DATA") == "":
        del os.environ["GENREGRID_DATA"]  # an empty one would be the root of the file system
    register_schemas()
    job = Job(main)
    try:
        check_form(given, name, conf)
        hydra.main(version_base="1.3", config_path=str(conf), config_name=name)(job)()
        has_failed = job.progress is not None and job.progress.conclude()
        return 2 if has_failed or job.has_failed else 0
    except (Exception, KeyboardInterrupt) as error:
        if is_interruption(error):
            print_mistake(_interruption(job))
            return 130
        mistake = mistake_of(error)
        if isinstance(error, AssertionError | AttributeError) and mistake is None and job.folder is None:
            mistake = missing_group(given, optional_groups)
        if mistake is None and job.folder is None and _is_of_hydra(error):
            mistake = UserError(f"Hydra cannot read the arguments: {printable(str(error))}", hint="see `--help`")
        if isinstance(error, OSError) and mistake is None:  # a folder without write permission, a full disk
            mistake = output_mistake(error, in_grid=job.progress is not None)
        if mistake is None:
            raise
        print_mistake(with_hint(mistake, given, name, conf) if job.folder is None else mistake)
        return 2


def _is_of_hydra(error: BaseException) -> bool:
    """Return whether Hydra or OmegaConf raised an error: they have own errors for most wrong arguments, not for all."""
    frames = list(walk_tb(error.__traceback__))
    module = frames[-1][0].f_globals.get("__name__", "")
    return isinstance(error, ValueError | TypeError | AttributeError) and module.startswith(("hydra.", "omegaconf."))


def _interruption(job: Job) -> UserError:
    hint = None
    if job.progress is not None:
        hint = f"finished jobs are in {job.progress.folder}; {job.progress.how_to_resume}"
    elif job.folder is not None and job.folder.is_dir():  # an empty one was removed
        hint = f"what was written so far is in {job.folder}"
    return UserError("interrupted", hint=hint)
