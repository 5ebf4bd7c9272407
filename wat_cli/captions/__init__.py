"""Captions: from what was heard to what is read. Pure functions; nothing here opens a file or knows a terminal.

::

    segments, events -> cues.cues_from -> Layout(cues, broken_rules, events)
                                          srt.srt_text, vtt.vtt_text -> text of a file
    segments, events -> text.tsv_text, text.txt_text             -> text of a file

`formats.render` does the whole way for one format.
"""
