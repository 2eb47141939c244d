"""The `disco` command: every step from a data set to a verdict."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from tqdm.auto import tqdm

from disco_lib.errors import DiscoError

app = typer.Typer(
    name="disco",
    help="Distil LLM query rewriting into fast conversational retrievers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(
    help="Data sets: what there is, and whether it is sound.", no_args_is_help=True
)
app.add_typer(data_app, name="data")

#: A hub id, OWNER/NAME; what else names no folder is a mistake, and need not go over the network.
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

#: The encoders that install as wheels.
ENCODERS = ("splade-tiny", "minilm")

Data = Annotated[
    str, typer.Option("--data", help="A data set's name, or any folder of the native form.")
]
Split = Annotated[str, typer.Option(help="Which turns: the SPLIT of turns_SPLIT.jsonl.")]
Model = Annotated[str, typer.Option(help='"splade-tiny", a folder, or a hub id.')]
Out = Annotated[Path, typer.Option(help="What to write; an unfinished one is gone on with.")]
Tier = Annotated[str, typer.Option(help="Settings to start from: mini, qrecc, paper.")]
Length = Annotated[int, typer.Option(help="Longest text in tokens, special tokens included.")]


def plain_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A user's mistake ends in one line on stderr and exit status 2, an interruption in 130."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except DiscoError as error:
            typer.echo(f"disco: {error}", err=True)
            raise typer.Exit(2) from error
        except BrokenPipeError:
            raise  # typer ends quietly where the reader, as in `disco claims | head`, has gone
        except OSError as error:
            # A failed renaming has two names, and the user knows the second.
            names = (name for name in (error.filename2, error.filename) if name is not None)
            where = next((f"{name}: " for name in names), "")
            typer.echo(
                f"disco: {where}{error.strerror or error}. Check the path, its permissions and "
                "the room on the disk.",
                err=True,
            )
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.echo("disco: interrupted; the same command goes on from here.", err=True)
            raise typer.Exit(130) from error

    return run


@data_app.command("list")
@plain_errors
def data_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON objects.")] = False,
) -> None:
    """List the data sets: those that ship, and those below $DISCO_DATA."""
    from disco_lib.datasets import list_datasets

    rows = list_datasets()
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        _print_mapping(row)
        typer.echo("")


@data_app.command("verify")
@plain_errors
def data_verify(
    name: Annotated[str | None, typer.Argument(help="A data set's name.")] = None,
    data: Annotated[str | None, typer.Option(help="Any folder of the native form.")] = None,
) -> None:
    """Check a data set and print every check as a table; exit status 1 when one fails."""
    from disco_lib.datasets import load
    from disco_lib.verification import verify

    if (name is None) == (data is None):
        raise DiscoError("Give a data set's name or --data FOLDER, one of them.")
    checks = verify(load(name or data))
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = "ok   " if check.ok else "FAULT"
        typer.echo(f"{mark}  {check.name:<{width}}  {check.value}  {check.note}".rstrip())
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
@plain_errors
def rewrite(
    data: Data,
    name: Annotated[str, typer.Option(help="What to call the rewrites: rewrites.NAME.")],
    out: Annotated[
        Path, typer.Option(help="The data set's own folder, or a new one for a copy of it.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help='"smollm2", a folder, a .gguf file, a hub id; or "hqe", without a model.'
        ),
    ] = "smollm2",
    prompt: Annotated[
        str | None, typer.Option(help="A prompt's name or YAML file; disco-chat if none.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; again for more; all if none.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: exchanges, max_new_tokens, dtype, topic, ..."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Turns a batch.")] = 16,
) -> None:
    """Rewrite every turn's utterance and store the rewrites; killed, the same command goes on."""
    from disco_lib.datasets import load
    from disco_lib.rewrites import check_target, read_notes, store_rewrites
    from disco_lib.storage import cache_root, settings_hash, sole_writer

    collection = load(data)
    splits = list(dict.fromkeys(split or collection.splits))
    turns = {name: collection.iter_turns(name) for name in splits}
    check_target(collection.folder, out, name)
    there = {n for s in collection.splits for n in collection.turns(s).features["rewrites"]}
    if name in there and name not in read_notes(collection.folder):
        raise DiscoError(
            f"--name {name}: {collection.folder} has such rewrites, which no program made; they "
            "would be lost. Choose another name."
        )
    values = _settings_of(setting or [])
    rewriter = _rewriter(model, prompt, values, collection)

    from disco_lib.rewriting import note_of, rewrite_turns

    flat = [turn for rows in turns.values() for turn in rows]
    texts = rewrite_turns(rewriter, flat, batch_size)
    found = {name: {t.turn_id: texts[t.turn_id] for t in rows} for name, rows in turns.items()}
    options = [f"--model {model}", *([f"--prompt {prompt}"] if prompt else [])]
    options += [f"--split {name}" for name in split or []]
    options += [f"--set {change}" for change in setting or []]
    options += [f"--batch-size {batch_size}"] if batch_size != 16 else []
    # A note travels with the data: of a whole path it keeps the last name.
    place = out.name if out.is_absolute() else out
    start = f"disco rewrite --data {collection.name} --name {name} --out {place}"
    command = " ".join([start, *options])
    note = note_of(rewriter, command, model, flat, texts)
    with sole_writer(cache_root() / "stores" / settings_hash({"out": str(out.resolve())})):
        store_rewrites(collection.folder, out, name, found, note)
    typer.echo(f"{out}: {len(flat)} rewrites {name!r}, {note['unchanged']} as the utterance was")


