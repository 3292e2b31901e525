"""Finished runs as branches of another model: opened, held against what they shall be used for, rebuilt.

Whatever does not fit is told in one message per branch, before anything is encoded, written or trained.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from counterpoise.config.experiment import Experiment
from counterpoise.config.targets import Component, resolve_component
from counterpoise.config.values import show
from counterpoise.data.cache import component_key, file_checksum
from counterpoise.data.encode import graphs, tokenizer, tokens
from counterpoise.data.encode.base import Encoded, EncodedSplit
from counterpoise.data.records import Dataset
from counterpoise.decision import Decision
from counterpoise.engine.checkpoints import Checkpoint
from counterpoise.errors import Problem, UserError, fail, first_line, near
from counterpoise.finished import FINISH, FinishedRun
from counterpoise.models.base import FRESH, Backbone, ModelContext
from counterpoise.paths import user_path

log = logging.getLogger(__name__)

VOCABULARIES = {
    "tokens": (tokenizer.PROPERTIES, tokenizer.TOKENIZER),
    "graphs": (graphs.PROPERTIES, graphs.VOCABULARY),
}
"""Files that a run keeps of each kind of encoding: its properties, and what they were learnt from."""
PACKAGES = ("counterpoise", "torch", "torch-geometric", "transformers", "tokenizers", *graphs.PARSERS)
"""Whose versions a branch's answers depend on."""
Settings = tokens.TokensConfig | graphs.GraphsConfig
OWN_SETTINGS = ("reuse", "workers")
"""Settings of an encoding that a run does not share with the run whose vocabulary it takes up."""


@dataclass(frozen=True)
class Branch:
    """A finished run's model with its best weights."""

    name: str
    """What it is used as, e.g. ``transformer``."""
    kind: str
    """Of the encoding that it reads: ``tokens`` or ``graphs``."""
    folder: Path
    component: Component
    """Its class and its own config."""
    model: Backbone
    """In evaluation mode, on the CPU; to be copied, not changed."""
    weights: str
    """Checksum of its weights."""
    vocabulary: str
    """Checksum of the file that its inputs are numbered by."""
    same_data: bool
    """Whether it was trained on these very data and splits."""
    decision: Decision = field(default_factory=Decision)
    """What it answers by alone; nothing of it goes into what is built on the branch."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a run that is resumed must find again, JSON-ready."""
        return {"model": component_key(self.component), "weights": self.weights, "vocabulary": self.vocabulary}

    def split(self, whole: EncodedSplit) -> EncodedSplit:
        """The part of a split in several encodings that this branch reads."""
        return getattr(whole, self.kind)  # type: ignore[no-any-return]

    def answer_key(self, data_fingerprint: str, encoded: Encoded) -> dict[str, Any]:
        """All that its answers for a data set depend on beside the machine, JSON-ready: not what it is joined with."""
        return {
            **self.facts,
            "data": data_fingerprint,
            "encoding": encoded.properties[self.kind],
            "formats": [tokens.FORMAT, graphs.FORMAT],
            "versions": {name: version(name) for name in PACKAGES},
        }


def open_branches(experiment: Experiment, dataset: Dataset, data_fingerprint: str) -> dict[str, Branch]:
    """The branches of the model that come from runs, by name; none for a model without.

    A branch that was trained on other data is warned about: it may have seen rows of the test split.

    Raises:
        UserError: with what is wrong with each of them.
    """
    model = experiment["model"]
    found: dict[str, Branch] = {}
    problems = list(_stage_problems(experiment))
    for name, kind in getattr(model.target, "branches", {}).items():
        given = getattr(model.config, name)
        if given == FRESH:
            continue
        try:
            _check_reused(experiment, name, kind, given)
            otherwise = f"Name the folder of a finished run, or {FRESH}."
            run = FinishedRun.open(f"model.{name}", user_path(given, f"model.{name}"), otherwise)
            settings = getattr(experiment["encoding"].config, kind)
            derived = getattr(getattr(model.config, f"fresh_{name}", None), "pretrained", None)
            opening = _Opening(name, kind, run, experiment.plain.extensions, dataset, settings, derived)
            found[name] = opening.open(data_fingerprint)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    for branch in found.values():
        if not branch.same_data:
            log.warning(
                "model.%s: %s was trained on other data; rows of this test split may have been among them.",
                *(branch.name, near(branch.folder)),
            )
    return found


