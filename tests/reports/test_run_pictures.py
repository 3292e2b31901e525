"""Pictures of runs and of comparisons: what is drawn, from folders in every state, and how long it takes."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from counterpoise.inks import as_svg, drawing, named
from counterpoise.jsonio import read_json, write_json
from counterpoise.reports.pictures.answers import confusion_matrix, curves, reliability, roc_pr_curves
from counterpoise.reports.pictures.comparison import draw_comparison, draw_data_set
from counterpoise.reports.pictures.material import material
from counterpoise.reports.pictures.run import PICTURES, draw_run, svgs_of
from counterpoise.reports.pictures.training import class_shares, gradient_norms, training_curves
from pages_kit import HOSTILE, run_folder, small_report, write_predictions

PNG = b"\x89PNG\r\n"


@pytest.mark.parametrize("count", [2, 3, 40])
def test_all_pictures_are_drawn_for_any_number_of_classes(tmp_path: Path, count: int) -> None:
    classes = [HOSTILE, "_hidden", *(f"class {place}" for place in range(count))][:count]
    folder = run_folder(tmp_path / "run", classes=classes, rows=400)
    written = draw_run(folder)
    assert {path.stem for path in written} == set(PICTURES)
    assert {path.parent for path in written} == {folder / "plots"}
    assert all(path.read_bytes().startswith(PNG) for path in written)


def test_drawing_a_run_takes_less_than_two_seconds(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", rows=3000)
    draw_run(folder)  # imports
    started = time.process_time()
    draw_run(folder)
    assert time.process_time() - started < 2, "0.9 s on the machine that this was written on"


def test_what_is_missing_is_not_drawn(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "predictions_test.parquet").unlink()
    assert {path.stem for path in draw_run(folder)} == {"training_curves", "class_shares", "gradient_norms"}
    (folder / "training_history.json").unlink()
    (folder / "metrics.jsonl").unlink()
    assert draw_run(folder) == []
    assert draw_run(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()


def test_validation_stands_in_for_test(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "predictions_test.parquet").rename(folder / "predictions_valid.parquet")
    answers = material(folder).answers
    assert answers is not None
    assert answers.where == "validation split, 240 rows"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_damaged_file_loses_its_own_pictures_only(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "predictions_test.parquet").write_bytes(content)
    assert {path.stem for path in draw_run(folder)} == {"training_curves", "class_shares", "gradient_norms"}
    assert "confusion_matrix of" in caplog.text


def test_classes_that_are_not_there_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = run_folder(tmp_path / "run")
    table = {"row": [0], "label": [7], "probabilities": [[0.5, 0.5]]}
    pq.write_table(pa.table(table), folder / "predictions_test.parquet")
    assert "confusion_matrix" not in {path.stem for path in draw_run(folder)}
    assert "labels must be from 0 to 1." in caplog.text


def test_older_folders_have_neither_threshold_nor_temperature(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    table = {"row": [0, 1], "label": [1, 0], "probabilities": [[0.2, 0.8], [0.4, 0.6]]}
    pq.write_table(pa.table(table), folder / "predictions_test.parquet")
    write_json(folder / "result.json", {"status": "finished"})
    answers = material(folder).answers
    assert answers is not None
    assert answers.predicted.tolist() == [1, 1]
    assert answers.temperature == 1.0
    assert answers.raw is answers.probabilities


def test_raw_probabilities_are_those_before_temperature_scaling(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 3))
    scaled = np.exp(logits / 1.4)
    table = {
        "row": range(50),
        "label": [0] * 50,
        "probabilities": (scaled / scaled.sum(axis=1, keepdims=True)).tolist(),
    }
    folder = run_folder(tmp_path / "run", classes=("a", "b", "c"))
    pq.write_table(pa.table(table), folder / "predictions_test.parquet")
    answers = material(folder).answers
    assert answers is not None
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers.raw, expected, rtol=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_curves_are_those_of_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(300) < 0.2
    scores = rng.normal(labels * 1.0, 1.0)
    scores = scores.round(0) if ties else scores
    wrong, found, precise = curves(labels, scores)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(np.stack([wrong, found]), np.stack([fpr, tpr]))
    area = float(((wrong[1:] - wrong[:-1]) * (found[1:] + found[:-1]) / 2).sum())
    assert area == pytest.approx(roc_auc_score(labels, scores))
    precision, recall, _ = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(precise, precision[::-1])
    np.testing.assert_allclose(found, recall[::-1])
    assert float(((found[1:] - found[:-1]) * precise[1:]).sum()) == pytest.approx(
        average_precision_score(labels, scores)
    )


def test_the_confusion_matrix_shows_what_was_predicted_with_the_threshold(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    table = {"row": [0, 1, 2], "label": [1, 0, 0], "probabilities": [[0.6, 0.4], [0.9, 0.1], [0.55, 0.45]]}
    pq.write_table(pa.table({**table, "predicted": [1, 0, 1]}), folder / "predictions_test.parquet")
    with drawing():
        drawn = confusion_matrix(material(folder))
    assert [text.get_text() for text in drawn.axes[0].texts] == ["1\n50%", "1\n50%", "0\n0%", "1\n100%"]


def test_one_class_alone_has_no_curves(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    table = {"row": [0, 1], "label": [0, 0], "probabilities": [[0.6, 0.4], [0.9, 0.1]]}
    pq.write_table(pa.table(table), folder / "predictions_test.parquet")
    with drawing():
        assert roc_pr_curves(material(folder)) is None
        assert reliability(material(folder)) is not None


def test_the_kept_epoch_is_marked_and_not_the_one_with_the_highest_score(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    history = read_json(folder / "training_history.json")
    history["epochs"][0]["score"] = 0.99  # every row predicted as one class, say: never the best
    write_json(folder / "training_history.json", history)
    with drawing():
        drawn = training_curves(material(folder))
    titles = [axes.get_title(loc="right") for axes in drawn.axes]
    assert titles[1].startswith("best: epoch 5, 0.")


def test_guards_and_rescues_are_marked(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    events = {"events": [{"kind": "x", "update": 40}], "rescues": [{"from_update": 60}]}
    write_json(folder / "collapse_report.json", events)
    with drawing():
        drawn = training_curves(material(folder))
    marks = {line.get_label(): line.get_xdata()[0] for line in drawn.axes[0].lines if line.get_marker() == "v"}
    assert marks == {"guard": 2.0, "rescue": 3.0}


def test_figures_that_are_none_leave_gaps(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    history = read_json(folder / "training_history.json")
    for epoch in history["epochs"]:
        epoch |= {"train_loss": None, "score": None, "lr": None, "valid": {"loss": None}}
    write_json(folder / "training_history.json", history)
    (folder / "metrics.jsonl").write_text('{"update": 1, "epoch": 0, "loss": null, "lr": null, "grad_norm": null}\n')
    write_json(folder / "result.json", {})
    with drawing():
        assert training_curves(material(folder)) is not None
        assert class_shares(material(folder)) is None
        assert gradient_norms(material(folder)) is None
    assert "training_curves" in {path.stem for path in draw_run(folder)}


def test_an_svg_takes_its_colours_from_the_page_and_keeps_names_as_text(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", classes=(HOSTILE, '#333a44 id="text_1"'))
    for name, svg in svgs_of(folder, "a &quot;run&quot;", PICTURES).items():
        root = ET.fromstring(svg.replace("xlink:href", "href"))
        assert "metadata" not in svg
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "g", "path", "text", "tspan", "defs", "use", "clipPath", "rect"}, (name, tags)
        assert "var(--ink)" in svg
        assert "DejaVu" not in svg
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        if name == "confusion_matrix":
            texts = [element.text for element in root.iter() if element.tag.endswith("text")]
            assert named(HOSTILE, 18) in texts
            assert named('#333a44 id="text_1"', 18) in texts


def test_a_backslash_in_a_name_loses_no_picture(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    label = r"a\1 \g<x> \q".replace("<", "&lt;").replace(">", "&gt;")
    drawn = svgs_of(folder, label, ["confusion_matrix"])
    assert f'aria-label="{label}"' in drawn["confusion_matrix"]


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"row": [0, 0], "label": [0, 1]}, "holds a row twice"),
        ({"row": [0, 1], "label": [0, 1], "probabilities": [[0.5, 0.9], [0.5, 0.5]]}, "are no probabilities"),
    ],
)
def test_pictures_are_drawn_of_what_the_report_would_use(
    tmp_path: Path, columns: dict[str, list[object]], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run_folder(tmp_path / "run")
    table = {"probabilities": [[0.5, 0.5], [0.5, 0.5]], **columns}
    pq.write_table(pa.table(table), folder / "predictions_test.parquet")
    assert "reliability" not in {path.stem for path in draw_run(folder)}
    assert why in caplog.text


def test_names_are_one_line_of_some_length() -> None:
    assert named("a\nb\x00  c") == "a\\nb\\x00 c"
    assert named("start" + "x" * 100 + "end") == "start" + "x" * 10 + "…" + "x" * 11 + "end"
    assert named("_left out of legends") == " _left out of legends"


def test_a_comparison_shows_every_row_and_writes_what_lies_far_off(tmp_path: Path) -> None:
    report = small_report(tmp_path)
    drawn = draw_data_set(report, report.data[0])
    panel = drawn.subfigs[0].axes[0]
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels == [row.name for row in report.data[0].rows]
    assert [text.get_text() for text in panel.texts] == ["◂ 0.0000"], "majority would press all others together"
    low, high = panel.get_xlim()
    assert low > 0.5
    assert high < 0.9
    curves_ = drawn.subfigs[1].axes[0]
    assert len(curves_.lines) == 3
    assert "<text" in as_svg(drawn, "x")


def test_a_report_without_figures_has_no_picture(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    from dataclasses import replace

    assert draw_comparison(replace(report, data=())) is None
    empty = replace(report.data[0], rows=())
    assert draw_comparison(replace(report, data=(empty,))) is None


def test_neither_torch_nor_pyplot_is_imported(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from counterpoise.reports.pictures.run import draw_run; "
        f"assert len(draw_run(Path({str(folder)!r}))) == 6; "
        "assert not {'torch', 'matplotlib.pyplot', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_many_rows_are_thinned(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", rows=20_000)
    write_predictions(folder / "predictions_test.parquet", 2, 20_000, np.random.default_rng(1))
    assert len(svgs_of(folder, "x", ["roc_pr_curves"])["roc_pr_curves"]) < 60_000
