"""Guards of a node of a cluster: what it makes good, what it begins to follow, who the others are, what it plays."""

from __future__ import annotations

from guards.source import rows

_SHARED = "tests/backplanes/test_shared_bus.py::"

ROWS = [
    *rows(
        "backplanes.gaps",
        {
            "Gaps.miss": [
                (
                    "self.hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, self.hub.log_position)",
                    "None",
                    "test_the_newest_values_are_had_and_told",
                ),
            ],
            "Gaps._mend": [
                ("except LogError", "()", "test_without_the_log_it_waits"),
                ("self._missed = missed | self._missed", "pass", "test_without_the_log_it_waits"),
            ],
            "Gaps._mend_lanes": [
                ("entry[1] > dump.position", "True", "test_the_newest_values_are_had_and_told"),
                ("entry[1] > dump.position", "False", "test_the_newest_values_are_had_and_told"),
                ("except PacketError", "()", "test_values_that_cannot_be_read_are_left_out"),
                ("lanes_of(hub).is_followed(lane)", "True", "test_without_the_log_it_waits"),
                ("hub.resync(lanes)", "None", "test_the_newest_values_are_had_and_told"),
            ],
        },
    ),
    *rows(
        "backplanes.loading",
        {
            "lanes_of": [
                ("hub.lanes is None", "False", "test_a_hub_that_is_alone_has_no_lanes"),
            ],
            "Loading.leave": [
                ("lane not in needed", "True", "test_lanes_are_left_unless_they_are_needed"),
                ("self._sequences.forget_lanes(leaving)", "None", "test_lanes_are_left_unless_they_are_needed"),
                (
                    "self.hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, None)",
                    "None",
                    "test_lanes_are_left_unless_they_are_needed",
                ),
            ],
            "Loading._take": [
                ("entry.offset <= position", "True", "test_what_comes_meanwhile_is_taken_in"),
            ],
            "Loading._pause": [
                ("losses != self._losses", "False", "test_a_log_that_is_lost_meanwhile_is_not_taken_for_followed"),
            ],
            "Loading._take_values": [
                ("except PacketError", "()", "test_a_dump_that_is_none"),
            ],
            "Loading._take_entries": [
                ("entry[1] > since", "True", "test_newer_values_than_a_dump_has_come_from_the_log"),
                (
                    "return floor if self._absorb(opened, newest=False) else self.hub.log_position",
                    "return floor",
                    "test_a_hole_in_the_log_is_not_recovered_over",
                ),
                ("except PacketError", "()", "test_history_and_values_come_from_the_log"),
                ("outcome is Outcome.GAP", "False", "test_a_hole_in_the_log_is_not_recovered_over"),
                ("not envelope.packets", "False", "test_a_hole_in_the_log_is_not_recovered_over"),
                ("outcome is not Outcome.REPEATED", "True", "test_what_the_log_has_twice_is_taken_once"),
            ],
            "Loading._absorb": [
                ("except PacketError", "()", "test_a_hole_in_the_log_is_not_recovered_over"),
            ],
        },
    ),
    *rows(
        "backplanes.members",
        {
            "": [
                ("msgspec.Meta(ge=1, le=2**63 - 1)", "msgspec.Meta()", "test_no_heartbeats"),
                ("msgspec.Meta(ge=0, le=255)", "msgspec.Meta()", "test_no_heartbeats"),
            ],
            "Heartbeat": [
                ('msgspec.Meta(pattern="^[0-9a-f]{1,64}$")', "msgspec.Meta()", "test_no_heartbeats"),
            ],
            "Members.note": [
                ("heartbeat.leaving", "False", "test_who_leaves_is_gone_at_once"),
                ("len(self._members) < MAX_MEMBERS", "True", "test_their_number_is_bounded"),
            ],
            "Members.prune": [
                ("member.heard_at + LIFETIME <= now", "False", "test_who_is_not_heard_is_gone"),
            ],
            "Members.followers": [
                ("node not in but", "True", "test_each_lane_is_asked_of_one_who_follows_it"),
                ("best in following", "best is not None", "test_each_lane_is_asked_of_one_who_follows_it"),
            ],
        },
    ),
    *rows(
        "backplanes.rejoining",
        {
            "Gathering.merge": [
                ("after < entry.offset <= position", "entry.offset <= position", "test_it_is_taken_in_order_and_once"),
                (
                    "after < entry.offset <= position",
                    "after < entry.offset",
                    "test_what_was_read_too_early_comes_itself",
                ),
            ],
            "Gathering._drained": [
                ("sorted(entries)", "entries", "test_it_is_taken_in_order_and_once"),
            ],
            "Rejoining._open": [
                ("epoch != hub.epoch", "False", "test_of_another_log_everything_is_taken_and_told"),
                ("self._gaps.miss(followed)", "None", "test_of_another_log_everything_is_taken_and_told"),
                ("kept.floor > before", "False", "test_what_is_not_kept_any_more_is_told"),
                ("self._gaps.miss(missed)", "None", "test_what_is_not_kept_any_more_is_told"),
                (
                    "hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, floor)",
                    "None",
                    "test_what_is_not_kept_any_more_is_told",
                ),
                (
                    "self._arrivals.apart |= _delivered(self._outgoing)",
                    "pass",
                    "test_what_was_delivered_without_the_log_is_not_delivered_again",
                ),
                (
                    "self._arrivals.apart = _delivered(self._outgoing)",
                    "pass",
                    "test_what_was_delivered_without_the_log_is_not_delivered_again",
                ),
            ],
            "Rejoining._open.take": [
                ("lanes.is_followed(lane)", "True", "test_lanes_that_are_left_meanwhile_are_left_out"),
            ],
        },
    ),
    *rows(
        "backplanes.shared",
        {
            "SharedBackplane.stop": [
                (
                    "asyncio.timeout(GOODBYE)",
                    "asyncio.timeout(None)",
                    _SHARED + "test_a_log_that_takes_nothing_does_not_hold_up_the_end",
                ),
            ],
            "SharedBackplane.follow": [
                (
                    "asyncio.timeout(self._patience)",
                    "asyncio.timeout(None)",
                    _SHARED + "test_a_log_that_does_not_answer_does_not_hold_up_a_subscription",
                ),
                (
                    "except (TimeoutError, LogError)",
                    "()",
                    _SHARED + "test_a_log_that_does_not_answer_does_not_hold_up_a_subscription",
                ),
            ],
            "SharedBackplane.received": [
                (
                    "self._lanes.is_followed(lane)",
                    "True",
                    _SHARED + "test_a_lane_that_is_not_followed_is_left_out",
                ),
            ],
            "SharedBackplane.heard": [
                ("except msgspec.MsgspecError", "()", _SHARED + "test_nonsense_is_counted_and_does_no_harm"),
            ],
            "SharedBackplane.told": [
                ("except PacketError", "()", _SHARED + "test_nonsense_is_counted_and_does_no_harm"),
            ],
            "SharedBackplane.lost": [
                ("not self._pulse.is_lost", "True", _SHARED + "test_a_loss_is_told_once"),
            ],
            "SharedBackplane._note": [
                (
                    "heartbeat.number == 1 and not heartbeat.leaving",
                    "False",
                    _SHARED + "test_the_first_message_of_a_node_that_has_just_started_is_missed",
                ),
                (
                    "not self._sequences.reach(node, lane, sequence)",
                    "False",
                    _SHARED + "test_what_a_heartbeat_tells_of_and_has_not_come_is_missed",
                ),
                (
                    "self._lanes.is_followed(lane)",
                    "True",
                    _SHARED + "test_what_a_heartbeat_tells_of_lanes_that_are_not_followed_is_left_out",
                ),
                (
                    "if missed: self._gaps.miss(missed, node)",
                    "pass",
                    _SHARED + "test_what_a_heartbeat_tells_of_and_has_not_come_is_missed",
                ),
                (
                    "is_new and (doubtful := self._loading.doubt(heartbeat.lanes(), now - LIFETIME))",
                    "False",
                    _SHARED + "test_who_turns_up_late_is_asked_for_newest_values",
                ),
            ],
            "SharedBackplane._sync": [
                ("not self._open", "False", _SHARED + "test_an_offset_of_a_log_that_is_lost_counts_for_nothing"),
            ],
            "SharedBackplane._go_apart": [
                (
                    "not sealed.apart",
                    "True",
                    _SHARED + "test_what_was_on_its_way_when_the_log_went_is_delivered_once",
                ),
                (
                    "self._sequences.last(self._node, sealed.lane) < sealed.envelope.sequence",
                    "True",
                    _SHARED + "test_what_came_before_its_answer_was_lost_is_delivered_once",
                ),
                (
                    "self._hub.receive(sealed.envelope.packets, 0)",
                    "None",
                    _SHARED + "test_what_was_on_its_way_when_the_log_went_is_delivered_once",
                ),
            ],
        },
    ),
    *rows(
        "backplanes.pulse",
        {
            "Pulse.is_silent": [
                ("now - self._heard_at > SILENCE", "False", "test_silence"),
            ],
            "Pulse.beat": [
                ("now - slept_at > SILENCE", "False", "test_a_process_that_stood_still_waits_anew"),
                ("self.is_silent(now)", "False", "test_a_log_that_does_not_answer_is_gone"),
            ],
            "Pulse._rest": [
                ("INTERVAL", "3600.0", "test_the_first_one_greets"),
            ],
        },
    ),
    *rows(
        "backplanes.election",
        {
            "Election.resign": [
                ("self.plays.discard(role)", "None", "test_who_is_replaced_waits_for_a_judgement"),
            ],
            "Election.pause": [
                ("self.plays.clear()", "None", "test_nothing_is_judged_before_the_others_had_time_to_speak"),
            ],
            "Election.judge": [
                (
                    "asyncio.get_running_loop().time() < self._judges_from",
                    "False",
                    "test_nothing_is_judged_before_the_others_had_time_to_speak",
                ),
                (
                    "all((role not in self.plays, since, self._node) < other for other in others)",
                    "True",
                    "test_who_stands_for_longest_leads_and_stays",
                ),
            ],
        },
    ),
]
