"""What a model's queries have specialised in, over a whole split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.explain.account import Account

WORDS, CHUNKS, CRITERIA = 12, 3, 100
"""Characteristic words and chunks that are listed per query; most criteria that are told apart."""
CLEAR = 3.0
"""z-score from which on a word is listed."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_PRIOR = 500.0
"""Words that the prior counts for: rare ones need more than a chance occurrence to stand out."""


def query_figures(account: Account) -> list[dict[str, Any]]:
    """Per query: how many chunks it reads, for which classes and criteria it speaks, which words and chunks it is for.

    ``read`` is the effective number of chunks, ``exp`` of the entropy of its weights, averaged over samples with more
    than one chunk. ``effect`` is its mean absolute contribution to the odds of the predicted class, ``share`` its part
    of all queries'. ``by_class`` is its mean contribution to the odds of what is predicted, over the samples that are
    predicted as each class; ``by_criterion`` that to the odds of the last class, over the pairs of each criterion.
    """
    predicted = account.predicted
    effects = np.stack([account.towards(i, int(predicted[i])).sum(axis=1) for i in range(len(account))])  # [N, Q]
    total = np.abs(effects).mean(axis=0)
    words = characteristic_words(account)
    return [
        {
            "query": query,
            "read": _effective_chunks(account, query),
            "effect": float(total[query]),
            "share": float(total[query] / total.sum()) if total.sum() else 0.0,
            "by_class": _by_class(account, effects[:, query], predicted),
            "by_criterion": _by_criterion(account, query),
            "words": words[query],
            "chunks": _top_chunks(account, query, predicted),
        }
        for query in range(account.queries)
    ]


def _effective_chunks(account: Account, query: int) -> float:
    numbers = []
    for weights in account.attention:
        if weights.shape[1] > 1:
            own = weights[query][weights[query] > 0]
            numbers.append(float(np.exp(-(own * np.log(own)).sum())))
    return float(np.mean(numbers)) if numbers else 1.0


def _by_class(account: Account, effects: NDArray[np.float64], predicted: NDArray[np.int64]) -> dict[str, float | None]:
    """Mean effect on the samples that are predicted as each class."""
    return {
        name: float(effects[predicted == label].mean()) if (predicted == label).any() else None
        for label, name in enumerate(account.records.classes)
    }


def _by_criterion(account: Account, query: int) -> dict[str, float] | None:
    """What the query adds to the odds of the last class, by criterion; ``None`` without, or with too many of them."""
    if not account.records.has("criterion"):
        return None
    criteria = np.asarray([each or "" for each in account.records.table["criterion"].to_pylist()])
    different = sorted(set(criteria.tolist()))
    if len(different) > CRITERIA:
        return None
    last = len(account.records.classes) - 1
    effects = np.array([account.towards(i, last)[query].sum() for i in range(len(account))])
    return {name: float(effects[criteria == name].mean()) for name in different}


def characteristic_words(account: Account) -> list[list[str]]:
    """Words that each query's attention falls on more than on other words of the same texts, the clearest first.

    Words are counted once per chunk, by the attention that the query gives the chunk, and compared with the same
    counts by all queries' attention spread evenly; ranked by the z-score of the log odds ratio under a Dirichlet prior
    (Monroe, Colaresi and Quinn 2008, Fightin' Words, equations 15, 16, 22), where it is above 3. Samples of one text
    count as one together. The words describe what was attended to; they are no test of it.
    """
    shared = Counter(account.texts)
    vocabulary: dict[str, int] = {}
    attended: list[Counter[int]] = [Counter() for _ in range(account.queries)]
    evenly: Counter[int] = Counter()
    for index in range(len(account)):
        chunks, part = len(account.spans[index]), 1 / shared[account.texts[index]]
        for chunk in range(chunks):
            found = {w.lower() for w in _WORD.findall(account.chunk_text(index, chunk))}
            numbers = [vocabulary.setdefault(word, len(vocabulary)) for word in sorted(found)]
            for number in numbers:
                evenly[number] += part / chunks  # type: ignore[assignment]
            for query, weight in enumerate(account.attention[index][:, chunk].tolist()):
                if weight > 0:
                    for number in numbers:
                        attended[query][number] += weight * part
    names = list(vocabulary)
    background = _dense(evenly, len(names))
    return [_clearest(_dense(counts, len(names)), background, names) for counts in attended]


