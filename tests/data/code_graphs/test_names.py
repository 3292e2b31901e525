"""Sub-tokens, by a table; and which nodes have them."""

from __future__ import annotations

import pytest
from code_graph_checks import item
from code_graph_notation import graph_of
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data.code_graphs.names import split_number, split_text, split_word

WORDS = {
    "x": "x",
    "buf_len": "buf len",
    "bufLen": "buf len",
    "BUF_LEN": "buf len",
    "HTTPServer": "http server",
    "parseHTTP2_hdr": "parse http 2 hdr",
    "AValue": "a value",
    "u8": "u 8",
    "__init__": "init",
    "_": "_",
    "__": "__",
    "größe": "gr öß e",
    "xy1z22": "xy 1 z 22",
    "": "",
    "unsigned /* very */ long // sic\n int": "unsigned long int",
}
NUMBERS = {
    "0": "0",
    "42UL": "42",
    "0x1FuL": "0x1f",
    "1.5f": "1.5",
    "1'000'000": "1000000",
    "0xFFFFFFFFu": "0xffffffff",
    "4294967295": "4294967295",
    "0x123456789abcdef": "<hex 17>",
    "18446744073709551615ULL": "<decimal 20>",
    "3.14159265358979": "<float 16>",
    "012345670123": "<octal 12>",
    "0b1010": "0b1010",
    "0b101010101010": "<binary 14>",
    "1e-6": "1e-6",
    "0xf": "0xf",
}
TEXTS = {
    "hello, World": "hello world",
    "id=%08lx of %s": "id %08lx of %s",
    "%-10.*s|%5d%%": "%-10.*s %5d",
    "file_name1 at 0x1F": "file name 1 at 0x1f",
    "100% sure": "100 % s ure",
    "": "",
}


@pytest.mark.parametrize(("text", "expected"), WORDS.items())
def test_words(text: str, expected: str) -> None:
    assert split_word(text) == expected.split()


@pytest.mark.parametrize(("text", "expected"), NUMBERS.items())
def test_numbers(text: str, expected: str) -> None:
    assert split_number(text) == ([expected] if expected else [])


@pytest.mark.parametrize(("text", "expected"), TEXTS.items())
def test_texts(text: str, expected: str) -> None:
    assert " ".join(split_text(text)) == expected


@given(text=st.text())
def test_words_lose_nothing_but_case_and_underscores(text: str) -> None:
    word = "".join(sign for sign in text if sign.isalnum() and sign.isascii())
    assert "".join(split_word(word)) == word.lower()


@given(text=st.text())
def test_anything_can_be_split(text: str) -> None:
    assert all(split_word(text) + split_number(text) + split_text(text))


def test_leaves_have_sub_tokens() -> None:
    source = (
        "unsigned int f(struct myPage *p) { char c = 'A', d = '\\n'; p->refCount = 0x10UL; say(\"Hi %s\\t\", NULL); }"
    )
    graph = item(graph_of(source), 0)
    found = [(kind, " ".join(tokens)) for kind, tokens in zip(graph.types, graph.tokens, strict=True) if tokens]
    assert found == [
        ("sized_type_specifier", "unsigned int"),
        ("primitive_type", "int"),
        ("identifier", "f"),
        ("type_identifier", "my page"),
        ("identifier", "p"),
        ("primitive_type", "char"),
        ("identifier", "c"),
        ("character", "A"),
        ("identifier", "d"),
        ("escape_sequence", "\\n"),
        ("identifier", "p"),
        ("field_identifier", "ref count"),
        ("number_literal", "0x10"),
        ("identifier", "say"),
        ("string_content", "hi %s"),
        ("escape_sequence", "\\t"),
        ("null", "null"),
    ]