def _stage_problems(experiment: Experiment) -> Iterator[Problem]:
    model, epochs = experiment["model"], experiment.plain.train.epochs
    frozen = model.target.frozen_epochs(model.config)  # type: ignore[attr-defined]
    if epochs <= frozen < float("inf"):
        message = f"is {int(frozen)}, but train.epochs is {epochs}: the second stage would never come."
        yield Problem("model.stage_epochs", message, "Lower the one, raise the other, or use model.mode=frozen.")


def _check_reused(experiment: Experiment, name: str, kind: str, given: str) -> None:
    """The branch's own vocabulary must be the one that is used."""
    reused = getattr(getattr(experiment["encoding"].config, kind, None), "reuse", None)
    own = f"encoding.{kind}.reuse"
    if reused is None or user_path(reused, own).resolve() != user_path(given, f"model.{name}").resolve():
        message = f"must be {show(given)}, as model.{name} is, but is {show(reused)}."
        raise fail(own, message, "Leave it out: it follows the branch.")


@dataclass(frozen=True)
class _Opening:
    """One branch on its way from a folder to a model; every method raises ``UserError`` for what does not fit."""

    name: str
    kind: str
    run: FinishedRun
    extensions: Sequence[str]
    dataset: Dataset
    given: Settings
    """This run's settings of the encoding that the branch reads."""
    derived: object
    """What ``pretrained`` of that encoding follows: the base of a fresh model in the branch's place."""

    def open(self, data_fingerprint: str) -> Branch:
        metadata = self.run.metadata
        self._check_classes(metadata.get("classes"))
        component = self._component(metadata.get("config"))
        properties, vocabulary, settings = self._properties()
        theirs = (metadata.get("config") or {}).get("encoding")
        theirs = theirs if isinstance(theirs, Mapping) else {}
        self._check_properties(settings, theirs)
        self._check_given(settings, theirs)
        checkpoint = self.run.best()
        model = self._model(component, properties, checkpoint)
        return Branch(
            self.name,
            self.kind,
            self.run.folder,
            component,
            model,
            weights=checkpoint.weights,
            vocabulary=vocabulary,
            same_data=metadata.get("data_fingerprint") == data_fingerprint,
            decision=self.run.decision(checkpoint),
        )

    def _check_classes(self, theirs: object) -> None:
        ours = list(self.dataset.classes)
        if theirs == ours:
            return
        if not isinstance(theirs, list):
            raise self.run.refuse("does not say what classes it tells apart.", FINISH)
        what = f"was trained for the classes {', '.join(map(str, theirs))}, but these data have {', '.join(ours)}"
        order = ", in another order" if sorted(map(str, theirs)) == sorted(ours) else ""
        raise self.run.refuse(f"{what}{order}.", "All branches must be trained for the same classes in the same order.")

    def _component(self, config: object) -> Component:
        problems: list[Problem] = []
        node = config.get("model") if isinstance(config, Mapping) else None
        component = resolve_component("model", node, self.extensions, problems)
        if component is None:
            raise UserError(self.run.told(problems))
        reads, called = getattr(component.target, "encoding", None), component.target.__name__
        if getattr(component.target, "branches", {}):
            raise self.run.refuse(f"is a {called}, which has branches itself.", "Name the runs of its branches.")
        if reads != self.kind:
            wanted = f"a model that reads {self.kind} is wanted here."
            raise self.run.refuse(f"is a {called}, which reads {reads}, but {wanted}", self._swapped(reads))
        if not issubclass(component.target, Backbone):
            what = f"is a {called}, which is no Backbone: it gives no features to build on."
            raise self.run.refuse(what, "See docs/extending.md.")
        return component

    def _swapped(self, reads: object) -> str:
        return {"tokens": "Is it meant for model.transformer?", "graphs": "Is it meant for model.gnn?"}.get(
            str(reads), FINISH
        )

    def _properties(self) -> tuple[dict[str, Any], str, Settings]:
        """The properties of the branch's encoding, the checksum of its vocabulary, and its settings."""
        properties_file, vocabulary_file = VOCABULARIES[self.kind]
        try:
            properties = _READERS[self.kind](self.run.folder / properties_file)
            settings = _CHECKS[self.kind](self.run.folder, properties)
            return properties, file_checksum(self.run.folder / vocabulary_file), settings
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            what = f"cannot be built on, since its vocabulary is not whole: {first_line(error)}."
            raise self.run.refuse(
                what, f"Bring {properties_file} and {vocabulary_file} back, or train it again."
            ) from error

    def _check_properties(self, settings: Settings, theirs: Mapping[str, Any]) -> None:
        """The file of properties must say what the run's own config does, unless it took another's up."""
        if theirs.get("reuse") is not None:
            return
        for name, value in asdict(settings).items():
            asked = theirs.get(name, value)
            learnt = self.kind == "tokens" and name == "vocab_size"  # what is asked for is the largest that it may be
            if name in OWN_SETTINGS or learnt or asked in (value, "auto"):
                continue
            properties_file, _ = VOCABULARIES[self.kind]
            what = f"was trained with encoding.{name}={show(asked)}, but its {properties_file} says {show(value)}."
            raise self.run.refuse(what, f"Bring {properties_file} back, or train it again.")

    def _check_given(self, settings: Settings, theirs: Mapping[str, Any]) -> None:
        """What is given beside the branch must be a default, or what the branch has: it would have no effect."""
        problems = []
        for one in fields(settings):
            value = getattr(self.given, one.name, one.default)
            own = getattr(settings, one.name)
            if one.name not in OWN_SETTINGS and value not in (one.default, own, theirs.get(one.name), self.derived):
                origin = near(self.run.folder)
                message = f"is {show(value)}, but comes from the branch, {origin}, which has {show(own)}."
                problems.append(Problem(f"encoding.{self.kind}.{one.name}", message, "Leave it out."))
        if problems:
            raise UserError(problems)

    def _model(self, component: Component, properties: Mapping[str, Any], checkpoint: Checkpoint) -> Backbone:
        counts = self.dataset.train.class_counts()
        context = ModelContext(tuple((counts / counts.sum()).tolist()), properties)
        model: Any = self.run.build(component, context, checkpoint)
        broken = list(_broken_promises(model))
        if broken:
            what = f"is a {type(model).__name__}, which is no whole Backbone: {'; '.join(broken)}."
            raise self.run.refuse(what, "See docs/extending.md.")
        self.run.load(model, checkpoint)
        if model.head.out_features != len(self.dataset.classes):
            what = f"answers with {model.head.out_features} classes, but these data have {len(self.dataset.classes)}."
            raise self.run.refuse(what, FINISH)
        opened: Backbone = model.eval()
        return opened


