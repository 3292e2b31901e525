"""Whatever stands on the command line ends in a plan or in a list of problems, never in a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from cli_command import CONF, Answer
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.config import resolvers

CASES = 150
PER_TEST = 25

VALUES = (
    *("0", "-1", "1", "2", "3", "0.5", "1.5", "1e-3", "1e-300", "1e308", "1e999", "inf", "nan", "-0.0", "4294967296"),
    *("18446744073709551616", "1" + "0" * 40, "1" + "0" * 400, "null", "true", "false", "off", "on", "auto", "none"),
    *("abc", "''", '""', "' '", "[]", "{}", "[1,2]", "[1.0,3.0]", "[a,null]", "[[1],[2]]", "{a: 1}", "{a: {b: [1]}}"),
    *(
        "ünï",
        "日本語",
        "🙂",
        "a b",
        "'a b'",
        "a/b",
        "../x",
        ".",
        "x.csv",
        "[red]",
        ":smile:",
        "%s",
        "{0}",
        "\\",
        "#",
        "*",
    ),
    *("???", "${seed}", "${nope}", "${train.epochs}", "${train}", "${oc.env:NOPE}", "${if_set:1}", "'${'", "x" * 300),
    *("[1", "{a", "'", "a=b", "a:b", "1,2", "range(1,3)", "choice(a,b)", "interval(0,1)", "glob(*)", "", "a,b,"),
    *("\u202e", "\udcff", "\x01", "\t", "1_000", "0x10", "1e", "--1", "yes", "2026-01-01", "[" * 60 + "]" * 60),
)
STRANGE = (
    *("=", "'", "==", "a", "seed", "~", "+", "++", "~~x", "=1", "seed==1", "a.b.c=1", ".=1", "a..b=1", "..=1", "~seed"),
    *(
        "~train",
        "~train.epochs",
        "~loss",
        "~nope",
        "+seed=1",
        "++seed=1",
        "+new=1",
        "+train.new=1",
        "++train.new={a: 1}",
    ),
    *(
        "model@x=textcnn",
        "loss@balance=bce",
        "model=textcnn,bilstm",
        "+model=textcnn",
        "seed=1,2",
        "train=3",
        "train=null",
    ),
    *(
        "hydra.run.dir=x",
        "hydra.nope=1",
        "hydra.job.chdir=true",
        "hydra/launcher=nope",
        "hydra.verbose=true",
        "hydra=1",
    ),
    *(
        "loss=null",
        "loss={}",
        "loss={_target_: os.system}",
        "model._target_=subprocess.Popen",
        "data._target_=builtins.eval",
    ),
    *(
        "+tracker.x._target_=counterpoise.cli.train.os.system",
        "optimizer._target_=torch.optim.SGD",
        "loss._target_=counterpoise.",
    ),
    *("extensions=[os,nope]", "extensions=[nope] loss._target_=nope.X", "extensions=x", "resume=nowhere", "resume=."),
    *(
        "--nope",
        "--cfg",
        "-x",
        "--multirun=1",
        "sweep=three_seeds",
        "sweep=nope",
        "experiment=nope",
        "_target_=x",
        "ÿ=1",
    ),
)
GROUPS = (
    *("encoding", "loss", "balance", "optimizer", "scheduler", "hardware", "guard", "tracker", "model"),
    *("experiment", "sweep"),
)
GENERATED = 0.3
"""Share of the cases that are drawn over the keys of ``data=demo_code``; the others read a table."""


@cache
def keys(data: str) -> tuple[str, ...]:
    """Every dotted key of the config, containers included, but for those that make this harmless and short."""
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        config = OmegaConf.to_container(compose("config", overrides=[f"data={data}"]), resolve=False)
    return tuple(key for key in _walk(config, "") if key not in ("dry_run", "data.size"))


def _walk(node: object, where: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{where}{key}"
            yield from _walk(value, f"{where}{key}.")


def overrides(case: int) -> list[str]:
    """Data and one to four overrides, the same for a case's number whenever it is drawn."""
    rng = random.Random(case)
    data = "demo_code" if rng.random() < GENERATED else "table"
    where = f"data.size={rng.randrange(60, 301)}" if data == "demo_code" else "data.path=tiny.csv"
    return [f"data={data}", where, *(_override(rng, keys(data)) for _ in range(rng.choice((1, 1, 2, 3, 4))))]


def _override(rng: random.Random, known: tuple[str, ...]) -> str:
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(STRANGE)
    if kind < 0.3:
        group = rng.choice(GROUPS)
        options = [path.stem for path in sorted((CONF / group).glob("*.yaml"))]
        return f"{group}={rng.choice([*options, rng.choice(VALUES)])}"
    key = rng.choice(known)
    if kind < 0.45:
        place = rng.randrange(len(key))
        key = key[:place] + rng.choice(("", "x", ".", "_")) + key[place + 1 :]
    return f"{rng.choice(('', '', '', '', '+', '++'))}{key}={rng.choice(VALUES)}"


@pytest.mark.parametrize("first", range(0, CASES, PER_TEST))
def test_any_override_ends_in_a_plan_or_in_a_list_of_problems(
    first: int, fresh: Path, train: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for case in range(first, first + PER_TEST):
        given = overrides(case)
        answer = train(*given, "dry_run=true", folder=fresh)
        shown = f"case {case}: {given}\n{answer.out}\n{answer.err}"
        assert answer.code in (EXIT_OK, EXIT_USER), shown
        assert "Traceback" not in answer.err, shown
        if answer.code == EXIT_USER:
            title, *problems = answer.err.splitlines()[-1 - _count(answer.err) :] or [""]
            assert title.endswith(("problem:", "problems:")), shown
            assert all(line.startswith("  ") and len(line) > 10 for line in problems), shown
        assert not (fresh / "outputs").exists(), shown


def _count(text: str) -> int:
    """Lines below the last title."""
    lines = text.splitlines()
    titles = [place for place, line in enumerate(lines) if line.endswith(("problem:", "problems:"))]
    return len(lines) - 1 - titles[-1] if titles else 0
