"""Write the stand-ins of the data sets beside this file: python data/sample/generate.py

Everything here is made up from the word lists below with a fixed seed, in the layout of the real files, so that the
notebooks run where no real data can be had. No result of a stand-in is a homework result.
"""

import csv
import gzip
import io
import json
import random
import re
import struct
import zipfile
from pathlib import Path

from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent

# Tweets ---------------------------------------------------------------------------------------------------------------

TOPICS = [
    "the exam",
    "my bike",
    "this song",
    "work",
    "the weather",
    "dinner",
    "the train",
    "my garden",
    "the new phone",
    "the match",
    "school",
    "my sister",
    "breakfast",
    "the library",
    "homework",
    "the café",
    "Monday",
    "the concert",
]
OPENINGS = [
    "",
    "@user ",
    "so ",
    "ok, ",
    "just saw it: ",
    "@user @user ",
    "#weekend ",
    "well... ",
    "omg ",
    "2 hours later: ",
]
POSITIVE = [
    "{t} was great",
    "i love {t}",
    "{t} made my day",
    "really happy about {t}",
    "{t} is so much fun",
    "thanks for {t}",
    "can't wait for {t}",
    "{t} went better than expected",
    "best news: {t} is back",
    "enjoying {t} in the sun",
]
NEGATIVE = [
    "{t} was awful",
    "i hate {t}",
    "{t} ruined my day",
    "really sad about {t}",
    "{t} is so boring",
    "sorry about {t}",
    "don't want {t} today",
    "{t} went worse than expected",
    "bad news: {t} is gone",
    "missing {t} a lot",
]
NEUTRAL = [
    "{t} again",
    "thinking about {t}",
    "anyone else at {t}?",
    "off to {t} now",
    "more on {t} here",
]
ENDINGS = [
    "",
    "",
    "",
    ".",
    "!",
    "!!!",
    "...",
    "?",
    " http://url",
    "  ",
    " #fb",
    " )",
    " (",
    " &amp; more",
    " &lt;3",
    " &quot;again&quot;",
    " sooooo tired",
    " yaaaay",
    " :-/",
    " =)",
    " xD",
    " itâ\x80\x99s late",
]


def tweet(rng, label):
    """One made-up tweet; every fifth says the opposite of its label or nothing, as labels taken from emoticons do."""
    phrases = {0: NEGATIVE, 2: NEUTRAL, 4: POSITIVE}[label]
    if rng.random() < 0.2:
        phrases = NEUTRAL + (NEGATIVE if label else POSITIVE)
    words = rng.choice(OPENINGS) + rng.choice(phrases).format(t=rng.choice(TOPICS))
    if rng.random() < 0.3:
        words += rng.choice([" and ", "  ", ", "]) + rng.choice(NEUTRAL).format(
            t=rng.choice(TOPICS)
        )
    return words + rng.choice(ENDINGS)


def write_tweets(path, counts, rng):
    """Kaggle's layout: latin-1, no header, six quoted columns, sorted by label."""
    rows = []
    for label, count in counts.items():
        texts = [tweet(rng, label) for _ in range(count)]
        texts[:3] = ["", "@user", "http://url"]
        rows += [
            (label, number, "", "NO_QUERY", "", text)
            for number, text in enumerate(texts, len(rows))
        ]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    path.write_bytes(buffer.getvalue().encode("latin-1"))


# Sentence pairs -------------------------------------------------------------------------------------------------------

