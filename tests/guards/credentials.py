"""Guards of tokens, and the keys that they are verified with."""

from __future__ import annotations

from guards.source import rows

ROWS = [
    *rows(
        "auth",
        {
            "Authenticator.__init__": [
                ("self._cache.clear", "lambda: None", "tests/integration/test_auth_jwks.py::test_rotation"),
            ],
            "Authenticator.verify": [
                (
                    "self._clock() < grant.expires_at",
                    "True",
                    "tests/test_auth_cache.py::test_remembered_tokens_die_with_exp",
                ),
                ("request is None", "False", "tests/integration/test_auth_jwks.py::test_rotation"),
            ],
            "Authenticator._verify_after": [
                (
                    "if not keys: raise _unknown_key(key_set)",
                    "pass",
                    (
                        "tests/integration/test_auth_jwks.py::"
                        "test_unknown_kids_lead_to_one_request_and_never_into_its_path"
                    ),
                ),
            ],
            "Authenticator._read_header": [
                ('"crit" in header', "False", "test_critical_headers_are_refused"),
                ("isinstance(algorithm, str)", "True", "test_other_algorithms_are_refused"),
                ("algorithm not in self._keys", "False", "test_other_algorithms_are_refused"),
                ('header.get("b64") is False', "False", "test_detached_payload_is_refused"),
                ("isinstance(kid, str)", "True", "test_kid_is_a_string"),
            ],
            "Authenticator._verify_with": [
                ("now < grant.expires_at", "True", "tests/test_auth_cache.py::test_remembered_tokens_die_with_exp"),
                (
                    "len(self._cache) > self._config.token_cache",
                    "False",
                    "tests/test_auth_cache.py::test_cache_is_bounded_and_drops_the_least_recently_used",
                ),
            ],
            "Authenticator._signed_payload": [
                ("except Exception", "()", "test_whatever_a_library_raises_at_a_signature_is_a_refusal"),
                ("if good: return payload", "return payload", "test_keys_in_the_token_are_not_used"),
            ],
            "_base64url": [
                ("except ValueError", "()", "test_what_is_not_a_token"),
                (
                    'urlsafe_b64encode(decoded).rstrip(b"=") != text',
                    "False",
                    "test_good_token_with_something_around_it",
                ),
            ],
            "_json_object": [
                ("except orjson.JSONDecodeError", "()", "test_payload_that_is_no_json_object"),
                ("isinstance(value, dict)", "True", "test_payload_that_is_no_json_object"),
            ],
            "_token_bytes": [
                ("isinstance(token, str)", "True", "test_what_is_not_a_string"),
                ("len(token) > MAX_TOKEN_BYTES", "False", "test_size_limit"),
                ("except UnicodeEncodeError", "()", "test_text_outside_ascii"),
            ],
        },
    ),
    *rows(
        "claims",
        {
            "grant_from_claims": [
                ('"exp" not in claims', "False", "test_exp_and_sub_are_required"),
                (
                    '"nbf" in claims and _time(claims["nbf"], AuthReason.BAD_NBF) > now + config.leeway',
                    "False",
                    "test_bad_times",
                ),
                ("now + config.leeway", "now", "test_nbf_counts_with_leeway"),
                ('config.issuer and claims.get("iss") != config.issuer', "False", "test_wrong_issuer"),
                (
                    'config.audience and not _names_audience(claims.get("aud"), config.audience)',
                    "False",
                    "test_audience_that_does_not",
                ),
                ('"sub" not in claims', "False", "test_exp_and_sub_are_required"),
                ("now >= expires_at + config.leeway", "False", "test_exp_counts_with_leeway"),
            ],
            "_time": [
                ("isinstance(value, int | float)", "True", "test_bad_times"),
                ("isinstance(value, bool)", "False", "test_bad_times"),
                ("0 <= value <= MAX_TIME", "True", "test_bad_times"),
            ],
            "_names_audience": [
                ("audience in claim", "True", "test_audience_that_does_not"),
                ("all(isinstance(name, str) for name in claim)", "True", "test_audience_that_does_not"),
                ("claim == audience", "True", "test_audience_that_does_not"),
            ],
            "_subject": [
                (
                    "not isinstance(value, str) or not value or _CONTROL.search(value)",
                    "not isinstance(value, str) or _CONTROL.search(value)",
                    "test_bad_subjects",
                ),
                ("isinstance(value, str)", "True", "test_bad_subjects"),
                ("not value", "False", "test_bad_subjects"),
                ("_CONTROL.search(value)", "False", "test_bad_subjects"),
                ("except UnicodeEncodeError", "()", "test_bad_subjects"),
                ("size > MAX_SUBJECT_BYTES", "False", "test_bad_subjects"),
            ],
            "_channels": [
                ('config.default_scope == "none"', "False", "test_default_scope_none_turns_absent_claims_around"),
            ],
            "_publish": [
                (
                    "_ALL_CHANNELS if value else 0",
                    "_ALL_CHANNELS",
                    "test_plain_claims_permit_everything_but_publishing",
                ),
            ],
            "_admin": [
                (
                    "config.admin_tokens",
                    "True",
                    "test_admin_means_nothing_where_no_token_is_to_permit_it",
                ),
                ("isinstance(value, bool)", "True", "test_admin_of_a_wrong_type"),
            ],
            "_min_interval": [
                ("isinstance(value, int | float)", "True", "test_min_interval_of_a_wrong_type_or_size"),
                ("isinstance(value, bool)", "False", "test_min_interval_of_a_wrong_type_or_size"),
                ("0 <= value <= MAX_INTERVAL", "True", "test_min_interval_of_a_wrong_type_or_size"),
            ],
            "_monitor": [
                ("isinstance(value, bool)", "True", "test_monitor_of_a_wrong_type"),
            ],
            "_mask": [
                ("isinstance(names, list)", "True", "test_channels_of_a_wrong_type"),
                ("isinstance(name, str)", "True", "test_channels_of_a_wrong_type"),
                ("name in CHANNELS", "True", "test_lists_of_channels"),
            ],
            "_devices": [
                ('config.default_scope == "none"', "False", "test_default_scope_none_turns_absent_claims_around"),
                ('value == "*"', "False", "test_default_scope_none_leaves_given_claims_alone"),
                ("isinstance(value, list)", "True", "test_devices_of_a_wrong_type"),
                ("len(value) > MAX_DEVICES", "False", "test_number_of_devices_is_bounded"),
                ("except ValueError", "()", "test_devices_of_a_wrong_type"),
            ],
        },
    ),
    *rows(
        "jwks",
        {
            "parse_key_set": [
                ("except orjson.JSONDecodeError", "()", "test_rubbish_is_no_key_set"),
                (
                    'document.get("keys") if isinstance(document, dict) else None',
                    'document.get("keys")',
                    "test_rubbish_is_no_key_set",
                ),
                ("isinstance(entries, list)", "True", "test_rubbish_is_no_key_set"),
                ("len(entries) > MAX_KEYS", "False", "test_rubbish_is_no_key_set"),
                ('if not keys: raise KeySetError("no usable key")', "pass", "test_rubbish_is_no_key_set"),
            ],
            "_parse_key": [
                ("isinstance(entry, dict)", "True", "test_entries_that_are_no_public_keys_are_left_out"),
                ('entry.get("use", "sig") != "sig"', "False", "test_keys_for_something_else_are_left_out"),
                ("isinstance(operations, list)", "True", "test_keys_for_something_else_are_left_out"),
                ('"verify" not in operations', "False", "test_keys_for_something_else_are_left_out"),
                ("isinstance(kid, str | None)", "True", "test_keys_for_something_else_are_left_out"),
                (
                    "{name: entry[name] for name in _PUBLIC_MEMBERS if name in entry}",
                    "entry",
                    "test_private_part_that_was_published_is_not_read",
                ),
                ("except Exception", "()", "test_keys_for_something_else_are_left_out"),
                ('"alg" in entry', "False", "test_keys_for_something_else_are_left_out"),
                ('name == entry["alg"]', "True", "test_keys_for_something_else_are_left_out"),
            ],
            "KeySet.find": [
                ("algorithm in key.algorithms", "True", "test_find"),
                ("kid is None or key.kid == kid", "True", "test_last_good_set_stays"),
                (
                    "tuple(key.key for key in found)[:MAX_TRIED_KEYS]",
                    "tuple(key.key for key in found)",
                    "test_a_token_without_kid_is_tried_with_few_keys",
                ),
            ],
            "KeySet.fetch_for_unknown_key": [
                ("self._stopped", "False", "test_stop_ends_a_request_under_way_and_those_who_wait"),
                ("self._clock() < self._next_on_demand", "False", "test_unknown_keys_lead_to_one_request_a_cool_down"),
            ],
            "KeySet._refresh": [
                (
                    "self._ttl if self._healthy else self._cool_down",
                    "0",
                    "test_the_server_is_not_asked_again_before_its_time",
                ),
            ],
            "KeySet._fetch": [
                ("self._request is None", "True", "test_requests_are_shared"),
            ],
            "KeySet._download": [
                ("asyncio.timeout(self._timeout)", "asyncio.timeout(None)", "test_last_good_set_stays"),
                ("aiohttp.ClientSession(auto_decompress=False)", "aiohttp.ClientSession()", "test_last_good_set_stays"),
                (
                    "session.get(self._url, headers=_HEADERS, allow_redirects=False)",
                    "session.get(self._url, headers=_HEADERS)",
                    "test_last_good_set_stays",
                ),
                ("response.status != 200", "False", "test_last_good_set_stays"),
                ("len(body) > MAX_BODY_BYTES", "False", "test_last_good_set_stays"),
            ],
        },
    ),
    *rows(
        "keys",
        {
            "suits": [
                ("taken is not None", "True", "test_other_algorithms_take_no_key"),
                ("isinstance(key, taken)", "True", "test_each_type_of_key_serves_its_own_algorithms_and_no_other"),
            ],
            "as_public_key": [
                ("MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS", "True", "test_weak_rsa_key"),
                (
                    "MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS",
                    "MIN_RSA_BITS <= key.key_size",
                    "test_an_rsa_key_that_takes_too_long_to_verify_with",
                ),
                ("MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS", "key.key_size <= MAX_RSA_BITS", "test_weak_rsa_key"),
                ("isinstance(key.curve, SECP256R1)", "True", "test_keys_of_other_types"),
                ("isinstance(key, Ed25519PublicKey)", "True", "test_keys_of_other_types"),
            ],
            "load_keys": [
                ("unserved and not config.jwks_url and not problems", "False", "test_other_algorithms_take_no_key"),
                ("if problems: raise ConfigError(problems)", "pass", "test_other_algorithms_take_no_key"),
            ],
            "_load_secret": [
                ("except (UnicodeEncodeError, jwt.InvalidKeyError)", "()", "test_secret_that_is_something_else"),
                ("algorithm.check_key_length(raw)", "False", "test_secret_is_as_long_as_the_hash"),
            ],
            "_load_file": [
                ("file.read(MAX_FILE_BYTES + 1)", "file.read()", "test_no_more_of_a_file_is_read_than_it_may_have"),
                ("except (OSError, ValueError)", "()", "test_file_that_cannot_be_read"),
                ("len(text) > MAX_FILE_BYTES", "False", "test_file_that_holds_something_else"),
                ("1 <= len(blocks) <= MAX_FILE_KEYS", "True", "test_file_that_holds_something_else"),
                ("1 <= len(blocks) <= MAX_FILE_KEYS", "1 <= len(blocks)", "test_file_that_holds_something_else"),
                (
                    "1 <= len(blocks) <= MAX_FILE_KEYS",
                    "len(blocks) <= MAX_FILE_KEYS",
                    "test_file_that_holds_something_else",
                ),
                ("except ValueError", "()", "test_keys_of_other_types"),
            ],
            "_load_pem": [
                (
                    'block[1] not in {b"PUBLIC KEY", b"RSA PUBLIC KEY"}',
                    "False",
                    "test_private_key_does_not_belong_here",
                ),
                ("except Exception", "()", "test_file_that_holds_something_else"),
            ],
        },
    ),
    *rows(
        "tokens",
        {
            "mint": [
                ("algorithm is None", "False", "test_without_a_secret_for_the_algorithms_nothing_is_signed"),
                ("not auth.secret", "False", "test_without_a_secret_nothing_is_signed"),
                ("0 < expires <= MAX_EXPIRES", "True", "test_what_the_server_would_refuse_is_not_signed"),
                ("0 < expires <= MAX_EXPIRES", "0 < expires", "test_what_the_server_would_refuse_is_not_signed"),
                (
                    "0 < expires <= MAX_EXPIRES",
                    "expires <= MAX_EXPIRES",
                    "test_what_the_server_would_refuse_is_not_signed",
                ),
            ],
            "_check_user": [
                ("user.isprintable()", "True", "test_what_the_server_would_refuse_is_not_signed"),
                (
                    '1 <= len(user.encode(errors="replace")) <= MAX_SUBJECT_BYTES',
                    "True",
                    "test_what_the_server_would_refuse_is_not_signed",
                ),
            ],
            "_check_interval": [
                ("0 <= seconds <= MAX_INTERVAL", "True", "test_what_the_server_would_refuse_is_not_signed"),
            ],
            "_check_channels": [
                ("unknown or not listed", "not listed", "test_what_the_server_would_refuse_is_not_signed"),
                ("unknown or not listed", "unknown", "test_what_the_server_would_refuse_is_not_signed"),
            ],
            "_check_devices": [
                ("except ValueError", "()", "test_what_the_server_would_refuse_is_not_signed"),
                ("1 <= len(listed) <= MAX_DEVICES", "True", "test_what_the_server_would_refuse_is_not_signed"),
            ],
        },
    ),
]
