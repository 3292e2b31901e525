"""Every way in which a file can be broken is found, with its file and line, and nothing else than UserError escapes."""

import contextlib
import csv
import gzip
import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.config.schema import parse
from counterpoise.data.records import Dataset
from counterpoise.data.sources.table import Table, TableConfig
from counterpoise.errors import UserError

GOOD = [{"text": f"text {n}", "label": n % 2} for n in range(12)]
SPLIT_SHARES = {"valid_share": 0.2, "test_share": 0.2}


def load(path, **settings):
    config = {"path": str(path), **SPLIT_SHARES, **settings}
    return Table(parse(TableConfig, config, "data")).load()


def problems(path, **settings):
    with pytest.raises(UserError) as caught:
        load(path, **settings)
    return caught.value.problems


def lines(*extra, good=GOOD):
    return "".join(json.dumps(row) + "\n" for row in good).encode() + b"".join(extra)


def write(path, data):
    path.write_bytes(data)
    return path


def records(dataset):
    found = [(row, text) for part in dataset.splits().values() for row, text in zip(part.rows, part.texts, strict=True)]
    return [text for _, text in sorted(found)]


BAD_LINES = {
    "JSON cut off": (b'{"text": "a\n', "not valid JSON (Invalid control character at column 12)"),
    "bad JSON": (b'{"text": "a", "label": 0,}\n', "not valid JSON"),
    "two objects on a line": (b'{"text": "a", "label": 0} {"text": "b", "label": 1}\n', "Extra data at column 27"),
    "not an object": (b'["a", 0]\n', "expected a JSON object, got a list"),
    "a bare word": (b'"a"\n', "expected a JSON object, got 'a'"),
    "cut off": (b'{"text": "a", "la', "was it cut off?"),
    "too deep": (b'{"text": ' + b"[" * 100_000 + b"\n", "nested too deeply"),
    "huge integer": (b'{"text": "a", "label": ' + b"9" * 5000 + b"}\n", "not valid JSON"),
    "missing column": (b'{"text": "a"}\n', "has no 'label', which other records have"),
    "null text": (b'{"text": null, "label": 0}\n', "'text' is null"),
    "empty text": (b'{"text": "", "label": 0}\n', "'text' is empty"),
    "blank text": (b'{"text": " \\n\\t", "label": 0}\n', "'text' is blank"),
    "number as text": (b'{"text": 5, "label": 0}\n', "'text' is 5; expected a string"),
    "list as text": (b'{"text": ["a"], "label": 0}\n', "'text' is a list; expected a string"),
    "NUL": (b'{"text": "a\\u0000b", "label": 0}\n', "NUL byte at character 2"),
    "half a surrogate": (b'{"text": "ab\\ud800", "label": 0}\n', "half of a surrogate pair at character 3"),
    "not UTF-8": (b'{"text": "caf\xe9", "label": 0}\n', "is not UTF-8 (byte 0xe9 at position 14"),
    "null label": (b'{"text": "a", "label": null}\n', "'label' is null"),
    "boolean label": (b'{"text": "a", "label": true}\n', "the label is 'true'; expected an integer"),
    "fraction": (b'{"text": "a", "label": 0.5}\n', "'label' is 0.5; expected an integer"),
    "NaN": (b'{"text": "a", "label": NaN}\n', "'label' is nan; expected an integer"),
    "word among integers": (b'{"text": "a", "label": "yes"}\n', "'yes'; expected an integer"),
    "empty label": (b'{"text": "a", "label": ""}\n', "'label' is empty"),
    "too long": (json.dumps({"text": "a" * 5001, "label": 0}).encode() + b"\n", "5,001 bytes; at most 5,000"),
    "line too long": (b'{"text": "' + b"a" * 2_000_000 + b'", "label": 0}\n', "the line has 2,000,025 bytes"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_one_problem_at_its_line(tmp_path, kind):
    line, message = BAD_LINES[kind]
    path = write(tmp_path / "own.jsonl", lines(line))
    (problem,) = problems(path, max_record_bytes=5000)
    assert problem.where == f"{path}:13"
    assert message in str(problem)


@pytest.mark.parametrize("kind", BAD_LINES)
def test_skip_leaves_out_the_bad_line_only(tmp_path, kind):
    path = write(tmp_path / "own.jsonl", lines(BAD_LINES[kind][0]))
    dataset = load(path, max_record_bytes=5000, on_bad_record="skip")
    assert records(dataset) == [row["text"] for row in GOOD]
    assert dataset.notes["bad_records"]["left_out"] == 1
    assert sum(dataset.notes["bad_records"]["reasons"].values()) == 1


def test_several_problems_are_listed_in_reading_order_and_the_rest_counted(tmp_path):
    bad = b'{"text": "", "label": null}\n' + b"nonsense\n" * 30
    path = write(tmp_path / "own.jsonl", lines(bad))
    with pytest.raises(UserError) as caught:
        load(path)
    where = [problem.where for problem in caught.value.problems]
    # one record with two mistakes is two problems of the same line
    assert where == [f"{path}:13", f"{path}:13", *(f"{path}:{n}" for n in range(14, 32))]
    assert caught.value.hidden == 12


def test_skip_counts_by_reason_warns_once_and_names_each_record_below(tmp_path, caplog):
    path = write(
        tmp_path / "own.jsonl", lines(b"nonsense\n", b"\n", b'{"text": " ", "label": 0}\n', b"[]\n", b"{}{}\n")
    )
    with caplog.at_level(logging.INFO, "counterpoise"):
        dataset = load(path, on_bad_record="skip")
    assert dataset.notes["bad_records"] == {
        "left_out": 4,
        "reasons": {"bad JSON": 2, "blank text": 1, "not an object": 1},
    }
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "left out 4 of 16 records" in warning
    assert "bad JSON: 2" in warning
    assert [line for line in caplog.messages if f"{path}:15" in line]


def test_row_numbers_do_not_depend_on_what_was_left_out(tmp_path):
    broken = write(tmp_path / "own.jsonl", b"nonsense\n" + lines())
    dataset = load(broken, on_bad_record="skip")
    assert sorted(row for part in dataset.splits().values() for row in part.rows) == list(range(1, 13))


def test_a_column_that_no_record_has_is_one_problem_for_the_file(tmp_path):
    path = write(tmp_path / "own.jsonl", lines(good=[{"texts": "a", "label": 0}] * 50))
    for policy in ("error", "skip"):
        (problem,) = problems(path, on_bad_record=policy)
        assert problem.where == str(path)
        assert "no column 'text'. Columns found: 'texts', 'label'. Did you mean 'texts'?" in problem.message
        assert "data.text_column" in problem.remedy


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("own.jsonl", b"", "is empty"),
        ("own.jsonl", b"\n  \n", "is empty"),
        ("own.csv", b"", "is empty"),
        ("own.csv", b"text,label\n", "has columns but no records"),
        ("own.jsonl", "x".encode("utf-16"), "UTF-16"),
        ("own.jsonl", '{"text": "a"}'.encode("utf-16-le"), "UTF-16"),
        ("own.csv", "text,label".encode("utf-16"), "UTF-16"),
        ("own.jsonl", gzip.compress(b"{}", mtime=0), "does not end with .gz"),
        ("own.jsonl.gz", b"{}\n", "not compressed with gzip"),
        ("own.json", json.dumps(GOOD).encode(), "one JSON document"),
        ("own.json", json.dumps(GOOD, indent=1).encode(), "one JSON document"),
        ("own.json", json.dumps(GOOD[0], indent=1).encode(), "one JSON document"),
        ("own.txt", lines(), "no known format"),
        ("own.parquet", lines(), "not a readable Parquet file"),
        ("own.parquet", b"", "not a readable Parquet file"),
        ("own.csv", b"text;label\na;0\n", "one single column"),
        ("own.csv", b"text,label,text\na,0,b\n", "'text' more than once"),
        ("own.csv", b"text,label\ra,0\rb,1\r", "carriage return"),
        ("own.csv", b'text,label\na,0\n"b,1\nc,0\n', ":3: a quoted field that begins in this record is never closed"),
        ("own.csv", b'text,label\n"a\nb",0\n"b" c,1\n', ":4: the quoting is broken"),
        ("own.jsonl", lines(good=GOOD[::2]), "all 6 records have the label '0'"),
        ("own.jsonl", b"nonsense\n", "no usable record"),
    ],
)
def test_what_is_wrong_with_a_whole_file_stops_even_with_skip(tmp_path, name, data, message):
    path = write(tmp_path / name, data)
    (problem,) = problems(path, on_bad_record="skip")
    assert message in str(problem)


