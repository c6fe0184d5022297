"""Turn student.toml into LaTeX: python writeup/student.py FOLDER

Writes FOLDER/student.tex and FOLDER/screenshots/. What is wrong with student.toml is printed, a
line each; then nothing is written and the exit code is 1.
"""

import hashlib
import re
import shutil
import sys
import tomllib
import unicodedata
from collections import Counter
from pathlib import Path

import PIL.Image
import pypdf

HERE = Path(__file__).parent
PROBLEMS = ("problem1", "problem2", "problem3")
ANSWER = {"screenshots": [str], "bugs": str, "correction": str}
PROBLEM = {"collaborators": str, "ai_tools": str, "answers": [ANSWER]}
FILE = {"name": str, "id": str} | dict.fromkeys(PROBLEMS, PROBLEM)
EXPECTED = {
    str: 'a text, as in name = "Ada"',
    list: 'a list, as in screenshots = ["1.png"]; answers are blocks, [[problem1.answers]]',
    dict: "a section, as in [problem1]",
}
QUOTES = """Short text stands between " and ", long text between ''' and '''."""
PICTURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"%PDF": "pdf"}

# The letters that Latin Modern sets in T1 as they are, and the signs of LaTeX and of mathematics.
LETTERS = re.compile(
    "[ -~¡-ĥĨ-ķĹ-ľŁ-ňŊ-ťŨ-žǍ-ǔǢǣǦ-ǫǰǴǵȘ-țȲȳȷḂḃḍḞ-ḡḥḰḱḷṃṅṇṛṣṭẎ-ẑỲỳ–—‖‘-‚“-„†-•…‰‹-※€℃№™←-↓]"
)
SIGNS = r"""
α \alpha β \beta γ \gamma δ \delta ε \varepsilon ϵ \epsilon ζ \zeta η \eta θ \theta ι \iota
κ \kappa λ \lambda μ \mu ν \nu ξ \xi ο o π \pi ρ \rho σ \sigma ς \varsigma τ \tau υ \upsilon
φ \varphi ϕ \phi χ \chi ψ \psi ω \omega Γ \Gamma Δ \Delta Θ \Theta Λ \Lambda Ξ \Xi Π \Pi Σ \Sigma
Υ \Upsilon Φ \Phi Ψ \Psi Ω \Omega − - ∗ \ast ⋅ \cdot ∘ \circ ⊙ \odot ⊗ \otimes ⊕ \oplus ∑ \sum
∏ \prod ∫ \int √ \surd ∂ \partial ∇ \nabla ∞ \infty ≤ \leq ≥ \geq ≠ \neq ≈ \approx ≡ \equiv ∼ \sim
≐ \doteq ∝ \propto ≪ \ll ≫ \gg ∈ \in ∉ \notin ⊂ \subset ⊆ \subseteq ∪ \cup ∩ \cap ∅ \emptyset
∀ \forall ∃ \exists ¬ \neg ∧ \wedge ∨ \vee ⊤ \top ⊥ \perp ∥ \parallel ∣ \mid ′ \prime ⇒ \Rightarrow
⇐ \Leftarrow ⇔ \Leftrightarrow ↔ \leftrightarrow ↦ \mapsto ✓ \checkmark ℓ \ell ⟨ \langle ⟩ \rangle
ℝ \mathbb{R}
""".split()
TEX = {sign: f"\\ensuremath{{{tex}}}" for sign, tex in zip(SIGNS[::2], SIGNS[1::2], strict=True)}
TEX |= {sign: f"\\{sign}" for sign in "#$%&_{}"}
TEX |= {sign: f"{sign}{{}}" for sign in "-,<>"}  # or two of them would join to another sign
TEX |= dict.fromkeys("\u2010\u2011", "-{}")  # hyphens too
TEX |= {"\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}"}
TEX |= {"'": "\\textquotesingle{}", '"': "\\textquotedbl{}", "`": "\\textasciigrave{}"}


# Reading ------------------------------------------------------------------------------------------


def read(folder=HERE):
    """(what folder/student.toml says, what is wrong with it, what it lacks), a line each."""
    try:
        text = (folder / "student.toml").read_bytes().decode("utf-8-sig")
        text = unicodedata.normalize("NFC", text)
        student = tomllib.loads(text)
    except OSError as reason:
        return {}, [f"not readable ({reason.strerror}): put it back as it was handed out."], []
    except UnicodeDecodeError as reason:
        line = reason.object[: reason.start].count(b"\n") + 1
        return {}, [f"line {line}: not UTF-8. Save the file as UTF-8 in your editor."], []
    except tomllib.TOMLDecodeError as reason:
        what, _, where = str(reason).rstrip(")").rpartition(" (at ")
        return {}, [f"{where}: {what[0].lower()}{what[1:]}. {QUOTES}"], []
    for problem in PROBLEMS:
        if isinstance(student.get(problem), dict):
            student[problem].setdefault("answers", [])
    wrong = list(wrong_shapes(student, FILE))
    wrong = wrong or [*wrong_letters(student), *wrong_screenshots(folder, student)]
    missing = [] if wrong else unanswered(folder, student)
    wrong, missing = ([complaint(text, *one) for one in found] for found in (wrong, missing))
    return student, wrong, missing


