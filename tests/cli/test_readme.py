"""What the README and the docs show is run: every command, the model, the Python example."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from counterpoise.cli import train as cli
from pretrained_kit import encoder_folder

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL_DATA = {"data.size": "120"}
SMALL = ["train.epochs=1", "encoding.vocab_size=400", "encoding.max_length=64", "hardware.precision=fp32"]
SMALL += ["report.plots=false"]
SMALLER = {
    "model=gnn": ["encoding.max_length=64"],
    "model=transformer,gnn,textcnn": ["encoding.vocab_size=400", "encoding.max_length=64"],
    "model=fusion": ["encoding.vocab_size=400", "encoding.max_length=64"],
    "model=hierarchical": ["encoding.max_length=64"],
    "model=iris": ["encoding.vocab_size=400", "encoding.max_length=64"],
}
"""What of that a model's encoding has not, or not there."""
NARROW = ["model.hidden_size=32", "model.feed_forward_size=32"]
"""For a transformer."""
SMALL_DEMO = {
    "data=demo_documents": ["data.size=60", "data.median_words=60", "encoding.window=48"],
    "data=demo_criteria": ["data.posts=60", "data.positive_share=0.2", "data.median_words=40"],
}
"""What makes the other demo sets small."""
FEW = {"data=demo_documents": ["data.size=60"], "data=demo_criteria": ["data.posts=60", "data.positive_share=0.2"]}
"""The same for commands whose plan is shown and no more; what a command gives itself, it keeps."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks(text, "bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("python src/train.py")]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README's commands need beside the installed package, and the data that they name."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    rows = [(f"int f{i}(int a) {{ return a + {i}; }}", i % 2, f"g{i % 12}") for i in range(60)]
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("body", "stars", "author"), *rows])
    for name, part in (("posts", rows), ("a", rows[:40]), ("b", rows[40:50]), ("c", rows[50:])):
        lines = [json.dumps({"text": t, "label": label, "author": g}) for t, label, g in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    folder = tmp_path / "folder/with/train-valid-test-jsonl"
    folder.mkdir(parents=True)
    for name, part in (("train", rows[:40]), ("valid", rows[40:50]), ("test", rows[50:])):
        lines = [json.dumps({"idx": i, "project": "p", "func": t, "target": y}) for i, (t, y, _) in enumerate(part)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    write_cycles(tmp_path / "folder/of/MUTAG")
    (tmp_path / "folder/of/pt").mkdir()
    path = torch.tensor([[0, 1, 2], [1, 2, 3]])
    graphs = [{"x": torch.arange(4) % (2 + i % 2), "edge_index": path, "y": torch.tensor(i % 2)} for i in range(40)]
    torch.save(graphs, tmp_path / "folder/of/pt/graphs.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_cycles(folder: Path) -> None:
    """Forty graphs in TU format: cycles of four or five nodes."""
    folder.mkdir(parents=True)
    edges, owners, labels, first = [], [], [], 1
    for graph in range(40):
        size = 4 + graph % 2
        for node in range(size):
            here, there = first + node, first + (node + 1) % size
            edges += [f"{here}, {there}", f"{there}, {here}"]
        owners += [str(graph + 1)] * size
        labels.append(str(graph % 2))
        first += size
    for name, lines in (("A", edges), ("graph_indicator", owners), ("graph_labels", labels)):
        (folder / f"MUTAG_{name}.txt").write_text("\n".join(lines) + "\n")


def run(command: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    arguments = shlex.split(command)[2:]
    own_data = any(a.startswith(("data=", "resume=")) for a in arguments)
    small = [] if own_data else [f"{key}={value}" for key, value in SMALL_DATA.items()]
    monkeypatch.setattr(sys, "argv", ["src/train.py", *arguments, *small, *more])
    return cli.train(Path("conf"))


def test_every_command_of_the_readme_works(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = commands(README)
    assert len(shown) >= 12
    for command in shown:
        if "resume=" in command or "model=bag" in command:
            continue  # each has a test of its own below
        more = ["hydra.sweeper.n_trials=2"] if "sweep=optuna" in command else []

        too_much = [one for model, items in SMALLER.items() if model in command for one in items]
        small = [one for one in SMALL if one not in too_much]
        small += [one for data, items in SMALL_DEMO.items() if data in command for one in items]
        small += NARROW if re.search("model=transformer( |$)", command) or " model=" not in command else []
        small += ["encoder.size=16"] if "model=iris" in command else []
        assert run(command, monkeypatch, *small, *more) == 0, command
    results = list(clone.glob("outputs/*/*/*/result.json"))
    assert results, "single runs leave their results"
    assert len(list(clone.glob("multirun/*/seed_*/result.json"))) == 3


def test_resume_as_the_readme_shows_it(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("python src/train.py model=textcnn", monkeypatch, *SMALL) == 0
    (result,) = clone.glob("outputs/*/*/*/result.json")
    before = json.loads(result.read_text())
    result.unlink()  # as if the run had been killed just before its end
    assert "python src/train.py resume=outputs/..." in commands(README)
    assert run(f"python src/train.py resume={result.parent.relative_to(clone)}", monkeypatch) == 0
    after = json.loads(result.read_text())
    assert after["valid"] == before["valid"]
    assert after["test"] == before["test"]


def test_your_own_model_as_the_readme_shows_it(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = [block for block in blocks(README, "python") if "class Bag" in block]
    (recipe,) = [block for block in blocks(README, "yaml") if "my_models.Bag" in block]
    (clone / "my_models.py").write_text(model)
    (clone / "conf/model/bag.yaml").write_text(recipe)
    (command,) = [line for line in commands(README) if "model=bag" in line]
    assert run(command, monkeypatch, *SMALL) == 0
    assert list(clone.glob("outputs/demo_code/bag/*/result.json"))


def test_the_python_example_of_the_docs_runs(clone: Path) -> None:
    (example,) = blocks((ROOT / "docs/trainer.md").read_text(), "python")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    f1 = float(done.stdout.split()[0])
    assert f1 > 0.7, "the example learns"


def test_the_commands_of_the_other_pages_compose(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [c for page in sorted((ROOT / "docs").glob("*.md")) for c in commands(page.read_text())]
    assert shown
    encoder_folder(clone / "encoder", max_position_embeddings=514)
    for command in shown:
        if "resume=" in command or " -m" in command or "codexglue" in command or "experiment=codebert" in command:
            continue
        if "../shared/data/" in command:  # data that stand beside a checkout, or do not
            continue
        if "protocol.reference=" in command or "model.transformer=" in command:  # a run that is not there
            continue
        if "s3://" in command and find_spec("s3fs") is None:
            continue
        small = [one for data, items in FEW.items() if data in command for one in items if one[:9] not in command]
        if "model.pretrained=" in command:
            command = re.sub(r"model\.pretrained=\S+", f"model.pretrained={clone / 'encoder'}", command)
        assert run(command, monkeypatch, *small, "dry_run=true") == 0, command


def transcripts() -> list[tuple[str, list[str]]]:
    """Every ``$ python src/train.py ...`` that a page shows, with the lines that it answers."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    shown = [
        re.findall(r"```\n\$ (python src/train.py.*?)\n(.*?)```", page.read_text(), flags=re.DOTALL) for page in pages
    ]
    return [(command, answer.splitlines()) for found in shown for command, answer in found]