@app.command()
@plain_errors
def teach(
    data: Data,
    out: Out,
    rewrite: Annotated[list[str], typer.Option(help="A rewrite's name; again for a mean.")],
    split: Split = "train",
    model: Model = "splade-tiny",
    depth: Annotated[int, typer.Option(min=1, help="Documents kept for each turn.")] = 1000,
    missing: Annotated[
        str, typer.Option(help="A document one teacher lacks: rescore, available or zero.")
    ] = "rescore",
    max_length: Length = 192,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write DiSCo's form, FILE.json, too.")
    ] = None,
    trec: Annotated[Path | None, typer.Option(help="Write a TREC run, FILE.trec, too.")] = None,
) -> None:
    """Score each turn's best documents with a teacher: a rewrite, read by an encoder."""
    from disco_lib.datasets import load

    _check_suffix("--json", json_file, ".json")
    _check_suffix("--trec", trec, ".trec")
    collection = load(data)
    _check_rewrites(collection, split, rewrite)
    _check_length(max_length)

    from disco_lib.storage import sole_writer
    from disco_lib.teachers import FORMAT, MISSING
    from disco_lib.teachers import teach as run_teacher

    if missing not in MISSING:
        raise DiscoError(f"--missing {missing}: give one of {', '.join(MISSING)}.")
    if out.suffix not in (".json", ".trec"):
        _check_out(out, FORMAT)
    encoder = _encoder(model)
    run = run_teacher(collection, split, rewrite, encoder, depth, missing, max_length, True)
    for path in (out, json_file, trec):
        if path is not None:
            with sole_writer(path):
                run.save(path)
    typer.echo(f"{out}: {len(run)} turns, up to {run.documents.shape[1]} documents each")


