"""Makes the table of word forms from WordNet and lists of our own, and reads it: `python -m export.data.forms WORDNET`.

WORDNET is a folder as `export.data.wordnet` reads it. The table lies beside this module, and goes into every bundle
that is made by it.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import permutations, product
from pathlib import Path

from export.data.wordnet import WordNet
from itl_infer.text import ENGLISH_STOP_WORDS, TextRules, WordForms
from itl_infer.text.reading import stem

TABLE = Path(__file__).with_name("forms.txt")
LICENCE = Path(__file__).with_name("forms.LICENCE")  # WordNet's, which wants to go along with every copy

# Irregular forms by WordNet that say something else to most people, or would take a noun along: "left" is a side, a
# "rose" a flower, and nobody who asks for a bear wants people who were born.
_OTHER_WORDS = """
    left ground shot saw stove lay made done bent clad stuck fell led lost rose laden found bit bound dove felt
    rent wound spoke bore cleft clove drove might drunk broke stole sunken molten wrought kent gilt gelt rove
    slew smelt pent overlay overlying underlay underlying abode abye bade shod graven thought born strung given
    rung spat beholden blest bespoke bypast slain curst honied fed lit used canning sicking gassing redding
    featherbedding graffiti dive cola lei data media roma stamina trivia goes joes soles bok carpi syringes
    guilder gurnard lumbus miri olea pilea signore vela magi pekingese pubes hypochondria ephemera furcula
    cineraria stigmata sterna axes bases busses comics ottomans morses lures masses scotches staves taxis
"""
# Nouns that end in one of these have its plural: "fireman", "eyetooth", "field mouse" written as one.
_PLURALS = {
    **{
        "man": "men",
        "child": "children",
        "foot": "feet",
        "tooth": "teeth",
        "goose": "geese",
        "mouse": "mice",
    },
    **{"wife": "wives", "knife": "knives", "leaf": "leaves", "shelf": "shelves", "wolf": "wolves"},
}
_MORE_FORMS = {
    "leaves": "leaf",  # WordNet has the leave of a soldier first
    "axes": "axe",
}

# Plurals that are things of their own, which the stemmer would make one with the other word.
_APART = """
    glasses jeans news pants shorts tights briefs blinds slacks leggings overalls goods
"""

# British to American spelling: what to look for in a word, and what it is there. A pair counts where WordNet has both
# for one thing, so that "four" and "rise" stay what they are.
_SPELLINGS = [
    (re.compile(old), new)
    for old, new in (
        *(("our", "or"), ("re$", "er"), ("ise", "ize"), ("isa", "iza"), ("isi", "izi"), ("yse", "yze")),
        *(("ogue$", "og"), ("ae", "e"), ("oe", "e"), ("ence$", "ense"), ("ll", "l"), ("grey", "gray")),
        *(("plough", "plow"), ("mould", "mold"), ("aero", "air"), ("gramme", "gram"), ("ium$", "um")),
        *(("xion", "ction"), ("sulph", "sulf"), ("scept", "skept"), ("moust", "must"), ("pyj", "paj")),
    )
]
_PLAIN = re.compile("[a-z]+")
_NOT_SPELLINGS = re.compile(
    "(timbre|eagre|prise|louvre|boule|chilli|advertis|advis|improvis|televis|supervis|revis|surpris|exercis|merchandis"
    "|enterpris|compris|compromis|disguis|franchis).*"
)
_MORE_SPELLINGS = {
    **{
        "tyre": "tire",
        "kerb": "curb",
        "cosy": "cozy",
        "jewellery": "jewelry",
        "storey": "story",
        "axe": "ax",
    },
    **{"doughnut": "donut", "whisky": "whiskey", "practise": "practice", "disc": "disk", "gipsy": "gypsy"},
    **{"multistorey": "multistory", "yoghurt": "yogurt", "gokart": "gocart", "teeshirt": "tshirt"},
    **{"barbeque": "barbecue", "bbq": "barbecue", "greyhound": "grayhound", "programme": "program"},
    **{"marvellous": "marvelous", "carabiner": "karabiner", "carousel": "carrousel", "teepee": "tepee"},
}

# Compounds: what WordNet writes as one word, of two nouns of which the second says what it is ("a surfboard is a
# board"). Not where people write the two side by side and mean two things: first parts that describe whatever comes
# after them or do it ("a baby sitting"), and second ones that belong to a verb ("look out").
_DESCRIBING = """
    black white red blue green yellow brown gray grey pink orange purple golden gold silver dark light bright
    tall short long high low big small little large old young new hot cold wet dry hard soft round flat wide far
    near formal clear fast slow free full good bad one two three four five six other every any first last right
    left front dead live real fair fine rough sweet sour sharp stiff strong weak thin thick deep open closed
    great grand wild blind pretty man woman boy girl baby child kid lady multi semi inter anti counter fore non
    mid super sub
