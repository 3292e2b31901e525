"""A run that cannot be a branch is refused in one message, before anything is written, in a dry run too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.cli_command import Answer, call
from counterpoise.jsonio import read_sealed, write_json, write_sealed
from fusion_kit import FUSION_RUN

pytestmark = pytest.mark.usefixtures("chained_words")


@pytest.fixture
def place(branch_runs: Path, tmp_path: Path) -> Path:
    """A folder with the runs ``text`` and ``graph`` for one test alone."""
    shutil.copytree(branch_runs, tmp_path / "place", ignore=shutil.ignore_patterns(".cache"))
    return tmp_path / "place"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fuse(folder: Path, capfd: Any, *changes: str, dry: bool = True) -> Answer:
    given = ("model.transformer=text", "model.gnn=graph", *(("dry_run=true",) if dry else ()), *changes)
    return call(folder, (*FUSION_RUN, *given), lambda: tuple(capfd.readouterr()))


def refused(folder: Path, capfd: Any, *changes: str, dry: bool = True) -> list[str]:
    """The problems that are told; nothing is left behind."""
    before = files(folder)
    answer = fuse(folder, capfd, *changes, dry=dry)
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err + answer.out
    assert files(folder) == before
    return answer.problems


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def test_what_fits_is_planned(place: Path, capfd: Any) -> None:
    before = files(place)
    answer = fuse(place, capfd)
    assert answer.code == 0, answer
    assert "Fusion" in answer.out
    assert "Warning" not in answer.err
    assert files(place) == before


Change = Callable[[Path], object]


def set_classes(names: list[str]) -> Change:
    return lambda run: edit(run / "training_metadata.json", lambda content: content.update(classes=names))


def set_model(**values: Any) -> Change:
    return lambda run: edit(run / "training_metadata.json", lambda content: content["config"]["model"].update(values))


def flip(name: str) -> Change:
    def change(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run / name).write_bytes(bytes(content))

    return change


def other_best(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "best")
    shutil.copytree(run.parent / "graph" / "checkpoints" / "best", run / "checkpoints" / "best")


def other_epoch(run: Path) -> None:
    result = read_sealed(run / "result.json")
    write_sealed(run / "result.json", {**result, "best_epoch": result["best_epoch"] + 1})


def pretrained(run: Path) -> None:
    node = {"_target_": "counterpoise.models.transformer.Transformer", "pretrained": "/gone/codebert"}
    edit(run / "training_metadata.json", lambda content: content["config"].update(model=node))


def shrink_vocabulary(run: Path) -> None:
    edit(run / "encoding.json", lambda content: content.update(vocab_size=content["vocab_size"] - 1))


MISFITS: dict[str, tuple[Change, str]] = {
    "no run": (shutil.rmtree, "text is no run folder: it has no training_metadata.json."),
    "unfinished": (
        lambda run: (run / "result.json").unlink(),
        "text is a run that has not finished: it has no result.json. Finish it with resume=text",
    ),
    "damaged result": (
        lambda run: edit(run / "result.json", lambda content: content.update(epochs=99)),
        "text cannot be read: result.json: it does not match its own checksum",
    ),
    "damaged metadata": (
        lambda run: (run / "training_metadata.json").write_text("{"),
        "text cannot be read: ",
    ),
    "no best": (lambda run: shutil.rmtree(run / "checkpoints" / "best"), "text has no best checkpoint."),
    "damaged best": (
        flip("checkpoints/best/model.safetensors"),
        "checkpoints/best: this checkpoint is damaged: model.safetensors does not match its checksum. Bring it back",
    ),
    "another run's best": (other_best, "checkpoints/best: this checkpoint's settings is"),
    "another epoch's best": (other_epoch, "text has a best checkpoint that is not of its best epoch"),
    "other names": (
        set_classes(["safe", "vulnerable"]),
        "text was trained for the classes safe, vulnerable, but these data have 0, 1.",
    ),
    "another order": (set_classes(["1", "0"]), "classes 1, 0, but these data have 0, 1, in another order."),
    "more classes": (set_classes(["0", "1", "2"]), "classes 0, 1, 2, but these data have 0, 1."),
    "no classes": (set_classes(None), "text does not say what classes it tells apart."),  # type: ignore[arg-type]
    "another architecture": (
        set_model(filters=5),
        "text holds weights that do not fit its own config: holds no weights of this model",
    ),
    "an impossible config": (set_model(filters=-5), "text: model.filters: must be >= 1, but is -5."),
    "an unknown class": (
        set_model(_target_="counterpoise.models.textcnn.Gone"),
        "text: model._target_: counterpoise.models.textcnn has no Gone.",
    ),
    "a class of nobody's": (
        set_model(_target_="my_models.Mine"),
        "text: model._target_: my_models.Mine may not be constructed: only counterpoise.*, fusion_kit.* may. "
        "If you trust it, add its module: 'extensions=[my_models]'.",
    ),
    "no tokenizer": (
        lambda run: (run / "tokenizer.json").unlink(),
        "text cannot be built on, since its vocabulary is not whole: tokenizer.json:",
    ),
    "no properties": (
        lambda run: (run / "encoding.json").unlink(),
        "text cannot be built on, since its vocabulary is not whole: ",
    ),
    "another vocabulary": (shrink_vocabulary, "not whole: tokenizer.json does not belong to encoding.json."),
    "no length at all": (
        lambda run: edit(run / "encoding.json", lambda content: content.update(max_length=0)),
        "its vocabulary is not whole: encoding.json.max_length: must be >= 1",
    ),
    "a tokenizer without a name": (
        lambda run: edit(run / "encoding.json", lambda content: content.update(pretrained=3)),
        "its vocabulary is not whole: encoding.json.pretrained: expected a string or null, got 3.",
    ),
    "another length": (
        lambda run: edit(run / "encoding.json", lambda content: content.update(max_length=9)),
        "text was trained with encoding.max_length=512, but its encoding.json says 9. Bring encoding.json back,",
    ),
    "a base that is gone": (
        pretrained,
        "text: model.pretrained: the encoder '/gone/codebert' cannot be loaded:",
    ),
}


# A dry run and a real one go the same way as far as this.
@pytest.mark.parametrize("misfit", ["damaged best", "another architecture", "no tokenizer"])
def test_a_real_run_says_the_same_before_it_writes_anything(misfit: str, place: Path, capfd: Any) -> None:
    MISFITS[misfit][0](place / "text")
    assert refused(place, capfd, dry=False) == refused(place, capfd)


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_text_branch_that_does_not_fit(misfit: str, place: Path, capfd: Any) -> None:
    change, told = MISFITS[misfit]
    change(place / "text")
    (problem,) = refused(place, capfd)
    assert problem.startswith("model.transformer: ")
    assert told in problem


def reuse_vocabulary(run: Path) -> None:
    edit(run / "graph_vocabulary.json", lambda content: content["sub_tokens"].append("more"))


GRAPH_MISFITS: dict[str, tuple[Change, str]] = {
    "no vocabulary": (
        lambda run: (run / "graph_vocabulary.json").unlink(),
        "graph cannot be built on, since its vocabulary is not whole: ",
    ),
    "another vocabulary": (reuse_vocabulary, "graph_vocabulary.json holds"),
    "ready-made graphs": (
        lambda run: edit(run / "graphs.json", lambda content: content["settings"].update(parser=None)),
        "it was trained on graphs that came as such, and these would be made of texts.",
    ),
    "a size in words": (
        lambda run: edit(run / "graphs.json", lambda content: content["settings"].update(max_nodes="x")),
        "its vocabulary is not whole: max_nodes: expected an integer >= 1, got 'x'.",
    ),
    "an unknown parser": (
        lambda run: edit(run / "graphs.json", lambda content: content["settings"].update(parser="java")),
        "its vocabulary is not whole: parser: expected ",
    ),
    "no settings": (
        lambda run: edit(run / "graphs.json", lambda content: content.update(settings=3)),
        "its vocabulary is not whole: ",
    ),
    "another size": (
        lambda run: edit(run / "graphs.json", lambda content: content["settings"].update(max_nodes=5)),
        "graph was trained with encoding.max_nodes=1000, but its graphs.json says 5. Bring graphs.json back,",
    ),
    "numbers at nodes": (
        lambda run: edit(run / "graphs.json", lambda content: content.update(node_features=3)),
        "it was trained on graphs that came as such, and these would be made of texts.",
    ),
}


@pytest.mark.parametrize("misfit", GRAPH_MISFITS)
def test_a_graph_branch_that_does_not_fit(misfit: str, place: Path, capfd: Any) -> None:
    change, told = GRAPH_MISFITS[misfit]
    change(place / "graph")
    (problem,) = refused(place, capfd)
    assert problem.startswith("model.gnn: ")
    assert told in problem


def test_an_extension_that_is_not_listed_is_named(place: Path, capfd: Any) -> None:
    (problem,) = refused(place, capfd, "extensions=[]")
    assert problem.startswith("model.gnn: graph: model._target_: fusion_kit.WordGraph may not be constructed")
    assert "'extensions=[fusion_kit]'" in problem


def test_both_branches_are_told_at_once(place: Path, capfd: Any) -> None:
    one, other = refused(place, capfd, "model.transformer=graph", "model.gnn=text")
    assert one.startswith("model.transformer: graph is a WordGraph, which reads graphs, but a model that reads tokens")
    assert one.endswith("Is it meant for model.gnn?")
    assert other.startswith("model.gnn: text is a TextCNN, which reads tokens, but a model that reads graphs")
    assert other.endswith("Is it meant for model.transformer?")


def test_a_vocabulary_that_is_not_the_branchs_is_refused(place: Path, capfd: Any) -> None:
    (problem,) = refused(place, capfd, "encoding.tokens.reuse=null")
    assert problem.startswith("encoding.tokens.reuse: must be 'text', as model.transformer is, but is null.")
    (problem,) = refused(place, capfd, "encoding.graphs.reuse=text")
    assert problem.startswith("encoding.graphs.reuse: must be 'graph', as model.gnn is, but is 'text'.")


# What a branch has taken up from another run stands in its properties alone.
def test_the_settings_of_a_branch_that_took_up_another_runs_vocabulary(place: Path, capfd: Any) -> None:
    def reused(content: Any) -> None:
        content["config"]["encoding"].update(reuse="elsewhere", max_length=77)

    edit(place / "text" / "training_metadata.json", reused)
    assert fuse(place, capfd).code == 0


def test_a_setting_that_a_branch_makes_void_is_refused(place: Path, capfd: Any) -> None:
    one, other = refused(place, capfd, "encoding.tokens.max_length=16", "encoding.graphs.max_nodes=10")
    assert one == ("encoding.tokens.max_length: is 16, but comes from the branch, text, which has 512. Leave it out.")
    assert other.startswith("encoding.graphs.max_nodes: is 10, but comes from the branch, graph, which has 1000.")
    # 300 is what the text branch asked for, and its vocabulary is smaller; workers are this run's own.
    size = json.loads((place / "text" / "encoding.json").read_text())["vocab_size"]
    for given in ("300", str(size), "4096"):
        if int(given) >= 300:
            assert fuse(place, capfd, f"encoding.tokens.vocab_size={given}", "encoding.graphs.workers=1").code == 0
    (problem,) = refused(place, capfd, "encoding.tokens.vocab_size=5000")
    assert problem.startswith("encoding.tokens.vocab_size: is 5000, but comes from the branch")
    assert fuse(place, capfd, "model.fresh_transformer.pretrained=codebert").code == 0, "it stands for no branch here"


def test_a_second_stage_that_never_comes_is_refused(place: Path, capfd: Any) -> None:
    (problem,) = refused(place, capfd, "model.mode=staged", "model.stage_epochs=2", "train.epochs=2")
    assert problem.startswith("model.stage_epochs: is 2, but train.epochs is 2: the second stage would never come.")


def test_a_frozen_branch_must_be_of_a_run(place: Path, capfd: Any) -> None:
    (problem,) = refused(place, capfd, "model.mode=frozen", "model.gnn=fresh")
    assert problem.startswith("model.gnn: must be the folder of a finished run with mode=frozen, but is 'fresh'.")


@pytest.mark.parametrize("given", ["''", "tiny.csv", "text/result.json"])
def test_what_is_no_folder_is_no_run(given: str, place: Path, capfd: Any) -> None:
    (problem,) = refused(place, capfd, f"model.transformer={given}")
    assert "is no run folder: it has no training_metadata.json" in problem


def test_a_path_may_begin_at_home_and_end_in_a_slash(place: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    assert fuse(place, capfd, "model.transformer='~/text/'", f"model.gnn={place / 'graph'}").code == 0


# Which data it was trained on does not show in a shape: it is allowed, said, and kept with the result.
def test_a_branch_of_other_data_is_warned_about(place: Path, capfd: Any) -> None:
    answer = fuse(place, capfd, "data.split_seed=1", "hydra.run.dir=other", "train.epochs=1", dry=False)
    assert answer.code == 0, answer
    for name, folder in (("transformer", "text"), ("gnn", "graph")):
        told = f"model.{name}: {folder} was trained on other data; rows of this test split may have been among them."
        assert told in answer.err
    assert "transformer alone, of other data" in answer.out
    found = read_sealed(place / "other" / "result.json")["branches"]
    assert [found[name]["same_data"] for name in ("transformer", "gnn")] == [False, False]
