"""Write a trained model as a file for onnxruntime or torch: ``genregrid export CHECKPOINT onnx|torch``."""

from pathlib import Path

from genregrid.cli.place import given_checkpoint
from genregrid.errors import Options, UserError, command, counted, printable
from genregrid.files import folder_name, home_path
from genregrid.program import command_name


@command(extra="export")
def main(arguments: list[str] | None = None) -> None:
    """Export a checkpoint and print what was written."""
    options = _parser().parse_args(arguments)
    checkpoint, out = given_checkpoint(str(home_path(options.checkpoint))), options.out
    if out is not None:
        _check_free(out, options.overwrite)
    from genregrid.deploy.export import ENDINGS, check_packages, export  # torch takes seconds to import
    from genregrid.models.trained import load_checkpoint
    from genregrid.record.facts import Provenance

    check_packages(options.kind)
    model = load_checkpoint(checkpoint)
    if out is None:
        out = Path(folder_name(Provenance.of(model, checkpoint).facts.cell_name) + ENDINGS[options.kind])
        _check_free(out, options.overwrite)
    done = export(model, options.kind, out)
    print(f"{printable(str(out))}: {done.title}")
    found, size = done.comparison, out.stat().st_size / 1e6
    unstable = f", {counted(found.num_unstable, 'unstable one')} left out" if found.num_unstable else ""
    difference = f"its probabilities differ by at most {found.largest_difference:.1g}"
    print(f"{size:.2f} MB; {difference} on {found.num_windows} random windows{unstable}")
    print("docs/deploy.md shows how to run it without genregrid")


def _parser() -> Options:
    name = command_name("export")
    parser = Options(
        prog=name,
        description="Write a trained model as one file that runs without genregrid (docs/deploy.md).",
        epilog=f"examples: `{name} latest onnx`, `{name} outputs/RUN torch --out genres.pt2`",
    )
    parser.add_argument("checkpoint", help="a checkpoint, the folder of a training, or latest")
    parser.add_argument("kind", choices=["onnx", "torch"], help="for onnxruntime, or for torch (torch.export)")
    parser.add_argument(
        "--out", type=home_path, metavar="FILE", help="the file (by default MODEL-SLICE-SPLIT.onnx or .pt2)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    return parser


def _check_free(out: Path, overwrite: bool) -> None:
    """Refuse a path that cannot be written, before the work begins."""
    if out.is_dir() or not out.name:
        raise UserError("it is a folder; give a file", key="--out", value=out)
    if out.exists() and not overwrite:
        raise UserError("it exists", key="--out", value=out, hint="--overwrite replaces it, or give another file")
    if not out.parent.is_dir():
        raise UserError("its folder is missing", key="--out", value=out, hint="make it, or give another file")
