"""Pretrained tokenizers and encoders: loaded here and nowhere else, and looked at before they are used.

The library logs a table of weights that it did not find and goes on with random ones. Here that is an error or a
warning of our own, and the library stays silent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.allocation import is_out_of_memory
from counterpoise.errors import UserError, fail, first_line
from counterpoise.hub import local_or_hub, only_local, why_not_loaded
from counterpoise.pretrained_folder import check_folder, check_size, settle_config

log = logging.getLogger(__name__)

FEWEST = 0.25
"""Least share of an encoder's tensors that its files must hold: with fewer it is a model of random weights."""
_PROBE = 4
"""Tokens of the sequences that a model is tried with."""
_SAME = 1e-6
"""Largest relative difference of two states that count as equal."""


@dataclass(frozen=True)
class Origin:
    """A local folder, or a name on the hub, as a user gave it."""

    where: str
    """The dotted key that names it."""
    name: str
    remedy: str
    """What to do where nothing can be loaded by it."""
    source: str = field(default="")
    """What is loaded: a folder, or a name on the hub."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", self.source or local_or_hub(self.name, self.where))

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for the library: code that comes with a model is never run."""
        return {"trust_remote_code": False, "local_files_only": only_local(self.source)}

    def check_folder(self) -> None:
        """Raises ``UserError`` for a folder that would lead the library elsewhere."""
        if Path(self.source).is_dir():
            check_folder(Path(self.source), self.refuse)

    def refuse(self, message: str, remedy: str = "") -> UserError:
        """An error about it."""
        return fail(self.where, message, remedy)

    def unusable(self, what: str, error: Exception) -> UserError:
        """The error for a ``what`` (encoder, tokenizer) that the library cannot load."""
        reason = why_not_loaded(self.source, error)
        return fail(self.where, f"the {what} {self.name!r} cannot be loaded: {reason}.", self.remedy)


@dataclass(frozen=True)
class LoadedEncoder:
    """A pretrained encoder that reads token ids, in float32, in evaluation mode, on the CPU."""

    model: Any
    width: int
    """Numbers of a token's state."""
    longest: int | None
    """Most tokens that it can read, special tokens included; ``None`` where nothing limits them."""
    causal: bool
    """Whether a token's state depends on the tokens before it alone."""

    def check_pooling(self, pooling: str, origin: Origin, key: str) -> None:
        """Raises ``UserError`` where the state of the first token stands for a text that it has not seen."""
        if pooling == "cls" and self.causal:
            what = f"{origin.name!r} is a causal model: the state of its first token depends on no other token."
            raise origin.refuse(what, f"Name an encoder, or add {key}=mean.")

    @property
    def rows(self) -> int:
        """How many tokens it has embeddings of."""
        return int(self.model.config.vocab_size)


def load_tokenizer(origin: Origin) -> Any:
    """The tokenizer as ``AutoTokenizer`` gives it.

    Raises:
        UserError: if it cannot be loaded.
    """
    from transformers import AutoTokenizer  # 1 s; only who needs it pays for it

    origin.check_folder()
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(origin.source, **origin.options)
    except Exception as error:  # every error of the library and of the hub's client
        if is_out_of_memory(error):
            raise
        raise origin.unusable("tokenizer", error) from error


def load_encoder(origin: Origin, settings: Mapping[str, Any] | None = None, **options: Any) -> LoadedEncoder:
    """An encoder whose files hold its weights.

    Args:
        origin: where from.
        settings: values that replace those of its ``config.json``, where it has such keys.
        options: further arguments for ``AutoModel.from_pretrained``.

    Raises:
        UserError: if it cannot be loaded, is no encoder of tokens, or its weights are not those of its config.
    """
    from transformers import AutoConfig, AutoModel

    origin.check_folder()
    fixed = {"dtype": torch.float32, "ignore_mismatched_sizes": True, "weights_only": True, **origin.options}
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(origin.source, **origin.options)
            for name, value in (settings or {}).items():
                if hasattr(config, name):
                    setattr(config, name, value)
            settle_config(config, origin.refuse)
            if Path(origin.source).is_dir():
                check_size(config, Path(origin.source), origin.refuse)
            options = {**fixed, **options}
            model, loaded = AutoModel.from_pretrained(origin.source, config=config, output_loading_info=True, **options)
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise origin.unusable("encoder", error) from error
    if getattr(model.config, "is_encoder_decoder", False):
        message = f"must be an encoder alone, but {model.config.model_type} has a decoder behind its encoder."
        raise origin.refuse(message, "Name an encoder such as microsoft/codebert-base.")
    _check_weights(model, loaded, origin)
    return _tried(model.eval(), origin)