def test_damaged_gzip_names_the_line_where_it_breaks(tmp_path):
    packed = gzip.compress(lines(good=GOOD * 2000))
    path = write(tmp_path / "own.jsonl.gz", packed[: len(packed) // 2])
    problem = problems(path, on_bad_record="skip")[0]
    assert problem.where.startswith(f"{path}:")
    assert int(problem.where.rsplit(":", 1)[1]) > 1
    assert "damaged or cut off" in problem.message
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    assert "damaged" in str(problems(write(path, bytes(flipped)))[0])


def test_a_missing_file_names_the_nearest_one(tmp_path):
    write(tmp_path / "reviews.jsonl", lines())
    (problem,) = problems(tmp_path / "review.jsonl")
    assert problem.where == "data.path"
    assert "Did you mean 'reviews.jsonl'?" in problem.message
    (problem,) = problems(tmp_path / "nowhere" / "review.jsonl")
    assert f"Found in {tmp_path}: 'reviews.jsonl'" in problem.message
    for name in ("a.csv", "b.csv", "c.csv", "reviews.csv", "z.parquet"):
        write(tmp_path / name, b"")
    (problem,) = problems(tmp_path / "review.jsonl")
    assert f"Found in {tmp_path}: 'reviews.jsonl', 'reviews.csv', " in problem.message
    assert "and 3 more. Did you mean 'reviews.jsonl'?" in problem.message


def test_csv_counts_physical_lines_through_quoted_newlines(tmp_path):
    rows = 'text,label\n"one\ntwo\nthree",0\n\nfour,1\n"five, ""5""\n",\nsix,1,1\n'
    path = write(tmp_path / "own.csv", rows.encode() + b'"seven\n\xff",1\n')
    assert [(p.where.rsplit(":", 1)[1], p.message) for p in problems(path)] == [
        ("7", "'label' is empty; expected a label."),
        ("9", "has 3 fields, but the header has 2."),
        ("11", "is not UTF-8 (byte 0xff at position 1 of the line)."),
    ]


TEXTS = ["plain", 'quote " and, comma', "two\nlines", "tab\there", "ünïcode 漢字", "  kept  "] * 4


def written(path, texts, labels):
    columns = {"label": labels, "text": texts}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return path
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8-sig", newline="") as file:
        if ".jsonl" in path.name:
            file.writelines(json.dumps({"label": b, "text": a}) + "\n" for a, b in zip(texts, labels, strict=True))
        else:
            table = csv.writer(file, delimiter="\t" if ".tsv" in path.name else ",")
            table.writerows([("label", "text"), *zip(labels, texts, strict=True)])
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.parquet", "A.JSONL"]
)
def test_every_format_gives_the_same_records(tmp_path, name):
    dataset = load(written(tmp_path / name.lower(), TEXTS, [n % 2 for n in range(24)]).rename(tmp_path / name))
    assert records(dataset) == TEXTS
    assert dataset.classes == ("0", "1")


def test_parquet_problems_name_the_row(tmp_path):
    table = pa.table({"text": pa.array(["a", None, " ", "d"]), "label": [0, 1, 0, 1]})
    path = tmp_path / "own.parquet"
    pq.write_table(table, path)
    assert [problem.where for problem in problems(path)] == [f"{path}:row 2", f"{path}:row 3"]
    raw = pa.array([b"a", b"\xff", b"c"]).cast(pa.binary())
    pq.write_table(pa.table({"text": pa.Array.from_buffers(pa.string(), 3, raw.buffers()), "label": [0, 1, 1]}), path)
    (problem,) = problems(path)
    assert problem.where == f"{path}:row 2"
    assert "not UTF-8" in problem.message
    pq.write_table(pa.table({"text": raw, "label": [0, 1, 1]}), path)
    assert "expected a string" in problems(path)[0].message


def test_a_single_line_of_ten_megabytes_is_read(tmp_path):
    long = {"text": "word " * 2_000_000, "label": 0}
    path = write(tmp_path / "own.jsonl", lines(good=[long, *GOOD]))
    assert sum(len(part) for part in load(path, max_record_bytes=10_000_000).splits().values()) == 13
    assert problems(path)[0].where == f"{path}:1"


def test_reading_csv_leaves_the_limit_of_the_csv_module_alone(tmp_path):
    before = csv.field_size_limit()
    load(write(tmp_path / "own.csv", b"text,label\n" + b"a,0\nb,1\n" * 6 + b"c" * 200_000 + b",1\n"))
    assert csv.field_size_limit() == before


TSV = [(f"text {n}", str(n % 2)) for n in range(12)]


def tsv(path, changes):
    """Twelve records, some of whose lines (from 2, behind the header) are others."""
    written = ["text\tlabel", *("\t".join(row) for row in TSV)]
    for line, content in changes.items():
        written[line - 1] = content
    path.write_text("\n".join(written) + "\n")
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {4: '"a\t0', 7: 'b"\t1'},  # as CSV, four lines would be one record
        {4: '"Hello" she said\t0'},
        {4: '"never closed\t0'},
        {4: '"Hello"\t0', 9: '""\t1', 10: '"x\t0'},
    ],
)
def test_quotes_in_a_tsv_without_quoting_are_text(tmp_path, caplog, changes):
    found = records(load(tsv(tmp_path / "own.tsv", changes)))
    expected = [text for text, _ in TSV]
    for line, content in changes.items():
        expected[line - 2] = content.split("\t")[0]
    assert found == expected
    assert "quotes are read as text" in caplog.text