"""
_OF_A_VERB = """
    out off away back around through along apart about side time body thing place one
"""
_MORE_COMPOUNDS = """
    t shirt, tee shirt, hot dog, ice cream, sky dive, sky diver, e mail, x ray, u turn, yo yo, ping pong, flip
    flop, hula hoop, go cart, go kart, jet ski, zip line, sea gull, sea side, sea food, sea shell, sea weed, sea
    shore, sea horse, surf board, surf boarder, skate board, skate boarder, skate park, snow board, snow
    boarder, wake board, wake boarder, body board, wind surf, wind surfer, kite surf, kite surfer, para glide,
    para glider, para sail, hang glide, hang glider, roller blade, roller blader, roller skate, roller skater,
    water ski, water skier, water fall, water melon, water color, side walk, cross walk, foot ball, base ball,
    basket ball, volley ball, soft ball, paint ball, dodge ball, snow ball, snow man, snow mobile, snow flake,
    snow shoe, fire man, fire woman, fire fighter, fire truck, fire work, fire place, police man, police woman,
    business man, business woman, camera man, fisher man, sports man, back pack, back packer, back yard, back
    ground, play ground, camp fire, camp site, sun glasses, sun set, sun rise, sun flower, sun hat, sun screen,
    hand bag, hand stand, head phone, head band, head scarf, bare foot, motor cycle, motor bike, motor boat,
    sail boat, row boat, speed boat, house boat, tug boat, card board, chalk board, white board, key board,
    score board, book shelf, book store, book case, note book, news paper, lap top, mail box, tool box, lunch
    box, sand box, sand castle, cup cake, pan cake, pop corn, straw berry, blue berry, rasp berry, black berry,
    butter fly, dragon fly, lady bug, grass hopper, gold fish, jelly fish, star fish, horse back, horse shoe,
    bull dog, sheep dog, grey hound, gray hound, pine apple, egg plant, door way, drive way, hall way, stair
    way, stair case, path way, high way, rail road, rail way, run way, sub way, walk way, bed room, bath room,
    bath tub, class room, tooth brush, paint brush, hair cut, hair style, hair dresser, eye brow, eye glasses,
    ear ring, ear phone, neck lace, neck tie, wrist watch, rain coat, rain bow, rain drop, over coat, sweat
    shirt, sweat pants, swim suit, swim wear, under wear, foot wear, foot print, foot path, sauce pan, tea pot,
    tea cup, tea spoon, coffee pot, table cloth, dish washer, bill board, sign post, street light, lamp post,
    light house, green house, farm house, tree house, dog house, bird house, super market, wheel chair, wheel
    barrow, tread mill, wind mill, air plane, air port, air craft, space ship, space craft, life guard, cheer
    leader, half pipe, half time, quarter back, goal keeper, goal post, race track, race horse, trap door, chain
    saw, pick axe, jack hammer, fork lift, bull dozer, wall paper, flower pot, flower bed, door bell, door knob,
    week end, birth day, nick name, grand father, grand mother, grand child, grand son, grand daughter, grand
    parent, girl friend, boy friend, team mate, class mate
"""

_NUMBERS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
"""
_TENS = """
    twenty thirty forty fifty sixty seventy eighty ninety
"""
_ORDINALS = """
    first second third fourth fifth sixth seventh eighth ninth tenth
"""


@cache
def read_forms() -> WordForms:
    """The table that bundles are made by."""
    return WordForms.parse(TABLE.read_bytes())


def text_rules() -> TextRules:
    """The rules that bundles are made by."""
    return TextRules(forms=read_forms())


def make_forms(wordnet: WordNet) -> WordForms:
    """The table, without content."""
    compounds: dict[str, set[str]] = defaultdict(set)
    for first, second in _compounds(wordnet):
        compounds[first].add(second)
    spellings = dict(_spellings(wordnet)) | _MORE_SPELLINGS
    shortest_last = sorted(spellings.items(), key=lambda pair: (-len(pair[0]), pair))
    stems = {stem(british): stem(american) for british, american in shortest_last}
    stems = {old: stems.get(new, new) for old, new in stems.items()}  # "programme" by way of "programm"
    words = dict(_irregular(wordnet)) | _MORE_FORMS | dict(_numbers())
    # Where the stemmer is of two minds: "organize" is organ, "organizer" organiz, and "organise" must be as the first.
    words |= {
        british: american for british, american in shortest_last if stems[stem(british)] != stem(american)
    }
    return WordForms(
        words={form: words.get(word, word) for form, word in words.items()},
        stems={old: new for old, new in stems.items() if old != new},
        apart=frozenset(_APART.split()),
        compounds={first: " ".join(sorted(rest)) for first, rest in compounds.items()},
    )


