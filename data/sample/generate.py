"""Write the stand-ins of the data sets beside this file: python data/sample/generate.py

Everything here is made up from the word lists below with a fixed seed, in the layout of the real files, so that the
notebooks run where no real data can be had. No result of a stand-in is a homework result.
"""

import csv
import io
import json
import random
import zipfile
from pathlib import Path

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
NEUTRAL = ["{t} again", "thinking about {t}", "anyone else at {t}?", "off to {t} now", "more on {t} here"]
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
        words += rng.choice([" and ", "  ", ", "]) + rng.choice(NEUTRAL).format(t=rng.choice(TOPICS))
    return words + rng.choice(ENDINGS)


def write_tweets(path, counts, rng):
    """Kaggle's layout: latin-1, no header, six quoted columns, sorted by label."""
    rows = []
    for label, count in counts.items():
        texts = [tweet(rng, label) for _ in range(count)]
        texts[:3] = ["", "@user", "http://url"]
        rows += [(label, number, "", "NO_QUERY", "", text) for number, text in enumerate(texts, len(rows))]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    path.write_bytes(buffer.getvalue().encode("latin-1"))


# Sentence pairs -------------------------------------------------------------------------------------------------------

SUBJECTS = [
    ("I", "je"),
    ("you", "tu"),
    ("he", "il"),
    ("she", "elle"),
    ("we", "nous"),
    ("they", "ils"),
    ("they", "elles"),
]
TO_BE = [
    ("am", "suis"),
    ("are", "es"),
    ("is", "est"),
    ("is", "est"),
    ("are", "sommes"),
    ("are", "sont"),
    ("are", "sont"),
]
# English, masculine, feminine.
ADJECTIVES = [
    ("tired", "fatigué", "fatiguée"),
    ("ready", "prêt", "prête"),
    ("happy", "content", "contente"),
    ("alone", "seul", "seule"),
    ("sure", "sûr", "sûre"),
    ("tall", "grand", "grande"),
    ("late", "en retard", "en retard"),
    ("sick", "malade", "malade"),
    ("right here", "juste ici", "juste ici"),
    ("very busy", "très occupé", "très occupée"),
    ("strong", "fort", "forte"),
    ("young", "jeune", "jeune"),
    ("at home", "à la maison", "à la maison"),
    ("in the garden", "dans le jardin", "dans le jardin"),
    ("from France", "de France", "de France"),
]
VERBS = [
    (("see", "sees"), ["vois", "vois", "voit", "voit", "voyons", "voient"]),
    (("eat", "eats"), ["mange", "manges", "mange", "mange", "mangeons", "mangent"]),
    (("love", "loves"), ["aime", "aimes", "aime", "aime", "aimons", "aiment"]),
    (("want", "wants"), ["veux", "veux", "veut", "veut", "voulons", "veulent"]),
    (("take", "takes"), ["prends", "prends", "prend", "prend", "prenons", "prennent"]),
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


def elide(pronoun, word):
    """je aime -> j'aime, ne aime -> n'aime."""
    return f"{pronoun[:-1]}'{word}" if pronoun[-1] == "e" and word[0] in "aeiouéêh" else f"{pronoun} {word}"


def agree(adjective, person):
    """The adjective's form for a person: masculine, feminine for she, plural for we and they."""
    _, masculine, feminine = adjective
    form = feminine if person in (3, 6) else masculine
    plural = person >= 4 and form.split()[-1] not in ("retard", "ici", "maison", "jardin", "France")
    return form + "s" if plural and not form.endswith("s") else form


def sentence(rng):
    """One English sentence and a French one of the same meaning."""
    person = rng.randrange(len(SUBJECTS))
    english, french = SUBJECTS[person]
    capital = english[0].upper() + english[1:]
    if rng.random() < 0.55:
        be, être = TO_BE[person]
        adjective = rng.choice(ADJECTIVES)
        form = agree(adjective, person)
        if rng.random() < 0.25:
            return f"{capital} {be} not {adjective[0]}.", f"{french} {elide('ne', être)} pas {form}.".capitalize()
        return f"{capital} {be} {adjective[0]}.", f"{french} {être} {form}.".capitalize()
    (base, third), conjugated = rng.choice(VERBS)
    thing, chose = rng.choice(OBJECTS)
    verb, verbe = (third if person in (2, 3) else base), conjugated[min(person, 5)]
    if rng.random() < 0.2:
        do = "Does" if person in (2, 3) else "Do"
        return f"{do} {english} {base} {thing}?", f"Est-ce {elide('que', french)} {verbe} {chose} ?".replace(
            "que je a", "que j'a"
        )
    if rng.random() < 0.2:
        do = "doesn't" if person in (2, 3) else "don't"
        return f"{capital} {do} {base} {thing}.", f"{french} {elide('ne', verbe)} pas {chose}.".capitalize()
    subject = elide(french, verbe) if french == "je" else f"{french} {verbe}"
    return f"{capital} {verb} {thing}.", f"{subject} {chose}.".capitalize()


def write_pairs(path, count, rng):
    """English, a tab, French; sorted by length like the real file. "They" is ils or elles: a sentence can have two."""
    pairs = set()
    while len(pairs) < count:
        english, french = sentence(rng)
        pairs.add((english, french.replace("france", "France")))
    ordered = sorted(pairs, key=lambda pair: (len(pair[0]), pair))
    path.write_text("".join(f"{english}\t{french}\n" for english, french in ordered), encoding="utf-8")


# Page networks --------------------------------------------------------------------------------------------------------


def page_network(nodes, words, rng):
    """Edges by preferential attachment, words of each page, traffic; every eighth page is a twin of the last."""
    edges, features, targets, pool = set(), {}, [], [0, 1, 2]
    for node in range(nodes):
        if node % 8 == 7:
            edges |= {(node, b) for a, b in edges if a == node - 1}
            features[str(node)], target = features[str(node - 1)], targets[-1]
        else:
            neighbours = {rng.choice(pool) for _ in range(rng.randint(1, 8))} - {node}
            edges |= {(node, other) for other in neighbours}
            pool += [node, *neighbours]
            popular = rng.random()
            features[str(node)] = sorted({int(words * rng.betavariate(1 + 2 * popular, 2)) for _ in range(12)})
            target = int(10 ** (1.5 + 2 * popular + 0.2 * len(neighbours) * rng.random()))
        targets.append(target)
    return sorted(edges), features, targets


def write_networks(path, sizes, rng):
    """SNAP's layout: wikipedia/<name>/musae_<name>_{edges.csv, features.json, target.csv}, with fixed time stamps."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, nodes in sizes.items():
            edges, features, targets = page_network(nodes, 200, rng)
            texts = {
                "edges.csv": "id1,id2\n" + "".join(f"{a},{b}\n" for a, b in edges),
                "features.json": json.dumps(features),
                "target.csv": "id,target\n" + "".join(f"{node},{target}\n" for node, target in enumerate(targets)),
            }
            for ending, text in texts.items():
                member = zipfile.ZipInfo(f"wikipedia/{name}/musae_{name}_{ending}", (2000, 1, 1, 0, 0, 0))
                archive.writestr(member, text, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    write_tweets(HERE / "tweets.csv", {0: 1000, 4: 1000}, random.Random(1))
    write_tweets(HERE / "tweets_manual.csv", {0: 24, 2: 12, 4: 24}, random.Random(2))
    write_pairs(HERE / "eng-fra.txt", 1000, random.Random(3))
    write_networks(HERE / "wikipedia.zip", {"chameleon": 300, "squirrel": 400, "crocodile": 500}, random.Random(4))
