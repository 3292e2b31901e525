"""The experiment as typed objects: everything of ``conf/`` checked in one walk that lists all problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from counterpoise.config.extensions import name_problems
from counterpoise.config.hardware import HardwareConfig
from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, SEED, Auto, parse
from counterpoise.config.targets import BASES, OPTIONAL, SEVERAL, Component, resolve_component, resolve_target
from counterpoise.config.values import show
from counterpoise.errors import Problem, UserError, nearest


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and in what steps to train."""

    epochs: Annotated[int, AT_LEAST_ONE] = 10
    """Epochs at most; early stopping may end before."""
    batch_size: Annotated[int | Auto, AT_LEAST_ONE] = "auto"
    """Samples per micro-batch and process; auto takes the hardware profile's for this kind of model."""
    accumulation: Annotated[int | Auto, AT_LEAST_ONE] = "auto"
    """Micro-batches per update; auto takes the hardware profile's."""
    batch_tokens: Annotated[int | Auto, AT_LEAST_ONE] | None = "auto"
    """Most tokens in a micro-batch: with it the samples of an update are cut by tokens rather than by batch_size. auto:
    for documents in chunks those of batch_size full documents, else none; null: none."""
    evaluation_batch: Annotated[int | Auto, AT_LEAST_ONE] = "auto"
    """Samples per batch of evaluation; auto is twice the micro-batch."""
    clip_norm: Annotated[float, POSITIVE] | None = 1.0
    """Largest gradient norm; null does not clip."""
    bucket: bool = True
    """Batches of similar length: far less padding; false draws them at random."""
    log_every: Annotated[int, AT_LEAST_ONE] = 10
    """Updates between two readings of loss, learning rate and gradient norm."""
    checkpoint_updates: Annotated[int, NON_NEGATIVE] = 0
    """Updates between two checkpoints, beside those at the end of each epoch; 0 for none."""
    checkpoint_seconds: Annotated[float, NON_NEGATIVE] = 60.0
    """Seconds between two checkpoints, beside those; 0 for none."""
    storage_wait: Annotated[float, NON_NEGATIVE] = 300.0
    """Seconds that the end of training waits for a disk that is full or read-only; 0 tries once."""
    folder_wait: Annotated[float, NON_NEGATIVE] = 86400.0
    """Seconds that a job of a multirun waits for another process that trains in its folder, to take its result; 0 does
    not wait."""


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    """Folders, relative to where the command is run."""

    outputs: str = "outputs"
    """Single runs."""
    multirun: str = "multirun"
    """Multiruns and sweeps."""
    cache: str = ".cache/counterpoise"
    """Encoded data; safe to delete, and to share between runs."""


@dataclass(frozen=True, kw_only=True)
class PlainSections:
    """The sections of a config that choose no component."""

    seed: Annotated[int, SEED] = 42
    """Every random choice comes from it."""
    resume: str | None = None
    """A run folder to continue; its own overrides are taken up again."""
    lr_finder: bool = False
    """Find the learning rate by a range test, whatever optimizer.lr says; optimizer.lr=auto does the same."""
    fold: Annotated[int, NON_NEGATIVE] | None = None
    """Which of the folds is held out, from 0; null: the data set's own splits."""
    dry_run: bool = False
    """Check everything, show the plan, train nothing."""
    extensions: tuple[str, ...] = ()
    """Modules of your own that _target_ may name."""
    train: TrainConfig
    """How long and in what steps to train."""
    hardware: HardwareConfig
    """What to train on."""
    paths: PathsConfig
    """Folders."""


FREE = (
    *("paths", "tracker", "mirror", "dry_run", "resume", "extensions", "hardware.workers"),
    *("train.checkpoint_", "train.storage_wait", "train.folder_wait", "lr_range_test.cache_hours", "report"),
)
"""Keys (or beginnings of keys) that do not change a bit of a run's result: they may differ when it is resumed."""
DATA_PATHS = ("data.path", "data.train", "data.valid", "data.test")
"""Keys that say where the data are. They may differ too: the fingerprint of the data tells whether it is the same."""