@contextmanager
def _quiet() -> Iterator[None]:
    """While inside the library logs errors only, and shows no bars; afterwards it does as before."""
    from transformers.utils import logging as untyped

    library: Any = untyped  # it has no types
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()


def _check_weights(model: nn.Module, loaded: Mapping[str, Any], origin: Origin) -> None:
    """Raises ``UserError`` where nearly nothing of the model, or something of another shape, was in its files; warns
    where something was missing. The pooler is not asked for: it is never used."""
    wrong = sorted(loaded["mismatched_keys"])
    if wrong:
        name, theirs, ours = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        message = f"the weights of {origin.name!r} do not fit its config.json: {name} is {list(theirs)}, but must be "
        raise origin.refuse(f"{message}{list(ours)}{more}.", "Bring the config.json that the weights were saved with.")
    own = [name for name in model.state_dict() if "pooler" not in name.split(".")]
    missing = sorted(name for name in loaded["missing_keys"] if "pooler" not in name.split("."))
    if not missing:
        return
    found = len(own) - len(missing)
    if found < FEWEST * len(own):
        lack = f"{found or 'none'} of its {len(own)} weights" + (" are" if found > 1 else " is")
        message = f"{lack} in the files of {origin.name!r}: {_example(missing, sorted(loaded['unexpected_keys']))}."
        raise origin.refuse(
            message, "Save the model again with save_pretrained, so that names and config belong to it."
        )
    log.warning(
        "%s: %d of the %d weights of %r are missing in its files and start at random: %s%s.",
        *(origin.where, len(missing), len(own), origin.name),
        *(", ".join(missing[:3]), " and others" if len(missing) > 3 else ""),
    )


def _example(missing: list[str], unexpected: list[str]) -> str:
    """One name that is sought, and the name that comes closest among those that the files hold."""
    pairs = ((sought, held) for sought in missing for held in unexpected if held.endswith(f".{sought}"))
    sought, held = next(pairs, (missing[0], unexpected[0] if unexpected else ""))
    return f"{sought!r} is sought, but " + (f"they hold {held!r}" if held else "they hold no other weights")


def _tried(model: Any, origin: Origin) -> LoadedEncoder:
    """What the model does with two short sequences: it says more than any name in its config."""
    tables: list[tuple[int, int]] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, given: tables.extend(_positions(module, given)))
        for module in model.modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2
    ]
    try:
        with torch.no_grad(), _quiet():
            ids = _sequences(model.config)
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    except Exception as error:  # of a model that reads images, say
        if is_out_of_memory(error):
            raise
        what = f"{origin.name!r} ({model.config.model_type}) cannot read {_PROBE} tokens: {first_line(error)}."
        raise origin.refuse(what, "Name an encoder such as microsoft/codebert-base.") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not states.isfinite().all():
        raise origin.refuse(f"the states of {origin.name!r} are not finite.", "Its weights are damaged: name another.")
    one, other = states[:, 0]
    causal = bool((one - other).abs().max() <= _SAME * one.abs().max())
    limits = [rows - first for rows, first in tables]
    declared = getattr(model.config, "max_position_embeddings", None)
    limits += [declared] if isinstance(declared, int) and declared > 0 else []
    return LoadedEncoder(model, int(states.shape[-1]), min(limits, default=None), causal)


def _sequences(config: Any) -> Tensor:
    """Two sequences ``[2, L]`` of ordinary tokens that differ in their second one."""
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id")
    special = {getattr(config, name, None) for name in names}
    one, other = [token for token in range(len(special) + 2) if token not in special][:2]
    ids = torch.full((2, _PROBE), one)
    ids[1, 1] = other
    return ids


def _positions(module: Any, given: tuple[Any, ...]) -> Iterator[tuple[int, int]]:
    """Rows of a table of positions, and the row of the first token, where ``module`` is asked for positions in turn.

    RoBERTa and its kin count from behind the padding id, so that of 514 rows 512 are left for tokens.
    """
    asked = given[0] if given else None
    if not isinstance(asked, Tensor) or asked.is_floating_point() or not asked.ndim or asked.shape[-1] < _PROBE:
        return
    first = int(asked.reshape(-1)[0])
    if (asked[..., :_PROBE] == torch.arange(first, first + _PROBE)).all():
        yield int(module.weight.shape[0]), first
