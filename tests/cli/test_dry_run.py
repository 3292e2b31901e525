"""A dry run refuses what the run itself would refuse, in the same words, and leaves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import SMALL, Answer, write_table

from pretrained_kit import encoder_folder, rename_weights

Train = Callable[..., Answer]
TABLE = ("data=table", "data.path=tiny.csv", "train.epochs=1", "hardware=cpu", "hardware.precision=fp32")
QUICK = ("report.plots=false", "report.multirun=false", "paths.cache=cache")
TUNED = (*TABLE, *QUICK, "model=transformer", "encoding.max_length=32")
LONG = (*TABLE, *QUICK, "model=hierarchical", "encoding.window=32")
FUSED = (*TABLE, *QUICK, "model=fusion", "data.language=c", "encoding.tokens.max_length=32")
IRIS = (*TABLE, *QUICK, "model=iris", "encoding.window=8", "encoding.overlap=0")

# Overrides, and a part of the message.
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no folder": ((*TUNED, "model.pretrained=/nowhere"), "there is no such folder"),
    "no model": ((*TUNED, "model.pretrained=empty"), "cannot be loaded"),
    "other weights": ((*TUNED, "model.pretrained=prefixed"), "none of its 37 weights is in the files"),
    "a causal model": ((*TUNED, "model.pretrained=causal"), "is a causal model"),
    "a decoder": ((*TUNED, "model.pretrained=decoder"), "has a decoder behind its encoder"),
    "too long": (
        (*TUNED, "model.pretrained=good", "encoding.max_length=33"),
        "encoding.max_length: must be at most 32",
    ),
    "a larger vocabulary": ((*TUNED, "model.pretrained=small"), "its 12 tokens do not fit the encoder's 11"),
    "too many layers": ((*TUNED, "model.pretrained=good", "model.freeze_layers=3"), "must be at most 2"),
    "found rate": ((*TUNED, "model.pretrained=prefixed", "optimizer.lr=auto"), "none of its 37 weights"),
    "no room": ((*LONG, "model.pretrained=good", "encoding.overlap=30"), "has no room behind 30"),
    "long window": ((*LONG, "model.pretrained=good", "encoding.window=33"), "encoding.window: must be at most 32"),
    "chunk heads": ((*LONG, "model.attention=transformer", "model.chunk_heads=7"), "model.chunk_heads"),
    "fresh branch": (
        (*FUSED, "model.fresh_transformer.pretrained=prefixed"),
        "model.fresh_transformer.pretrained: none",
    ),
    "no encoder": ((*IRIS, "encoder=pretrained", "encoder.name=empty"), "encoder.name: the encoder 'empty' cannot"),
    "encoder's weights": ((*IRIS, "encoder=pretrained", "encoder.name=prefixed"), "encoder.name: none of its 37"),
    "encoder's pooling": (
        (*IRIS, "encoder=pretrained", "encoder.name=causal", "encoder.pooling=cls"),
        "encoder.name: 'causal' is a causal model",
    ),
    "no terms": ((*IRIS, "encoder=lsa", "encoder.min_chunks=9999"), "encoder.min_chunks: no term stands in 9999"),
    "no criterion": ((*IRIS, "encoder=hashing", "model.conditioning=concat"), "model.conditioning"),
    "no component": ((*SMALL, "+optimizer.lr_factors.nope=2"), "optimizer.lr_factors.nope: the model has no such"),
    "no vocabulary": ((*SMALL, "encoding.reuse=empty"), "has no tokenizer that could be used again"),
    "no cache": ((*SMALL, "paths.cache=tiny.csv/cache"), "paths.cache: the cache folder tiny.csv/cache cannot be used"),
    "another run": ((*SMALL, "hydra.run.dir=begun", "model.dropout=0.5"), "model.dropout: was 0.3, but is 0.5 now."),
    "checkpoints of nobody": ((*SMALL, "hydra.run.dir=lost"), "is missing, so nobody can tell whose"),
    "a folder in a file's place": ((*SMALL, "hydra.run.dir=blocked"), "the run folder cannot be written: [Errno 21]"),
    "another mirror": ((*SMALL, "hydra.run.dir=begun", "seed=3", "mirror.url=file://{here}/copies"), "seed: was 42"),
    "another run's mirror": (
        (*SMALL, "hydra.run.dir=begun2", "seed=3", "mirror.url=file://{here}/copies"),
        "another run",
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, quiet: Callable[..., Answer]) -> Path:
    """A folder with the table, pretrained folders, a run that has a mirror, and folders in which no run can begin."""
    place = write_table(tmp_path_factory.mktemp("dry") / "place")
    encoder_folder(place / "good")
    encoder_folder(place / "small", vocab_size=11)
    rename_weights(encoder_folder(place / "prefixed"), "module.")
    encoder_folder(place / "causal", "Llama", num_key_value_heads=2)
    t5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    encoder_folder(place / "decoder", "T5", **t5)
    (place / "empty").mkdir()
    (place / "blocked" / "training.log").mkdir(parents=True)
    (place / "lost" / "checkpoints" / "last").mkdir(parents=True)
    mirrored = ("hydra.run.dir=begun", f"mirror.url=file://{place}/copies")
    assert quiet(place, *SMALL, *mirrored).code == 0
    for name in ("result.json", "checkpoints/best/decision.json"):
        (place / "begun" / name).unlink()
    shutil.move(place / "copies" / "begun", place / "copies" / "begun2")
    return place


def contents(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_run_refuses_a_dry_run_refuses(name: str, place: Path, train: Train) -> None:
    overrides, part = REFUSED[name]
    given = [override.replace("{here}", str(place)) for override in overrides]
    if not any(override.startswith("hydra.run.dir") for override in given):
        given.append("hydra.run.dir=new")
    before = contents(place)
    dry = train(*given, "dry_run=true", folder=place)
    assert (dry.code, contents(place)) == (2, before), dry
    assert any(part in line for line in dry.problems), dry.problems
    real = train(*given, folder=place)
    assert (real.code, real.problems) == (2, dry.problems)
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        (*TUNED, "model.pretrained=good"),
        (*TUNED, "model.pretrained=causal", "model.pooling=mean"),
        (*TUNED, "model.pretrained=good", "optimizer.lr=auto"),
        (*LONG, "model.pretrained=good"),
        (*FUSED, "model.fresh_transformer.pretrained=good", "model.layer=cross_attention"),
        (*IRIS, "encoder=pretrained", "encoder.name=good"),
        (*IRIS, "encoder=lsa"),
        (*TABLE, *QUICK, "model=gnn", "data.language=c"),
        (*SMALL, "hydra.run.dir=begun"),
    ],
)
def test_what_can_be_trained_is_planned_and_leaves_nothing(
    overrides: tuple[str, ...], place: Path, train: Train
) -> None:
    before = contents(place)
    answer = train(*overrides, "dry_run=true", folder=place)
    assert (answer.code, answer.err) == (0, "")
    assert "updates" in answer.out
    assert "LOAD REPORT" not in answer.out
    assert contents(place) == before