@dataclass(frozen=True)
class Experiment:
    """A checked configuration. Components are built by ``run.py``, which knows what each needs."""

    plain: PlainSections
    components: Mapping[str, Component]
    """By group: data, encoding, encoder where one is chosen, model, loss, balance, optimizer, scheduler."""
    sections: Mapping[str, Any]
    """Configurations of folds, objective, early_stopping, guard, lr_range_test, mirror, protocol, report and decision,
    by section."""
    trackers: Mapping[str, Component]
    """By name; any number."""

    def __getitem__(self, group: str) -> Component:
        return self.components[group]

    def build_encoding(self) -> Any:
        """The encoding, together with the encoder that it embeds texts by, where it needs one.

        Raises:
            UserError: if the encoder is not there.
        """
        encoder = self.components.get("encoder")
        return self["encoding"].build() if encoder is None else self["encoding"].build(encoder.build())

    @property
    def finds_lr(self) -> bool:
        """Whether the learning rate is to be found by a range test."""
        return self.plain.lr_finder or self["optimizer"].config.lr == "auto"

    @property
    def given_lr(self) -> float:
        """The learning rate at ``base_batch`` as it is given; with ``optimizer.lr=auto`` the recipe's."""
        lr = self["optimizer"].config.lr
        return float(self.sections["lr_range_test"].recipe if lr == "auto" else lr)


SECTIONS = {
    "folds": "counterpoise.data.folds.FoldsConfig",
    "objective": "counterpoise.metrics.ObjectiveConfig",
    "early_stopping": "counterpoise.guards.early_stopping.EarlyStoppingConfig",
    "guard": "counterpoise.guards.config.GuardConfig",
    "lr_range_test": "counterpoise.optim.lr_finder.LRRangeTestConfig",
    "mirror": "counterpoise.engine.mirror.MirrorConfig",
    "protocol": "counterpoise.reports.protocol.ProtocolConfig",
    "report": "counterpoise.reports.options.ReportConfig",
}
"""Sections whose dataclass stands beside the code that it configures."""
TOP_LEVEL = {"decision": "counterpoise.decision.DecisionConfig"}
"""Such dataclasses whose fields stand at the top of the config."""


def check(node: Mapping[str, Any]) -> Experiment:
    """Check a resolved config.

    Raises:
        UserError: with every problem found: unknown keys, wrong types, values out of range, broken relations.
    """
    problems: list[Problem] = []
    plain_names = {field.name for field in fields(PlainSections)}
    schemas = {name: resolve_target(name, target, ()) for name, target in TOP_LEVEL.items()}
    top = {name: {field.name for field in fields(schema)} for name, schema in schemas.items()}
    known = plain_names | set(BASES) | set(SECTIONS) | set().union(*top.values())
    problems += [Problem(str(key), "unknown key.", nearest(str(key), known)) for key in node if key not in known]
    plain = parse(PlainSections, {k: v for k, v in node.items() if k in plain_names}, "", problems)
    extensions = _extensions(node.get("extensions"))
    problems += name_problems(extensions)
    single = [group for group in BASES if group not in SEVERAL]
    chosen = [group for group in single if group not in OPTIONAL or node.get(group) is not None]
    found = {group: resolve_component(group, node.get(group), extensions, problems) for group in chosen}
    sections = {name: _parse_section(name, target, node.get(name), problems) for name, target in SECTIONS.items()}
    for name, schema in schemas.items():
        sections[name] = parse(schema, {k: v for k, v in node.items() if k in top[name]}, "", problems)
    components = {group: component for group, component in found.items() if component is not None}
    trackers = _trackers(node.get("tracker"), extensions, problems)
    problems += [
        *_relations(components, sections),
        *_of_folds(plain, components, sections),
        *_unmeetable(plain, sections),
    ]
    if "encoding" in components:
        problems += _encoder_problems(components["encoding"], "encoder" in chosen)
    if problems:
        raise UserError(problems)
    return Experiment(plain, components, sections, trackers)