# English, French, the French person (je, tu, il, nous, vous, ils), whether it is feminine.
PERSONS = [
    ("I", "je", 0, False),
    ("you", "tu", 1, False),
    ("he", "il", 2, False),
    ("she", "elle", 2, True),
    ("we", "nous", 3, False),
    ("you", "vous", 4, False),
    ("they", "ils", 5, False),
    ("they", "elles", 5, True),
]
ÊTRE = ["suis", "es", "est", "sommes", "êtes", "sont"]
AVOIR = ["ai", "as", "a", "avons", "avez", "ont"]
TO_BE = {
    "I": ["I am", "I'm"],
    "you": ["You are", "You're"],
    "he": ["He is", "He's"],
    "she": ["She is", "She's"],
    "we": ["We are", "We're"],
    "they": ["They are", "They're"],
}
# English, masculine, feminine; what does not agree has one French form.
ADJECTIVES = [
    ("tired", "fatigué", "fatiguée"),
    ("ready", "prêt", "prête"),
    ("happy", "content", "contente"),
    ("alone", "seul", "seule"),
    ("sure", "sûr", "sûre"),
    ("tall", "grand", "grande"),
    ("sick", "malade", "malade"),
    ("very busy", "très occupé", "très occupée"),
    ("strong", "fort", "forte"),
    ("young", "jeune", "jeune"),
    ("late", "en retard"),
    ("right here", "juste ici"),
    ("at home", "à la maison"),
    ("in the garden", "dans le jardin"),
    ("from France", "de France"),
]
# English base, third person, past; French present, participle.
VERBS = [
    ("see", "sees", "saw", ["vois", "vois", "voit", "voyons", "voyez", "voient"], "vu"),
    ("eat", "eats", "ate", ["mange", "manges", "mange", "mangeons", "mangez", "mangent"], "mangé"),
    ("love", "loves", "loved", ["aime", "aimes", "aime", "aimons", "aimez", "aiment"], "aimé"),
    ("want", "wants", "wanted", ["veux", "veux", "veut", "voulons", "voulez", "veulent"], "voulu"),
    (
        "take",
        "takes",
        "took",
        ["prends", "prends", "prend", "prenons", "prenez", "prennent"],
        "pris",
    ),
]
OBJECTS = [
    ("the bread", "le pain"),
    ("the apple", "la pomme"),
    ("the book", "le livre"),
    ("the cat", "le chat"),
    ("the water", "l'eau"),
    ("this house", "cette maison"),
    ("the key", "la clé"),
    ("the cheese", "le fromage"),
    ("my umbrella", "mon parapluie"),
    ("the old chair", "la vieille chaise"),
]


def join(*words):
    """Join the words that are not empty, with a capital and elision: je ne aime -> Je n'aime, que il -> qu'il."""
    text = re.sub(r"\b(j|n|qu)e (?=[aeiouéê])", r"\1'", " ".join(filter(None, words)))
    return text[0].upper() + text[1:]


def agree(forms, person, feminine):
    """The form of an adjective that agrees with its subject."""
    if len(forms) == 1:
        return forms[0]
    return forms[feminine] + ("s" if person >= 3 else "")


def sentence(rng):
    """One English sentence and a French one of the same meaning.

    "You" and "they" have two French sides each; "I am" and "I'm" share theirs.
    """
    english, french, person, feminine = rng.choice(PERSONS)
    negated, asked, past = (rng.random() < 0.3 for _ in range(3))
    ne, pas, no = ("ne", "pas", "not") if negated else ("", "", "")
    if rng.random() < 0.5:
        quality, *forms = rng.choice(ADJECTIVES)
        return (
            join(rng.choice(TO_BE[english]), no, quality) + ".",
            join(french, ne, ÊTRE[person], pas, agree(forms, person, feminine)) + ".",
        )
    base, third, preterite, present, participle = rng.choice(VERBS)
    thing, chose = rng.choice(OBJECTS)
    do = "did" if past else "does" if person == 2 else "do"
    verb = preterite if past else third if person == 2 else base
    verbe, participe = (AVOIR[person], participle) if past else (present[person], "")
    if asked:
        return join(do, english, base, thing) + "?", join(
            "est-ce que", french, verbe, participe, chose
        ) + " ?"
    return (
        join(english, f"{do}n't {base}" if negated else verb, thing) + ".",
        join(french, ne, verbe, pas, participe, chose) + ".",
    )


