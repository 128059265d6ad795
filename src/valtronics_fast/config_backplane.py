"""The settings of what several processes share: the section `backplane`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from valtronics_fast import config_checks as checks
from valtronics_fast.backplanes.addresses import ALLOWED
from valtronics_fast.setting import Duration, Section, Size, setting

__all__ = ["BackplaneConfig"]


class BackplaneConfig(Section, frozen=True, kw_only=True):
    """How several servers share what is published."""

    url: Annotated[
        str,
        setting(
            "What carries messages between several servers; memory:// is this server alone, with all its workers.",
            allowed=ALLOWED,
            sensitive="url",
            check=checks.check_backplane_url,
        ),
    ] = "memory://"
    prefix: Annotated[
        str,
        setting(
            "What the names of everything on the backplane begin with; servers with the same one share their data.",
            allowed="1 to 32 letters, digits, `-`, `_`",
            check=checks.check_prefix,
        ),
    ] = "valtronics"
    entries: Annotated[
        int,
        msgspec.Meta(ge=1, le=1_000_000),
        setting("What the backplane keeps of each of 256 lanes for recovery.", unit="entries of up to 512 messages"),
    ] = 1000
    size: Annotated[
        Size,
        setting(
            "What the bus between the workers of one machine keeps of all lanes for recovery, where that is the "
            "backplane.",
            zero="no limit but `entries`",
        ),
    ] = 64 << 20
    queue: Annotated[
        Size,
        setting(
            "What may wait on that bus for a worker that does not read, for each worker; then it has to read it from "
            "what is kept.",
            zero="hardly anything",
        ),
    ] = 16 << 20
    buffer: Annotated[
        int,
        msgspec.Meta(ge=1 << 20, le=1 << 30, extra={"kind": "size"}),
        setting("What waits for the backplane while it is away; then the oldest is given up."),
    ] = 64 << 20
    patience: Annotated[
        Duration,
        setting("Time that a start, a subscription or an acknowledgement waits for the backplane.", zero="none"),
    ] = 5.0
