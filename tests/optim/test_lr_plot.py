"""The picture of a range test: a PNG whatever the curve, without touching what matplotlib shares."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from counterpoise.optim.lr_finder import Curve, LRRangeTestConfig, smooth, suggest
from counterpoise.optim.lr_plot import draw

CONFIG = LRRangeTestConfig(range=(1e-4, 3e-3))
CURVES = {
    "falling": [1.0] * 40 + [1.0 - 0.03 * n for n in range(25)] + [0.3 * 1.5**n for n in range(12)],
    "constant": [0.0] * 100,
    "two points": [0.7, 0.8],
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.filterwarnings("error")
def test_every_curve_has_a_picture(name: str) -> None:
    curve = Curve.of(CONFIG, CURVES[name], "diverged")
    suggestion = suggest(curve, CONFIG, factor=1.0, otherwise=1e-3)
    file = io.BytesIO()
    draw(file, curve, smooth(curve.losses, 0.9).tolist(), suggestion, "A title")
    assert file.getvalue().startswith(b"\x89PNG\r\n")
    assert len(file.getvalue()) > 10_000


def test_matplotlib_is_imported_to_draw_alone_and_pyplot_never() -> None:
    code = (
        "import io, sys; from counterpoise.optim.lr_plot import draw; "
        "from counterpoise.optim.lr_finder import *; assert 'matplotlib' not in sys.modules; "
        "config = LRRangeTestConfig(); curve = Curve.of(config, [1.0] * 30, 'complete'); "
        "draw(io.BytesIO(), curve, curve.losses, suggest(curve, config, factor=1, otherwise=1), ''); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