def _irregular(wordnet: WordNet) -> Iterator[tuple[str, str]]:
    """Plurals and verb forms, where the stemmer does not know them by itself."""
    left_out = {*_OTHER_WORDS.split(), *ENGLISH_STOP_WORDS}
    for form, word in wordnet.irregular.items():
        plain = _PLAIN.fullmatch(form) and _PLAIN.fullmatch(word)
        if plain and left_out.isdisjoint((form, word)) and stem(form) != stem(word):
            yield form, word
    for word in wordnet.synsets:
        for end, plural in _PLURALS.items():
            form = word.removesuffix(end) + plural
            if word.endswith(end) and _PLAIN.fullmatch(word) and form not in wordnet.synsets:
                yield form, word


def _numbers() -> Iterator[tuple[str, str]]:
    small, tens, ordinals = _NUMBERS.split(), _TENS.split(), _ORDINALS.split()
    yield from ((str(number), word) for number, word in enumerate(small))
    for ten, word in enumerate(tens, start=2):
        yield str(10 * ten), word
        yield from ((str(10 * ten + number), word + small[number]) for number in range(1, 10))
    yield from (("100", "hundred"), ("1000", "thousand"), ("1000000", "million"))
    for number, word in enumerate(ordinals, start=1):
        yield f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }", word


def _spellings(wordnet: WordNet) -> Iterator[tuple[str, str]]:
    """British and American spellings of the same word."""
    for words in wordnet.words.values():
        plain = sorted({word for word in words if _PLAIN.fullmatch(word)})
        for british, american in permutations(plain, 2):
            if _NOT_SPELLINGS.fullmatch(british):
                continue
            for old, new in _SPELLINGS:
                found = old.search(british)
                if found and british[: found.start()] + new + british[found.end() :] == american:
                    yield british, american


def _compounds(wordnet: WordNet) -> Iterator[tuple[str, str]]:
    for pair in _MORE_COMPOUNDS.split(","):
        first, second = pair.split()
        yield first, second
    yield from product(_TENS.split(), _NUMBERS.split()[1:10])
    for word in list(wordnet.synsets):
        if len(word) >= 6 and _PLAIN.fullmatch(word):
            yield from (pair for pair in _cuts(word) if _makes(wordnet, word, *pair))
        elif written := re.fullmatch("([a-z]{3,})[-_]([a-z]{3,})", word):
            first, second = written.groups()
            together = {other for key in wordnet.synsets[word] for other in wordnet.words[key]}
            if first + second in together and _are_parts(wordnet, first, second):
                yield first, second


def _cuts(word: str) -> Iterable[tuple[str, str]]:
    return ((word[:i], word[i:]) for i in range(3, len(word) - 2))


def _makes(wordnet: WordNet, word: str, first: str, second: str) -> bool:
    """Whether `word` is a kind of `second`: a surfboard is a board, a carpet is no pet."""
    return _are_parts(wordnet, first, second) and any(
        second in other.split("_")
        for key in wordnet.synsets[word]
        for kind in wordnet.above(key)
        for other in wordnet.words[kind]
    )


def _are_parts(wordnet: WordNet, first: str, second: str) -> bool:
    """Two nouns that are not read as two words where they stand side by side."""
    synsets, counts = wordnet.synsets, wordnet.counts
    return (
        first in synsets
        and second in synsets  # most parts are no words
        and all(any(key[0] == "n" for key in synsets[part]) for part in (first, second))
        and first not in {*_DESCRIBING.split(), *ENGLISH_STOP_WORDS}
        and second not in {*_OF_A_VERB.split(), *ENGLISH_STOP_WORDS}
        and counts[second]["n"] >= counts[second]["v"]
        and not second.endswith("ing")
    )


def write_forms(wordnet_folder: Path, path: Path = TABLE) -> None:
    """Write the table, with where it comes from and the licence of that."""
    comment = (
        "Forms of one English word, for itl-infer, from WordNet 3.0 and lists of its own.\n\n"
        + LICENCE.read_text(encoding="utf-8")
    )
    path.write_bytes(make_forms(WordNet.read(wordnet_folder)).format(comment))


if __name__ == "__main__":
    write_forms(Path(sys.argv[1]))