@app.command()
@plain_errors
def distil(
    data: Data,
    teacher: Annotated[
        Path, typer.Option(help="What `disco teach` wrote, or a .json or .trec run.")
    ],
    out: Out,
    split: Split = "train",
    model: Model = "splade-tiny",
    tier: Tier = "mini",
    system: Annotated[
        str | None, typer.Option(help="A student of the tier, for its settings.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE over the tier's, as in epochs=3; VALUE is YAML."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides order, samples and dropout.")] = 1,
    save_steps: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
) -> None:
    """Train a student on a teacher's scores; killed, the same command goes on exactly."""
    from disco_lib.datasets import load

    collection = load(data)

    from disco_lib.teachers import DistillationRun
    from disco_lib.training import FORMAT
    from disco_lib.training import distil as run_distillation

    settings = _distil_settings(tier, system, setting or [], seed)
    _check_out(out, FORMAT)
    run = DistillationRun.load(teacher, collection.pids)
    student = _encoder(model)
    run_distillation(student, collection, run, settings, out, split, save_steps=save_steps)
    typer.echo(f"{out}: student of {len(run)} turns, seed {seed}")


@app.command()
@plain_errors
def blend(
    students: Annotated[list[Path], typer.Argument(help="Folders that `disco distil` wrote.")],
    out: Out,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the model that the students started from.")
    ] = 0.15,
    model: Model = "splade-tiny",
) -> None:
    """Average the weights of students and of the model that they started from."""
    from disco_lib.blend import FORMAT, blend_folders

    _check_out(out, FORMAT)
    blend_folders(students, _encoder(model), share, out)
    typer.echo(f"{out}: blend of {len(students)} students, {share:g} of the start")


@app.command()
@plain_errors
def encode(
    data: Data,
    out: Out,
    model: Model = "splade-tiny",
    split: Annotated[
        str | None, typer.Option(help="Encode the turns of this split; without it, passages.")
    ] = None,
    input: Annotated[
        str, typer.Option(help="utterance, questions, conversation or rewrite:NAME.")
    ] = "conversation",
    max_length: Length = 192,
    shard: Annotated[
        int, typer.Option(min=1, help="Texts that an interruption costs at most.")
    ] = 2048,
) -> None:
    """Encode passages, or what a system reads of each turn, into a folder of vectors."""
    from disco_lib.conversations import Limits, context_ids
    from disco_lib.datasets import load
    from disco_lib.vectors import FORMAT, encode_to

    _check_length(max_length)
    _check_out(out, FORMAT)
    collection = load(data)
    turns = [] if split is None else _turns_with(collection, split, input)
    encoder = _encoder(model)
    if split is None:
        texts, ids = collection.passage_texts(), collection.pids
    else:
        limits = Limits(total=max_length, utterance=min(64, max_length - 2))
        bar = tqdm(turns, desc="tokenise", unit=" turns", delay=2)
        texts = [context_ids(turn, input, encoder.tokenizer, limits) for turn in bar]
        ids = [turn.turn_id for turn in turns]
    vectors = encode_to(out, encoder, texts, ids, max_length, shard=shard)
    typer.echo(f"{out}: {vectors.rows.shape[0]} vectors, {vectors.rows.nnz} active terms")


@app.command()
@plain_errors
def index(
    vectors: Annotated[Path, typer.Argument(help="A folder that `disco encode` wrote.")],
    out: Annotated[Path, typer.Option(help="The index's folder to write.")],
    storage: Annotated[
        str, typer.Option(help="float32, exact; or uint8, a third of the bytes.")
    ] = "float32",
) -> None:
    """Build an inverted index of passage vectors."""
    from disco_lib.index import FORMAT, InvertedIndex
    from disco_lib.storage import sole_writer
    from disco_lib.vectors import load_vectors

    _check_out(out, FORMAT)
    stored = load_vectors(vectors)
    built = InvertedIndex.build(stored.rows, stored.ids, storage, progress=True)
    with sole_writer(out):
        built.save(out)
    typer.echo(f"{out}: {len(stored.ids)} documents, {stored.rows.nnz} postings")


@app.command()
@plain_errors
def search(
    index: Annotated[Path, typer.Argument(help="A folder that `disco index` wrote.")],
    queries: Annotated[Path, typer.Option(help="Query vectors that `disco encode` wrote.")],
    out: Annotated[Path, typer.Option(help="The TREC run to write.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Documents a query.")] = 1000,
    tag: Annotated[str, typer.Option(help="The run's name in its last column.")] = "disco",
) -> None:
    """Find the k best documents of every query, exactly, and write a TREC run."""
    from disco_lib.index import InvertedIndex
    from disco_lib.runs import write_trec
    from disco_lib.storage import sole_writer
    from disco_lib.vectors import load_vectors

    stored, opened = load_vectors(queries), InvertedIndex.load(index)
    if stored.rows.shape[1] != opened.vocabulary_size:
        raise DiscoError(
            f"{queries}: vectors of {stored.rows.shape[1]} dimensions, but {index} has "
            f"{opened.vocabulary_size}. Encode both with models of one vocabulary."
        )
    run = opened.search(stored.rows, k, stored.ids)
    with sole_writer(out):
        write_trec(run, out, tag)
    typer.echo(f"{out}: {len(stored.ids)} queries")


@app.command()
@plain_errors
def evaluate(
    run: Annotated[Path, typer.Argument(help="A TREC run.")],
    data: Data,
    split: Split = "test",
    later_turns: Annotated[bool, typer.Option(help="Only turns that have a history.")] = True,
    with_rewrite: Annotated[
        str | None, typer.Option(help="Only turns that have this rewrite.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    per_turn: Annotated[Path | None, typer.Option(help="Write per-turn values here.")] = None,
) -> None:
    """Evaluate a run, with and without the conversation's own earlier answers in the ranking."""
    from disco_lib.datasets import load
    from disco_lib.metrics import evaluate as run_metrics
    from disco_lib.metrics import remove_earlier_answers
    from disco_lib.runs import read_trec, run_from_dict
    from disco_lib.storage import write_json

    collection = load(data)
    if with_rewrite is not None:
        _check_rewrites(collection, split, [with_rewrite])
    qrels, results = collection.qrels(split), read_trec(run)
    judged = {t for t, grades in qrels.to_dict().items() if any(g > 0 for g in grades.values())}
    turns = [
        turn
        for turn in collection.iter_turns(split)
        if turn.turn_id in judged
        and (turn.history or not later_turns)
        and (with_rewrite is None or turn.rewrites.get(with_rewrite, "").strip())
    ]
    names = [turn.turn_id for turn in turns]
    if not names:
        raise DiscoError(
            f"{data}: no judged turn of {split!r} is left to evaluate. Try --no-later-turns, or "
            "another split."
        )
    if results and not results.keys() & set(names):
        raise DiscoError(
            f"{run}: ranks none of the {len(names)} turns of {split!r} in {data}. Give the split "
            "that it was searched for."
        )
    ranking = run_from_dict(results)
    texts = {row["pid"]: row["text"] for row in collection.passages}
    for turn, found in results.items():
        foreign = next((pid for pid in found if pid not in texts), None)
        if foreign is not None:
            raise DiscoError(
                f"{run}: turn {turn!r} lists {foreign!r}, which {data} does not hold. Give the "
                "data set that the run was searched in."
            )
    removed = run_metrics(qrels, remove_earlier_answers(ranking, turns, texts), turn_ids=names)
    kept = run_metrics(qrels, ranking, turn_ids=names)
    result = {"turns": len(names), "removed": removed.mean(), "kept": kept.mean()}
    if per_turn is not None:
        write_json(
            per_turn,
            {"turn_ids": names, "removed": {m: v.tolist() for m, v in removed.values.items()}},
        )
    if as_json:
        _print_json(result)
        return
    typer.echo(f"{len(names)} turns            " + "".join(f"{m:>8}" for m in kept.values))
    for label, values in (("earlier answers removed", removed), ("earlier answers kept", kept)):
        typer.echo(f"{label:<24}" + "".join(f"{x:8.4f}" for x in values.mean().values()))


@app.command()
@plain_errors
def measure(
    tier: Tier = "mini",
    system: Annotated[
        list[str] | None, typer.Option(help="Only this system; again for more.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure although there is a record.")
    ] = False,
    dense: Annotated[
        bool, typer.Option("--dense", help="The dense systems and grids, instead of the others.")
    ] = False,
) -> None:
    """Run the systems of a tier that have no record yet, and write data/measured/TIER/*.json."""
    from disco_lib.dense_experiments import DenseLaboratory
    from disco_lib.experiments import Laboratory
    from disco_lib.tiers import load_tier

    settings = load_tier(tier)
    if dense and not settings.dense_systems:
        raise DiscoError(f"--dense: tier {tier} has no dense systems. Leave it out.")
    chosen = system or list(settings.dense_systems if dense else settings.systems)
    for name in chosen:
        settings.system(name)  # an unknown name is told now, not after hours
    plain, pairs = Laboratory(settings), functools.cache(lambda: DenseLaboratory(settings))
    for name in chosen:
        laboratory = pairs() if settings.is_dense(name) else plain
        record = laboratory.measure(name, publish=True, again=again)
        numbers = "  ".join(f"{m} {record.mean(m):.4f}" for m in ("MRR@10", "R@10", "R@100"))
        typer.echo(f"{name:<32} {numbers}  ({len(record.turn_ids)} turns)")


@app.command()
@plain_errors
def claims(
    tier: Annotated[list[str] | None, typer.Option(help="Only this tier; again for more.")] = None,
    paper: Annotated[list[str] | None, typer.Option(help="Only this paper.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
) -> None:
    """Print the verdict of every published claim on every tier that has records."""
    from disco_lib.claims import tiers_measured, verdicts
    from disco_lib.tiers import tier_names

    measured = tiers_measured()
    for name in tier or []:
        if name not in {*measured, *tier_names()}:
            raise DiscoError(
                f"No tier {name!r}; there are: {', '.join(tier_names())}; with records: "
                f"{', '.join(measured) or 'none'}. Choose one of these."
            )
    rows = [verdict.to_dict() for verdict in verdicts(tier, paper)]
    if as_json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("disco: no tier has records yet; `disco measure` makes them.", err=True)
    for row in rows:
        typer.echo(f"{row['tier']:<6} {row['verdict']:<18} {row['id']}{_first_comparison(row)}")
        typer.echo(f"       {row['statement']} ({row['where']})")


def _first_comparison(row: dict[str, Any]) -> str:
    """The effect of a claim's first comparison and how it reads; why there is none."""
    if row["effect"] is None:
        return f"  ({row['why']})" if row["why"] else ""
    first, *others = row["comparisons"]
    more = f", and {len(others)} more" if others else ""
    effect = f"effect {row['effect']:+.4f} {row['interval']}"
    return f"  {effect}: {first['reads']} in {first['metric']}{more}"


def _distil_settings(tier: str, system: str | None, changes: list[str], seed: int) -> Any:
    from disco_lib.experiments import NOT_DISTIL
    from disco_lib.tiers import load_tier
    from disco_lib.training import DistilSettings

    settings = load_tier(tier)
    values = dict(settings.distil)
    if system is not None:
        own = settings.system(system)
        values |= {key: value for key, value in own.items() if key not in NOT_DISTIL}
    if any(change.partition("=")[0].strip() == "epochs" for change in changes):
        values.pop("steps", None)  # the tier's steps would outrank the epochs asked for
    values |= _settings_of(changes)
    if "seed" in values:
        raise DiscoError(f"--set seed={values['seed']}: write --seed {values['seed']} instead.")
    return DistilSettings.from_dict({**values, "seed": seed})


def _settings_of(changes: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE texts as a mapping, each value read as YAML."""
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise DiscoError(f"--set {change!r}: write NAME=VALUE.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or "malformed"
            raise DiscoError(
                f"--set {change!r}: the value is not YAML ({problem}). Close its brackets and "
                "quotes."
            ) from error
    return values


def _rewriter(model: str, prompt: str | None, values: dict[str, Any], collection: Any) -> Any:
    kinds = (
        {"topic": float, "subtopic": float, "window": int, "ambiguous": float}
        if model == "hqe"
        else {
            "exchanges": int,
            "max_new_tokens": int,
            "max_prompt": int,
            "keep_utterance": bool,
            "dtype": str,
        }
    )
    for name, value in values.items():
        if name not in kinds:
            raise DiscoError(f"--set {name}: unknown; there are {', '.join(kinds)} for {model}.")
        allowed = (int, float) if kinds[name] is float else kinds[name]
        if isinstance(value, bool) != (kinds[name] is bool) or not isinstance(value, allowed):
            raise DiscoError(f"--set {name}={value}: give {_KINDS[kinds[name]]}.")
    if model == "hqe":
        if prompt is not None:
            raise DiscoError("--prompt: historical query expansion has none. Leave it out.")
        from disco_lib.expansion import HistoricalExpansion

        return HistoricalExpansion(collection.passage_texts(), **values)
    if model in ENCODERS or not _is_model(model):
        raise DiscoError(
            f"--model {model}: no language model. Give 'smollm2', 'hqe', a folder, a .gguf file, "
            "or a hub id OWNER/NAME."
        )

    from disco_lib.rewriting import LanguageModelRewriter

    return LanguageModelRewriter.from_pretrained(model, prompt or "disco-chat", **values)


_KINDS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


def _is_model(model: str) -> bool:
    from disco_lib.weights import WEIGHTS

    path = Path(model)
    hub_id = HUB_ID.fullmatch(model) and not path.parent.is_dir()
    return model in WEIGHTS or path.is_dir() or path.is_file() or bool(hub_id)


def _encoder(model: str) -> Any:
    if model not in ENCODERS and (not _is_model(model) or Path(model).is_file()):
        raise DiscoError(
            f"--model {model}: no such folder. Give {', '.join(map(repr, ENCODERS))}, a folder "
            "written by `disco distil`, or a hub id OWNER/NAME."
        )

    from disco_lib.encoders import SpladeEncoder

    return SpladeEncoder.from_pretrained(model)


def _check_out(out: Path, format: str) -> None:
    """Refuse to replace what is no older output of the same command: it would be lost."""
    from disco_lib.storage import MANIFEST

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        stored = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("format")
    except (OSError, ValueError, AttributeError):
        stored = None
    if stored != format:
        raise DiscoError(
            f"--out {out}: holds something else, which would be lost. Choose another, or remove it."
        )


def _check_suffix(option: str, path: Path | None, suffix: str) -> None:
    if path is not None and path.suffix != suffix:
        raise DiscoError(
            f"{option} {path}: `disco distil` knows the form by its ending. Name it "
            f"{path.name}{suffix}."
        )


def _check_length(max_length: int) -> None:
    if max_length < 3:
        raise DiscoError(
            f"--max-length {max_length}: no room between the two special tokens. Give 3 or more."
        )


def _check_rewrites(collection: Any, split: str, names: Sequence[str]) -> None:
    there = list(collection.turns(split).features["rewrites"])
    for name in names:
        if name not in there:
            raise DiscoError(
                f"{collection.folder}: no turn of {split!r} has a rewrite {name!r}. Choose one "
                f"that is there: {', '.join(there) or 'none'}."
            )


def _turns_with(collection: Any, split: str, input: str) -> list[Any]:
    if not input.startswith("rewrite:"):
        return collection.iter_turns(split)
    name = input.removeprefix("rewrite:")
    _check_rewrites(collection, split, [name])
    return [turn for turn in collection.iter_turns(split) if turn.rewrites.get(name, "").strip()]


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else str(value)


def _print_mapping(row: Any) -> None:
    for key, value in (row if isinstance(row, dict) else dataclasses.asdict(row)).items():
        typer.echo(f"{key:>10}  {value}")


if __name__ == "__main__":
    app()
