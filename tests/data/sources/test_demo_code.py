"""The demo set of source code: exact shares, honest forms, no shortcut through the words."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from counterpoise.config.schema import parse
from counterpoise.data.records import Dataset
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig, vocabulary
from counterpoise.data.sources.demo_code.assembly import KINDS, Twins, make_twins, shape_of
from counterpoise.errors import UserError

WORDS = r"[A-Za-z_]\w*|\d+|[^\w\s]"
SMALL = DemoCodeConfig(size=1200)
DIGEST = """
import hashlib
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig
digest = hashlib.sha256()
for split in DemoCode(DemoCodeConfig(size=300, label_noise=0.1, data_seed=3)).load().splits().values():
    digest.update(repr(split.table.to_pydict()).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def small() -> Dataset:
    return DemoCode(SMALL).load()


def _twins(kind: str, seed: int, spread: float = 0.1, omitted: float = 0.0) -> Twins:
    shape = shape_of(is_long=False, spread=spread, omitted=omitted, decoys=1)
    return make_twins(kind, Random(f"{kind}/{seed}"), shape)


def test_another_process_with_another_hash_seed_generates_the_same_bytes() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_data_seeds_give_different_functions(small: Dataset) -> None:
    other = DemoCode(dataclasses.replace(SMALL, data_seed=1)).load()
    assert not set(small.train.texts) & set(other.train.texts)


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(40, 160),
    valid=st.floats(0.1, 0.3),
    test=st.floats(0.1, 0.3),
    positive=st.floats(0.3, 0.7),
    seed=st.integers(-5, 5),
)
def test_shares_are_exact_to_rounding_in_every_split(
    size: int, valid: float, test: float, positive: float, seed: int
) -> None:
    config = DemoCodeConfig(size=size, valid_share=valid, test_share=test, positive_share=positive, data_seed=seed)
    splits = DemoCode(config).load().splits()
    assert sum(map(len, splits.values())) == size
    assert len(splits["valid"]) == round(size * valid)
    assert len(splits["test"]) == round(size * test)
    for records in splits.values():
        assert records.class_counts()[1] == round(len(records) * positive)
    rows = np.concatenate([records.rows for records in splits.values()])
    assert sorted(rows) == list(range(size))


def test_without_test_share_there_is_no_test_split() -> None:
    assert DemoCode(DemoCodeConfig(size=100, test_share=0.0)).load().test is None


def test_no_text_stands_twice_in_or_across_splits(small: Dataset) -> None:
    texts = ["".join(text.split()) for records in small.splits().values() for text in records.texts]
    assert len(set(texts)) == len(texts) == SMALL.size


def test_every_kind_has_both_forms_in_every_split(small: Dataset) -> None:
    assert len(KINDS) >= 14
    for split, records in small.splits().items():
        forms = small.notes["weaknesses"][split]
        assert forms.keys() == KINDS.keys()
        assert all(min(counts.values()) > 0 for counts in forms.values())
        assert sum(counts["vulnerable"] for counts in forms.values()) == records.class_counts()[1]


def test_weights_decide_the_mix() -> None:
    weights = {"use_after_free": 3.0, "format_string": 1.0, "double_free": 0.0}
    dataset = DemoCode(DemoCodeConfig(size=400, weaknesses=weights)).load()
    forms = dataset.notes["weaknesses"]["train"]
    assert forms.keys() == {"use_after_free", "format_string"}
    ratio = forms["use_after_free"]["vulnerable"] / forms["format_string"]["vulnerable"]
    assert ratio == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 1.0])
def test_noise_flips_the_asked_share_of_training_labels_and_nothing_else(noise: float) -> None:
    clean = DemoCode(DemoCodeConfig(size=200)).load()
    noisy = DemoCode(DemoCodeConfig(size=200, label_noise=noise)).load()
    flipped = int((clean.train.labels != noisy.train.labels).sum())
    assert flipped == round(len(clean.train) * noise) == noisy.notes["flipped_train_labels"]
    assert clean.train.table.drop_columns("label").equals(noisy.train.table.drop_columns("label"))
    assert clean.valid.table.equals(noisy.valid.table)
    assert clean.test is not None
    assert noisy.test is not None
    assert clean.test.table.equals(noisy.test.table)


def test_evidence_is_inside_the_text_of_vulnerable_functions_only(small: Dataset) -> None:
    for records in small.splits().values():
        for text, label, evidence in zip(
            records.texts, records.labels, records.table["evidence"].to_pylist(), strict=True
        ):
            lines = text.splitlines()
            assert bool(evidence) == bool(label)
            assert all(1 <= number <= len(lines) and lines[number - 1].strip(" \t{}") for number in evidence)


# What must stand on an offending line, for the kinds where one expression says it.
OFFENDING = {
    "unchecked_copy": r"memcpy|memmove|strcpy",
    "off_by_one": r"<=|>|malloc|read|\[",
    "integer_overflow": r"malloc",
    "divide_by_zero": r"[/%]|if",
    "pointer_size": r"sizeof",
    "format_string": r"\(",
    "lost_realloc": r"realloc",
    "leak_on_error": r"if|return|goto|rc",
    "missing_unlock": r"if|return|goto|rc",
    "use_after_free": r"->|\(",
    "double_free": r"free|==",
}


@pytest.mark.parametrize("kind", OFFENDING)
def test_evidence_holds_what_matters(kind: str) -> None:
    for seed in range(30):
        function = _twins(kind, seed).vulnerable
        lines = function.text.splitlines()
        assert all(re.search(OFFENDING[kind], lines[number - 1]) for number in function.evidence)