def test_a_field_in_quotes_of_a_tsv_may_hold_tabs_and_lines(tmp_path, caplog):
    changes = {4: '"a\tb"\t0', 5: '"a\nb"\t1', 6: '"say ""a"""\t0', 7: 'say "a"\t1'}
    found = records(load(tsv(tmp_path / "own.tsv", changes)))
    assert found[2:6] == ["a\tb", "a\nb", 'say "a"', 'say "a"']
    assert "quotes" not in caplog.text


def test_a_bad_line_of_a_tsv_whose_quotes_are_text_is_told_how_to_mend(tmp_path):
    (problem,) = problems(tsv(tmp_path / "own.tsv", {4: '"a" b\t0', 9: '"c\td"\t1'}))
    assert problem.where.endswith(":9")
    assert str(problem).endswith(
        "has 3 fields, but the header has 2. Replace tabs and line ends within a field by blanks."
    )


def test_lines_of_a_csv_that_quotes_join_are_named(tmp_path, caplog):
    rows = [f"text {n},{n % 2}\n" for n in range(12)]
    rows[3], rows[5] = '"' + rows[3], rows[5].replace(",", '",')
    path = write(tmp_path / "own.csv", ("text,label\n" + "".join(rows)).encode())
    assert len(records(load(path))) == 10
    assert f"{path}: quotes join lines" in caplog.text
    assert "(lines 5 to 7)" in caplog.text
    caplog.clear()
    rows[3:6] = ['"dear, all\nhi, there\n",0\n']
    load(write(tmp_path / "own.csv", ("text,label\n" + "".join(rows)).encode()))
    assert "quotes" not in caplog.text


