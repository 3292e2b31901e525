"""TensorBoard: loss, learning rate and gradient norm of logged updates, metrics of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from counterpoise.errors import missing_extra
from counterpoise.events import EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.tracking.base import Tracker


@dataclass(frozen=True, kw_only=True)
class TensorBoardConfig:
    """Where the event files go."""

    folder: str = "tensorboard"
    """Within the run folder."""


class TensorBoard(Tracker):
    """Writes event files into the run folder.

    Raises:
        UserError: if the extra ``tensorboard`` is not installed.
    """

    Config: ClassVar[type] = TensorBoardConfig

    def __init__(self, config: TensorBoardConfig, folder: Path) -> None:
        super().__init__(config, folder)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("tracker", "tensorboard", "tensorboard") from error
        self._make = SummaryWriter
        self._writer: Any = None

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Open the files; on resume, hide what was written behind the checkpoint."""
        self._writer = self._make(str(self.folder / self.config.folder), purge_step=plan["position"]["update"] + 1)
        if plan["history"] and plan["position"]["consumed"] == 0:
            # Killed between the checkpoint and these points, an epoch would be missing; told twice, it is the same.
            self.on_epoch(EpochEvent(**plan["history"][-1]))

    def on_update(self, event: UpdateEvent) -> None:
        """Figures of a logged update."""
        for name, value in (("loss", event.loss), ("lr", event.lr), ("grad_norm", event.grad_norm)):
            self._writer.add_scalar(f"update/{name}", value, event.update)

    def on_epoch(self, event: EpochEvent) -> None:
        """Validation figures, predicted class shares and gradient norms per component."""
        self._writer.add_scalar("train/loss", event.train_loss, event.update)
        for name, value in event.valid.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"valid/{name}", value, event.update)
        for name, figures in event.valid.get("per_class", {}).items():
            self._writer.add_scalar(f"predicted_share/{name}", figures["predicted_share"], event.update)
        for name, norm in event.component_grad_norms.items():
            self._writer.add_scalar(f"grad_norm/{name}", norm, event.update)
        self._writer.flush()

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Hide what was written behind the checkpoint."""
        self._writer.close()
        self.on_start(plan)

    def on_finish(self, verdict: Verdict) -> None:
        """Close the files."""
        if self._writer is not None:  # training ended before it began
            self._writer.close()
