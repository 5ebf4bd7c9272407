"""Train and judge a tagging head on a frozen Whisper encoder: Whisper-AT's method (Gong et al., Interspeech 2023).

``datasets`` reads what sounds in which clip, ``features`` keeps what the encoder makes of it, ``recipes`` holds the
numbers, ``loop`` fits a head, ``metrics`` says how good it is, ``cost`` what it takes.
"""
