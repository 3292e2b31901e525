"""What the overrides that a run saved may decide when it is resumed, and what only the command line may."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from counterpoise.config.arguments import prepare
from counterpoise.config.saved import needed_again
from counterpoise.errors import PreemptedError, UserError
from counterpoise.preemption import Leavings
from counterpoise.tracking.folder import RunFolder


def saved_run(folder: Path, *overrides: str) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(list(overrides)), folder / ".hydra" / "overrides.yaml")
    return folder


def refused(folder: Path, *given: str, url: str | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        prepare([f"resume={folder}", *given], url)
    return [str(problem) for problem in caught.value.problems]


def taken(folder: Path, *given: str, url: str | None = None) -> list[str]:
    """The overrides that are taken over."""
    arguments = prepare([f"resume={folder}", *given], url)
    return arguments[: len(arguments) - 1 - len(given)]


@pytest.mark.parametrize(
    "override",
    [
        *("extensions=[evil]", "+extensions=[evil]", "++extensions=['evil']", 'extensions=[a,"evil"]'),
        "extensions=extend_list(evil)",
    ],
)
def test_modules_are_named_again(tmp_path: Path, override: str) -> None:
    folder = saved_run(tmp_path / "run", "seed=1", override)
    (said,) = refused(folder)
    assert said.startswith("resume: the run was trained with modules of your own: ")
    assert "evil" in said
    assert "If you trust them, add 'extensions=[" in said
    assert taken(folder, "extensions=[a,evil]") == ["seed=1", override]
    (said,) = refused(folder, "extensions=[mine]")
    assert "add 'extensions=[mine," in said


@pytest.mark.parametrize(
    "override",
    [
        "extensions=${data.name}",
        "extensions=['${oc.env:X}']",
        "extensions.0=evil",
        "extensions=evil",
        "extensions=[a b]",
    ],
)
def test_modules_that_are_not_said_plainly_are_no_runs(tmp_path: Path, override: str) -> None:
    folder = saved_run(tmp_path / "run", override)
    for given in ([], ["extensions=[evil]"]):
        (said,) = refused(folder, *given)
        assert "does not say which modules" in said


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("mirror.url=https://evil.example/in", "mirror.url"),
        ("++mirror.url='s3://evil/in'", "mirror.url"),
        ("mirror.url=http\\://evil/in", "mirror.url"),
        ("+mirror={url: 'webhdfs://evil/in'}", "mirror"),
        ("mirror.url=simplecache::file:///x", "mirror.url"),
        ("tracker.mlflow.uri=http://evil.example:5000", "tracker.mlflow.uri"),
        ("tracker.cloudwatch.endpoint=http://evil.example", "tracker.cloudwatch.endpoint"),
        ("+tracker.x={_target_: counterpoise.tracking.mlflow.MLflow, uri: 'mysql+pymysql://evil/db'}", "tracker.x"),
    ],
)
def test_addresses_are_given_again(tmp_path: Path, override: str, key: str) -> None:
    folder = saved_run(tmp_path / "run", "seed=1", override)
    (said,) = refused(folder)
    assert "an address that only the command line may give" in said
    assert key in said
    assert taken(folder, f"{key}=null") == ["seed=1"]
    assert taken(folder, override) == ["seed=1"]
    assert taken(folder, f"{key.partition('.')[0]}=none") == ["seed=1"]


def test_a_password_in_a_saved_address_is_not_shown(tmp_path: Path) -> None:
    for url in ("https://me:hunter2@host/x", "https://host/x?token=hunter2"):
        (said,) = refused(saved_run(tmp_path / str(len(url)), f"mirror.url='{url}'"))
        assert "hunter2" not in said
        assert "mirror.url=..." in said


@pytest.mark.parametrize("url", ["file:///mnt/copies", "local:///mnt/copies", "sqlite:///outputs/mlflow.db"])
def test_addresses_on_this_machine_are_taken_over(tmp_path: Path, url: str) -> None:
    override = f"mirror.url={url}"
    assert taken(saved_run(tmp_path / "run", override)) == [override]


def test_a_run_goes_back_to_the_mirror_that_it_was_fetched_from(tmp_path: Path) -> None:
    folder = saved_run(tmp_path / "run", "mirror.url=s3://mine/prefix")
    assert taken(folder, url="s3://mine/prefix/outputs/run") == ["mirror.url=s3://mine/prefix"]
    for url in ("s3://mine/prefixes/outputs/run", "s3://other/prefix/run", "s3://mine"):
        assert "only the command line" in refused(folder, url=url)[0]


@pytest.mark.parametrize(
    "override",
    [
        *("data.name=${oc.env:SECRET}", "mirror.url=file:///${oc.env:SECRET}", "model=${oc.env:SECRET}", "a='x${b}'"),
        *("optimizer.lr_factors={a: '${oc.decode:1}'}", "data.path=\\\\\\${oc.env:SECRET}", "a=[1,'${b}']"),
        "data.path='\\\\${oc.env:SECRET}'",
    ],
)
def test_nothing_is_read_from_the_environment(tmp_path: Path, override: str) -> None:
    folder = saved_run(tmp_path / "run", "seed=1", override)
    (said,) = refused(folder)
    assert "a saved override may hold no interpolation" in said
    key = override.partition("=")[0]
    assert taken(folder, f"{key}=x") == ["seed=1"]


@pytest.mark.parametrize("override", ["data.path='\\${x}.csv'", "data.path='\\\\\\${x}.csv'", "data.path='$x{y}'"])
def test_an_escaped_interpolation_is_text(tmp_path: Path, override: str) -> None:
    assert taken(saved_run(tmp_path / "run", override)) == [override]


@pytest.mark.parametrize(
    "override",
    [
        *("hydra.run.dir=x", "+hydra.callbacks.x={_target_: a.b}", "hydra/launcher=joblib", "~hydra.callbacks"),
        *("+hydra@_global_=x", "+model@hydra.callbacks.x=bilstm", "+model@_global_.hydra.callbacks.x=bilstm"),
        *("--config-dir=x", "-m"),
    ],
)
def test_nothing_of_hydra_is_saved(tmp_path: Path, override: str) -> None:
    (said,) = refused(saved_run(tmp_path / "run", override))
    assert "which no run saves" in said


@pytest.mark.parametrize("content", ["- 1\n", "- [a]\n", "- {a: 1}\n", "- null\n"])
def test_overrides_are_texts(tmp_path: Path, content: str) -> None:
    folder = saved_run(tmp_path / "run")
    (folder / ".hydra" / "overrides.yaml").write_text(content)
    assert "is not a list of overrides" in refused(folder)[0]


def test_aliases_of_yaml_fill_no_memory(tmp_path: Path) -> None:
    folder = saved_run(tmp_path / "run")
    lines = ["- &a0 [x, x]", *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))]
    (folder / ".hydra" / "overrides.yaml").write_text("\n".join(lines))
    assert "it uses aliases, which no run writes" in refused(folder)[0]


def test_all_that_must_be_given_again_is_listed(tmp_path: Path) -> None:
    folder = saved_run(tmp_path / "run", "seed=1", "extensions=[mine]", "mirror.url=s3://a/b")
    assert len(refused(folder)) == 2
    assert needed_again(folder) == ["'extensions=[mine]'", "mirror.url=s3://a/b"]
    assert needed_again(tmp_path) == []


def test_a_run_that_a_signal_ended_says_what_to_give_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved_run(tmp_path / "run", "seed=1", "extensions=[mine]", "mirror.url=s3://a/b")
    said = str(Leavings(RunFolder(tmp_path / "run"), multirun=False).said(PreemptedError("SIGTERM was received")))
    assert "To continue: resume=run 'extensions=[mine]' mirror.url=s3://a/b, which starts at the beginning." in said


def test_options_are_read_without_what_they_interpolate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    folder = saved_run(tmp_path / "run")
    sources = "[{provider: command-line, path: '${oc.env:SECRET}', schema: file}]"
    (folder / ".hydra" / "hydra.yaml").write_text(
        f"hydra: {{runtime: {{config_sources: {sources}}}, job: {{config_name: config}}}}"
    )
    (said,) = refused(folder)
    assert "hunter2" not in said
    assert "--config-dir" in said
