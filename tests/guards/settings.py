"""Guards of settings that would leave a server open."""

from __future__ import annotations

from guards.source import rows

ADMIN_KEY = "tests/test_config_http.py::test_an_admin_key_that_can_be_guessed_keeps_the_server_from_starting"

ROWS = [
    *rows(
        "config",
        {
            "MqttConfig": [
                (
                    "checks.check_mqtt_url",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
                (
                    "checks.check_topics",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
            "Config.of": [
                (
                    "if problems: raise ConfigError(problems)",
                    "pass",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
        },
    ),
    *rows(
        "config_backplane",
        {
            "BackplaneConfig": [
                (
                    "checks.check_backplane_url",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
        },
    ),
    *rows(
        "config_http",
        {
            "": [
                (
                    "checks.check_host",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
            "HttpConfig": [
                (
                    "checks.check_api_key",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
                (
                    "checks.check_admin_key",
                    "None",
                    "test_an_admin_key_that_can_be_guessed_keeps_the_server_from_starting",
                ),
                (
                    "checks.check_websocket_url",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
        },
    ),
    *rows(
        "config_checks",
        {
            "check_host": [
                ("not _is_address(value) and not _HOST_NAME.fullmatch(value)", "False", "test_no_hosts"),
            ],
            "check_secret": [
                ('"-----BEGIN" in value', "False", "test_keys_of_other_kinds_are_no_secrets"),
                ('value.startswith(("ssh-", "ecdsa-"))', "False", "test_keys_of_other_kinds_are_no_secrets"),
                ("any(word in letters for word in _PLACEHOLDERS)", "False", "test_placeholders_are_no_secrets"),
                ("len(set(value)) < 8", "False", "test_placeholders_are_no_secrets"),
                ("_repeats(value)", "False", "test_placeholders_are_no_secrets"),
            ],
            "check_api_key": [
                ('value and not re.fullmatch(r"[\\x21-\\x7e]+", value)', "False", "test_api_keys"),
            ],
            "check_admin_key": [
                ("check_api_key(value)", "None", ADMIN_KEY),
                ("check_secret(value)", "None", ADMIN_KEY),
                ("len(value) < _ADMIN_KEY_SIZE", "False", ADMIN_KEY),
                ("value and len(value) < _ADMIN_KEY_SIZE", "len(value) < _ADMIN_KEY_SIZE", "test_admin_keys"),
            ],
            "_find_http_key_conflicts": [
                (
                    "config.http.admin_key and config.http.admin_key == config.http.api_key",
                    "False",
                    "tests/test_config_http.py::test_publishers_do_not_have_the_key_of_administrators",
                ),
            ],
            "check_algorithms": [
                ("not value", "False", "test_no_algorithms"),
                ("set(value) <= set(known)", "True", "test_no_algorithms"),
            ],
            "check_jwks_url": [
                ("url is None", "False", "test_no_jwks_urls"),
                ('url.scheme not in {"http", "https"}', "False", "test_no_jwks_urls"),
                ("url.hostname", "True", "test_no_jwks_urls"),
            ],
            "check_mqtt_url": [
                ("url is None", "False", "test_no_mqtt_urls"),
                ('url.scheme not in {"mqtt", "mqtts"}', "False", "test_no_mqtt_urls"),
                ("url.hostname", "True", "test_no_mqtt_urls"),
                ("url.port == 0", "False", "test_no_mqtt_urls"),
                ('url.path not in {"", "/"}', "False", "test_no_mqtt_urls"),
                ("url.query", "False", "test_no_mqtt_urls"),
                ("url.fragment", "False", "test_no_mqtt_urls"),
            ],
            "check_backplane_url": [
                ("parse_address(value)", "None", "test_backplanes"),
            ],
            "check_prefix": [
                (r're.fullmatch(r"[A-Za-z0-9_-]{1,32}", value)', "True", "test_prefixes"),
            ],
            "check_topics": [
                ("except ValueError", "()", "test_topics"),
            ],
            "check_origins": [
                ("except ValueError", "()", "test_no_origins"),
            ],
            "check_websocket_url": [
                ("value and not _WEBSOCKET_URL.fullmatch(value)", "False", "test_what_is_no_place_of_the_websocket"),
            ],
            "check_networks": [
                ("except ValueError", "()", "test_no_proxies"),
            ],
            "check_file": [
                ("except OSError", "()", "test_files"),
                ("except ValueError", "()", "test_files"),
            ],
            "_find_key_conflicts": [
                ("hashes and signatures", "False", "test_secrets_and_public_keys_are_not_mixed"),
                ("len(sources) > 1", "False", "test_there_is_one_source_of_keys"),
                ('signatures and sources in ([], ["secret"])', "False", "test_public_key_algorithms_need_public_keys"),
                ('hashes and sources not in ([], ["secret"])', "False", "test_public_keys_need_their_algorithms"),
                ("size < least", "False", "test_a_secret_is_as_long_as_the_hash"),
            ],
            "_find_tls_conflicts": [
                ("getattr(tls, given) and not getattr(tls, missing)", "False", "test_certificate_and_key_go_together"),
                (
                    'tls.client_auth != "none" and not tls.client_ca',
                    "False",
                    "test_certificates_of_clients_need_who_vouches_for_them_and_a_server_with_tls",
                ),
                (
                    'tls.client_ca and tls.client_auth == "none"',
                    "False",
                    "test_certificates_of_clients_need_who_vouches_for_them_and_a_server_with_tls",
                ),
            ],
            "_find_proxy_conflicts": [
                (
                    "config.server.proxy_protocol and not config.security.trusted_proxies",
                    "False",
                    "test_the_proxy_protocol_needs_a_proxy",
                ),
            ],
            "_find_port_conflicts": [
                (
                    "config.server.fd == config.http.fd",
                    "False",
                    "test_two_servers_do_not_share_a_socket_that_was_passed_on",
                ),
                ("len(hosts) == 1", "False", "test_two_servers_do_not_share_a_port"),
                ('hosts & {"0.0.0.0", "::"}', "False", "test_two_servers_do_not_share_a_port"),
            ],
            "_is_address": [
                ("except ValueError", "()", "test_no_hosts"),
            ],
            "_split_url": [
                ('re.fullmatch(r"[\\x21-\\x7e]+", text)', "True", "test_no_mqtt_urls"),
                ("except ValueError", "()", "test_no_mqtt_urls"),
            ],
        },
    ),
    *rows(
        "config_print",
        {
            "print_toml": [("setting.is_hidden(value)", "False", "test_no_part_of_a_secret_is_printed")],
            "print_env": [("setting.is_hidden(value)", "False", "test_no_part_of_a_secret_is_printed")],
            "_values": [
                ("escape(found.locate(setting.key))", "found.locate(setting.key)", "test_an_origin_stays_on_its_line"),
            ],
        },
    ),
    *rows(
        "config_security",
        {
            "": [
                (
                    "checks.check_file",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
            "AuthConfig": [
                (
                    "checks.check_secret",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
                (
                    "checks.check_algorithms",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
                (
                    "checks.check_jwks_url",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
            ],
            "SecurityConfig": [
                (
                    "checks.check_origins",
                    "None",
                    "tests/test_config_checks.py::test_the_server_can_start_with_every_origin_that_is_no_fault",
                ),
                (
                    "checks.check_networks",
                    "None",
                    "tests/test_config_checks.py::test_a_setting_is_checked_when_it_is_loaded",
                ),
                ("msgspec.Meta(ge=1, le=MAX_COUNT)", "msgspec.Meta()", "test_the_table_of_suspects_has_a_bound"),
            ],
        },
    ),
    *rows(
        "setting",
        {
            "": [
                ("msgspec.Meta(ge=0, le=MAX_COUNT)", "msgspec.Meta()", "test_a_field_says_everything"),
                (
                    'msgspec.Meta(ge=0, le=1 << 30, extra={"kind": "size"})',
                    'msgspec.Meta(extra={"kind": "size"})',
                    "test_a_refused_text_is_quoted_with_what_is_allowed",
                ),
                (
                    "msgspec.Meta(ge=0, le=365 * 86400.0)",
                    "msgspec.Meta()",
                    "test_a_refused_text_is_quoted_with_what_is_allowed",
                ),
            ],
            "Setting.convert": [
                (
                    'raise ValueError(f"must be {self.describe()}, not {self.quote(value)}") from None',
                    "raise",
                    "test_a_refused_text_is_quoted_with_what_is_allowed",
                ),
                ("self.check is not None", "False", "test_a_check_names_the_refused_value"),
                ('self.sensitive == "all"', "False", "test_a_secret_is_never_in_a_fault"),
                (
                    "isinstance(entry, str) and _UNPRINTABLE.search(entry)",
                    "False",
                    "test_control_characters_are_refused_and_not_repeated",
                ),
            ],
            "Setting.quote": [
                ("len(text) <= _SHOWN", "True", "test_a_refused_text_is_quoted_with_what_is_allowed"),
            ],
            "Setting.show": [
                ("self.sensitive and value", "False", "test_urls_are_shown_without_credentials"),
            ],
            "_mask_url": [
                (
                    'url = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:/*)?.*@", rf"\\g<1>{_MASK}@", url, flags=re.DOTALL)',
                    "pass",
                    "test_urls_are_shown_without_credentials",
                ),
                (
                    "re.sub('\\\\?.*', f'?{_MASK}', url, flags=re.DOTALL)",
                    "url",
                    "test_urls_are_shown_without_credentials",
                ),
            ],
            "Section.__rich_repr__": [
                ("shown[name](value) if name in shown else value", "value", "test_urls_are_shown_without_credentials"),
            ],
        },
    ),
]
