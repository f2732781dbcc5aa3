"""Characters that are drawn as Latin letters, dress them up or show nothing: one table for who reads a word (opting
out, CMP-1) and for who refuses a disguise (CMP-11).

Every list is of single characters. What Unicode itself calls another form of a letter (NFKC) need not be here for a
word to be read, and is here where it disguises one.
"""

from __future__ import annotations

from collections.abc import Iterable

A_TO_Z = "abcdefghijklmnopqrstuvwxyz"
SMALL_CAPITALS = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", A_TO_Z.replace("x", ""), strict=True))
ENCLOSED = {
    chr(first + place): letter
    for first in (0x249C, 0x24B6, 0x24D0, 0x1F110, 0x1F130, 0x1F150, 0x1F170)
    for place, letter in enumerate(A_TO_Z)
}
"""Letters in brackets, circles and squares, the filled ones among them, which Unicode calls no form of a letter."""


def _characters(*spans: tuple[int, int]) -> Iterable[str]:
    return (chr(code) for first, last in spans for code in range(first, last + 1))


_ALIKE: dict[str, str] = {
    # a letter of Cyrillic, Greek, Armenian, Cherokee or Lisu that is drawn as the Latin one, by its own case
    "A": "АΑᎪꓮ", "B": "ВΒᏴꓐ", "C": "СϹᏟꓚ", "D": "Ꭰꓓ", "E": "ЕΕᎬꓰ", "F": "Ϝꓝ", "G": "ᏀꓖԌ", "H": "НΗᎻꓧ",
    "I": "ІΙӀꓲ", "J": "ЈᎫꓙ", "K": "КΚᏦꓗ", "L": "ᏞꓡԼ", "M": "МΜᎷꓟ", "N": "ΝꓠՍ", "O": "ОΟՕꓳ", "P": "РΡᏢꓑ",
    "Q": "Ԛ", "R": "ᎡᏒꓣ", "S": "ЅՏᏚꓢ", "T": "ТΤᎢꓔ", "U": "ԱՍꓴ", "V": "ѴᏙꓦ", "W": "ᎳᏔꓪԜ", "X": "ХΧꓫ",
    "Y": "УΥҮꓬ", "Z": "ΖᏃꓜ",
    "a": "аαɑ", "b": "ЬƄ", "c": "сϲⅽ", "d": "ԁɗⅾ", "e": "еεҽ", "g": "ɡց", "h": "һհ", "i": "іιıӏⅰ", "j": "јϳ",
    "k": "кκ", "l": "ⅼǀ", "m": "мⅿ", "n": "пηո", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "гᴦ", "s": "ѕ", "t": "тτ",
    "u": "υս", "v": "ѵνⅴ", "w": "ԝ", "x": "хχⅹ", "y": "уүγ",
}  # fmt: skip
LOOKALIKES: dict[int, str] = {
    ord(other): latin
    for table in (
        {other: latin for latin, others in _ALIKE.items() for other in others},
        SMALL_CAPITALS,
        ENCLOSED,
    )
    for other, latin in table.items()
}
"""The characters that people cannot tell from Latin letters, or only by looking twice: phones write them unasked after
a change of keyboard, and others on purpose. For `str.translate`."""

NATIVE = frozenset("ıƄǀ")
"""Among them those of the Latin script itself: of Turkish, Zhuang and the Khoisan languages."""
INNOCENT = frozenset("ɢʜɪɴʀʏʟʙɡɑɗ🅰🅱🅾🅿Ⓜ")
"""Among them those with a use of their own: letters of the phonetic alphabet, blood groups, car parks and the metro."""
WIDE = frozenset(_characters((0xFF21, 0xFF3A), (0xFF41, 0xFF5A)))
"""As wide as a Chinese character: ordinary in East Asian writing, and there alone."""
LETTERLIKE = frozenset("ℂℊℋℌℍℎℐℑℒℓℕℙℚℛℜℝℤℨ\u212aℬℭℯℰℱℳℴℹⅅⅆⅇⅈⅉ")
DRESSED = frozenset({*SMALL_CAPITALS, *ENCLOSED, *_characters((0x1D400, 0x1D7FF))}) | LETTERLIKE | WIDE
"""Latin letters (and mathematical digits) in another dress; each is rare, and a word of them is a disguise."""
RAISED = frozenset("ᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁᵂᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")
"""Above or below the line: the end of an abbreviation (Mᵐᵉ), or a footnote."""
_SCRIPTS: dict[str, tuple[tuple[int, int], ...]] = {
    "greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "cyrillic": ((0x400, 0x52F),),
    "armenian": ((0x530, 0x58F),),
    "cherokee": ((0x13A0, 0x13FF), (0xAB70, 0xABBF)),
    "lisu": ((0xA4D0, 0xA4FF),),
}
FOREIGN: dict[str, str] = {char: script for script, spans in _SCRIPTS.items() for char in _characters(*spans)}
FOREIGN |= {char: "wide" for char in WIDE}
FOREIGN |= {
    char: "sign"
    for char in map(chr, LOOKALIKES)
    if char not in FOREIGN and char not in INNOCENT | NATIVE and char not in ENCLOSED
}
"""The characters of scripts that have letters like Latin ones, each with its script; no word is of two of them."""

OVERLAYS = frozenset(
    _characters(
        (0x0334, 0x0338), (0x20D2, 0x20D3), (0x20D8, 0x20DA), (0x20DD, 0x20E2), (0x20E4, 0x20E6), (0x20EA, 0x20EB)
    )
)
"""Marks that strike a letter through or put it into a frame (20E3, the key of a telephone, is digits')."""
OVERLAID = frozenset(_characters((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF)))
"""Marks that decorate a letter (accents, strokes through it). Devanagari's vowel signs are others: they are letters."""
INVISIBLE = frozenset(map(chr, (*range(0xFE00, 0xFE10), 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164)))
"""Characters that show nothing but count as letters or marks: variation selectors, joiner, fillers."""
SUSPICIOUS = DRESSED | RAISED | OVERLAYS | frozenset(FOREIGN)
"""Without any of these no word is disguised: a text is asked for them first, in one go."""
