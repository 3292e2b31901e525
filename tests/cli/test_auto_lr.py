"""``lr_finder=true`` and ``optimizer.lr=auto`` from end to end: what is measured, when, and what is made of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_command import SMALL, Answer

from counterpoise import lr_search
from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.jsonio import read_json, read_sealed, write_json, write_sealed
from counterpoise.optim.lr_finder import Curve, LRRangeTestConfig

AUTO = (*SMALL, "optimizer.lr=auto", "lr_range_test.updates=60", "train.batch_size=4", "train.accumulation=2")
Train = Callable[..., Answer]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Curve]:
    """Every curve that is measured; a canned one stands in for the test itself, falling around 1e-3."""
    curves: list[Curve] = []

    def canned(trainer: Any, train: Any, config: LRRangeTestConfig) -> Curve:
        losses = 0.7 - 0.5 / (1 + (config.rates() / 1e-3) ** -2)
        curves.append(Curve.of(config, losses.tolist(), "complete"))
        return curves[-1]

    monkeypatch.setattr(lr_search, "range_test", canned)
    monkeypatch.setattr(lr_search, "draw", lambda file, **_: file.write(b"a picture"))
    return curves


def weights(folder: Path) -> bytes:
    return (folder / "checkpoints" / "last" / "model.safetensors").read_bytes()


def plan(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / "training_metadata.json")["plan"])


def history(folder: Path) -> list[dict[str, Any]]:
    epochs = read_json(folder / "training_history.json")["epochs"]
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in epochs]


def test_a_run_ends_in_the_bits_of_one_that_was_given_what_it_found(train: Train, fresh: Path) -> None:
    common = [*AUTO, "balance=sampler", "model.dropout=0.4", "train.epochs=2", "lr_range_test.range=null"]
    answer = train(*common, "hydra.run.dir=found", folder=fresh)
    assert answer.code == EXIT_OK, answer
    found = plan(fresh / "found")
    report = read_json(fresh / "found" / "lr_finder.json")
    assert report["suggestion"]["verdict"] == "usable", report["suggestion"]
    assert found["lr"] == report["suggestion"]["lr"]
    assert f" learning rate  {found['lr']:.1e}, found by a range test (middle of the descent at" in answer.out
    assert (fresh / "found" / "lr_finder.png").read_bytes().startswith(b"\x89PNG")
    given = [f"optimizer.lr={found['lr']:.1e}", f"optimizer.base_batch={found['effective_batch']}"]
    warm_up = f"scheduler.warmup_ratio={found['warmup_ratio']!r}"
    assert train(*common, *given, warm_up, "hydra.run.dir=given", folder=fresh).code == EXIT_OK
    assert not (fresh / "given" / "lr_finder.json").exists()
    assert weights(fresh / "found") == weights(fresh / "given")
    assert history(fresh / "found") == history(fresh / "given")


def test_what_is_found_is_not_scaled_but_the_warm_up_is(train: Train, fresh: Path, measured: list[Curve]) -> None:
    # 40 = 4 * 10 samples an update are 2.5 times the base batch of 16.
    sizes = ["train.batch_size=40", "train.accumulation=1", "optimizer.scaling=linear", "scheduler.warmup_ratio=0.06"]
    answer = train(*SMALL, *sizes, "lr_finder=true", "lr_range_test.range=[1e-2,2e-2]", "hydra.run.dir=r", folder=fresh)
    assert answer.code == EXIT_OK, answer
    found = plan(fresh / "r")
    assert (found["lr"], found["lr_factor"]) == (0.025, 1.0), "the range is scaled, and the clipped rate is its bound"
    assert found["warmup_ratio"] == pytest.approx(0.15)
    assert "clipped to 2.5e-02 .. 5.0e-02" in answer.out
    assert read_json(fresh / "r" / "lr_finder.json")["suggestion"]["clipped_from"] == pytest.approx(1e-3, rel=0.5)


@pytest.mark.parametrize("asked", [["optimizer.lr=auto"], ["lr_finder=true"]])
def test_a_flat_curve_leaves_the_recipe_with_a_warning(train: Train, fresh: Path, asked: list[str]) -> None:
    flat = ["lr_range_test.end=2e-7", "lr_range_test.updates=20"]
    answer = train(*SMALL, *asked, *flat, "hydra.run.dir=flat", folder=fresh)
    assert answer.code == EXIT_OK, answer
    why = "the loss never falls beyond its noise"
    assert answer.err == f"Warning: The LR range test finds no learning rate, {why}: the recipe's is used.\n"
    assert f"0.00141, the recipe's: in a range test {why}" in answer.out
    assert train(*SMALL, "hydra.run.dir=plain", folder=fresh).code == EXIT_OK
    assert plan(fresh / "flat") == plan(fresh / "plain")
    assert weights(fresh / "flat") == weights(fresh / "plain")


def test_a_learning_rate_that_is_given_is_what_a_useless_curve_leaves(train: Train, fresh: Path) -> None:
    flat = ["lr_range_test.end=2e-7", "lr_range_test.updates=20", "optimizer.scaling=none", "optimizer.lr=0.0123"]
    assert train(*SMALL, "lr_finder=true", *flat, "hydra.run.dir=r", folder=fresh).code == EXIT_OK
    assert plan(fresh / "r")["lr"] == 0.0123


def test_a_dry_run_measures_nothing(train: Train, fresh: Path, measured: list[Curve]) -> None:
    answer = train(*AUTO, "dry_run=true", folder=fresh)
    assert answer.code == EXIT_OK
    assert "learning rate  to be found by a range test, warm-up" in answer.out
    assert not measured
    assert {path.name for path in fresh.iterdir()} == {"tiny.csv"}


def test_seeds_share_one_measurement(train: Train, fresh: Path, measured: list[Curve]) -> None:
    answer = train("-m", *AUTO, "seed=1,2", "hydra.sweep.dir=s", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert len(measured) == 1
    assert answer.out.count("curve of an earlier run in lr_finder.png") == 1
    assert len({plan(fresh / "s" / f"seed_{seed}")["lr"] for seed in (1, 2)}) == 1
    assert [read_json(fresh / "s" / f"seed_{seed}" / "lr_finder.json")["cached"] for seed in (1, 2)] == [False, True]


def test_what_is_found_does_not_depend_on_who_measured_it(train: Train, fresh: Path) -> None:
    for seed, cache in ((1, "a"), (2, "a"), (2, "b")):
        answer = train(*AUTO, f"seed={seed}", f"paths.cache={cache}", f"hydra.run.dir={seed}{cache}", folder=fresh)
        assert answer.code == EXIT_OK, answer
    reports = [read_json(fresh / name / "lr_finder.json") for name in ("1a", "2a", "2b")]
    assert [report["cached"] for report in reports] == [False, True, False]
    assert reports[0]["curve"] == reports[1]["curve"] == reports[2]["curve"]
    assert weights(fresh / "2a") == weights(fresh / "2b")


def entry(folder: Path) -> Path:
    (found,) = [path for path in (folder / ".cache" / "counterpoise").glob("lr-*") if path.is_dir()]
    return found


def age(folder: Path, hours: float) -> None:
    manifest = read_json(folder / "manifest.json")
    write_sealed(folder / "manifest.json", {**manifest, "built_at": manifest["built_at"] - 3600 * hours})


def damage(folder: Path) -> None:
    (folder / "curve.json").write_text("{}")


def make_foreign(folder: Path) -> None:
    manifest = read_json(folder / "manifest.json")
    write_sealed(folder / "manifest.json", {**manifest, "key": {**manifest["key"], "data": "another"}})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: age(folder, 169), []),
        (lambda folder: age(folder, -2), []),  # from the future: a clock was wrong
        (damage, ["is damaged (curve.json does not match its checksum); it is built again."]),
        (make_foreign, ["is another key's; it is built again."]),
    ],
    ids=["stale", "future", "damaged", "foreign"],
)
def test_an_entry_that_cannot_be_trusted_is_measured_anew(
    train: Train, fresh: Path, measured: list[Curve], spoil: Callable[[Path], None], said: list[str]
) -> None:
    assert train(*AUTO, "hydra.run.dir=one", folder=fresh).code == EXIT_OK
    spoil(entry(fresh))
    answer = train(*AUTO, "seed=2", "hydra.run.dir=two", folder=fresh)
    assert answer.code == EXIT_OK
    assert len(measured) == 2
    assert [line.split(entry(fresh).name + " ")[-1] for line in answer.err.splitlines()] == said
    assert read_json(entry(fresh) / "manifest.json")["key"] == read_json(fresh / "two" / "lr_finder.json")["key"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text('{"suggestion": {"lr": -1}}')])
def test_a_report_that_is_gone_or_damaged_is_made_again_from_the_same_curve(
    train: Train, fresh: Path, measured: list[Curve], spoil: Callable[[Path], Any]
) -> None:
    assert train(*AUTO, "hydra.run.dir=r", folder=fresh).code == EXIT_OK
    report = fresh / "r" / "lr_finder.json"
    before = read_sealed(report)
    (fresh / "r" / "result.json").unlink()
    spoil(report)
    assert train("resume=r", folder=fresh).code == EXIT_OK
    assert read_sealed(report) == {**before, "cached": True}
    assert len(measured) == 1


def test_a_report_in_a_folder_without_a_run_is_nobodys(train: Train, fresh: Path, measured: list[Curve]) -> None:
    assert train(*AUTO, "hydra.run.dir=r", folder=fresh).code == EXIT_OK
    (fresh / "new").mkdir()
    report = read_json(fresh / "r" / "lr_finder.json")
    write_json(fresh / "new" / "lr_finder.json", {**report, "suggestion": {**report["suggestion"], "lr": 0.5}})
    assert train(*AUTO, "model.filters=6", "hydra.run.dir=new", folder=fresh).code == EXIT_OK
    assert len(measured) == 2
    assert plan(fresh / "new")["lr"] != 0.5
    assert read_json(fresh / "new" / "lr_finder.json")["suggestion"]["lr"] == plan(fresh / "new")["lr"]


def test_another_runs_folder_is_refused_before_anything_is_measured(
    train: Train, fresh: Path, measured: list[Curve]
) -> None:
    assert train(*SMALL, "hydra.run.dir=r", folder=fresh).code == EXIT_OK
    answer = train(*SMALL, "optimizer.lr=auto", "hydra.run.dir=r", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems[0] == "optimizer.lr: was 0.001, but is 'auto' now."
    assert not measured
    assert not (fresh / "r" / "lr_finder.json").exists()


def test_auto_needs_something_to_fall_back_on(train: Train, fresh: Path) -> None:
    answer = train(*SMALL, "optimizer.lr=auto", "lr_range_test.recipe=null", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems == [
        "lr_range_test.recipe: must be given with optimizer.lr=auto: it is used where the range test tells nothing. "
        "Or give optimizer.lr a number, and lr_finder=true."
    ]


def test_a_resumed_run_keeps_what_it_found(train: Train, fresh: Path, measured: list[Curve]) -> None:
    assert train(*AUTO, "hydra.run.dir=r", folder=fresh).code == EXIT_OK
    report = read_sealed(fresh / "r" / "lr_finder.json")
    assert set(report) == {"suggestion", "method", "curve", "smoothed", "cached", "measured_at", "key"}
    assert report["curve"]["lrs"] == pytest.approx(np.geomspace(1e-7, 1, 60))
    assert report["key"]["model"]["class"] == "counterpoise.models.textcnn.TextCNN"
    assert len(report["smoothed"]) <= len(report["curve"]["losses"]) == 60
    before, picture = plan(fresh / "r"), (fresh / "r" / "lr_finder.png").stat().st_mtime_ns
    (fresh / "r" / "result.json").unlink()  # as if it had been killed just before its end
    shutil.rmtree(entry(fresh))
    answer = train("resume=r", "lr_range_test.cache_hours=0", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert len(measured) == 1
    assert plan(fresh / "r") == before
    assert (fresh / "r" / "lr_finder.png").stat().st_mtime_ns == picture
    assert "finished already" in train("resume=r", folder=fresh).out
    assert len(measured) == 1


def test_the_code_of_an_extension_is_part_of_the_key(train: Train, fresh: Path, measured: list[Curve]) -> None:
    module = fresh / "my_lr_model.py"
    code = "from counterpoise.models.textcnn import TextCNN\n\nclass Mine(TextCNN):\n    pass\n"
    module.write_text(code)
    mine = [*AUTO, "extensions=[my_lr_model]", "model._target_=my_lr_model.Mine"]
    assert train(*mine, "hydra.run.dir=one", folder=fresh).code == EXIT_OK
    assert len(measured) == 1
    module.write_text(code + "\n# another way of going forward\n")
    assert train(*mine, "hydra.run.dir=two", folder=fresh).code == EXIT_OK
    assert len(measured) == 2
