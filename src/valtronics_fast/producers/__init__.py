"""Where data comes in: each producer sees only a `publish` function (`base`).

`mqtt` (a broker), `system` (this host), `simulated` (a made-up fleet). Each is imported from its own module
by who uses it, so that a server without MQTT never loads an MQTT client.
"""
