"""What a curve is kept under: all that it depends on, and nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from cli.cli_command import SMALL, write_table
from counterpoise.config import resolvers
from counterpoise.config.experiment import check
from counterpoise.config.hardware import PROCESSOR
from counterpoise.data.cache import Cache, dataset_fingerprint, fingerprint
from counterpoise.data.loading import load_data
from counterpoise.engine.mirror import NoMirror
from counterpoise.engine.precision import make_fabric
from counterpoise.guards.signals import SignalGuard
from counterpoise.job import Job, build_loss
from counterpoise.jsonio import to_plain
from counterpoise.lr_search import curve_key, weights_fingerprint
from counterpoise.plan import make_plan, read_profiles, settle_hardware
from counterpoise.reports.protocol import Protocol
from counterpoise.storage import Storage
from counterpoise.tracking.console import make_console
from counterpoise.tracking.folder import RunFolder
from counterpoise.tracking.relay import Trackers

CONF = Path(__file__).resolve().parents[1] / "conf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("lr"))


def key(folder: Path, *overrides: str) -> dict[str, Any]:
    """The key of a curve of SMALL's model with these changes."""
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        given = [*SMALL, f"data.path={folder / 'tiny.csv'}", *overrides]
        config: Any = OmegaConf.to_container(compose("config", overrides=given), resolve=True)
    experiment = check(config)
    dataset = load_data(experiment)
    hardware, _ = settle_hardware(experiment.plain.hardware, PROCESSOR, read_profiles(CONF / "hardware"))
    plan = make_plan(experiment, hardware, len(dataset.train))
    job = Job(
        experiment=experiment,
        dataset=dataset,
        encoded=experiment.build_encoding().encode(dataset, Cache(folder / "cache")),
        plan=plan,
        hardware=hardware,
        fabric=make_fabric(plan.device, plan.precision),
        fingerprint=dataset_fingerprint(dataset),
        settings="",
        folder=RunFolder(folder / "run"),
        console=make_console(),
        trackers=Trackers(experiment.trackers, folder),
        signals=SignalGuard(),
        storage=Storage(folder),
        mirror=NoMirror(),
        protocol=Protocol(experiment.sections["protocol"]),
    )
    torch.manual_seed(0)
    return curve_key(job, build_loss(experiment, dataset), experiment["model"].build(job.context()))


@cache
def plain_key(folder: Path) -> str:
    return fingerprint(key(folder))


ANEW = [
    ["model.filters=5"],
    ["train.batch_size=5"],
    ["train.accumulation=3"],
    ["train.clip_norm=null"],
    ["train.bucket=false"],
    ["optimizer.weight_decay=0.02"],
    ["+optimizer.lr_factors.output=2.0"],
    ["loss.label_smoothing=0.0"],
    ["balance=none"],
    ["encoding.max_length=64"],
    ["data.split_seed=1"],
    ["hardware.precision=fp64"],
    ["lr_range_test.updates=61"],
    ["lr_range_test.start=1e-6"],
    ["lr_range_test.end=0.5"],
    ["lr_range_test.smoothing=0.9"],
    ["lr_range_test.diverged=5"],
]
AGAIN = [
    ["seed=8"],
    ["lr_range_test.method=steepest"],
    ["lr_range_test.range=[1e-5,1e-4]"],
    ["lr_range_test.recipe=1e-2"],
    ["lr_range_test.cache_hours=1"],
    ["optimizer.scaling=none"],
    ["optimizer.base_batch=1"],
    ["scheduler.warmup_ratio=0.0"],
    ["train.epochs=2"],
    ["optimizer.lr=0.1", "lr_finder=true"],
]


@pytest.mark.parametrize("changes", ANEW, ids=lambda changes: changes[0])
def test_another_curve_has_another_key(folder: Path, changes: list[str]) -> None:
    assert fingerprint(key(folder, *changes)) != plain_key(folder)


@pytest.mark.parametrize("changes", AGAIN, ids=lambda changes: changes[0])
def test_what_the_curve_does_not_depend_on_is_no_part_of_its_key(folder: Path, changes: list[str]) -> None:
    assert fingerprint(key(folder, *changes)) == plain_key(folder)


def test_a_key_survives_json(folder: Path) -> None:
    assert fingerprint(to_plain(key(folder))) == plain_key(folder)


def test_weights_are_told_apart_by_name_type_shape_and_every_bit() -> None:
    def model(change: Any = None) -> nn.Module:
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        with torch.no_grad():
            if change is not None:
                change(made)
        return made

    def one_bit(made: nn.Sequential) -> None:
        made[0].weight[1, 2] = torch.nextafter(made[0].weight[1, 2], torch.tensor(9.0))

    def transpose(made: nn.Sequential) -> None:
        made[0].weight = nn.Parameter(made[0].weight.reshape(3, 2))

    changes = [None, one_bit, transpose, nn.Module.double, lambda made: made[1].num_batches_tracked.add_(1)]
    found = [weights_fingerprint(model(change)) for change in changes]
    assert len(set(found)) == len(found)
    assert weights_fingerprint(model()) == found[0]
