"""The `bench` command: verbs only; nothing heavy is imported before a verb needs it."""