@pytest.mark.parametrize(("command", "expected"), transcripts(), ids=lambda value: str(value)[20:60])
def test_a_command_answers_what_the_page_shows(
    clone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    expected: list[str],
) -> None:
    lines = (clone / "posts.jsonl").read_text().splitlines()
    lines[16], lines[39] = '{"text": "int f(void);" "label": 1}', '{"text": "", "label": 1}'
    (clone / "posts.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "argv", shlex.split(command)[1:])
    assert cli.train(Path("conf")) != 0
    assert capsys.readouterr().err.splitlines() == expected


def test_make_runs_what_the_readme_says() -> None:
    first = blocks(README, "bash")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make train", "make test"]
    shown = re.search(r"`make train (ARGS=\"[^`]*\")`", README)
    assert shown is not None
    dry = ["make", "--dry-run", "--no-print-directory"]
    train = subprocess.run([*dry, "train", *shlex.split(shown[1])], cwd=ROOT, capture_output=True, text=True)
    assert "src/train.py model=textcnn seed=7" in train.stdout
    test = subprocess.run([*dry, "test"], cwd=ROOT, capture_output=True, text=True)
    assert all(word in test.stdout for word in ("ruff check", "mypy", "lint-imports", "pytest"))
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_links_of_the_readme_and_docs_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
