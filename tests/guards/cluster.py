"""Guards of what nodes of a cluster send each other: nothing lost silently, nothing doubled, memory bounded."""

from __future__ import annotations

from guards.source import rows

_SHARED = "tests/backplanes/test_shared_bus.py::"

ROWS = [
    *rows(
        "backplanes.envelope",
        {
            "unseal": [
                ("len(blob) < _HEAD.size", "False", "test_no_envelopes"),
                ("magic != _MAGIC", "False", "test_another_version"),
                ("not sequence", "False", "test_impossible_numbers"),
                ("0 < count <= MAX_PACKETS", "0 < count", "test_impossible_numbers"),
                ("0 < count <= MAX_PACKETS", "count <= MAX_PACKETS", "test_impossible_numbers"),
            ],
        },
    ),
    *rows(
        "backplanes.arrivals",
        {
            "Arrivals.take": [
                (
                    "try:\n    envelope = unseal(blob)\nexcept PacketError:\n    self.refuse('entry')\n    return",
                    "envelope = unseal(blob)",
                    "test_what_cannot_be_read_is_counted_and_told",
                ),
                (
                    (
                        "try:\n    self.hub.receive(envelope.packets, offset, delivered=delivered)\n"
                        "except PacketError:\n    self.refuse('packet')\n    self._gaps.miss([lane], envelope.node)"
                    ),
                    "self.hub.receive(envelope.packets, offset, delivered=delivered)",
                    "test_what_cannot_be_read_is_counted_and_told",
                ),
                ("outcome is Outcome.REPEATED", "False", "test_a_repeat_is_left_out"),
                (
                    "envelope.node == self._node",
                    "True",
                    "test_what_was_delivered_before_is_kept_for_recovery_only",
                ),
                (
                    "(lane, envelope.sequence) in self.apart",
                    "False",
                    "test_what_was_delivered_before_is_kept_for_recovery_only",
                ),
                ("outcome is Outcome.GAP", "False", "test_a_gap_is_told_with_whose_it_was"),
                ("not envelope.packets", "False", "test_what_was_given_up_is_a_gap_even_of_a_node_that_was_not_known"),
                (
                    "self.hub.receive(envelope.packets, offset, delivered=delivered)",
                    "self.hub.receive(envelope.packets, offset)",
                    _SHARED + "test_what_was_delivered_without_the_log_is_not_delivered_again",
                ),
                (
                    "self.hub.advance_log(offset + envelope.count - 1)",
                    "None",
                    "test_what_was_given_up_is_a_gap_even_of_a_node_that_was_not_known",
                ),
                ("self._gaps.came(lane, envelope.packets, offset)", "None", "test_all_of_an_envelope_is_delivered"),
            ],
        },
    ),
    *rows(
        "backplanes.sequences",
        {
            "Sequences._of": [
                ("len(self._last) >= MAX_NODES", "False", "test_those_who_were_not_heard_for_longest_are_forgotten"),
            ],
            "Sequences.take": [
                ("last is not None and sequence <= last", "False", "test_it_does_what_a_plain_list_says"),
                ("sequence == last + 1", "True", "test_it_does_what_a_plain_list_says"),
            ],
            "Sequences.reach": [
                ("last >= sequence", "True", "test_it_does_what_a_plain_list_says"),
                ("max(last, sequence)", "sequence", "test_it_does_what_a_plain_list_says"),
            ],
            "Sequences.begin": [
                ("numbers.setdefault(lane, 0)", "None", "test_a_node_that_has_just_started_counts_from_one"),
            ],
            "Sequences.touch": [
                (
                    "self._last[node] = self._last.pop(node, {})",
                    "pass",
                    "test_those_who_were_not_heard_for_longest_are_forgotten",
                ),
            ],
        },
    ),
    *rows(
        "backplanes.outgoing",
        {
            "Outgoing.add": [
                ("len(filling.packets) >= MAX_PACKETS", "False", "test_envelopes_are_bounded"),
                ("filling.size >= MAX_BYTES", "False", "test_envelopes_are_bounded"),
                (
                    "self.size > self._limit",
                    "False",
                    "test_what_is_taken_is_what_was_added_but_for_what_was_given_up",
                ),
            ],
            "Outgoing._give_up": [
                (
                    "self._given_up[sealed.lane] = Sealed(sealed.lane, empty, was_apart, 0)",
                    "pass",
                    "test_what_is_taken_is_what_was_added_but_for_what_was_given_up",
                ),
                ("before is None or before.apart", "True", "test_what_waits_says_whether_it_was_delivered"),
                (
                    "self._tickets.pop(sealed.ticket, None)",
                    "None",
                    "test_what_is_given_up_settles_and_who_went_away_does_not_hinder",
                ),
            ],
            "Outgoing._close": [
                (
                    "self._sealed.insert(self._handed_out, sealed)",
                    "self._sealed.append(sealed)",
                    "test_what_is_taken_is_what_was_added_but_for_what_was_given_up",
                ),
            ],
            "Outgoing.take": [
                (
                    "len(batches) >= max(MAX_BATCHES, self._handed_out)",
                    "False",
                    "test_what_is_appended_at_a_time_is_bounded",
                ),
                ("size > MAX_APPEND", "False", "test_what_is_appended_at_a_time_is_bounded"),
            ],
            "Outgoing.is_congested": [
                ("self.size * 2 > self._limit", "False", "test_more_than_half_of_the_room_is_congestion"),
            ],
            "Outgoing._wake_settled": [
                ("self._settling[0][0] < oldest", "True", "test_settling_waits_for_what_waits_then"),
                (
                    "settled.done()",
                    "False",
                    "test_what_is_given_up_settles_and_who_went_away_does_not_hinder",
                ),
            ],
        },
    ),
    *rows(
        "backplanes.appending",
        {
            "Appender.settled": [
                (
                    "asyncio.timeout_at(since + self._patience)",
                    "asyncio.timeout(None)",
                    "test_patience_counts_from_the_loss",
                ),
            ],
            "Appender.flush": [
                ("asyncio.timeout(self._patience)", "asyncio.timeout(None)", "test_patience_counts_from_the_loss"),
                ("except TimeoutError", "()", "test_patience_counts_from_the_loss"),
            ],
            "Appender.lose": [
                ("self._task.cancel()", "None", "test_after_a_loss_nothing_is_being_appended"),
            ],
            "Appender._append": [
                ("self._lost_at is None", "True", "test_what_waits_goes_when_the_log_is_there"),
                ("except LogError", "()", "test_a_log_that_breaks_is_told_of_and_keeps_nothing"),
            ],
        },
    ),
    *rows(
        "backplanes.dumps",
        {
            "Dumps._fetch": [
                ("asyncio.timeout(PATIENCE)", "asyncio.timeout(None)", "test_who_does_not_answer_is_left_for_another"),
                ("except TimeoutError", "()", "test_who_does_not_answer_is_left_for_another"),
                ("lane in lanes", "True", "test_lanes_that_were_not_asked_for_are_left_out"),
            ],
            "Dumps.told": [
                ("len(data) == _REQUEST.size", "True", "test_nonsense"),
                ("len(data) == _CREDIT.size", "True", "test_nonsense"),
                (
                    "window := self._answering.get((node, number))",
                    "window := self._answering[node, number]",
                    "test_what_nobody_has_asked_for_is_left_out",
                ),
                ("kind == _TOLD", "True", "test_nonsense"),
                ("len(data) >= _PIECE.size", "True", "test_nonsense"),
            ],
            "Dumps._take": [
                ("request is None", "False", "test_what_nobody_has_asked_for_is_left_out"),
                ("lane == _END", "False", "test_what_is_asked_is_answered"),
            ],
            "Dumps._answer": [
                ("await window.acquire()", "None", "test_who_takes_nothing_is_given_up"),
                ("asyncio.timeout(PATIENCE)", "asyncio.timeout(None)", "test_who_takes_nothing_is_given_up"),
            ],
        },
    ),
    *rows(
        "backplanes.ordering",
        {
            "Ordering.add": [
                ("number <= self._last + 1", "True", "test_what_comes_a_moment_late_stands_where_it_belongs"),
            ],
        },
    ),
]