def _trackers(node: object, extensions: Sequence[str], problems: list[Problem]) -> dict[str, Component]:
    """Trackers by name; none where the section is empty."""
    if not isinstance(node, Mapping | None):
        message = f"expected trackers by name, got {show(node)}."
        problems.append(Problem("tracker", message, "Choose some, e.g. 'tracker=[tensorboard,mlflow]'."))
        return {}
    found = {}
    for name, each in (node or {}).items():
        if isinstance(each, Mapping):
            component = resolve_component("tracker", each, extensions, problems, f"tracker.{name}")
            if component is not None:
                found[str(name)] = component
        else:  # as it was written when a run had one tracker
            message = "stands below the name of a tracker: there may be several."
            problems.append(Problem(f"tracker.{name}", message, f"Write tracker.NAME.{name}."))
    return found


def _extensions(value: object) -> Sequence[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _parse_section(name: str, target: str, node: object, problems: list[Problem]) -> Any:
    return parse(resolve_target(name, target, ()), node if node is not None else {}, name, problems)


def _relations(components: Mapping[str, Component], sections: Mapping[str, Any]) -> list[Problem]:
    found = []
    if "model" in components and "encoding" in components:
        wanted, given = components["model"].target.encoding, components["encoding"].target.kind  # type: ignore[attr-defined]
        if wanted != given:
            message = f"{components['model'].target.__name__} reads {wanted!r}, but this encoding gives {given!r}."
            found.append(Problem("encoding", message, f"Choose one that gives {wanted!r}."))
    if hasattr(sections["decision"], "problems_with") and hasattr(sections["objective"], "metric"):
        found += sections["decision"].problems_with(sections["objective"])
    automatic = "optimizer" in components and components["optimizer"].config.lr == "auto"
    if automatic and getattr(sections["lr_range_test"], "recipe", 0.0) is None:
        message = "must be given with optimizer.lr=auto: it is used where the range test tells nothing."
        found.append(Problem("lr_range_test.recipe", message, "Or give optimizer.lr a number, and lr_finder=true."))
    return found


def _of_folds(plain: Any, components: Mapping[str, Component], sections: Mapping[str, Any]) -> Iterator[Problem]:
    """What does not go together with a fold that is held out, or with none."""
    folds = sections["folds"]
    if not (hasattr(plain, "fold") and hasattr(folds, "count")):  # something in them is wrong, which is told
        return
    fold, count = plain.fold, folds.count
    if fold is None:
        if folds != type(folds)():
            remedy = f"Add fold=0 for one of them, or -m sweep=kfold for all {count}."
            yield Problem("folds", "has no effect without fold: which of them is held out.", remedy)
        return
    if fold >= count:
        yield Problem("fold", f"is {fold}; with folds.count={count} the last is {count - 1}.")
    if "data" in components and getattr(components["data"].config, "label_noise", 0) > 0:
        message = "flips labels of the source's training split, and folds would measure on them."
        yield Problem("data.label_noise", message, "Set it to 0, or drop fold.")


def _encoder_problems(encoding: Component, chosen: bool) -> Iterator[Problem]:
    """An encoder that is missing, or that nothing would use."""
    needed, name = encoding.target.needs_encoder, encoding.target.__name__  # type: ignore[attr-defined]
    if needed and not chosen:
        yield Problem("encoder", f"{name} needs one that embeds texts.", "Choose one, e.g. encoder=lsa.")
    if chosen and not needed:
        yield Problem("encoder", f"{name} uses none.", "Leave it out, or choose a model that reads embeddings.")


def _unmeetable(plain: Any, sections: Mapping[str, Any]) -> Iterator[Problem]:
    """Criteria of a protocol that this run cannot meet, or cannot but meet."""
    asked, guard = sections["protocol"], sections["guard"]
    limit = getattr(getattr(plain, "train", None), "epochs", None)
    for name in ("epochs", "from_epoch", "shares_from"):
        value = getattr(asked, name, None)
        if isinstance(limit, int) and isinstance(value, int) and value > limit:
            message = f"is {value}, but train.epochs is {limit}."
            yield Problem(f"protocol.{name}", message, "Raise the one or lower the other.")
    if getattr(asked, "no_alarms", False) and getattr(guard, "policy", "") == "off":
        message = "must not be off: protocol.no_alarms asks what the guards saw."
        yield Problem("guard.policy", message, "guard=warn tells and goes on.")
