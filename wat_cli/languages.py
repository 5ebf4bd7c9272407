"""The languages that Whisper knows, by code and by name: openai-whisper's own list (``whisper.tokenizer``, 20250625).

It stands here again so that a command line can be checked without importing torch; a test holds the two together.
"""

from __future__ import annotations

_CODES = """
en:english, zh:chinese, de:german, es:spanish, ru:russian, ko:korean, fr:french, ja:japanese, pt:portuguese,
tr:turkish, pl:polish, ca:catalan, nl:dutch, ar:arabic, sv:swedish, it:italian, id:indonesian, hi:hindi,
fi:finnish, vi:vietnamese, he:hebrew, uk:ukrainian, el:greek, ms:malay, cs:czech, ro:romanian, da:danish,
hu:hungarian, ta:tamil, no:norwegian, th:thai, ur:urdu, hr:croatian, bg:bulgarian, lt:lithuanian, la:latin,
mi:maori, ml:malayalam, cy:welsh, sk:slovak, te:telugu, fa:persian, lv:latvian, bn:bengali, sr:serbian,
az:azerbaijani, sl:slovenian, kn:kannada, et:estonian, mk:macedonian, br:breton, eu:basque, is:icelandic,
hy:armenian, ne:nepali, mn:mongolian, bs:bosnian, kk:kazakh, sq:albanian, sw:swahili, gl:galician, mr:marathi,
pa:punjabi, si:sinhala, km:khmer, sn:shona, yo:yoruba, so:somali, af:afrikaans, oc:occitan, ka:georgian,
be:belarusian, tg:tajik, sd:sindhi, gu:gujarati, am:amharic, yi:yiddish, lo:lao, uz:uzbek, fo:faroese,
ht:haitian creole, ps:pashto, tk:turkmen, nn:nynorsk, mt:maltese, sa:sanskrit, lb:luxembourgish, my:myanmar,
bo:tibetan, tl:tagalog, mg:malagasy, as:assamese, tt:tatar, haw:hawaiian, ln:lingala, ha:hausa, ba:bashkir,
jw:javanese, su:sundanese, yue:cantonese
"""

_OTHER_NAMES = """
burmese:my, valencian:ca, flemish:nl, haitian:ht, letzeburgesch:lb, pushto:ps, panjabi:pa, moldavian:ro,
moldovan:ro, sinhalese:si, castilian:es, mandarin:zh
"""


def _pairs(table: str) -> dict[str, str]:
    return dict(pair.strip().split(":") for pair in table.replace("\n", " ").split(","))


LANGUAGES: dict[str, str] = _pairs(_CODES)
"""Name of each language code, in lower case, in the order of Whisper's language tokens."""

CODES: dict[str, str] = {name: code for code, name in LANGUAGES.items()} | _pairs(_OTHER_NAMES)
"""Code of each language name, other names included."""


def language_code(text: str) -> str | None:
    """Code of a language given by code or name in any case; None if Whisper does not know it."""
    lowered = text.strip().lower()
    return lowered if lowered in LANGUAGES else CODES.get(lowered)
