"""Sounds: the 527 AudioSet classes, which of them are captioned, when they were asked for, and what became an event."""
