"""The command line: parse, call, print. Each command loads what it needs when it runs."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import click

from g2v_dask.commands.compare import compare
from g2v_dask.commands.evaluate import evaluate
from g2v_dask.commands.geo import geo
from g2v_dask.commands.goa import goa
from g2v_dask.commands.groups import kmeans
from g2v_dask.commands.maps import map_
from g2v_dask.commands.options import (
    cluster_of,
    display_of,
    json_option,
    print_summaries,
    spec_of,
    spec_options,
    store_of,
    store_option,
    work_options,
)
from g2v_dask.commands.questions import analogy, ask, similar
from g2v_dask.commands.report import report as report_
from g2v_dask.commands.reprocess import reprocess
from g2v_dask.commands.stability import stability
from g2v_dask.commands.store import gc, list_, remove, show, verify
from g2v_dask.commands.tune import tune
from g2v_dask.errors import G2VError, InputError
from g2v_dask.spec import STAGES, ClusterSpec, ImportSpec, RunSpec

# -- commands -----------------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(metadata.version("g2v_dask"))
@click.option("-v", "--verbose", count=True, help="show where an error came from")
def cli(verbose: int) -> None:
    """Gene embeddings from many expression datasets, on Dask.

    \b
    files ─ ingest ▶ expression ┬ pairs ▶ pairs ─ merge ▶ cooccurrence ┬ train ▶ embeddings ┬ index ▶ index
                                └ cooccur ──────────────▶ cooccurrence ┘                    ├ kmeans ▶ groups
                                                                                            ├ map ▶ maps
                                                                                            └ evaluate ▶ evaluations
    then ask: similar, analogy, ask; judge: stability, compare, tune, report; exchange: export, import;
    look: ls, show; tidy: rm, gc.

    A first session:

    \b
      g2v ingest data/*.txt.gz --store work --platforms platforms/
      g2v pairs  --store work --top-k 50
      g2v merge  --store work
      g2v train  --store work --name genes
      g2v index  --store work
      g2v similar CD3E --store work

    Every command may be repeated: what is done is not done again. Exit codes: 0 done, 1 failed,
    2 bad usage or input, 3 done, but some inputs are quarantined ('g2v ls --quarantined').
    """


def _stage_command(stage: str, text: str, argument: str | None = None) -> None:
    """Makes the command of one stage from its spec."""

    @cli.command(stage, help=text)
    @spec_options(STAGES[stage], argument=argument)
    @store_option
    @work_options
    def command(
        *,
        store: str,
        cluster: str | None,
        cluster_workers: int | None,
        report: str | None,
        quiet: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        spec = spec_of(STAGES[stage], given)
        where = cluster_of(cluster, cluster_workers) or ClusterSpec()
        from g2v_dask.flows.pipeline import run_stage

        summary = run_stage(store, spec, cluster=where, display=display_of(quiet=quiet), report=report)
        print_summaries([summary], as_json=as_json, many=False)


_stage_command(
    "ingest",
    "Read expression files into the store: one normalised dataset each.\n\n"
    "Formats, told by their content, plain or gzip: GEO series matrix, GCT 1.2 and 1.3, tables, h5ad. "
    "A dataset that cannot be used is quarantined with its reason, and the rest goes on.",
    argument="files",
)
_stage_command("pairs", "Find all co-expressed gene pairs of each dataset.")
_stage_command("merge", "Count in how many datasets two genes are a pair.")
_stage_command(
    "cooccur",
    "Sum over samples which genes are expressed together: samples as documents, genes as terms.\n\n"
    "Value of two genes = the sum over samples of the product of their read counts; "
    "diagonal (sum of squares - sum) / 2. Takes datasets with read counts.",
)
_stage_command("train", "Learn a vector for every gene.")
_stage_command(
    "profile",
    "Make a vector a gene of expression alone, without training.\n\n"
    "Three components a dataset: whether it measures the gene, the gene's mean expression, its standard deviation.",
)
_stage_command(
    "combine",
    "Make one embedding of several: each one's vectors at unit length, side by side.\n\n"
    "The cosine of two genes is then the mean of their cosines in the EMBEDDINGS. Genes that all of them have.",
    argument="embeddings",
)
_stage_command("index", "Build exact FAISS shards over an embedding.")


@cli.command()
@click.argument("spec")
@work_options
def run(
    *,
    spec: str,
    cluster: str | None,
    cluster_workers: int | None,
    report: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run every stage that a spec file (TOML) asks for.

    It may be stopped at any moment, in any way: the same command goes on where it was.
    """
    loaded = RunSpec.load(spec)
    where = cluster_of(cluster, cluster_workers, loaded.cluster)
    from g2v_dask.flows.pipeline import run_all

    summaries = run_all(loaded, cluster=where, display=display_of(quiet=quiet), report=report)
    print_summaries(summaries, as_json=as_json, many=True)


@cli.command()
@click.argument("spec")
@json_option
def plan(*, spec: str, as_json: bool) -> None:
    """Show what a spec file would run: parts, memory, what is fresh."""
    loaded = RunSpec.load(spec)
    from g2v_dask import report
    from g2v_dask.flows.pipeline import plan_all

    rows = plan_all(loaded)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        shown = [{**row, "note": row.get("reason", row.get("note", ""))} for row in rows]
        report.table(shown, ("stage", "name", "parts", "bytes", "state", "note"))


@cli.command()
@click.argument("file")
@store_option
@click.option("--name", help="embedding to write [the only one]")
def export(*, file: str, store: str, name: str | None) -> None:
    """Write an embedding to FILE, in the format of its extension.

    \b
    .txt .vec      word2vec text               .npz           NumPy: genes, vectors
    .bin           word2vec binary             .npy           NumPy, and the words in STEM.names.txt
    .csv .tsv      table of text, also .gz     .safetensors   a tensor, genes in the metadata
    .parquet       table                       .h5ad          AnnData
    """
    from g2v_dask import exchange, query

    embedding = query.open_embedding(store_of(store), name)
    exchange.write(Path(file), embedding)
    click.echo(f"{embedding.name}: {len(embedding.genes):,} genes × {embedding.vectors.shape[1]} → {file}")


@cli.command("import")
@click.argument("file")
@spec_options(ImportSpec, leave_out=("file",))
@store_option
@json_option
def import_(*, file: str, store: str, as_json: bool, **given: Any) -> None:
    """Take the vectors of FILE into the store as an embedding like any other.

    Formats as in export, told by the extension; what each needs besides:

    \b
    .csv .tsv      first column words, the others numbers; a header is found by itself
    .npy           --names FILE (or STEM.names.txt beside it), or --tokens FILE
    .npz           genes and vectors, or one table and one list of names; of tokens: --tokens FILE
    .safetensors   genes in its metadata, --names or --tokens; --tensor NAME where there are several

    With --tokens and no ids in the file, row i is token i, as in Geneformer's word embeddings; <pad>, <mask>,
    <cls> and <eos> are left out. Words need not be genes.
    """
    from g2v_dask import driver
    from g2v_dask.stages import imported
    from g2v_dask.store import Store

    spec = spec_of(ImportSpec, {"file": file, **given})
    assert isinstance(spec, ImportSpec)
    target = Store.open(store, create=True)
    with target.lock():
        summary = driver.here(imported, imported.plan(target, spec), target)
        for refused in summary.quarantined:  # the one input of the command: an error, not a batch with a loss
            target.pardon("embeddings", refused["name"])
            raise InputError(refused["reason"])
    if not as_json:
        click.echo(imported.sentence(target.get("embeddings", spec.name).facts))
    print_summaries([summary], as_json=as_json, many=False)


ASKING = (similar, analogy, ask, kmeans, map_, stability)
JUDGING = (evaluate, compare, tune, goa, report_)
KEEPING = (list_, show, remove, gc, verify, geo, reprocess)
for command_ in (*ASKING, *JUDGING, *KEEPING):
    cli.add_command(command_)


# -- running ------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """The ``g2v`` program."""
    signal.signal(signal.SIGTERM, _terminated)
    verbose = False
    try:
        context = cli.make_context("g2v", sys.argv[1:])
        verbose = bool(context.params["verbose"])
        with context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; the same command goes on where it was", err=True)
        code = 130
    except G2VError as error:
        click.echo(f"g2v: {error}", err=True)
        code = error.exit_code
        if verbose:
            traceback.print_exc()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        advice = "; make space, and run the same command again" if error.errno == errno.ENOSPC else ""
        click.echo(f"g2v: failed: {error.strerror or error}{where}{advice}", err=True)
        code = 1
        if verbose:
            traceback.print_exc()
    except Exception as error:  # noqa: BLE001  (the last resort: one line; -v shows the rest)
        notes = "".join(f"; {n}" for n in getattr(error, "__notes__", ()))
        click.echo(f"g2v: failed: {type(error).__name__}: {error}{notes} ('g2v -v ...' shows where)", err=True)
        code = 1
        if verbose:
            traceback.print_exc()
    else:
        code = 0
    sys.exit(code)


def _terminated(_number: int, _frame: Any) -> NoReturn:
    """SIGTERM ends like Ctrl-C, with its own code."""
    sys.exit(143)


if __name__ == "__main__":
    main()
