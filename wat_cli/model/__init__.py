"""The torch boundary: mel, encoder, decoder, word alignment and the tagging head. Nothing outside imports torch."""
