"""English text for the embedded model's voices: grammar sentences, and the same words in no order.

Half of the training text is `sentence` (a context-free grammar with natural punctuation), half is
`word_sequence` (vocabulary words in no order, so that the decoder has to listen instead of guessing).
Every word that can be spoken is in `VOCABULARY`, which ships beside the model as ``vocabulary.txt``.
"""

from __future__ import annotations

import random
import re

# A rule is a list of alternatives parted by "|"; {name} expands another rule. Repeating an alternative weights it.
RULES: dict[str, str] = {
    "sentence": (
        "{clause}.|{clause}.|{clause}.|{clause} {place}.|{clause} {time}.|{clause} {place} {time}.|{Opener}, {clause}.|"
        "{clause}, {join} {clause}.|{clause} because {clause}.|{time}, {clause}.|{question}?|{question}?|{fixed}.|"
        "{fixed}.|{fixedq}?|{command}.|{subject} said that {clause}.|when {clause}, {clause}.|if {clause}, {clause}."
    ),
    "Opener": "well|yes|no|then|now|today|perhaps|of course|at last|in the film|for example|after that|first",
    "join": "and|but|so|and then|or",
    "clause": (
        "{subject} {past} {object}|{subject} {past} {object}|{subject} {modal} {verb} {object}|"
        "{subject} {went} {place}|{subject} {went} {to}|{thing} was {adjective}|{thing} was {very} {adjective}|"
        "{thing} was {adjective} and {adjective}|there {waswere}|we counted {number} {plural}|{plural2} were {adjective}|"
        "it was {adjphrase}|{subject} wanted to {verb} {object}|I {think} {clause}|{subject} {adverb} {past} {object}|"
        "{subject} gave {person} {object}|{subject} told {person} about {object}|{subject} could not {verb} {object}|"
        "they {present} {object} {often}|{person} is {adjective}|this is {object}|that was {object}|"
        "{number} {plural} {came} {place}|{subject} heard {object}"
    ),
    "waswere": "was {article} {adjective} {noun} {place}|were {number} {plural} {place}|was no {noun} {place}|were many {plural} {place}",
    "adjphrase": "a {adjective} day|a very {adjective} night|too {adjective}|not {adjective}|{adjective} outside|a {adjective} year",
    "subject": "{person}|{person}|I|we|you|he|she|they|everyone|nobody|someone|my {family}|our {family}|her {family}|his {family}",
    "person": (
        "the {role}|the {role}|a {role}|an old {role}|the young {role}|his {family}|her {family}|my {family}|"
        "our {family}|their {family}|the other {role}"
    ),
    "family": "mother|father|brother|sister|son|daughter|friend|wife|grandfather|family",
    "role": (
        "man|woman|boy|girl|child|teacher|doctor|captain|farmer|king|driver|student|soldier|reporter|director|"
        "engineer|pilot|mayor|singer|writer|neighbor|narrator|guide|sailor|painter"
    ),
    "past": (
        "opened|closed|found|lost|painted|repaired|recorded|watched|carried|bought|sold|followed|remembered|described|"
        "visited|crossed|saw|made|took|left|kept|knew|loved|needed|used|called|held|brought|built|wrote|read|cut|"
        "pulled|moved|turned|stopped|started|broke|cleaned|showed|changed|played|covered|wanted|learned|forgot"
    ),
    "verb": (
        "open|close|find|lose|paint|repair|record|watch|carry|buy|sell|follow|remember|describe|visit|cross|see|make|"
        "take|leave|keep|know|love|need|use|call|hold|bring|build|write|read|cut|pull|move|turn|stop|start|break|"
        "clean|show|change|play|cover|learn|forget|get|have|put|help|hear"
    ),
    "present": "have|need|like|want|use|make|see|know|play|love|build|sell|watch|help",
    "went": "went|came|walked|ran|stood|lived|worked|waited|slept|sat|stayed|talked|looked|arrived|fell",
    "came": "came|stood|waited|stayed|arrived|fell|lived|worked|passed",
    "modal": "will|would|can|could|must|should|may|might|did not|does not|cannot|has to",
    "think": "think|know|hope|believe|remember|said|feel",
    "often": "every day|every year|again|all the time|together|once more|at home",
    "adverb": "never|always|often|also|slowly|quickly|only|almost|already|still|just|soon|really",
    "very": "very|so|too|quite|always|never|still",
    "object": (
        "{article} {noun}|the {noun}|the {noun}|the {adjective} {noun}|a {adjective} {noun2}|some {plural}|"
        "{number} {plural}|it|them|this {noun}|that {noun}|my {noun}|your {noun}|his {noun}|her {noun}|another {noun}|"
        "the same {noun}|the last {noun}|the first {noun}|these {plural}|those {plural}|more {mass}|the {mass}|something"
    ),
    "article": "the|the|a",
    "noun": (
        "bridge|boat|door|train|house|garden|gate|theater|clock|letter|horse|station|school|piano|lighthouse|museum|"
        "dog|market|harbor|river|mountain|road|book|car|tree|table|window|picture|city|country|world|book|problem|"
        "story|song|voice|radio|camera|question|answer|name|number|word|page|paper|line|room|church|kitchen|hospital|"
        "farm|field|forest|island|lake|ship|machine|bell|telephone|bird|cat|fish|cow|apple|chair|bed|box|key|"
        "hand|head|face|eye|foot|body|king|war|law|state|game|place|plan|idea|job|group|company|party|week|"
        "hat|coat|cup|bottle|knife|wheel|wall|floor|roof|street|village|valley|hill|beach|storm|star|moon|sun"
    ),
    "noun2": "boat|house|garden|clock|letter|horse|piano|dog|book|car|tree|picture|song|voice|camera|bird|box|key|coat|wall",
    "mass": "water|music|wind|rain|fire|snow|bread|iron|glass|wood|light|silence|history|weather|film|sound|food|money|air|land|work|time|life|milk|coffee|sugar|gold",
    "thing": "the {noun}|the {noun}|the {mass}|my {noun}|your {noun}|the whole {noun}|the {role}|everything|nothing",
    "plural": (
        "people|houses|ships|trees|birds|cars|books|days|hours|miles|pictures|songs|windows|horses|soldiers|students|"
        "flowers|stars|boxes|letters|children|men|women|years|things|words|friends|animals|questions|sounds|minutes|weeks|months"
    ),
    "plural2": "the {plural}|many {plural}|most {plural}|all the {plural}|some {plural}|these {plural}|few {plural}",
    "number": (
        "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|twenty|thirty|forty|fifty|"
        "sixty|ninety|one hundred|two thousand|a million|both|several|many|half the"
    ),
    "adjective": (
        "quiet|loud|cold|warm|dark|bright|beautiful|strange|famous|simple|small|heavy|green|blue|golden|empty|modern|"
        "ancient|big|little|great|good|bad|new|old|long|short|high|low|large|young|early|late|important|different|"
        "right|wrong|hard|easy|white|black|red|yellow|brown|happy|sad|tired|poor|rich|strong|weak|clean|dirty|open|"
        "clear|slow|fast|hot|wet|dry|deep|wide|round|true|free|full|ready|safe|sick|sweet|soft|wooden|broken|silver|stone"
    ),
    "place": (
        "in the city|near the sea|on the island|behind the church|by the river|in the valley|at the airport|"
        "in the forest|under the bridge|on the hill|at the station|in the kitchen|outside the library|on the stage|"
        "in the north|in the south|at school|at home|in front of the house|between the trees|across the street|"
        "over the mountain|here|there|everywhere|inside the {noun}|above the {noun}|below the {noun}|next to the {noun}|"
        "around the {noun}|with {person}|without {person}|far from the {noun}|on the other side|in the middle|through the {noun}"
    ),
    "to": "to the {noun}|into the {noun}|up the hill|down the road|out of the {noun}|toward the {noun}|back home|away|from the east to the west",
    "time": (
        "in the morning|at night|last summer|last winter|yesterday|today|before sunrise|after the storm|every day|"
        "during the war|this afternoon|on Sunday|on Monday|on Friday|at noon|two years ago|a long time ago|tomorrow|"
        "in the evening|in spring|next week|next year|until midnight|since Saturday|for three days|on Tuesday|"
        "on Wednesday|on Thursday|in January|in April|in July|in October|after an hour|for a moment|at the same time"
    ),
    "question": (
        "did {subject2} {verb} {object}|can you {verb} {object}|will you {verb} {object}|where is {object}|"
        "where did {subject2} go|why was {thing} so {adjective}|how {adjective} was {thing}|who {past} {object}|"
        "what did {subject2} {verb} {time}|have you ever heard the {mass}|do you {verb} {object}|is {thing} {adjective}|"
        "how many {plural} were there|which {noun} is {adjective}|when will {subject2} {verb} {object}|"
        "how much {mass} do we need|was it {adjective}|are you {adjective}|has anyone seen {object}|whose {noun} is this"
    ),
    "subject2": "{person}|you|he|she|they|we|I|anyone",
    "command": (
        "please {verb} {object}|{verb} {object} and {verb} {object}|do not {verb} {object}|let us {verb} {object}|"
        "listen to {object}|look at {object}|come {place}|go {to}|tell me about {object}|never {verb} {object}|"
        "wait for {person}|give me {object}|be {adjective}|think about {object}|try to {verb} {object}"
    ),
    "fixed": (
        "welcome to the program|thank you for watching|good morning everyone|good evening|this is the evening news|"
        "please listen carefully|let us begin|we will be right back|stay with us|I do not know|come with me|"
        "look at that|be careful|do not worry|it is time to go|wait a moment|here is the answer|"
        "nobody answered the telephone|thank you very much|good night|that is all for today|I am sorry|"
        "see you next week|the meeting is over|ladies and gentlemen, please sit down|I am here|we are almost there|"
        "you are right|that is not true|it does not matter|they are my friends|he was not at home|she has been away"
    ),
    "fixedq": (
        "can you hear me|what happened next|how are you|what is your name|where are we|who is there|what time is it|"
        "are you ready|why not|is anybody here|what do you mean|where have you been|how old are you|what was that"
    ),
}

