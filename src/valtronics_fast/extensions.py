"""What a client offers of permessage-deflate, and what is accepted of it (RFC 7692, section 7.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Deflate", "negotiate_deflate"]

EXTENSION: Final = "permessage-deflate"
MIN_BITS: Final = 9
"""The smallest window that zlib makes streams for: an offer that asks for 8 is declined."""
MAX_BITS: Final = 15
MAX_OFFERS: Final = 16
"""Offers that are looked at."""

# RFC 6455, section 9.1: extension-token *( ";" token [ "=" ( token | quoted-string with a token in it ) ] )
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of RFC 7230
_PARAMETER: Final = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"({_TOKEN})"))?')
# Empty elements are none (RFC 9110, section 5.6.1.2).
_OFFER: Final = re.compile(rf"[ \t,]*({_TOKEN})((?:{_PARAMETER.pattern})*)[ \t]*(?:,|$)")
_BITS: Final = re.compile("8|9|1[0-5]")


class Deflate(NamedTuple):
    """Accepted compression.

    Attributes:
        bits: of the window that messages to the client may need, 9 to 15.
        answer: the value of Sec-WebSocket-Extensions.
    """

    bits: int
    answer: str


def negotiate_deflate(values: Sequence[str]) -> Deflate | None:
    """Choose among a client's offers.

    The first one that can be accepted is, without context takeover on either side: messages are compressed once for
    all their receivers, and no window is kept between them.

    Args:
        values: of the Sec-WebSocket-Extensions headers.

    Returns:
        None when there is no offer, none that can be accepted, or the header is malformed: then nothing is compressed.
    """
    for parameters in _offers(", ".join(values)):
        bits = _accept(parameters)
        if bits is not None:
            answer = f"{EXTENSION}; server_no_context_takeover; client_no_context_takeover"
            if "server_max_window_bits" in dict(parameters):
                answer += f"; server_max_window_bits={bits}"
            return Deflate(bits, answer)
    return None


def _offers(text: str) -> Iterator[list[tuple[str, str | None]]]:
    """Yield the parameters of each offer of permessage-deflate, up to where the text is malformed."""
    position = 0
    for _ in range(MAX_OFFERS):
        offer = _OFFER.match(text, position)
        if offer is None:
            return
        position = offer.end()
        if offer[1] == EXTENSION:
            found = _PARAMETER.findall(offer[2])
            yield [(name, plain or quoted or None) for name, plain, quoted in found]


def _accept(parameters: list[tuple[str, str | None]]) -> int | None:
    """Return the bits of the window for messages to the client; None: the offer must be declined (section 7.1)."""
    bits, seen = MAX_BITS, set[str]()
    for name, value in parameters:
        if name in seen:
            return None
        seen.add(name)
        if name in {"server_no_context_takeover", "client_no_context_takeover"}:
            if value is not None:
                return None
        elif name == "server_max_window_bits":
            if value is None or not _BITS.fullmatch(value) or int(value) < MIN_BITS:
                return None
            bits = int(value)
        elif name == "client_max_window_bits":
            if value is not None and not _BITS.fullmatch(value):
                return None
        else:
            return None
    return bits