def write_pairs(path, count, rng):
    """English, a tab, French; sorted by length like the real file."""
    pairs = set()
    while len(pairs) < count:
        pairs.add(sentence(rng))
    ordered = sorted(pairs, key=lambda pair: (len(pair[0]), pair))
    path.write_text(
        "".join(f"{english}\t{french}\n" for english, french in ordered),
        encoding="utf-8",
        newline="\n",
    )


# Page networks --------------------------------------------------------------------------------------------------------


def page_network(nodes, words, rng):
    """Links by preferential attachment, words and monthly traffic of each page: popular pages have more of all.

    Of every eight pages the last four are twins: the same links and traffic, other words, and no page links to them.
    """
    links, features, targets, pool = [], [], [], [0, 1, 2]
    for node in range(nodes):
        if node % 8 > 4:
            links.append(links[-1])
            targets.append(targets[-1])
        else:
            popular = rng.random()
            links.append(
                sorted(
                    {rng.choice(pool) for _ in range(rng.randint(1, 2 + int(10 * popular)))}
                    - {node}
                )
            )
            targets.append(int(10 ** (1.5 + 2 * popular + rng.gauss(0, 0.3))))
        if node % 8 < 4:
            pool += [node] * (1 + int(4 * popular)) + links[-1]
        telling = {
            min(19, int(20 * abs(popular + rng.gauss(0, 0.1)))) for _ in range(3)
        }  # of the first 20 words
        features.append(sorted(telling | set(rng.sample(range(20, words), 8))))
    return links, features, targets


def write_networks(path, sizes, rng):
    """SNAP's layout: wikipedia/<name>/musae_<name>_{edges.csv, features.json, target.csv}, with fixed time stamps."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, nodes in sizes.items():
            links, features, targets = page_network(nodes, 200, rng)
            order = rng.sample(
                range(nodes), nodes
            )  # the keys of the real file are in no order either
            texts = {
                "edges.csv": "id1,id2\n"
                + "".join(f"{a},{b}\n" for a in range(nodes) for b in links[a]),
                "features.json": json.dumps({str(node): features[node] for node in order}),
                "target.csv": "id,target\n"
                + "".join(f"{node},{target}\n" for node, target in enumerate(targets)),
            }
            for ending, text in texts.items():
                member = zipfile.ZipInfo(
                    f"wikipedia/{name}/musae_{name}_{ending}", (2000, 1, 1, 0, 0, 0)
                )
                archive.writestr(member, text, zipfile.ZIP_DEFLATED)


# Digits ---------------------------------------------------------------------------------------------------------------


def write_digits(rng, count=300):
    """MNIST's two files, with the ten digits of some fonts, turned and moved a little."""
    fonts = [
        findfont(FontProperties(family=family, style=style))
        for family in ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")
        for style in ("normal", "italic")
    ]
    labels, images = [n % 10 for n in range(count)], b""
    for label in labels:
        image = Image.new("L", (28, 28))
        font = ImageFont.truetype(rng.choice(fonts), rng.randint(18, 24))
        place = rng.uniform(12, 16), rng.uniform(12, 16)
        ImageDraw.Draw(image).text(place, str(label), 255, font, "mm")
        images += image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR).tobytes()
    heads = struct.pack(">ii", 2049, count), struct.pack(">iiii", 2051, count, 28, 28)
    for part, content in zip(
        ("labels-idx1", "images-idx3"), (heads[0] + bytes(labels), heads[1] + images), strict=True
    ):
        (HERE / f"train-{part}-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))


if __name__ == "__main__":
    write_tweets(HERE / "tweets.csv", {0: 1000, 4: 1000}, random.Random(1))
    write_tweets(HERE / "tweets_manual.csv", {0: 24, 2: 12, 4: 24}, random.Random(2))
    write_pairs(HERE / "eng-fra.txt", 1000, random.Random(3))
    write_networks(
        HERE / "wikipedia.zip",
        {"chameleon": 300, "squirrel": 400, "crocodile": 500},
        random.Random(4),
    )
    write_digits(random.Random(5))
