"""The wire's numbers and names: the only place where they are defined (protocol.md, sections 2 to 5).

Python sees the same enums (`valtronics_fast._core.wire`); a name on the wire is the member's name in
lower case, so there is no second table to keep in step.
"""


cpdef enum Channel:
    TELEMETRY = 0
    ALERTS = 1
    DEVICES = 2
    SYSTEM = 3


cdef enum:
    CHANNEL_COUNT = 4
    COMMAND_COUNT = 7
    ERROR_COUNT = 19
    MAX_NAME_BYTES = 128            # a metric, severity, alert type or status, in filters and in data


# What a client may send in `type` (protocol.md, section 3).
cpdef enum Command:
    AUTH = 0
    SUBSCRIBE = 1
    UNSUBSCRIBE = 2
    PING = 3
    BATCH = 4
    PUBLISH = 5
    ERROR_REPORT = 6


# What the server answers in `error` (protocol.md, section 5). NO_ERROR never leaves the core.
cpdef enum ErrorCode:
    NO_ERROR = 0
    INVALID_JSON = 1
    INVALID_MESSAGE = 2
    UNKNOWN_TYPE = 3
    MISSING_TYPE = 4
    UNKNOWN_CHANNEL = 5
    CHANNEL_NOT_ALLOWED = 6
    INVALID_FILTER = 7
    NOT_AUTHENTICATED = 8
    FORBIDDEN = 9
    NOT_SUBSCRIBED = 10
    RATE_LIMITED = 11
    MESSAGE_TOO_LARGE = 12
    BATCH_TOO_LARGE = 13
    TOO_MANY_SUBSCRIPTIONS = 14
    INVALID_TOKEN = 15
    TOKEN_EXPIRED = 16
    TOO_MANY_CONNECTIONS = 17
    INTERNAL = 18


# Why a connection ends (RFC 6455, 7.4.1, and protocol.md, section 5). The reason text is the name without
# CLOSE_, in lower case. 40xx: do not come back unchanged; 41xx: come back with backoff; 42xx: come back at once.
cpdef enum CloseCode:
    CLOSE_NORMAL = 1000
    CLOSE_GOING_AWAY = 1001
    CLOSE_PROTOCOL_VIOLATION = 1002
    CLOSE_UNSUPPORTED_DATA = 1003
    CLOSE_NO_STATUS = 1005          # never on the wire: the peer's CLOSE had no code
    CLOSE_ABNORMAL = 1006           # never on the wire: the connection ended without a CLOSE
    CLOSE_INVALID_UTF8 = 1007
    CLOSE_TOO_BIG = 1009
    CLOSE_INTERNAL = 1011
    CLOSE_RESTART = 1012
    CLOSE_INVALID_TOKEN = 4001
    CLOSE_AUTH_TIMEOUT = 4002
    CLOSE_FORBIDDEN = 4003
    CLOSE_PROTOCOL_ERROR = 4004
    CLOSE_TOO_MANY_CONNECTIONS = 4005
    CLOSE_TOKEN_EXPIRED = 4010
    CLOSE_SERVER_FULL = 4100
    CLOSE_RATE_LIMITED = 4101
    CLOSE_SLOW_CONSUMER = 4102
    CLOSE_PING_TIMEOUT = 4103
    CLOSE_REBALANCE = 4200


# WebSocket opcodes (RFC 6455, 5.2).
cpdef enum Opcode:
    OP_CONTINUATION = 0x0
    OP_TEXT = 0x1
    OP_BINARY = 0x2
    OP_CLOSE = 0x8
    OP_PING = 0x9
    OP_PONG = 0xA
