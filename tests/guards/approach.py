"""Guards of what is known of strangers before their request: PROXY header, TLS, addresses, bans."""

from __future__ import annotations

from guards.source import rows

ROWS = [
    *rows(
        "entrance",
        {
            "Entrance.__init__": [
                ("reception.now() + reception.timeout", 'float("inf")', "test_a_header_that_does_not_end"),
            ],
            "Entrance.connection_made": [
                (
                    "self._address == UNKNOWN_ADDRESS",
                    "False",
                    "tests/test_reception.py::test_who_is_gone_before_the_address_is_read_counts_for_nobody[tls]",
                ),
                ("self._reception.trusted.include(self._address)", "True", "test_only_trusted_proxies_may_connect"),
            ],
            "Entrance.get_buffer": [
                (
                    "self._reception.scratch[: bytes_wanted(self._received)]",
                    "self._reception.scratch",
                    "test_the_header_tells_the_client",
                ),
            ],
            "Entrance.buffer_updated": [
                ("except ProxyHeaderError", "()", "test_what_is_no_header_is_refused_and_counted"),
            ],
            "Entrance.expire": [
                (
                    "self._state == _SECURING",
                    "False",
                    "tests/test_reception.py::test_row_10_tls_handshake_that_does_not_end",
                ),
            ],
            "Entrance._go_on": [
                (
                    "self._reception.suspects.banned(self._address)",
                    "False",
                    "test_a_banned_address_is_not_worth_a_tls_handshake",
                ),
                (
                    "self._reception.gate.permits_tls(self._address)",
                    "True",
                    "test_who_begins_too_many_handshakes_is_cut_before_the_next",
                ),
            ],
            "Entrance._give_away": [
                (
                    "self._tells_address",
                    "True",
                    "test_headers_of_http_count_when_the_header_names_a_trusted_proxy_and_never_when_it_names_nobody",
                ),
            ],
        },
    ),
    *rows(
        "proxy_protocol",
        {
            "bytes_wanted": [
                ("block > MAX_BLOCK", "False", "test_what_is_no_header"),
                ("_FIXED + block - size", "MAX_BLOCK", "test_headers_that_tell_no_address"),
                (
                    "received[: len(_PREFIX)] != _PREFIX[:size]",
                    "False",
                    "test_more_is_not_asked_for_when_it_can_be_no_header",
                ),
                ("size >= MAX_LINE", "False", "test_more_is_not_asked_for_when_it_can_be_no_header"),
                ('1 if received.endswith(b"\\r") else min(2, MAX_LINE - size)', "2", "test_split_at_every_byte"),
                ("min(2, MAX_LINE - size)", "MAX_LINE - size", "test_split_at_every_byte"),
            ],
            "parse_header": [
                ("header.startswith(SIGNATURE)", "True", "test_split_at_every_byte"),
            ],
            "_parse_line": [
                ("_UNKNOWN_LINE.fullmatch(header)", "False", "test_headers_that_tell_no_address"),
                ("line is None", "False", "test_what_is_no_header"),
                ("max(int(line[4]), int(line[5])) > _MAX_PORT", "False", "test_what_is_no_header"),
                ("except ValueError", "()", "test_what_is_no_header"),
            ],
            "_parse_binary": [
                ("command == _LOCAL", "False", "test_headers_that_tell_no_address"),
                ("command != _PROXIED", "False", "test_what_is_no_header"),
                ("family not in _ADDRESS_BYTES", "False", "test_what_is_no_header"),
                ("len(header) - _FIXED < _ADDRESS_BYTES[family]", "False", "test_what_is_no_header"),
            ],
        },
    ),
    *rows(
        "addresses",
        {
            "TrustedProxies.include": [
                ("parsed is not None and parsed in self", "True", "test_addresses_of_trusted_proxies"),
            ],
            "peer_address": [
                (
                    "str(peer[0]) if peer else UNKNOWN_ADDRESS",
                    "str(peer[0])",
                    "test_who_was_gone_before_the_accept_has_no_address",
                ),
            ],
            "client_address": [
                ("direct in trusted", "True", "test_peer_is_the_client_when_no_proxy_is_trusted"),
                ("len(found) == 1", "found", "test_two_headers_count_only_when_they_agree"),
            ],
            "rate_key": [
                ("int(parsed) >> host_bits << host_bits", "int(parsed)", "test_rate_key"),
            ],
            "is_loopback": [
                ("ip_address(host).is_loopback", "True", "test_loopback"),
                ('host == "localhost"', "True", "test_loopback"),
            ],
            "AddressLimiter.__init__": [
                ("size < 1", "False", "test_no_table_without_a_bound"),
            ],
            "AddressLimiter.take": [
                ("wait <= _ROUNDING * self._cost", "True", "test_limiter_allows_the_burst_and_then_the_rate"),
            ],
            "AddressLimiter._forget": [
                (
                    "len(self._full_at) > self._size",
                    "False",
                    "test_the_table_is_bounded_and_forgets_the_one_that_is_quiet_for_longest",
                ),
                ("full_at <= now", "False", "test_full_buckets_are_dropped"),
            ],
            "_parse": [
                ("except ValueError", "()", "test_garbage_makes_it_the_peer"),
                ("address.scope_id is not None", "False", "test_garbage_makes_it_the_peer"),
                ("address.ipv4_mapped or address", "address", "test_x_forwarded_for"),
            ],
            "_parse_node": [
                ('bool(closed) and (not port or port.startswith(":"))', "True", "test_garbage_makes_it_the_peer"),
            ],
            "_nearest_stranger": [
                ("address is None", "False", "test_garbage_makes_it_the_peer"),
                ("address not in trusted", "False", "test_x_forwarded_for"),
            ],
            "_split_forwarded": [
                ('name.lower() == "for"', "True", "test_forwarded_is_read_for_the_client_alone"),
            ],
        },
    ),
    *rows(
        "origins",
        {
            "Origins.__init__": [
                ("match is None", "False", "test_bad_entries_are_refused"),
                ('"." + match[3]', "match[3]", "test_anything_else_is_not"),
                ('not listed or "*" in exact', "True", "test_anything_else_is_not"),
            ],
            "Origins.allow": [
                ("origin.isascii()", "True", "test_anything_else_is_not"),
                ("origin in self._exact", "True", "test_anything_else_is_not"),
                ("_ORIGIN.fullmatch(origin.lower())", "_ORIGIN.match(origin.lower())", "test_anything_else_is_not"),
                ("match is None", "False", "test_anything_else_is_not"),
                ("match[2]", "False", "test_anything_else_is_not"),
                ("(scheme, host, port) in self._exact", "True", "test_anything_else_is_not"),
                ("scheme == allowed", "True", "test_anything_else_is_not"),
                ("host.endswith(domain)", "True", "test_anything_else_is_not"),
                ("port == allowed_port", "True", "test_anything_else_is_not"),
            ],
        },
    ),
    *rows(
        "tls",
        {
            "ServerTls.__init__": [
                ("close_timeout or _AT_ONCE", "close_timeout or None", "test_the_time_for_closing_is_never_0"),
            ],
            "load_context": [
                (
                    "context.minimum_version = ssl.TLSVersion.TLSv1_2",
                    "context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED",
                    "test_modern_defaults",
                ),
                ("context.set_ciphers(_CIPHERS)", "None", "test_modern_defaults"),
                (
                    "ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE",
                    "0",
                    "test_modern_defaults",
                ),
                ('context.set_alpn_protocols(["http/1.1"])', "None", "test_versions_and_ciphers_of_a_connection"),
                ("_refuse_password", 'lambda: "x"', "test_the_password_of_a_key_is_not_asked_for_on_the_terminal"),
                ("except ssl.SSLError", "()", "test_faults_are_told_with_the_setting"),
                ("except (OSError, ValueError)", "()", "test_faults_are_told_with_the_setting"),
                (
                    "_find_time_fault(certificate)",
                    '""',
                    "test_a_certificate_out_of_its_time_is_told_at_the_start",
                ),
            ],
            "_load_authorities": [
                ("except ssl.SSLError", "()", "test_faults_are_told_with_the_setting"),
                ("except OSError", "()", "test_faults_are_told_with_the_setting"),
                (
                    "context.verify_mode = _VERIFY[config.client_auth]",
                    "pass",
                    "test_certificates_of_clients_are_asked_for",
                ),
            ],
            "_read_certificate": [
                ("except OSError", "()", "test_faults_are_told_with_the_setting"),
                ("except ValueError", "()", "test_faults_are_told_with_the_setting"),
            ],
            "_find_time_fault": [
                (
                    "now > certificate.not_valid_after_utc",
                    "False",
                    "test_a_certificate_out_of_its_time_is_told_at_the_start",
                ),
                (
                    "now < certificate.not_valid_before_utc",
                    "False",
                    "test_a_certificate_out_of_its_time_is_told_at_the_start",
                ),
            ],
        },
    ),
    *rows(
        "suspects",
        {
            "": [
                (
                    'limited("valtronics_fast.suspects")',
                    '__import__("logging").getLogger("valtronics_fast.suspects")',
                    "test_bans_of_many_addresses_do_not_fill_the_log",
                ),
            ],
            "Suspects.reload": [
                ("config.ban_after if config.ban_for else 0", "config.ban_after", "test_bans_are_off"),
                (
                    "now + self._ban_for if self._ban_after else now",
                    "now + self._ban_for",
                    "test_other_settings_hold_from_then_on_for_bans_too",
                ),
                (
                    "max(len(self._suspects) - self._size, 0)",
                    "0",
                    "test_other_settings_hold_from_then_on_for_bans_too",
                ),
            ],
            "Suspects.note": [
                ("rate_key(address)", "address", "test_sources_are_ipv4_addresses_and_ipv6_networks"),
                (
                    "self._ban_for and now - suspect.last >= self._ban_for",
                    "False",
                    "test_failures_far_apart_are_forgotten",
                ),
                ("len(self._suspects) > self._size", "False", "test_the_tables_are_bounded_and_the_figures_add_up"),
                ("suspicion in _BANNING", "True", "test_what_others_can_make_an_honest_client_do_does_not_ban_it"),
                (
                    "self._is_spared(address)",
                    "False",
                    "test_trusted_proxies_and_those_that_are_not_known_are_never_banned",
                ),
            ],
            "Suspects.banned": [
                (
                    "self._banned_for(rate_key(address), address) if self._ban_after else 0.0",
                    "0.0",
                    "test_trusted_proxies_and_those_that_are_not_known_are_never_banned",
                ),
            ],
            "Suspects._banned_for": [
                (
                    "left > 0 and not self._is_spared(address)",
                    "left > 0",
                    "test_other_settings_hold_from_then_on_for_bans_too",
                ),
            ],
            "Suspects.stats": [
                (
                    "nlargest(WORST, self._suspects.items(), key=lambda item: item[1].total)",
                    "self._suspects.items()",
                    "test_the_figures_name_the_worst",
                ),
            ],
            "Suspects._is_spared": [
                (
                    "address == UNKNOWN_ADDRESS",
                    "False",
                    "test_trusted_proxies_and_those_that_are_not_known_are_never_banned",
                ),
                (
                    "self._trusted.include(address)",
                    "False",
                    "test_trusted_proxies_and_those_that_are_not_known_are_never_banned",
                ),
            ],
        },
    ),
    *rows(
        "bans",
        {
            "OwnBans.strike": [
                ("now - last >= seconds", "False", "test_failures_far_apart_are_forgotten"),
                ("strikes >= after", "True", "test_so_many_failures_ban_for_so_long"),
                ("self.end(key) <= now", "True", "test_a_ban_is_not_made_longer"),
                ("len(self._strikes) > self._size", "False", "test_the_tables_of_one_process_are_bounded"),
                ("not is_banned", "True", "test_so_many_failures_ban_for_so_long"),
                ("len(self._ends) >= self._size", "False", "test_the_tables_of_one_process_are_bounded"),
                ("0 if is_banned else strikes", "strikes", "test_what_led_to_a_ban_does_not_count_for_the_next_one"),
            ],
            "OwnBans.count": [("self._lift(now)", "None", "test_bans_end")],
            "OwnBans.reload": [
                ("min(end, latest)", "end", "test_bans_can_be_made_shorter"),
                ("max(len(self._strikes) - size, 0)", "0", "test_the_tables_of_one_process_are_bounded"),
                ("max(len(self._ends) - size, 0)", "0", "test_the_tables_of_one_process_are_bounded"),
            ],
        },
    ),
]
