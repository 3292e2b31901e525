"""Credentials in addresses are found, and taken out of texts; what holds none stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.addresses import has_credentials, without_credentials
from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.tracking.cloudwatch import CloudWatchConfig

WITH = [
    "http://me:hidden@host:5000",
    "https://hidden@host",
    "https://:hidden@host",
    "http:///me:hidden@host",
    "//me:hidden@host",
    "git+https://hidden@host/x.git",
    "s3://hidden:hidden@bucket/prefix",
    "webhdfs://me:hidden@host:50070/runs",
    "memory://me:hidden@host/x",
    "ftp://me:hidden@[::1]:21/x",
    "ftp://me%3Ahidden@host/x",
    "redis://:hidden@host",
    "postgresql://me:hid/den?x@host/runs",
    "postgresql://me:123/hidden@host/runs",
    "mysql+pymysql://me:hidden@host/a@b",
    "jdbc:postgresql://me:hidden@host/runs",
    "jdbc:sqlserver://host;user=me;password=hidden",
    "postgresql://host/runs?user=me&password=hidden",
    "mssql+pyodbc:///?odbc_connect=Driver%3DX%3BPWD%3Dhidden%3B",
    "http://host/?access_token=hidden",
    "http://host/?a=1&TOKEN=hidden&b=2",
    "http://host/x#access_token=hidden",
    "http://host/?next=http%3A//me%3Ahidden%40host",
    "http%3A%2F%2Fme%3Ahidden%40host",
    "https://account.blob/x?sv=2024&sig=hidden",
    "https://bucket/x?X-Amz-Signature=hidden&X-Amz-Expires=9",
    "host=h user=me password='hid den'",
    "Server=s;Database=d;Uid=me;Pwd=hidden;",
    "AccountName=me;AccountKey=hidden==;EndpointSuffix=x",
    "simplecache::http://me:hidden@host/x",
    "[http://a:hidden@host,http://b:hidden@host]",
]
WITHOUT = [
    "http://host:5000",
    "http://host:80/a@b",
    "http://[::1]:80/a@b",
    "http://host/@scope/package",
    "https://host/?q=a@b&page=2",
    "https://host/?max_tokens=3&tokenizer=bpe",
    "sqlite:////home/a@b/mlflow.db",
    "sqlite:///a@b.db",
    "sqlite:///search.db?timeout=5",
    "s3://bucket/a@b",
    "s3://bucket/a%40b",
    "s3://bucket/year=2020/key=a",
    "file:///a:b@c",
    "file://C:/a@b",
    "memory://store",
    "ftp://me@host/x",
    "postgresql://me@host/runs?sslmode=require",
    "postgresql://host/runs?sslkey=client.key",
    "host=h user=me",
    "databricks://profile",
    "git@host:me/code.git",
    "me@example.org",
    "mailto:me@example.org",
    "counterpoise.models.textcnn.TextCNN",
    "data//x:y@z",
    r"password\s*=\s*\w+",
    "https://...@host",
    "postgresql://me:...@host/runs",
    "",
]


@pytest.mark.parametrize("address", WITH)
def test_a_password_is_found_and_taken_out(address: str) -> None:
    assert has_credentials(address)
    text = without_credentials(f"cannot reach '{address}', as hard as it tried")
    assert "hid" not in text
    assert text.startswith("cannot reach '")
    assert text.endswith("as hard as it tried")
    assert without_credentials(text) == text


@pytest.mark.parametrize("address", WITHOUT)
def test_an_address_without_is_left_alone(address: str) -> None:
    assert not has_credentials(address)
    if "..." not in address:
        assert without_credentials(address) == address


def test_what_a_client_repeats_of_a_known_address_is_taken_out_too() -> None:
    address = "http://me:hid%20den%2F@host/x?token=se cret"
    said = without_credentials("401 for hid den/ (hid%20den%2F), se cret, se%20cret", address)
    assert said == "401 for ... (...), ..., ..."


SAFE = st.text("abcXYZ0189-_~", min_size=1, max_size=6)
SIGNS = st.text("ab1:/?#[]@!$&'()*+,;=%~. \"\\é漢", max_size=12)


PLACES: list[Callable[[str, str, str], str]] = [
    lambda scheme, host, secret: f"{scheme}://me:{secret}@{host}/x",
    lambda scheme, host, secret: f"{scheme}://:{secret}@{host}:80/x/y",
    lambda scheme, host, secret: f"https://{secret}@{host}/x",
    lambda scheme, host, secret: f"{scheme}://{host}/x?token={secret}",
    lambda scheme, host, secret: f"{scheme}://{host}?a=1&X-Amz-Signature={secret}&b=2",
    lambda scheme, host, secret: f"{scheme}://{host}/x#access_token={secret}",
    lambda scheme, host, secret: f"{scheme}://{host}/x?next={quote_plus(f'{scheme}://me:{secret}@{host}')}",
    lambda scheme, host, secret: f"{scheme}://{host}?odbc_connect={quote_plus('Driver=X;PWD=' + secret)}",
    lambda scheme, host, secret: quote(f"{scheme}://me:{secret}@{host}/x", safe=""),
]
SCHEMES = st.sampled_from(["http", "https", "ftp", "webhdfs", "s3", "memory", "postgresql", "mysql+pymysql", "x"])
HOSTS = st.one_of(SAFE.map(lambda name: f"h{name}"), st.just("[::1]"), st.just("127.0.0.1"))


@settings(max_examples=400, deadline=None)
@given(SCHEMES, HOSTS, SIGNS, st.sampled_from(PLACES))
def test_a_password_in_any_place_is_never_in_the_masked_text(
    scheme: str, host: str, signs: str, place: Callable[[str, str, str], str]
) -> None:
    """In percent-encoding, as an address has to have it."""
    address = place(scheme, host, quote(f"Zq9x{signs}x9qZ", safe=""))
    assert has_credentials(address)
    masked = without_credentials(f"no answer from {address}: it is closed")
    assert "Zq9x" not in masked
    assert "x9qZ" not in masked
    assert masked.endswith((": it is closed", "... it is closed"))


@settings(max_examples=400, deadline=None)
@given(SCHEMES, HOSTS, SIGNS)
def test_a_password_that_is_not_encoded_is_taken_out_too(scheme: str, host: str, signs: str) -> None:
    secret = f"Zq9x{signs}x9qZ"
    address = f"{scheme}://me:{secret}@{host}/x"
    assert has_credentials(address)
    if " " not in secret:
        assert "x9qZ" not in without_credentials(f"'{address}' is closed")
    assert secret not in without_credentials(f"{secret} was refused", address)


@settings(max_examples=400, deadline=None)
@given(
    SCHEMES,
    HOSTS,
    st.sampled_from(["", ":80"]),
    st.lists(st.text("ab1@=~._-", min_size=1, max_size=6), max_size=4),
    st.dictionaries(st.sampled_from(["a", "page", "sslmode", "region", "versionId"]), SAFE, max_size=3),
)
def test_an_address_without_is_unchanged_whatever_its_path(
    scheme: str, host: str, port: str, path: list[str], query: dict[str, str]
) -> None:
    if port and (scheme.startswith(("postgresql", "mysql")) and any("@" in part for part in path)):
        return  # SQLAlchemy takes a port and such a path for a password
    address = f"{scheme}://{host}{port}/{'/'.join(path)}"
    address += "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
    assert urlsplit(address).password is None
    assert not has_credentials(address)
    assert without_credentials(f"see {address} there") == f"see {address} there"


def test_cloudwatchs_endpoint_may_hold_none() -> None:
    with pytest.raises(UserError, match=r"tracker\.cloudwatch\.endpoint: must hold no password"):
        parse(CloudWatchConfig, {"endpoint": "http://me:hidden@host"}, "tracker.cloudwatch")