def _broken_promises(model: Backbone) -> Iterator[str]:
    """What a model lacks that every :class:`Backbone` has; its features are looked at when there are inputs."""
    for name in ("feature_size", "state_size"):
        size = getattr(model, name, None)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            yield f"{name} must be a whole number above zero, but is {show(size)}"
    if not isinstance(getattr(model, "dropout", None), nn.Module):
        yield f"dropout must be an nn.Dropout, but is {_kind(model, 'dropout')}"
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear):
        yield f"head must be an nn.Linear, but is {_kind(model, 'head')}"
    elif head.in_features != getattr(model, "feature_size", None):
        yield f"head must read the feature_size of {show(getattr(model, 'feature_size', None))}, " + (
            f"but reads {head.in_features}"
        )


def _kind(model: Backbone, name: str) -> str:
    return f"a {type(getattr(model, name)).__name__}" if hasattr(model, name) else "missing"


def _check_tokens(folder: Path, properties: Mapping[str, Any]) -> Settings:
    tokenizer.check_tokenizer(folder / tokenizer.TOKENIZER, properties)
    return tokens.settings_of(properties)


def _check_graphs(folder: Path, properties: Mapping[str, Any]) -> Settings:
    graphs.Vocabulary.read(folder / graphs.VOCABULARY).check_sizes(properties)
    settings = graphs.settings_of(properties)
    if properties["node_features"] or settings.parser is None:
        raise ValueError("it was trained on graphs that came as such, and these would be made of texts")
    return settings


_READERS: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "tokens": tokenizer.read_token_properties,
    "graphs": graphs.read_properties,
}
_CHECKS: Mapping[str, Callable[[Path, Mapping[str, Any]], Settings]] = {
    "tokens": _check_tokens,
    "graphs": _check_graphs,
}
