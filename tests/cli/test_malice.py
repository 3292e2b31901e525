"""Nothing that is loaded can run code, whatever the checksums say: an attacker can write those too."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cli_command import SMALL, Answer
from interrupted_run import CACHE, COMMAND, DONE, RUN, STORE, in_a_hurry, outcome

from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.data.cache import MANIFEST, file_checksum, read_manifest, write_manifest
from counterpoise.errors import UserError
from counterpoise.jsonio import read_sealed, write_sealed
from counterpoise.models.text_encoder import load_backbone
from mutations import contents, copied, files_below

OWNED = "owned"


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def saved_by_torch(target: Path, *, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": Malice(target)}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda target: pickle.dumps(Malice(target)),
    "protocol 0": lambda target: pickle.dumps({"position": Malice(target)}, protocol=0),
    "system": lambda target: b"cos\nsystem\n(S'touch " + str(target).encode() + b"'\ntR.",
    "torch zip": lambda target: saved_by_torch(target, zipped=True),
    "torch legacy": lambda target: saved_by_torch(target, zipped=False),
}
Train = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_hurry(monkeypatch)


@pytest.fixture
def at(interrupted: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return copied(interrupted, tmp_path / "base")


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    """What a payload makes if it runs."""
    return tmp_path / OWNED


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # one of several links, perhaps
    path.write_bytes(content)


def reseal(folder: Path) -> None:
    """Make all checksums right again."""
    write_manifest(folder, read_manifest(folder))


def refused(answer: Answer, *names: str) -> bool:
    """One message, that names what was refused."""
    return (
        answer.code == EXIT_USER
        and "Traceback" not in answer.err + answer.out
        and answer.err.count("1 problem:") == 1
        and all(name in answer.err for name in names)
    )


# The payloads are real: what the tests below prove is that nobody unpickles them.
@pytest.mark.parametrize("kind", PAYLOADS)
def test_the_payloads_would_run(kind: str, owned: Path) -> None:
    content = io.BytesIO(PAYLOADS[kind](owned))
    torch.load(content, weights_only=False) if kind.startswith("torch") else pickle.load(content)
    assert owned.exists()


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("file", ["state.pt", "model.safetensors"])
def test_a_checkpoint_runs_nothing(file: str, kind: str, at: Path, owned: Path, train: Train) -> None:
    for checkpoint in (at / RUN / "checkpoints").iterdir():
        if (checkpoint / file).exists():
            replace(checkpoint / file, PAYLOADS[kind](owned))
            reseal(checkpoint)
    before = contents(at)
    answer = train(f"resume={RUN}", "mirror.url=null", folder=at)
    assert refused(answer, f"last/{file}"), answer
    after = contents(at)
    assert {name for name in before if after.get(name) != before[name]} == set()
    assert not owned.exists()


@pytest.mark.parametrize("kind", PAYLOADS)
def test_caches_run_nothing_and_are_built_again(
    kind: str, at: Path, owned: Path, train: Train, interrupted: Path
) -> None:
    for path in files_below(at / CACHE):
        if path.name != MANIFEST:
            replace(path, PAYLOADS[kind](owned))
    for entry in (at / CACHE).iterdir():
        if entry.is_dir():
            reseal(entry)
    answer = train(*COMMAND, "hydra.run.dir=new", folder=at)
    assert answer.code == EXIT_OK, answer
    assert answer.err.count("it is built again") == 3, answer.err
    assert outcome(at / "new") == outcome(interrupted / DONE)
    assert not owned.exists()


def test_other_files_of_a_run_run_nothing(at: Path, owned: Path, train: Train, interrupted: Path) -> None:
    for path in files_below(at / RUN):
        if "checkpoints" not in path.parts and path.name not in ("overrides.yaml", "training_metadata.json"):
            replace(path, PAYLOADS["pickle"](owned))
    answer = train(f"resume={RUN}", "mirror.url=null", folder=at)
    assert answer.code == EXIT_OK, answer
    assert outcome(at / RUN) == outcome(interrupted / DONE)
    replace(at / RUN / "training_metadata.json", PAYLOADS["pickle"](owned))
    assert refused(train(f"resume={RUN}", "mirror.url=null", folder=at), "training_metadata.json")
    assert not owned.exists()


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.system ['touch {owned}']",
        "- !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{owned}']]",
        "- !!python/object/new:os.system ['touch {owned}']",
        "- 'hydra.job_logging={{version: 1, formatters: {{x: {{(): os.system, command: \"touch {owned}\"}}}}}}'",
        '- \'hydra.job_logging={{version: 1, handlers: {{x: {{class: subprocess.Popen, args: [touch, "{owned}"]}}}},'
        " root: {{handlers: [x]}}}}'",
        "- '+hydra.callbacks.x={{_target_: subprocess.call, args: [touch, {owned}], shell: false}}'",
        "- --config-dir={owned}",
        "- hydra/launcher=joblib",
        "- model._target_=os.system",
        '- +model.x={{_target_: os.system, command: "touch {owned}"}}',
    ],
)
def test_saved_overrides_run_nothing(content: str, at: Path, owned: Path, train: Train) -> None:
    saved = at / RUN / ".hydra" / "overrides.yaml"
    text = content.format(owned=owned)
    saved.write_text(text if text.startswith("!!") else f"{saved.read_text()}{text}\n")
    answer = train(f"resume={RUN}", "mirror.url=null", folder=at)
    assert answer.code == EXIT_USER, answer
    assert "Traceback" not in answer.err
    assert not owned.exists()


@pytest.mark.parametrize("file", ["state.pt", "overrides.yaml"])
def test_a_mirror_runs_nothing(file: str, at: Path, owned: Path, train: Train) -> None:
    (path,) = (at / STORE).rglob(f"last-*/**/{file}")
    if file == "state.pt":
        replace(path, PAYLOADS["torch zip"](owned))
        reseal(path.parent)
    else:
        replace(path, f"!!python/object/apply:os.system ['touch {owned}']".encode())
    pointer = read_sealed(at / STORE / RUN / "mirror.json")
    for entry in pointer["files"].values():
        copy = at / STORE / RUN / entry["at"]
        entry.update(size=copy.stat().st_size, checksum=file_checksum(copy))
    write_sealed(at / STORE / RUN / "mirror.json", pointer)
    (at / RUN).rename(at / "gone")
    answer = train(f"resume=file://{at}/{STORE}/{RUN}", "mirror.url=null", folder=at)
    assert refused(answer, file), answer
    assert not owned.exists()


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_pretrained_folder_runs_nothing(kind: str, tmp_path: Path, owned: Path) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    settings = {"model_type": "roberta", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    settings |= {"intermediate_size": 8, "vocab_size": 20}
    code = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(settings))
    for name in ("pytorch_model.bin", "model.safetensors"):
        (folder / name).write_bytes(PAYLOADS[kind](owned))
        with pytest.raises(UserError, match=r"model\.pretrained: the encoder .* cannot be loaded"):
            load_backbone(str(folder), 0.1)
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(owned)!r}).touch()\n")
    (folder / "config.json").write_text(json.dumps({**settings, **code, "model_type": "evil"}))
    with pytest.raises(UserError, match=r"model\.pretrained"):
        load_backbone(str(folder), 0.1)
    assert not owned.exists()


def extension_type(target: Path) -> pa.Table:
    """A column whose type older versions of Arrow unpickled when they read its name."""
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type"}
    metadata[b"ARROW:extension:metadata"] = PAYLOADS["pickle"](target)
    field = pa.field("text", pa.string(), metadata=metadata)
    texts, labels = [f"int f{n}();" for n in range(120)], [n % 2 for n in range(120)]
    return pa.table([texts, labels], schema=pa.schema([field, pa.field("label", pa.int64())]))


@pytest.mark.parametrize("name", ["data.csv", "data.jsonl", "data.parquet"])
def test_data_files_run_nothing(name: str, at: Path, owned: Path, train: Train) -> None:
    (at / name).write_bytes(PAYLOADS["pickle"](owned))
    answer = train(*SMALL, f"data.path={name}", "hydra.run.dir=new", folder=at)
    assert answer.code == EXIT_USER, answer
    assert name in answer.err
    assert "Traceback" not in answer.err
    if name.endswith("parquet"):
        pq.write_table(extension_type(owned), at / name)
        train(*SMALL, f"data.path={name}", "hydra.run.dir=new", "dry_run=true", folder=at)
    assert not owned.exists()
