"""`python -m benchmarks`: measure speed, size and memory, and write data/measured/bench."""

from __future__ import annotations

from typing import Annotated

import typer

from disco_lib.cli import plain_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

NAMES = ("search", "growth", "encoding", "training", "deployment")


@app.command()
@plain_errors
def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(NAMES)}.")] = None,
    documents: Annotated[
        list[int] | None, typer.Option(help="Sizes to search.  [default: 200000 1000000]")
    ] = None,
    peers_limit: Annotated[
        int, typer.Option(help="Documents up to which Lucene, BMP and Seismic are built.")
    ] = 200_000,
) -> None:
    """Run the benchmarks, one after the other; leave the machine alone meanwhile."""
    chosen = only or list(NAMES)
    for name in chosen:
        if name not in NAMES:
            raise typer.BadParameter(f"--only {name}: give one of {', '.join(NAMES)}.")
    if "search" in chosen:
        from benchmarks.search import measure_search

        measure_search(documents or [200_000, 1_000_000], [100, 1000], peers_limit)
    if "growth" in chosen:
        from benchmarks.growth import measure_growth

        measure_growth([10_000, 30_000, 100_000, 300_000, 1_000_000])
    if "encoding" in chosen:
        from benchmarks.encoding import measure_encoding

        measure_encoding()
    if "training" in chosen:
        from benchmarks.training import measure_training

        measure_training([32, 128])
    if "deployment" in chosen:
        from benchmarks.deployment import measure_deployment

        measure_deployment()


if __name__ == "__main__":
    app()
