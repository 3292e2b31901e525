"""What a word is: of scripts that are written without blanks each character is one."""

from __future__ import annotations

import logging
import re
from typing import Final

from counterpoise.data.records import Records

log = logging.getLogger(__name__)

UNSPACED: Final = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese
)
"""Characters of such scripts, as they stand within the brackets of a pattern."""
TERM: Final = rf"[{UNSPACED}]|[^\W{UNSPACED}]{{2,}}"
"""A word of two letters or more, or one such character, as scikit-learn's ``token_pattern``."""
LONG_WORD: Final = 100
"""Characters of a word beyond which it hardly is one."""
_LONG = re.compile(rf"[^\s{UNSPACED}]{{{LONG_WORD + 1},}}")
_TEXTS = 1_000
"""First texts of the training split that are looked at."""


def warn_of_texts_without_blanks(train: Records) -> None:
    """Say so where most of the text stands in words that are too long to occur twice."""
    if not train.has("text"):
        return
    texts = train.table["text"].slice(0, _TEXTS).to_pylist()
    characters = sum(map(len, texts))
    share = sum(len(word) for text in texts for word in _LONG.findall(text)) / max(characters, 1)
    if share > 0.5:
        what = f"{share:.0%} of the training texts stand in words of more than {LONG_WORD} characters"
        blind = "The baseline, graphs of neighbouring words and encoders of words see nothing that two texts share"
        log.warning("%s: they have (nearly) no blanks. %s. Put blanks between units.", what, blind)
