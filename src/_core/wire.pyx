"""Names of the wire's numbers, derived from the enums in wire.pxd."""

CHANNEL_NAMES = {int(member): name.lower() for name, member in Channel.__members__.items()}
CHANNELS = {name: number for number, name in CHANNEL_NAMES.items()}
COMMANDS = {name.lower(): int(member) for name, member in Command.__members__.items()}
ERROR_NAMES = {int(member): name.lower() for name, member in ErrorCode.__members__.items() if member}
CLOSE_REASONS = {int(member): name.removeprefix("CLOSE_").lower() for name, member in CloseCode.__members__.items()}

# The `type` of each channel's data message (protocol.md, section 3).
MESSAGE_TYPES = {
    int(Channel.TELEMETRY): "telemetry_update",
    int(Channel.ALERTS): "alert",
    int(Channel.DEVICES): "device_status_update",
    int(Channel.SYSTEM): "system_status_update",
}

# What the server says to people beside an error's name, where nothing more exact is known.
ERROR_TEXTS = {
    int(ErrorCode.INVALID_JSON): "the message is not JSON",
    int(ErrorCode.INVALID_MESSAGE): "the message has not the form that its type asks for",
    int(ErrorCode.UNKNOWN_TYPE): "there is no message of this type",
    int(ErrorCode.MISSING_TYPE): "the message has no type",
    int(ErrorCode.UNKNOWN_CHANNEL): "there is no such channel",
    int(ErrorCode.CHANNEL_NOT_ALLOWED): "this endpoint serves one channel only",
    int(ErrorCode.INVALID_FILTER): "the filters are not valid",
    int(ErrorCode.NOT_AUTHENTICATED): "authenticate first",
    int(ErrorCode.FORBIDDEN): "the token does not permit this",
    int(ErrorCode.NOT_SUBSCRIBED): "there is no such subscription",
    int(ErrorCode.RATE_LIMITED): "too many messages; some were dropped",
    int(ErrorCode.MESSAGE_TOO_LARGE): "the message is too large",
    int(ErrorCode.BATCH_TOO_LARGE): "the batch has too many messages or holds another batch; none of it was done",
    int(ErrorCode.TOO_MANY_SUBSCRIPTIONS): "the connection has as many subscriptions as it may have",
    int(ErrorCode.INVALID_TOKEN): "the token is not valid",
    int(ErrorCode.TOKEN_EXPIRED): "the token has expired; send a new one",
    int(ErrorCode.TOO_MANY_CONNECTIONS): "the user has as many connections as it may have",
    int(ErrorCode.INTERNAL): "the server failed to do this",
}