def _dense(counts: Counter[int], size: int) -> NDArray[np.float64]:
    found = np.zeros(size)
    found[list(counts)] = list(counts.values())
    return found


def _clearest(counts: NDArray[np.float64], background: NDArray[np.float64], names: list[str]) -> list[str]:
    if not len(names) or not background.sum():
        return []
    prior = _PRIOR * background / background.sum() + 1e-9

    def log_odds(own: NDArray[np.float64]) -> NDArray[np.float64]:
        smoothed = own + prior
        return np.log(smoothed / (smoothed.sum() - smoothed))  # type: ignore[no-any-return]

    spread = np.sqrt(1 / (counts + prior) + 1 / (background + prior))
    scores = (log_odds(counts) - log_odds(background)) / spread
    best = np.argsort(-scores, kind="stable")[:WORDS]
    return [names[i] for i in best if scores[i] > CLEAR]


def _top_chunks(account: Account, query: int, predicted: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The chunks by which the query speaks most for what is predicted, at most one of each text."""
    best: dict[str, tuple[float, int, int]] = {}
    for index in range(len(account)):
        effects = account.towards(index, int(predicted[index]))[query]
        chunk = int(effects.argmax())
        text = account.chunk_text(index, chunk)
        if text not in best or effects[chunk] > best[text][0]:
            best[text] = (float(effects[chunk]), index, chunk)
    ranked = sorted(best.items(), key=lambda item: (-item[1][0], item[1][1]))[:CHUNKS]
    return [_listed(account, *found, text) for text, found in ranked]


def _listed(account: Account, effect: float, index: int, chunk: int, text: str) -> dict[str, Any]:
    row = int(account.records.rows[index])
    return {"row": row, "chunk": chunk, "effect": effect, "text": text}


def chunk_figures(account: Account) -> dict[str, Any]:
    """How answers are spread over chunks: how many are read, how much the first adds, where in a text they stand."""
    predicted = account.predicted
    longer = [i for i in range(len(account)) if len(account.spans[i]) > 1]
    shares = [_absolute_shares(account, i, int(predicted[i])) for i in longer]
    return {
        "samples": len(account),
        "chunks": _quantiles(len(spans) for spans in account.spans),
        "samples_of_several_chunks": len(longer),
        "largest_share": float(np.mean([each.max() for each in shares])) if shares else None,
        "by_position": _by_position(account, longer, shares),
    }


def _absolute_shares(account: Account, index: int, label: int) -> NDArray[np.float64]:
    """Each chunk's part of all that is added, signs aside, ``[L]``."""
    added = np.abs(account.towards(index, label).sum(axis=0))
    total = added.sum()
    return added / total if total else np.full(len(added), 1 / len(added))


def _by_position(account: Account, longer: list[int], shares: list[NDArray[np.float64]]) -> list[dict[str, Any]]:
    """Mean attention and contribution over tenths of the texts."""
    attention, contribution = np.zeros(10), np.zeros(10)
    for index, share in zip(longer, shares, strict=True):
        attention += in_tenths(account.weight(index))
        contribution += in_tenths(share)
    count = max(len(longer), 1)
    return [
        {"tenth": tenth + 1, "attention": attention[tenth] / count, "contribution": contribution[tenth] / count}
        for tenth in range(10)
    ]


def in_tenths(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of chunks ``[L]``, each spread evenly over its part of the text, summed over tenths of it."""
    edges = np.linspace(0, 1, len(values) + 1)
    summed = np.concatenate([[0.0], np.cumsum(values)])
    return np.diff(np.interp(np.linspace(0, 1, 11), edges, summed))


def _quantiles(values: Iterable[int]) -> dict[str, float]:
    listed = np.array(list(values))
    return {"median": float(np.median(listed)), "largest": float(listed.max(initial=0))}
