"""The laws of each kind of part: tests apply them to what is registered, `check` to a part of one's own."""
