"""The commands, a module each with `run(arguments)`; `parsing` is what they share."""
