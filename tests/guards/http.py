"""Guards of the HTTP side."""

from __future__ import annotations

from guards.source import rows

_LISTENER = (
    "super().__init__(self._answer, access_log=None, auto_decompress=%s, keepalive_timeout=KEEPALIVE_TIMEOUT, "
    "lingering_time=LINGER_TIMEOUT, read_bufsize=BUFFER)"
)
_FLOW = "tests/test_http_flow.py::"
_PUBLISH = "tests/test_http_api_publish.py::"

ADMIN = "tests/test_http_admin.py::TestAuthorisation::"

ROWS = [
    *rows(
        "http_listener",
        {
            "HttpError.response": [
                ("self._close", "False", "TestAnswers::test_http_error"),
            ],
            "_Connection.handle_error": [
                ("status == 400", "False", "TestMalformed::test_nothing_of_it_is_quoted"),
            ],
            "HttpListener.__init__": [
                (
                    _LISTENER % "False",
                    _LISTENER % "True",
                    "TestAnswers::test_no_unpacking",
                ),
                ("KEEPALIVE_TIMEOUT", "3600.0", "TestBounds::test_a_silent_connection"),
                ("LINGER_TIMEOUT", "0.0", "TestBody::test_a_body_left_unread"),
                ("BUFFER", "1 << 40", _FLOW + "TestBackplane::test_a_publisher_is_read_no_faster_than_it_is_published"),
            ],
            "HttpListener.__call__": [
                (
                    "_Connection(self, loop=self._loop, **self._kwargs)",
                    "web.RequestHandler(self, loop=self._loop, **self._kwargs)",
                    "TestMalformed::test_nothing_of_it_is_quoted",
                ),
            ],
            "HttpListener.connection_made": [
                ("len(self._connections) > MAX_CONNECTIONS", "False", "TestBounds::test_connections"),
            ],
            "HttpListener._answer": [
                ("except Exception", "()", "TestAnswers::test_unexpected_exception"),
                (
                    "self.leaving",
                    "False",
                    (
                        "tests/integration/test_drain.py::"
                        "test_a_request_that_has_begun_is_finished_and_its_messages_are_delivered"
                    ),
                ),
            ],
            "BodyReader.read": [
                ("BODY_TIMEOUT", "3600.0", "TestBody::test_it_does_not_go_on"),
                (
                    "return await self._read_within(LAST_LOOK)",
                    "raise",
                    "TestBody::test_what_came_while_the_process_was_stopped_is_in_time",
                ),
                (
                    'raise HttpError(408, "request_timeout", "the body did not go on", close=True) from None',
                    "raise",
                    "TestBody::test_it_does_not_go_on",
                ),
                (
                    "except (OSError, HttpProcessingError, web.RequestPayloadError)",
                    "()",
                    "TestBody::test_the_client_goes_away",
                ),
            ],
            "BodyReader._read_within": [
                ("asyncio.timeout(seconds)", "asyncio.timeout(None)", "TestBody::test_it_does_not_go_on"),
            ],
        },
    ),
    *rows(
        "http_guard",
        {
            "": [
                (
                    'limited("valtronics_fast.http_guard")',
                    '__import__("logging").getLogger("valtronics_fast.http_guard")',
                    "test_not_without_end",
                ),
            ],
            "is_local": [
                ('is_loopback(request.remote or "")', "True", "test_who_is_on_this_machine"),
                ("is_loopback(named_host(request))", "True", "test_a_demo_is_open_to_this_machine_alone"),
                ("not passed_on", "True", "test_a_demo_is_open_to_this_machine_alone"),
            ],
            "HttpGuard.reload": [
                ("self._demo", "True", "test_where_the_figures_are_open"),
                ("not self._api_key", "True", "test_where_the_figures_are_open"),
                ("is_loopback(config.host)", "True", "test_where_the_figures_are_open"),
            ],
            "HttpGuard.refuse_banned": [
                (
                    "seconds := self._suspects.banned(self.address(request))",
                    "False",
                    "test_a_ban_covers_everything_and_this_address_alone",
                ),
            ],
            "HttpGuard.authorise": [
                ("grant.publish", "True", "tests/test_http_api.py::TestAuthorisation::test_who_may_not_publish"),
            ],
            "HttpGuard.authorise_reader": [
                ("self._opens and is_local(request)", "True", "tests/test_http_api.py::TestStats::test_unauthorised"),
                (
                    "grant.monitor or grant.publish or grant.admin",
                    "True",
                    "tests/test_http_api.py::TestStats::test_unauthorised",
                ),
            ],
            "HttpGuard.authorise_admin": [
                ("self.admin_on", "True", ADMIN + "test_without_any_credential_that_opens_them_they_are_off"),
                ("grant.admin", "True", ADMIN + "test_nobody_else"),
            ],
            "HttpGuard._identify": [
                (
                    "bool(self._api_key) & hmac.compare_digest(given, self._api_key)",
                    "hmac.compare_digest(given, self._api_key)",
                    "tests/test_http_api.py::TestAuthorisation::test_an_empty_key_authorises_nobody",
                ),
                (
                    "bool(self._admin_key) & hmac.compare_digest(given, self._admin_key)",
                    "hmac.compare_digest(given, self._admin_key)",
                    ADMIN + "test_tokens_alone_turn_them_on",
                ),
                ("publishes or administers", "True", "test_refused_credentials_are_counted_by_reason"),
                (
                    "self.publisher if publishes else self.administrator",
                    "self.administrator",
                    ADMIN + "test_nobody_else",
                ),
                ('"surrogateescape"', '"strict"', "tests/test_http_api.py::TestAuthorisation::test_a_key_beyond_ascii"),
                ('scheme.lower() != "bearer"', "False", "tests/test_http_api.py::TestAuthorisation::test_refused"),
                ("except AuthError", "()", "tests/test_http_api.py::TestAuthorisation::test_refused"),
            ],
            "HttpGuard.authorise_scraper": [
                (
                    "self._scrapers.include(self.address(request))",
                    "True",
                    "test_scrapers_of_named_networks_need_no_credential",
                ),
            ],
            "HttpGuard._verified": [
                ("except Exception", "()", "tests/test_http_api.py::TestSecrets::test_no_token_in_any_log"),
            ],
            "HttpGuard._refuse": [
                (
                    "reason != NO_CREDENTIAL and reason not in HONEST_FAILURES",
                    "False",
                    "test_a_ban_covers_everything_and_this_address_alone",
                ),
                ("reason != NO_CREDENTIAL", "True", "test_refused_credentials_are_counted_by_reason"),
                ("reason not in HONEST_FAILURES", "True", "test_refused_credentials_are_counted_by_reason"),
            ],
        },
    ),
    *rows(
        "http_dashboard",
        {
            "Dashboard._post_demo_token": [
                ("self._mints()", "True", "test_without_a_demo_there_is_none"),
                ("is_local(request)", "True", "test_nobody_else_gets_one"),
                ('request.headers.get("Origin") != own', "False", "test_nobody_else_gets_one"),
            ],
        },
    ),
    *rows(
        "http_api",
        {
            "HttpApi._dispatch": [
                (
                    "self._guard.refuse_banned(request)",
                    "None",
                    "tests/test_http_guard.py::test_a_ban_covers_everything_and_this_address_alone",
                ),
                ("methods is None", "False", "TestRoutes::test_unknown_path"),
                ("handler is None", "False", "TestRoutes::test_wrong_method"),
            ],
            "HttpApi.get_stats": [
                ("await self._guard.authorise_reader(request)", "None", "TestStats::test_unauthorised"),
            ],
            "HttpApi.get_metrics": [
                ("await self._guard.authorise_scraper(request)", "None", "TestMetrics::test_unauthorised"),
            ],
            "HttpApi.end_publishing": [
                ("PUBLISH_TIMEOUT", "3600.0", "TestLifetime::test_a_publisher_that_does_not_go_on_holds_nobody_up"),
            ],
            "HttpApi.post_publish": [
                (
                    "self._in_flight.request()",
                    "__import__('contextlib').nullcontext()",
                    (
                        "tests/integration/test_drain.py::"
                        "test_a_request_that_has_begun_is_finished_and_its_messages_are_delivered"
                    ),
                ),
            ],
            "HttpApi._publish_body": [
                ("await self._guard.authorise(request)", "self._guard.publisher", "TestAuthorisation::test_refused"),
                (
                    'content_type not in {"application/json", "application/x-ndjson"}',
                    "False",
                    _PUBLISH + "TestPublishJson::test_unsupported_body",
                ),
                (
                    '(request.charset or "utf-8").lower() != "utf-8"',
                    "False",
                    _PUBLISH + "TestPublishJson::test_unsupported_body",
                ),
                (
                    'request.headers.get("Content-Encoding", "identity").lower() != "identity"',
                    "False",
                    _PUBLISH + "TestPublishJson::test_unsupported_body",
                ),
                (
                    "self._flow.admit(grant.user)",
                    "None",
                    _FLOW + "TestRate::test_who_has_used_up_its_rate_is_refused_before_the_body_is_read",
                ),
                (
                    "await self._flow.settle()",
                    "None",
                    _FLOW + "TestBackplane::test_the_answer_waits_until_it_is_carried_on",
                ),
            ],
            "HttpApi._take_json": [
                ("except BodyError", "()", _PUBLISH + "TestPublishJson::test_no_such_body"),
            ],
            "HttpApi._take_ndjson": [
                (
                    "intake.grant.expires_at <= time.time()",
                    "False",
                    _PUBLISH + "TestPublishNdjson::test_a_token_that_expires_on_the_way",
                ),
                (
                    "self._in_flight.stream()",
                    "__import__('contextlib').nullcontext()",
                    "tests/integration/test_drain.py::test_a_stream_is_told_where_to_go_on",
                ),
            ],
            "HttpApi._read_whole": [
                (
                    "check(request.content_length or 0)",
                    "None",
                    _PUBLISH + "test_the_body_is_asked_for_only_when_it_is_wanted",
                ),
                ("check(len(body))", "None", _PUBLISH + "TestPublishJson::test_the_body_cap"),
            ],
            "HttpApi._read_whole.check": [
                (
                    "limit and size > limit",
                    "False",
                    _PUBLISH + "TestPublishJson::test_the_body_cap",
                ),
            ],
        },
    ),
    *rows(
        "request_ids",
        {
            "clean": [
                ('_UNSAFE.sub("", given)', "given", "test_what_is_left_is_short_and_safe_anywhere"),
                (
                    '_UNSAFE.sub("", given)[:MAX_ID]',
                    '_UNSAFE.sub("", given)',
                    "test_what_is_left_is_short_and_safe_anywhere",
                ),
            ],
        },
    ),
    *rows(
        "http_publish",
        {
            "JsonBody.__init__": [
                ("MAX_MEMBERS", "1 << 40", "TestJson::test_no_such_body"),
                ("except ValueError", "()", "TestJson::test_no_such_body"),
                (
                    """if not is_list: raise BodyError(ErrorCode.INVALID_MESSAGE, '"messages" is not an array')""",
                    "pass",
                    "TestJson::test_no_such_body",
                ),
                (
                    "if begin != self._messages or not is_list: _decoded(text[begin:end])",
                    "pass",
                    "TestJson::test_no_such_body",
                ),
            ],
            "JsonBody._look_at_the_whole": [
                ("isinstance(document, dict)", "True", "TestJson::test_no_such_body"),
                ('"type" in document or "messages" not in document', "True", "TestJson::test_no_such_body"),
            ],
            "JsonBody.check": [
                ("_decoded(text)", "None", "TestJson::test_no_such_body"),
            ],
            "JsonBody._cut": [
                ("except ValueError", "()", "TestJson::test_no_such_body"),
            ],
            "_decoded": [
                ("except orjson.JSONDecodeError", "()", "TestJson::test_no_such_body"),
            ],
            "NdjsonBody.feed": [
                (
                    "len(self._line) > MAX_LINE",
                    "False",
                    "TestNdjson::test_an_endless_line_is_refused_once_and_not_kept",
                ),
                (
                    "if not self._skipping: lines.append(self._line)",
                    "lines.append(self._line)",
                    "TestNdjson::test_an_endless_line_is_refused_once_and_not_kept",
                ),
                (
                    'if self._skipping: self._line = b""',
                    "pass",
                    "TestNdjson::test_an_endless_line_is_refused_once_and_not_kept",
                ),
            ],
            "Intake.__init__": [
                ("MAX_REJECTED", "1 << 40", "TestJson::test_refusals_beyond_the_cap_are_counted"),
                ("MAX_LINE", "1 << 40", "TestNdjson::test_the_line_limit"),
            ],
        },
    ),
    *rows(
        "http_flow",
        {
            "Turns.next": [
                ("time.monotonic() >= self._until", "False", "TestTurns::test_others_run_between_two_slices"),
                (
                    "if not future.cancelled(): self._end()",
                    "pass",
                    "TestTurns::test_who_is_cancelled_leaves_its_turn_to_the_next",
                ),
            ],
            "Rates.level": [
                ("min(float(self.rate), level + (now - at) * self.rate)", "level + (now - at) * self.rate",
                 "TestRates::test_a_second_at_once_and_then_as_it_fills"),
            ],
            "Rates.spend": [
                ("MAX_USERS", "1 << 40", "TestRates::test_users_are_bounded"),
            ],
            "Flow.admit": [
                (
                    "refusal := self._refusal(user)",
                    "None",
                    "TestRate::test_who_has_used_up_its_rate_is_refused_before_the_body_is_read",
                ),
            ],
            "Flow.publish": [
                ("patient", "True", "TestRate::test_a_body_that_is_too_much_is_taken_up_to_the_rate"),
                (
                    "self.rates.spend(user, intake.publish(until, most), now)",
                    "intake.publish(until, most)",
                    "TestRate::test_a_body_that_is_too_much_is_taken_up_to_the_rate",
                ),
                ("intake.publish(until, most)", "intake.publish(1e18, most)", "test_two_publishers_share_the_time"),
            ],
            "Flow._refusal": [
                ("self._outlet.congested()", "False", "TestBackplane::test_a_full_backplane_refuses_new_requests"),
                (
                    "seconds := self.rates.wait(user, now)",
                    "0",
                    "TestRate::test_a_body_that_is_too_much_is_taken_up_to_the_rate",
                ),
            ],
        },
    ),
]
