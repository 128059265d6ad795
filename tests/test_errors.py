from __future__ import annotations

import valtronics_fast
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import AuthError, ConfigError, PublicationError, ValtronicsError


def test_a_configuration_error_tells_every_problem() -> None:
    error = ConfigError(line for line in ["one is wrong", "two is wrong"])
    assert error.problems == ("one is wrong", "two is wrong")
    assert str(error) == "one is wrong\ntwo is wrong"
    assert isinstance(error, ValtronicsError)


def test_the_text_of_a_refused_token_says_nothing_of_why() -> None:
    texts = {str(AuthError(reason)) for reason in ("bad_signature", "malformed", "no_key")}
    assert texts == {"the token is not valid"}
    expired = AuthError("expired", ErrorCode.TOKEN_EXPIRED)
    assert (str(expired), expired.code, expired.reason) == ("the token has expired", ErrorCode.TOKEN_EXPIRED, "expired")


def test_a_publication_error_has_a_code_of_the_wire() -> None:
    error = PublicationError(2, "a metric has no value")
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert str(error) == "a metric has no value"
    assert isinstance(error, ValueError)


def test_the_package_offers_its_errors() -> None:
    for name in ("AuthError", "ConfigError", "PublicationError", "ValtronicsError"):
        assert issubclass(getattr(valtronics_fast, name), Exception)
