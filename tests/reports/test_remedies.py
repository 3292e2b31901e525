"""Whatever a finding proposes can be added to the run's command: it composes, and passes the config check."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from run_kit import Story, course, result
from stories import STORIES

from counterpoise.config import resolvers
from counterpoise.config.experiment import check
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.findings import Finding
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.runs import RunRecord

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


@pytest.fixture(autouse=True, scope="module")
def _hydra() -> Iterator[None]:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        yield


@cache
def composed(*overrides: str) -> dict[str, Any]:
    config = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def accepted(asked: tuple[str, ...], finding: Finding) -> None:
    """The run's own overrides and the finding's, as on the command line; the value has really changed."""
    config = composed(*asked, finding.override)
    check(config)
    assert config != composed(*asked), f"{finding.override} changes nothing"


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("model", MODELS)
def test_every_override_composes_and_is_valid_for_every_model(model: str, name: str, tmp_path: Path) -> None:
    story = STORIES[name]
    asked = (f"model={model}", "objective.metric=f1", *story.asked)  # the figure that stories are told by
    limit = story.config.get("train.epochs", 8)
    config = composed(*asked, f"train.epochs={limit}")
    check(config)
    findings = diagnose(story.write(tmp_path, config))
    assert findings
    assert tuple(finding.kind for finding in findings) == story.kinds
    for finding in findings:
        if finding.override:
            accepted((*asked, f"train.epochs={limit}"), finding)


LOSSES = ("cross_entropy", "focal", "bce", "weighted_bce")
BALANCES = ("none", "class_weights", "effective_number", "sampler")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("balance", BALANCES)
def test_overrides_fit_every_loss_and_balance(loss: str, balance: str, tmp_path: Path) -> None:
    asked = ("model=textcnn", f"loss={loss}", f"balance={balance}", "balance.allow_stacked=true", "train.epochs=8")
    for name in ("memorised", "a class forgotten"):
        findings = diagnose(STORIES[name].write(tmp_path, composed(*asked)))
        tried = [finding for finding in findings if finding.override]
        assert tried, name
        for finding in tried:
            accepted(asked, finding)


def test_a_pretrained_encoder_has_a_recipe_of_its_own(tmp_path: Path) -> None:
    asked = ("model=transformer", "model.pretrained=some/encoder", "optimizer.lr=1e-3", "train.epochs=8")
    story = Story(epochs=STORIES["usual rate"].epochs, plan={"lr": 1e-3})
    (finding,) = diagnose(story.write(tmp_path, composed(*asked)))
    assert finding.override == "optimizer.lr=2e-05"
    assert finding.why == "the model's own learning rate: 0.001 is high"
    accepted(asked, finding)


REMEDIES: dict[str, Any] = {
    **{f"lr {factor}": (lambda r, f=factor: r.lr(f)) for factor in (0.001, 0.1, 0.3, 0.5, 10.0, 1e6)},
    **{f"epochs {count}": (lambda r, c=count: r.epochs(c)) for count in (-1, 0, 1, 7, 10**6)},
    **{name: (lambda r, n=name: r.switch_off(n)) for name in ("sampler", "class weights", "focal alpha", "pos_weight")},
    "lower lr": Remedies.lower_lr,
    "recipe": Remedies.recipe,
    "patience": lambda r: r.patience(30),
    "tuned threshold": Remedies.tuned_threshold,
    "regularise": Remedies.regularise,
    "balance": Remedies.balance,
    "objective": Remedies.objective,
    "full precision": Remedies.full_precision,
    "without leaks": Remedies.without_leaks,
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    remedy=st.sampled_from(sorted(REMEDIES)),
    model=st.sampled_from(MODELS),
    loss=st.sampled_from(LOSSES),
    balance=st.sampled_from(BALANCES),
    values=st.fixed_dictionaries(
        {
            "optimizer.lr": st.floats(1e-300, 1e300),
            "optimizer.weight_decay": st.floats(0, 10),
            "model.dropout": st.floats(0, 0.99),
            "seed": st.integers(0, 2**32 - 1),
        }
    ),
)
def test_every_remedy_is_valid_whatever_the_values(
    remedy: str, model: str, loss: str, balance: str, values: dict[str, Any]
) -> None:
    config = OmegaConf.create(composed(f"model={model}", f"loss={loss}", f"balance={balance}"))
    for key, value in values.items():
        OmegaConf.update(config, key, value)
    plain: Any = OmegaConf.to_container(config)
    check(plain)
    override = REMEDIES[remedy](Remedies(RunRecord(folder=Path(), metadata={"config": plain})))
    if override:
        changed: Any = OmegaConf.to_container(OmegaConf.merge(config, OmegaConf.from_dotlist([override])))
        check(changed)
        assert changed != plain


def test_a_model_without_dropout_is_not_told_to_have_more(tmp_path: Path) -> None:
    config = composed("model=textcnn", "train.epochs=8")
    bare = {**config, "model": {key: value for key, value in config["model"].items() if key != "dropout"}}
    (finding,) = diagnose(STORIES["memorised"].write(tmp_path, bare))
    assert finding.override == "loss.label_smoothing=0.1"


def test_where_nothing_is_known_nothing_is_proposed(tmp_path: Path) -> None:
    assert [call(Remedies(RunRecord(folder=tmp_path))) for call in REMEDIES.values()] == [""] * len(REMEDIES)
    story = Story(epochs=course([0.7, 0.9, 1.5], [0.7] * 3, [0.6] * 3), result=result())
    (finding, *_) = diagnose(story.write(tmp_path, {}))
    assert (finding.kind, finding.override, finding.why) == ("exploding", "", "")
