"""What is said about a command line that Hydra refuses: every problem, by key, with the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from counterpoise.config import resolvers
from counterpoise.config.refusal import Sources, explain

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    resolvers.register()
    yield
    GlobalHydra.instance().clear()


def said(*texts: str) -> list[str]:
    """The problems of a command line, which Hydra must have refused."""
    with initialize_config_dir(str(CONF)), pytest.raises(Exception) as caught:  # noqa: PT011
        compose("config", overrides=list(texts))
    return [str(problem) for problem in explain(texts, caught.value, Sources(CONF))]


def test_several_unknown_keys_at_once_each_with_the_nearest() -> None:
    assert said("modle=x", "seed=3", "optimizer.lrr=3", "train.epoch=2", "model=textcn") == [
        "model: has no option 'textcn'. Did you mean 'textcnn'?",
        "modle: unknown key. Did you mean 'model'?",
        "optimizer.lrr: unknown key. Did you mean 'optimizer.lr'?",
        "train.epoch: unknown key. Did you mean 'train.epochs'?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lr=3", "lr: unknown key. Did you mean 'optimizer.lr'?"),
        ("optimizer.epochs=3", "optimizer.epochs: unknown key. Did you mean 'train.epochs'?"),
        ("model.dropout.x=1", "model.dropout.x: model.dropout is a single value; it has no key 'x'."),
        ("optimizer.betas.7=1", "optimizer.betas.7: "),
        ("objective.weights.f1=1", "objective.weights.f1: unknown key. To add it, write +objective.weights.f1=..."),
        ("loss=foc", "loss: has no option 'foc'. Did you mean 'focal'?"),
        ("loss=null", "loss: needs an option, but is null. Valid names: bce, cross_entropy, focal, weighted_bce."),
        ("loss={a: 1}", "loss: has no option {'a': 1}. Valid names: bce, cross_entropy, focal, weighted_bce."),
        ("model@x=textcnn", "model@x: cannot be placed elsewhere. Write model=OPTION."),
        ("seed=1,2", "seed=1,2: is a list of values to sweep over, but this is a single run. Add -m."),
        ("loss=focal,bce", "loss=focal,bce: is a list of values to sweep over, but this is a single run. Add -m."),
        ("loss=focal,bec", "loss: has no option 'bec'. Did you mean 'bce'?"),
        (
            "seed=interval(1,2)",
            "seed=interval(1,2): is a list of values to sweep over, but this is a single run. Add -m.",
        ),
        ("loss=glob(*)", "loss=glob(*): is a list of values to sweep over, but this is a single run. Add -m."),
        ("+seed=1", "seed: Could not append to config. An item is already at 'seed'."),
        ("~nope", "nope: unknown key."),
        ("~loss=bce", "loss: Could not delete 'loss=bce'."),
        ("hydra.run.dri=x", "hydra.run.dri: Could not override 'hydra.run.dri'. Key 'dri' not in 'RunDir'."),
        ("hydra/launcher=jobli", "hydra/launcher: has no option 'jobli'. Did you mean 'joblib'?"),
        ("'", "': is not of the form key=value."),
        ("seed", "seed: is not of the form key=value."),
        ("=", "=: has no key. Overrides are of the form key=value."),
        ("data.path=[1,2", "data.path=[1,2: cannot be read: no viable alternative at input '[1,2'."),
        ("data.path=a=b", "data.path=a=b: cannot be read: mismatched input '='."),
        ("tracker=[1,2]", "tracker: has no option 1. Valid names: cloudwatch, mlflow, none, tensorboard."),
        ("tracker=[tensorboard,mlflo]", "tracker: has no option 'mlflo'. Did you mean 'mlflow'?"),
        ("tracker=null", "tracker: needs an option, but is null. Valid names: cloudwatch, mlflow, none, tensorboard."),
        ("tracker.folder=x", "tracker.folder: unknown key. Choose it first, tracker=NAME; its keys are tracker.NAME."),
        ("tracker.mlflow.uri=x", "tracker.mlflow.uri: unknown key. Choose it first, tracker=NAME; its keys are"),
    ],
)
def test_says_what_is_wrong(text: str, problem: str) -> None:
    (answer,) = said(text)
    assert answer.startswith(problem)


@pytest.mark.parametrize("jargon", ["full_key", "object_type", "reference_type", "Lexer", "BRACE_OPEN", "https://"])
def test_speaks_without_hydras_jargon(jargon: str) -> None:
    for text in ("seed==1", "a.b.=1", "seed=[", "+seed=1", "hydra.nope=1", "hydra.sweeper.params=3", "data.path='${'"):
        assert not any(jargon in line for line in said(text)), text


def test_a_key_of_a_chosen_option_is_known() -> None:
    assert said("loss=focal", "loss.gamma=3", "nope=1")[0].startswith("nope")
    assert len(said("loss=focal", "loss.gamma=3", "nope=1")) == 1


def test_a_key_of_a_tracker_stands_below_its_name() -> None:
    chosen = "tracker=[tensorboard,mlflow]"
    for wrong, right in (("folder", "tensorboard.folder"), ("mlflow.urri", "mlflow.uri"), ("mlfow.uri", "mlflow.uri")):
        assert said(chosen, f"tracker.{wrong}=x") == [f"tracker.{wrong}: unknown key. Did you mean 'tracker.{right}'?"]


def test_is_silent_about_an_error_that_is_not_the_command_lines() -> None:
    assert explain(["seed=1"], ValueError("a bug"), Sources(CONF)) == []
