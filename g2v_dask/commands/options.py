"""Options of the command line, each defined once, and what commands share."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from g2v_dask.options import Spec, key_of, value_type
from g2v_dask.spec import ClusterSpec

if TYPE_CHECKING:
    from g2v_dask.progress import Display
    from g2v_dask.store import Store

Command = Callable[..., Any]


def store_option(command: Command) -> Command:
    """``--store``, or the environment's."""
    return click.option("--store", required=True, envvar="G2V_STORE", show_envvar=True, help="folder of the store")(
        command
    )


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="print JSON for machines")(command)


def work_options(command: Command) -> Command:
    """The options of every command that runs parts on a cluster."""
    for decorate in (
        click.option("-q", "--quiet", is_flag=True, help="no progress"),
        click.option("--report", metavar="FILE", help="write a Dask performance report (HTML)"),
        click.option("--cluster-workers", type=int, help="local worker processes [one a core]"),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            envvar="DASK_SCHEDULER_ADDRESS",
            show_envvar=True,
            help="local [default], slurm, or a scheduler's address: tcp:// or tls://host:port",
        ),
        json_option,
    ):
        command = decorate(command)
    return command


def spec_options(
    spec: type[Spec], *, argument: str | None = None, leave_out: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """An option for every field of a spec but some; the field named ``argument`` becomes the arguments."""

    def decorate(command: Command) -> Command:
        for field in reversed([f for f in dataclasses.fields(spec) if f.name not in leave_out]):
            for option in _options(field, spec, is_argument=field.name == argument):
                command = option(command)
        return command

    return decorate


def _options(
    field: dataclasses.Field[Any], owner: type[Spec], *, is_argument: bool
) -> list[Callable[[Command], Command]]:
    kind, _ = value_type(field, owner)
    meta = field.metadata
    text = meta["doc"] + (f" ({', '.join(meta['only'].split())})" if meta["only"] else "")
    key = key_of(field).replace("_", "-")
    if is_argument:
        return [click.argument(field.name, nargs=-1, required=True, metavar=f"{key.upper()}...")]
    if meta["flags"]:
        flags = [c for c in meta["choices"] if c != field.default]
        return [
            click.option(f"--{flag}", field.name, flag_value=flag, default=None, help=f"values are {flag}: {text}")
            for flag in flags
        ]
    shown = field.default not in (None, dataclasses.MISSING, "", ()) and kind is not bool
    if shown:
        default: Any = field.default
        default = ",".join(default) if kind is tuple else f"{default:,}" if kind is int else default
        text += f"  [default: {default}]"
    if kind is bool:
        return [click.option(f"--{key}", field.name, is_flag=True, default=None, help=text)]
    if kind is tuple:
        return [click.option(f"--{key}", field.name, callback=_split, metavar="A,B,...", help=text)]
    if key == "k":
        return [click.option("-k", field.name, type=int, default=None, help=text)]
    types: Any = click.Choice(meta["choices"]) if meta["choices"] else kind
    return [click.option(f"--{key}", field.name, type=types, default=None, help=text)]


def _split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(v.strip() for v in value.split(",") if v.strip())


def spec_of(cls: type[Spec], given: dict[str, Any]) -> Spec:
    """A spec of the options that were given."""
    keys = {f.name: key_of(f) for f in dataclasses.fields(cls)}
    return cls.build({keys[name]: value for name, value in given.items() if value is not None})


def cluster_of(address: str | None, workers: int | None, base: ClusterSpec | None = None) -> ClusterSpec | None:
    """The cluster that flags ask for; the spec's own where they say nothing."""
    if address is None and workers is None:
        return base
    spec = base or ClusterSpec()
    return dataclasses.replace(
        spec,
        address=spec.address if address is None else address,
        workers=workers if workers is not None else spec.workers,
    )


def display_of(*, quiet: bool) -> Display:
    from g2v_dask.progress import Display

    return Display(quiet=quiet)


def store_of(url: str) -> Store:
    from g2v_dask.store import Store

    return Store.open(url)


def print_summaries(summaries: list[Any], *, as_json: bool, many: bool) -> NoReturn:
    """Prints what was done, and exits as it went."""
    from g2v_dask import report

    rows = [s.as_json() for s in summaries]
    if as_json:
        click.echo(json.dumps(rows if many else rows[0], indent=1))
    else:
        report.summary_table(rows)
    sys.exit(max((s.exit_code for s in summaries), default=0))