def complaint(text, path, reason, letter=""):
    """A reason with its line: that of the path, or the first from there on with the letter."""
    lines, where = lines_of(text), ", ".join(path)
    start = lines.get(path) or lines.get(path[:-1])
    if start is None:
        return f"{where}: {reason}"
    rows = enumerate(text.split("\n")[start - 1 :], start)
    line = next((number for number, row in rows if letter in row), start)
    return f"line {line}, {where}: {reason}"


def lines_of(text):
    """{path: line} of the sections, blocks and keys, such as ("problem1", "answer 2", "bugs")."""
    text = re.sub(r"^[ \t]*#.*", "", text, flags=re.MULTILINE)
    text = re.sub(r"('''|\"\"\").*?\1", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
    lines, count, table = {}, Counter(), ()
    for number, row in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[+\s*(\w+)(\.answers)?", row):
            problem, answers = header.groups()
            count[problem] += bool(answers)
            table = (problem, f"answer {count[problem]}") if answers else (problem,)
            lines[table] = number
        elif key := re.match(r"\s*(\w+)\s*=", row):
            lines[(*table, key[1])] = number
    return lines


def blocks(student):
    """(path, values) of the file, of each problem and of each answer."""
    yield (), student
    for problem in PROBLEMS:
        yield (problem,), student[problem]
        for number, answer in enumerate(student[problem]["answers"], 1):
            yield (problem, f"answer {number}"), answer


# What is wrong: (path, reason) --------------------------------------------------------------------


def wrong_shapes(value, shape, path=()):
    """Values of another kind, keys that are missing or not known."""
    kind = kind_of(shape)
    if not isinstance(value, kind):
        yield path, f"found {value!r}; expected {EXPECTED[kind]}."
    elif kind is list:
        for number, item in enumerate(value, 1):
            below = path if shape == [str] else (*path[:-1], f"answer {number}")
            yield from wrong_shapes(item, shape[0], below)
    elif kind is dict:
        for key in sorted(value.keys() - shape.keys()):
            yield (*path, key), f"not known. Known are {', '.join(shape)}."
        for key, inner in shape.items():
            if key in value:
                yield from wrong_shapes(value[key], inner, (*path, key))
            else:
                yield (*path, key), f"missing. Put back {EXPECTED[kind_of(inner)]}."


def kind_of(shape):
    """str, list or dict."""
    return shape if shape is str else type(shape)


def wrong_letters(student):
    """Texts with letters that the PDF cannot show; the first of them says in which line."""
    for path, values in blocks(student):
        for key, text in values.items():
            letters = clean(text).replace("\n", "") if isinstance(text, str) else ""
            if wrong := [letter for letter in dict.fromkeys(letters) if not sign(letter)]:
                named = ", ".join(f"{letter!r} (U+{ord(letter):04X})" for letter in wrong)
                reason = f"the PDF cannot show {named}. Write it another way."
                yield (*path, key), reason, wrong[0]


def wrong_screenshots(folder, student):
    """Files that are named and not there, or cannot be set."""
    there = screenshots(folder)
    for path, name in named_screenshots(student):
        if name not in there:
            yield path, f"there is no file ai_tools/{name}."
        elif not pages_of(there[name]):
            yield path, f"ai_tools/{name} is no readable png, jpg or pdf."


# What is missing: (path, reason) ------------------------------------------------------------------


def unanswered(folder, student):
    """What is empty, what does not go together, screenshots that no answer names."""
    for path, values in blocks(student):
        for key, text in values.items():
            if text == [] and key == "screenshots":
                yield (*path, key), "names no file."
            elif isinstance(text, str) and not words(clean(text)):
                none = '. Write "none" where there is nothing to name' if path else ""
                yield (*path, key), f"empty{none}."
        for key, reason in contradictions(values):
            yield (*path, key), reason
    named = {name for _, name in named_screenshots(student)}
    for name in sorted(screenshots(folder).keys() - named):
        yield (f"ai_tools/{name}",), "no answer names it. Name it in one, or remove it."


def contradictions(values):
    """(key, reason) where what stands in a problem or an answer does not go together."""
    tools, bugs, correction = (words(values.get(key)) for key in ("ai_tools", "bugs", "correction"))
    no_bugs = {"none", "no", "nothing"}.intersection(bugs if len(bugs) < 5 else bugs[:1])
    if tools == ["none"] and values["answers"]:
        yield "ai_tools", 'says "none", but there are answers. Name the tool.'
    elif tools and tools != ["none"] and not values["answers"]:
        reason = "names a tool, but no screenshot is there. Add a block for each answer"
        yield "ai_tools", f'{reason}, or write just "none".'
    if no_bugs and len(bugs) < 5:
        yield "bugs", '"none" without a reason. Write how you checked it, in five words or more.'
    elif bugs and not no_bugs and correction in (["none"], ["n", "a"], ["na"]):
        yield "correction", '"none", but bugs are named. Correct them.'


def words(text):
    """The words of a text, or of none, in small letters."""
    return re.findall(r"\w+", (text or "").lower())


# Screenshots --------------------------------------------------------------------------------------


def file_name(*parts):
    """A path in ai_tools/, in one form of blanks and accents."""
    return unicodedata.normalize("NFKC", Path(*parts).as_posix())


def screenshots(folder):
    """{name: path} of the files in ai_tools/."""
    top = folder / "ai_tools"
    return {
        file_name(path.relative_to(top)): path
        for path in top.rglob("*")
        if path.is_file() and path.name not in ("README.md", "Thumbs.db", "desktop.ini")
        if not path.name.startswith(".")
    }


def named_screenshots(student):
    """(path in student.toml, name) of each screenshot."""
    for path, values in blocks(student):
        for name in values.get("screenshots", []):
            yield (*path, "screenshots"), file_name(path[0], name)


def suffix(path):
    """png, jpg or pdf by its first bytes, or None."""
    head = path.read_bytes()[:4]
    return next((kind for start, kind in PICTURES.items() if head.startswith(start)), None)


def pages_of(path):
    """How many pages a PDF has, 1 for a picture, 0 for what is neither or cannot be read whole."""
    kind = suffix(path)
    try:
        if kind == "pdf":
            return len(pypdf.PdfReader(path).pages)
        if kind:
            PIL.Image.open(path).load()
        return int(kind is not None)
    except (OSError, SyntaxError, pypdf.errors.PyPdfError, pypdf.errors.DependencyError):
        return 0


# TeX ----------------------------------------------------------------------------------------------


def clean(text):
    """Plain blanks and line feeds; format characters vanish."""
    text = text.replace("\t", "    ").replace("\u2028", "\n").replace("\ufe0f", "")
    kinds = [(letter, unicodedata.category(letter)) for letter in text]
    return "".join(" " if kind == "Zs" else letter for letter, kind in kinds if kind != "Cf")


def sign(letter):
    """A letter in TeX, or None where there is none for it."""
    if LETTERS.match(letter):
        return TEX.get(letter, letter)
    if raised := re.fullmatch(r"<(sub|super)> (\w+)", unicodedata.decomposition(letter)):
        inner = sign(chr(int(raised[2], 16)))
        return inner and f"\\text{raised[1]}script{{{inner}}}"
    return TEX.get(letter)


def tex(text):
    """A text in TeX: a line stays a line, with its indentation; an empty one begins a paragraph."""
    paragraphs = re.split(r"\n(?: *\n)+", clean(text).strip("\n"))
    return "\n\n".join("\\newline\n".join(map(tex_line, p.split("\n"))) for p in paragraphs)


def tex_line(line):
    """Long words, such as addresses, may be broken anywhere."""
    indent = len(line) - len(line.lstrip())
    tex = [("\\allowbreak " if len(w) > 30 else "").join(map(sign, w)) for w in line.split()]
    return f"\\hspace*{{{indent / 2}em}}" * (indent > 0) + " ".join(tex)


def filled_in(text):
    """A text in TeX, or the word that the student has to write it."""
    return tex(clean(text).strip()) or "\\tobefilledin{}"


def document(folder, student):
    """The text of student.tex, {name in screenshots/: screenshot}."""
    there, copies = screenshots(folder), {}
    lines = [
        f"\\def\\student{key}{{{tex(' '.join(student[key].split()))}}}" for key in ("name", "id")
    ]
    for problem in PROBLEMS:
        values = student[problem]
        people, tools = filled_in(values["collaborators"]), filled_in(values["ai_tools"])
        lines.append(f"\\defstudent{{{problem[-1]}}}{{{people}}}{{{tools}}}{{%")
        for number, answer in enumerate(values["answers"], 1):
            bugs, correction = filled_in(answer["bugs"]), filled_in(answer["correction"])
            lines.append(f"\\answer{{{number}}}{{{bugs}}}{{{correction}}}{{%")
            for name in answer["screenshots"]:
                path = there[file_name(problem, name)]
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                copy = f"{digest}.{suffix(path)}"
                copies[copy] = path
                pages = range(1, pages_of(path) + 1)
                lines += [f"\\screenshot{{{page}}}{{{copy}}}" for page in pages]
            lines.append("}")
        lines.append("}")
    return "\n".join(lines) + "\n", copies


def main(folder):
    """Write folder/student.tex and folder/screenshots/; return the exit code."""
    sys.stdout.reconfigure(errors="replace")  # on a console that lacks a letter
    student, wrong, _ = read()
    if wrong:
        print(*(f"writeup/student.toml, {line}" for line in wrong), sep="\n")
        print("Mend this, then run make pdf again.")
        return 1
    text, copies = document(HERE, student)
    (folder / "screenshots").mkdir(parents=True, exist_ok=True)
    for name, path in copies.items():
        shutil.copyfile(path, folder / "screenshots" / name)
    partial = folder / "student.partial"
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(folder / "student.tex")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
