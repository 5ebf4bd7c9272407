"""``wat``: batch media captioning, words and sounds from one Whisper-AT pass."""

__version__ = "0.1.0"
