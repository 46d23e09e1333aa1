"""Add conf/ to the wheel, as genregrid/conf; pyproject.toml has everything else.

An editable installation does not copy it: it uses the folder of the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Copies conf/ beside the modules."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "genregrid", "conf")
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build, with files that were removed since
            shutil.copytree("conf", target)


setup(cmdclass={"build_py": BuildWithConf})
