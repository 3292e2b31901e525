"""Credentials in addresses are found, and taken out of texts."""

from __future__ import annotations

import pytest

from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.tracking.addresses import has_credentials, without_credentials
from counterpoise.tracking.cloudwatch import CloudWatchConfig

WITH = [
    "http://me:hidden@host:5000",
    "https://hidden@host",
    "https://:hidden@host",
    "postgresql://me:hid/den?x@host/runs",
    "mysql+pymysql://me:hidden@host/a@b",
    "postgresql://host/runs?user=me&password=hidden",
    "mssql+pyodbc:///?odbc_connect=Driver%3DX%3BPWD%3Dhidden%3B",
    "http://host/?access_token=hidden",
]
WITHOUT = [
    "http://host:5000",
    "sqlite:////home/a@b/mlflow.db",
    "sqlite:///a@b.db",
    "postgresql://me@host/runs?sslmode=require",
    "databricks://profile",
    "",
]


@pytest.mark.parametrize("address", WITH)
def test_a_password_is_found_and_taken_out(address: str) -> None:
    assert has_credentials(address)
    text = without_credentials(f"cannot reach '{address}', as hard as it tried")
    assert "hid" not in text
    assert text.startswith("cannot reach '")
    assert text.endswith("as hard as it tried")


@pytest.mark.parametrize("address", WITHOUT)
def test_an_address_without_is_left_alone(address: str) -> None:
    assert not has_credentials(address)
    if "me@" not in address:
        assert without_credentials(address) == address


def test_cloudwatchs_endpoint_may_hold_none() -> None:
    with pytest.raises(UserError, match=r"tracker\.cloudwatch\.endpoint: must hold no password"):
        parse(CloudWatchConfig, {"endpoint": "http://me:hidden@host"}, "tracker.cloudwatch")
