"""Why a connection does or does not get a device's messages now: scope, filter, frequency, backpressure, input.

For operators (docs/http-api.md), and never on the hot path. Nothing is changed by it.
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from .bitset cimport slotset_has
from .commands cimport FILTER_NAMES
from .connection cimport STATE_OPEN
from .coverage cimport ChannelTable, Subscription
from .feed cimport Feed
from .history cimport History
from .index cimport Filter
from .latest cimport Values
from .publication cimport MetricMask, Publication, mask_any, mask_has
from .throttle cimport Cohort, Throttle, is_throttled
from .wire cimport CHANNEL_COUNT, Channel

from .wire import CHANNEL_NAMES as _CHANNEL_NAMES

cdef dict TEXTS = {
    "not_authenticated": "the connection has not authenticated",
    "closing": "the connection is being closed",
    "channel_not_permitted": "the token does not permit the channel",
    "out_of_scope": "the device is not in the token's scope",
    "not_subscribed": "no subscription of the connection covers the device",
    "no_input": "nothing has come from the device since the server began, or it has been forgotten",
    "filtered": "no filter lets through what came from the device last",
    "behind": "the client reads too slowly: values wait until it has read what is queued",
    "waiting": "the frequency lets the next update through later",
    "blocked": "the client has stopped reading; its messages are queued",
    "delivered": "every matching message is sent at once",
    "delivered_at_frequency": "the newest values are sent at the frequency in force",
}


cdef list names_in(Values values, const MetricMask *mask):
    """Return the names of the metrics in a mask."""
    cdef uint32_t i
    return [values.names[i] for i in range(values.count) if mask_has(mask, i)]


cdef dict described(Feed feed, Subscription subscription):
    """Return a subscription as it was asked for, with the frequency in force."""
    cdef tuple names = <tuple>FILTER_NAMES[subscription.channel]
    cdef dict text = {"device_id": None if subscription.asked is None else sorted(subscription.asked.ids(), key=str)}
    for name, value in zip(names, subscription.term.key[1:3], strict=True):
        if name is not None:
            text[name] = None if value is None else list(value)
    if subscription.channel == Channel.TELEMETRY or subscription.channel == Channel.SYSTEM:
        text["frequency"] = feed.table.in_force(subscription.channel, subscription.frequency).shown()
    text["implicit"] = subscription.implicit
    return text


cdef Cohort cohort_of(Feed feed, Filter wanted, object device):
    """Return the cohort in which the connection waits for the device's next turn; None: it does not wait."""
    cdef Throttle throttle
    cdef Cohort cohort
    for table in (wanted.throttles, wanted.throttles_everywhere):
        throttle = (<dict>table).get(device)
        if throttle is not None:
            for cohort in throttle.cohorts:
                if slotset_has(&cohort.slots, feed.slot):
                    return cohort
    return None


cdef object last_input(Feed feed, int channel, object device, double now):
    """Return how many seconds ago the device's last message came on the channel; None: that is not known."""
    cdef Values values
    cdef History history
    cdef Py_ssize_t i
    if channel != Channel.ALERTS:
        values = feed.hub.table_of(channel).find(device)
        return None if values is None else max(0.0, now - values.received_at)
    history = feed.hub.history_of(channel)
    for i in range(history.count - 1, -1, -1):
        if (<Publication>history.at(i).publication).device == device:
            return max(0.0, now - history.at(i).at)
    return None


cdef str verdict_on_values(Feed feed, int channel, object device, Filter wanted, dict found, double now):
    """Return what becomes of the device's values; `found` takes what that rests upon."""
    cdef Values values = feed.hub.table_of(channel).find(device)
    cdef Cohort cohort
    cdef MetricMask mask
    if values is None:
        return "no_input"
    feed.hub.index.wanted(wanted, values, &mask)
    if values.state is None:
        found["metrics"] = list(values.names[:values.count])
        found["metrics_wanted"] = names_in(values, &mask)
    else:
        found["status"] = values.state
    if not mask_any(&mask):
        return "filtered"
    if feed.queue.withheld & (1 << channel):
        return "behind"
    if feed.queue.blocked:
        return "blocked"
    if not is_throttled(&wanted.pace):
        return "delivered"
    cohort = cohort_of(feed, wanted, device)
    if cohort is None or not feed.hub.index.owed(cohort, None, &mask):
        return "delivered_at_frequency"
    found["pending"] = names_in(values, &mask)
    found["next_in"] = max(0.0, cohort.due - now) if cohort.due < INFINITY else None
    return "waiting"


cdef str verdict(Feed feed, int channel, object device, dict found, double now):
    cdef Filter wanted
    cdef ChannelTable table
    cdef Subscription subscription
    if feed.state != STATE_OPEN:
        return "closing"
    if feed.grant is None:
        return "not_authenticated"
    if not (feed.grant.channels >> channel) & 1:
        return "channel_not_permitted"
    if channel != Channel.SYSTEM and not feed.grant.allows_device(device):
        return "out_of_scope"
    wanted = feed.table.filter_at(channel, device)
    if wanted is None:
        return "not_subscribed"
    table = feed.table.of(channel)
    found["subscriptions"] = [described(feed, subscription) for subscription in table.subscriptions
                              if feed.table.covers(subscription, device)]
    if is_throttled(&wanted.pace):
        found["interval"] = wanted.pace.interval
    if channel != Channel.ALERTS:
        return verdict_on_values(feed, channel, device, wanted, found, now)
    if found["last_input"] is None:
        return "no_input"
    return "blocked" if feed.queue.blocked else "delivered"


def explain(Feed feed not None, device, double now):
    """Return why a connection does or does not get a device's messages.

    Args:
        feed: the connection.
        device: a canonical device id; None: the system.
        now: monotonic seconds.

    Returns:
        By channel: `verdict`, a code; `message`, the same for people; `last_input`, the age in seconds of the last
        message, None where there is none; where it is subscribed, `subscriptions` and what the verdict rests upon. And
        `backpressure`: what waits for the connection.
    """
    cdef dict channels = {}
    cdef dict found
    cdef int channel
    for channel in range(CHANNEL_COUNT):
        if (channel == Channel.SYSTEM) != (device is None):
            continue
        found = {"verdict": None, "message": None, "last_input": last_input(feed, channel, device, now)}
        found["verdict"] = verdict(feed, channel, device, found, now)
        found["message"] = TEXTS[found["verdict"]]
        channels[_CHANNEL_NAMES[channel]] = found
    return {
        "connection": feed.number,
        "user": feed.user,
        "device_id": device,
        "channels": channels,
        "backpressure": {
            "queued_bytes": feed.queue.bytes,
            "blocked": feed.queue.blocked != 0,
            "behind": feed.behind,
            "conflated": feed.conflated,
        },
    }
