"""A guess at the language of a text: by its script, and in Latin, Cyrillic and Arabic script by its shortest words."""

from __future__ import annotations

import re
from collections import Counter

LONGEST = 2048
"""Characters that are looked at."""
FEWEST = 2
"""Common words of a language that must be found."""
UNKNOWN = "unknown"
_WORD = re.compile(r"[^\W\d_]+")

_SCRIPTS = (
    ("ja", "\u3040", "\u30ff"),
    ("ko", "\uac00", "\ud7af"),
    ("zh", "\u4e00", "\u9fff"),
    ("el", "\u0370", "\u03ff"),
    ("he", "\u0590", "\u05ff"),
    ("hi", "\u0900", "\u097f"),
    ("bn", "\u0980", "\u09ff"),
    ("ta", "\u0b80", "\u0bff"),
    ("te", "\u0c00", "\u0c7f"),
    ("th", "\u0e00", "\u0e7f"),
    ("ka", "\u10a0", "\u10ff"),
    ("hy", "\u0530", "\u058f"),
)
"""Scripts that are almost always of one language."""

COMMON = {
    "en": "the and of to is in that it for you was with this are be on not have i as at they your can will would what",
    "de": "der die das und ist nicht ein eine zu den mit von es sie ich auf für dem sich auch wie wird sind oder aber",
    "fr": "le la les et est des une un pas que pour dans vous je ce qui sur avec il sont plus au ne du nous",
    "es": "el la los las y es que de un una por con para no se en del al como más lo su este pero está",
    "pt": "o os as e é que de um uma por com para não se em do da ao como mais seu este mas está você na",
    "it": "il lo la gli e è che di un una per con non si in del della al come più questo ma sono le",
    "nl": "de het een en is niet van dat ik je op voor met zijn er te aan ook maar als wordt naar deze",
    "sv": "och det att en ett är inte som på jag för med den av till har om de du var kan men",
    "da": "og det at en et er ikke som på jeg for med den af til har om de du var kan men også",
    "pl": "i w nie na się z że do jest to jak o ale co za po od tak są czy dla być przez",
    "cs": "a je v na se že to s z do jako ale za si o jsem by pro jsou být nebo který tak",
    "tr": "bir ve bu da de için ile mi ne çok olarak daha gibi ama var o en kadar olan değil her",
    "fi": "ja on ei se että hän oli mutta en minä kun tämä kuin niin sen ovat mitä myös olla joka",
    "hu": "a az és hogy nem is egy ez van meg de csak volt mint már ha vagy el kell még",
    "ro": "și în de la cu pe că nu este un o mai din pentru sunt ce se sau fi ca care",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada saya ada adalah juga bisa ke",
    "vi": "và của là có không được cho một các những này trong với người đã để tôi bạn khi như",
    "ru": "и в не на что с как это по но он она я к из за от так мы для вы бы же у",
    "uk": "і в не на що з як це та до він вона я але за від так ми для ви би його є",
    "bg": "и в не на че с как това по но той тя аз към от за да са ще като се",
    "ar": "في من على أن إلى هذا هذه التي الذي ما لا كان مع عن هو هي أو كل",
    "fa": "و در به از که این است را با برای آن یک می ها شود بر تا هم",
    "ur": "اور کے کی میں ہے کا سے کو یہ پر نے ہیں کہ اس ایک بھی",
}
"""The most common short words of some languages."""

_OF = {
    word: tuple(code for code, words in COMMON.items() if word in words.split())
    for words in COMMON.values()
    for word in words.split()
}


def language(text: str) -> str:
    """Return the ISO code of the language that a text seems to be in, "unknown" where too little tells."""
    head = text[:LONGEST]
    script = _by_script(head)
    return script or _by_words(_WORD.findall(head.lower()))


def _by_script(head: str) -> str:
    counted = Counter(letter for letter in head if letter > "\u036f" and letter.isalpha())
    if not counted:
        return ""
    letters = sum(letter.isalpha() for letter in head)
    found = {code: sum(n for letter, n in counted.items() if low <= letter <= high) for code, low, high in _SCRIPTS}
    if found["ja"] and found["ja"] * 10 > found["zh"]:  # Japanese is written in Chinese signs and in its own
        return "ja" if found["ja"] + found["zh"] > 0.3 * letters else ""
    code = max(found, key=lambda one: found[one])
    return code if found[code] > 0.3 * letters else ""


def _by_words(words: list[str]) -> str:
    votes: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for word in words:
        of = _OF.get(word, ())
        for code in of:
            votes[code] += 1 / len(of)  # type: ignore[assignment]  # a word of several languages says less
            hits[code] += 1
    best = [code for code, _ in votes.most_common(1) if hits[code] >= FEWEST and hits[code] > 0.08 * len(words)]
    return best[0] if best else UNKNOWN