def assert_dataset_or_user_error(path, **settings):
    with contextlib.suppress(UserError):
        assert isinstance(load(path, **settings), Dataset)


FRAGMENTS = [b'{"text": "a", "label": 0}\n', b'{"text": "b", "label": "1"}\n', b'{"text"', b"null", b'"\\ud800"', b"\n"]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=6)))),
    st.sampled_from(["error", "skip"]),
    st.sampled_from(["jsonl", "csv", "tsv", "jsonl.gz", "parquet"]),
)
def test_any_bytes_give_a_dataset_or_a_user_error(tmp_path_factory, data, policy, suffix):
    data = data if isinstance(data, bytes) else b"".join(data)
    path = write(tmp_path_factory.mktemp("any") / f"own.{suffix}", data)
    assert_dataset_or_user_error(path, on_bad_record=policy, test_share=0)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_damage_to_a_compressed_file_is_a_user_error_or_harmless(tmp_path_factory, data):
    packed = bytearray(gzip.compress(lines()))
    place = data.draw(st.integers(2, len(packed) - 1))
    packed[place] = data.draw(st.integers(0, 255))
    path = write(
        tmp_path_factory.mktemp("any") / "own.jsonl.gz", bytes(packed[: data.draw(st.integers(2, len(packed)))])
    )
    assert_dataset_or_user_error(path)