@pytest.mark.parametrize("kind", KINDS)
def test_twins_differ_in_a_few_lines_only(kind: str) -> None:
    for seed in range(20):
        twins = _twins(kind, seed, omitted=0.5)
        repaired, vulnerable = twins.repaired.text.splitlines(), twins.vulnerable.text.splitlines()
        changed = [line for line in difflib.ndiff(repaired, vulnerable) if line[0] in "+-"]
        assert 1 <= len(changed) <= 12
        assert not twins.repaired.evidence


def test_use_after_free_orders_free_and_use() -> None:
    # Second way of deciding the label: in the two usual patterns the freed name is used again or it is not.
    for seed in range(40):
        for form in ("vulnerable", "repaired"):
            function = getattr(_twins("use_after_free", seed, spread=0.0), form)
            freed = re.search(r"free\((\w+)\);\n\s*[^\n]*\b\1->", function.text)
            if "for (" not in function.text and "strdup" not in function.text:
                assert bool(freed) == (form == "vulnerable")


def test_long_functions_are_long(small: Dataset) -> None:
    lengths = np.array([len(re.findall(WORDS, text)) for text in small.train.texts])
    assert (lengths > 512).mean() == pytest.approx(SMALL.long_share, abs=0.01)
    assert 90 <= np.median(lengths) <= 200


def test_brackets_balance(small: Dataset) -> None:
    for text in small.train.texts:
        code = re.sub(r'"[^"\n]*"|\'[^\'\n]*\'|/\*.*?\*/|//[^\n]*', "", text)
        signs = Counter(code)
        assert signs["{"] == signs["}"]
        assert signs["("] == signs[")"]
        assert signs["["] == signs["]"]
        assert not re.search(r"<[a-z]+\d?>|::|\{\{|isnull|fail_if", code)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_functions_compile_where_their_surroundings_are_declared(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "surroundings.h").write_text(_surroundings())
    parts = ['#include "surroundings.h"']
    for number, text in enumerate(small.train.texts[:250]):
        # Function names may repeat, and macros are defined by some functions only.
        parts += [re.sub(r"\b(\w+)\((struct \w+ \*)", rf"\1_{number}(\2", text, count=1)]
    source = tmp_path / "sample.c"
    source.write_text("\n".join(parts))
    done = subprocess.run(
        ["gcc", "-fsyntax-only", "-std=gnu89", "-w", str(source)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[:2000]


def _surroundings() -> str:
    """Declarations of everything that the functions use without declaring it."""
    includes = "errno fcntl pthread stdbool stdint stdio stdlib string syslog time unistd sys/types sys/socket"
    lines = [f"#include <{name}.h>" for name in includes.split()]
    lines += [f"#define {name} {value}" for name, value in vocabulary.DEFINES.items()]
    lines += ["#define TABLE_MAX 32", "#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))"]
    lines += ["#define MIN(a, b) ((a) < (b) ? (a) : (b))", "#define MAX(a, b) ((a) > (b) ? (a) : (b))"]
    lines += [f"#define {flag} (1u << {bit})" for bit, flag in enumerate(vocabulary.CONSTANTS["FLAG"])]
    for node in vocabulary.CONSTANTS["NODE"]:
        lines.append(f"struct {node} {{ struct {node} *next; int key; size_t len; int refs; }};")
    fields = [f"{kind} {name};" for kind, names in vocabulary.FIELDS.items() for name in names]
    fields += [f"pthread_mutex_t {name};" for name in vocabulary.CONSTANTS["LOCK"]]
    fields += [f"unsigned int {name};" for name in vocabulary.CONSTANTS["STAT"]]
    fields += [f"int {name}[TABLE_MAX];" for name in vocabulary.CONSTANTS["ITEMS"]]
    for role, kind in (("owned", "char *"), ("held", "void *"), ("view", "const char *")):
        fields += [f"{kind}{name}{n};" for name in vocabulary.VARIABLES[role] for n in ("", 2, 3, 4)]
    fields += ["int state;", "unsigned int flags;", "unsigned int checksum;", "time_t updated_at;"]
    fields += ["struct entry *head;", "void *current;"]
    lines += [f"struct {struct} {{ {' '.join(fields)} }};" for _, struct, _ in vocabulary.CONTEXTS]
    return "\n".join(lines) + "\n"


def test_counting_words_does_not_solve_it() -> None:
    dataset = DemoCode(DemoCodeConfig(size=2500)).load()
    assert dataset.test is not None
    vectorizer = TfidfVectorizer(token_pattern=WORDS, lowercase=False, sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform(dataset.train.texts)
    model = LogisticRegression(max_iter=1000).fit(features, dataset.train.labels)
    assert model.score(vectorizer.transform(dataset.test.texts), dataset.test.labels) < 0.75


def test_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"weaknesses\.use_after_fre.*'use_after_free'"):
        DemoCode(DemoCodeConfig(weaknesses={"use_after_fre": 1.0}))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"weaknesses": {"double_free": 0.0}}, "weaknesses"),
        ({"valid_share": 0.5, "test_share": 0.5}, "test_share"),
        ({"size": 8}, "size"),
        ({"size": 200, "positive_share": 0.001}, "size"),
        ({"size": 7}, "size"),
        ({"label_noise": 1.5}, "label_noise"),
        ({"weaknesses": {"double_free": -1.0}}, "weaknesses"),
    ],
)
def test_unusable_settings_are_named(settings: dict[str, object], where: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(DemoCodeConfig, settings, "data")
    assert {problem.where for problem in caught.value.problems} == {f"data.{where}"}


def test_the_option_lists_every_field_at_its_default() -> None:
    text = (Path(__file__).parents[3] / "conf/data/demo_code.yaml").read_text()
    option = yaml.safe_load(text)
    assert option.pop("_target_") == f"{DemoCode.__module__}.{DemoCode.__name__}"
    assert option == dataclasses.asdict(DemoCodeConfig())
