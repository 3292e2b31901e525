"""The demo set of pairs: exact counts, posts kept together, mentions that decide among decoys."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from counterpoise.config.schema import parse
from counterpoise.data.leakage import find_leakage
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.demo_criteria import DemoCriteria, DemoCriteriaConfig
from counterpoise.data.sources.demo_criteria.criteria import AFFIRMED, CRITERIA, DENIED, FOLK, OF_OTHERS
from counterpoise.data.sources.demo_criteria.post import Shape, make_post
from counterpoise.errors import UserError

SENTENCES = [criterion.sentence for criterion in CRITERIA.values()]
SHAPE = Shape(median_words=60, spread=0.3, mentions=(1, 2), decoys=6.0)
DIGEST = """
import hashlib
from counterpoise.data.sources.demo_criteria import DemoCriteria, DemoCriteriaConfig
digest = hashlib.sha256()
for split in DemoCriteria(DemoCriteriaConfig(posts=60, label_noise=0.1, data_seed=3)).load().splits().values():
    digest.update(repr(split.table.to_pydict()).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def whole() -> Dataset:
    return DemoCriteria(DemoCriteriaConfig()).load()


def cut(text: str, spans: Iterable[Sequence[int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return text


def column(records: Records, name: str) -> list[str]:
    return records.table[name].to_pylist()  # type: ignore[no-any-return]


def test_another_process_with_another_hash_seed_generates_the_same_characters() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_data_seeds_give_different_posts() -> None:
    first, second = (DemoCriteria(DemoCriteriaConfig(posts=100, data_seed=seed)).load() for seed in (0, 1))
    assert not set(first.train.texts) & set(second.train.texts)


def test_the_default_has_as_many_posts_pairs_and_positives_as_documented(whole: Dataset) -> None:
    splits = whole.splits().values()
    assert sum(map(len, splits)) == 14_840
    assert sum(int(records.class_counts()[1]) for records in splits) == 1381
    words = [len(text.split()) for text in sorted({text for records in splits for text in records.texts})]
    assert len(words) == 1484
    assert 220 <= np.median(words) <= 320
    assert max(words) > 2000


def test_every_post_is_asked_every_criterion_in_one_split_only(whole: Dataset) -> None:
    groups = {name: set(column(records, "group")) for name, records in whole.splits().items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 1484
    for records in whole.splits().values():
        pairs = list(zip(column(records, "group"), column(records, "criterion"), strict=True))
        assert len(set(pairs)) == len(pairs) == 10 * len({group for group, _ in pairs})
        texts = dict(zip(column(records, "group"), records.texts, strict=True))
        assert [texts[group] for group, _ in pairs] == records.texts
    rows = np.concatenate([records.rows for records in whole.splits().values()])
    assert sorted(rows) == list(range(14_840))


def test_criteria_differ_in_how_often_they_apply(whole: Dataset) -> None:
    total = sum(criterion.weight for criterion in CRITERIA.values())
    for records in whole.splits().values():
        asked = np.array(column(records, "criterion"))
        for criterion in CRITERIA.values():
            labels = records.labels[asked == criterion.sentence]
            wanted = records.labels.sum() * criterion.weight / total
            assert abs(labels.sum() - wanted) < 1
    shares = [c.weight / total * 0.9306 for c in CRITERIA.values()]
    assert min(shares) < 0.025
    assert max(shares) > 0.2


@settings(max_examples=15, deadline=None)
@given(
    posts=st.integers(30, 90),
    valid=st.floats(0.1, 0.3),
    test=st.floats(0.1, 0.3),
    positive=st.floats(0.05, 0.35),
    seed=st.integers(-5, 5),
)
def test_shares_are_exact_to_rounding(posts: int, valid: float, test: float, positive: float, seed: int) -> None:
    config = DemoCriteriaConfig(
        posts=posts, valid_share=valid, test_share=test, positive_share=positive, median_words=30, data_seed=seed
    )
    splits = DemoCriteria(config).load().splits()
    assert sum(map(len, splits.values())) == 10 * posts
    assert sum(int(records.labels.sum()) for records in splits.values()) == round(10 * posts * positive)
    for name, share in (("valid", valid), ("test", test)):
        assert abs(len(splits[name]) / 10 - posts * share) < 1
        assert abs(splits[name].labels.sum() - len(splits[name]) * positive) < 1.5


def test_no_pair_stands_twice(whole: Dataset) -> None:
    found = find_leakage(whole)
    assert not found.leaks
    assert not any(found.duplicates.values())


def test_evidence_is_what_mentions_the_criterion_where_it_applies(whole: Dataset) -> None:
    by_sentence = {criterion.sentence: criterion for criterion in CRITERIA.values()}
    for records in whole.splits().values():
        for index, (text, label, asked) in enumerate(
            zip(records.texts, records.labels, column(records, "criterion"), strict=True)
        ):
            spans = records.spans_of_evidence(index)
            assert (1 <= len(spans) <= 2) == bool(label)
            openings = {re.split(r"[\[<]", habit)[0].strip() for habit in by_sentence[asked].habits}
            for start, end in spans:
                assert any(opening in text[start:end] for opening in openings), text[start:end]
                assert text[start:end][0].isupper()
                assert text[start:end].endswith(".")


def test_mentions_are_of_the_writer_and_decoys_are_not() -> None:
    for seed in range(150):
        true = frozenset(list(CRITERIA)[seed % 10 : seed % 10 + 2])
        post = make_post(true, f"post {seed}", SHAPE)
        assert post.mentions.keys() == true
        for spans in post.mentions.values():
            for start, end in zip(spans[::2], spans[1::2], strict=True):
                assert re.search(r"\bI\b", post.text[start:end])
                assert not re.search(r"\bI (never|do not|no longer|am not)\b(?! thought)", post.text[start:end])
        for name, spans in post.decoys.items():
            for start, end in zip(spans[::2], spans[1::2], strict=True):
                denies = (
                    r"\b(do not|never (?!thought)|no longer|not one of|used to|would (?!write)|not that I|whether I)\b"
                )
                others = "they|who|people|heroes|twins|" + "|".join(FOLK)
                text = post.text[start:end]
                assert re.search(rf"{denies}|\b({others})\b", text), text
                assert not (name in true and re.search(r"\bI do not\b", text))


# With a mention beside each decoy, a single word cannot tell which is which: it stands in both kinds of frames.
def test_frames_match_word_by_word() -> None:
    telling = {"I", "my", "not", "never", "no", "any", "am", "do", "they", "who"}
    affirmed, *decoys = (
        {w for text in frames for w in re.findall(r"[A-Za-z']+", re.sub("<.*?>", "", text))} - telling
        for frames in (AFFIRMED, DENIED, OF_OTHERS)
    )
    assert len(affirmed - set.union(*decoys)) <= 0.1 * len(affirmed)


def test_everyday_sentences_do_not_depend_on_what_is_true() -> None:
    shape = dataclasses.replace(SHAPE, decoys=0.0)
    texts = []
    for true in (frozenset[str](), frozenset(CRITERIA)):
        post = make_post(true, "same", shape)
        spans = [pair for places in post.mentions.values() for pair in zip(places[::2], places[1::2], strict=True)]
        texts.append(" ".join(cut(post.text, sorted(spans)).split()[:40]))
    assert texts[0] == texts[1]


# Chunks of three sentences in a latent space that no label has shaped, compared with the criterion's own sentence.
def test_chunks_like_the_criterion_tell_where_it_is_spoken_of(whole: Dataset) -> None:
    train, test = whole.train, whole.test
    assert test is not None
    chunks = [chunk for text in sorted(set(train.texts)) for chunk in chunked(text)]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.1).fit(chunks)
    space = TruncatedSVD(256, n_iter=2, random_state=0).fit(words.transform(chunks))

    def placed(texts: list[str]) -> NDArray[np.float64]:
        found = space.transform(words.transform(texts))
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    posts = list(dict.fromkeys(test.texts))
    likeness = np.stack([(placed(chunked(post)) @ placed(SENTENCES).T).max(axis=0) for post in posts])
    areas = [roc_auc_score(labels, likeness[:, place]) for place, labels in enumerate(test.labels.reshape(-1, 10).T)]
    assert np.mean(areas[:6]) > 0.65  # the criterion alone is at 0.5


def test_posts_without_their_mentions_tell_nothing(whole: Dataset) -> None:
    assert whole.test is not None
    areas = []
    for place in range(5):
        (left, labels), (right, truth) = rest(whole.train, place), rest(whole.test, place)
        words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(words.fit_transform(left), labels)
        areas.append(roc_auc_score(truth, model.decision_function(words.transform(right))))
    assert abs(np.mean(areas) - 0.5) < 0.1


def chunked(text: str) -> list[str]:
    sentences = re.split(r"(?<=[.?!])\s+", text.strip())
    return [" ".join(sentences[start : start + 3]) for start in range(0, len(sentences), 3)]


def rest(records: Records, place: int) -> tuple[list[str], NDArray[np.int64]]:
    """The posts without what mentions one criterion, and whether it applies."""
    positions = range(place, len(records), len(CRITERIA))
    texts = records.texts
    return [cut(texts[at], records.spans_of_evidence(at).tolist()) for at in positions], records.labels[place::10]


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
def test_noise_flips_the_asked_share_of_training_labels_and_nothing_else(noise: float) -> None:
    config = DemoCriteriaConfig(posts=60, median_words=30)
    clean = DemoCriteria(config).load()
    noisy = DemoCriteria(dataclasses.replace(config, label_noise=noise)).load()
    flipped = int((clean.train.labels != noisy.train.labels).sum())
    assert flipped == round(len(clean.train) * noise) == noisy.notes["flipped_train_labels"]
    assert clean.train.table.drop_columns("label").equals(noisy.train.table.drop_columns("label"))
    assert clean.valid.table.equals(noisy.valid.table)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"valid_share": 0.5, "test_share": 0.5}, {"test_share"}),
        ({"posts": 5}, {"posts"}),
        ({"positive_share": 0.9}, {"positive_share"}),
        ({"mentions": [2, 1], "valid_share": 0.9, "test_share": 0.3}, {"mentions", "test_share"}),
        ({"mentions": [0, 1], "decoys": -1.0, "median_words": 1}, {"mentions", "decoys", "median_words"}),
    ],
)
def test_unusable_settings_are_all_named(settings: dict[str, object], where: set[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse(DemoCriteriaConfig, settings, "data")
    assert {re.sub(r"\[\d+\]|\.\d+$", "", problem.where) for problem in caught.value.problems} == {
        f"data.{name}" for name in where
    }


def test_the_option_lists_every_field_at_its_default() -> None:
    option = yaml.safe_load((Path(__file__).parents[3] / "conf/data/demo_criteria.yaml").read_text())
    assert option.pop("_target_") == f"{DemoCriteria.__module__}.{DemoCriteria.__name__}"
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in option.items()}
    assert given == dataclasses.asdict(DemoCriteriaConfig())