_RULE_NAME = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[a-z']+")
_ALTERNATIVES = {name: rule.split("|") for name, rule in RULES.items()}
MAX_WORDS = 16
"""Longer expansions are drawn again: an utterance should stay under about six seconds."""


def words(text: str) -> list[str]:
    """The lower-case words of a text, without punctuation."""
    return _WORD.findall(text.lower())


VOCABULARY: tuple[str, ...] = tuple(sorted({w for rule in RULES.values() for w in words(_RULE_NAME.sub(" ", rule))}))
"""Every word that the training text can hold, lower case, sorted."""


def _expand(symbol: str, rng: random.Random, depth: int = 0) -> str:
    alternatives = _ALTERNATIVES[symbol]
    if symbol == "clause" and depth > 3:  # a clause inside a clause inside a clause is enough
        alternatives = [a for a in alternatives if "{clause}" not in a]
    return _RULE_NAME.sub(lambda m: _expand(m[1], rng, depth + 1), rng.choice(alternatives))


def _written(text: str) -> str:
    """Spelling of a finished sentence: capitals, `a` before a vowel."""
    text = re.sub(r"\ba (?=[aeio])", "an ", text)
    text = re.sub(r"\ban one\b", "a one", text)
    return text[0].upper() + text[1:]


def sentence(rng: random.Random) -> str:
    """One grammar sentence of at most `MAX_WORDS` words, with its punctuation."""
    while True:
        text = _written(_expand("sentence", rng))
        if len(words(text)) <= MAX_WORDS:
            return text


HOMOPHONES = frozenset(
    [
        "their",
        "too",
        "two",
        "four",
        "here",
        "sea",
        "no",
        "write",
        "buy",
        "weak",
        "red",
        "knew",
        "our",
        "sun",
        "wood",
        "an",
        "hour",
        "hall",
        "knight",
        "rode",
        "ate",
    ]
)
"""Words that sound like a commoner one of the vocabulary: in no order nobody can tell them apart, so they are left out there."""

_HEARD_APART = tuple(w for w in VOCABULARY if w not in HOMOPHONES)


def word_sequence(rng: random.Random) -> str:
    """Two to nine vocabulary words in no order, written like a sentence."""
    chosen = [rng.choice(_HEARD_APART) for _ in range(rng.randint(2, 9))]
    text = " ".join({"i": "I"}.get(w, w.capitalize() if w in _CAPITALISED else w) for w in chosen)
    return text[0].upper() + text[1:] + "."


_CAPITALISED = {
    w.lower() for rule in RULES.values() for w in re.findall(r"\b[A-Z]\w+", _RULE_NAME.sub(" ", rule)) if len(w) > 1
}
