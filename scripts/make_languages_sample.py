"""Write the sample of several languages: twenty facts, asked in English, French and German.

Facts and wording are this project's own; countries, capitals and languages have their Wikidata
names.  For each language come, in the shapes of `get_data.py --mpararel`:

* data/LANGUAGES/<language>_allbags.json: `{REL: [fact: [[prompt, answer, "REL(label)"], ...]]}`;
* data/LANGUAGES/<language>_uris.json: `{REL: [[sub_uri, obj_uri] of each fact]}`;
* data/LANGUAGES/<language>_query_pairs.json: `{REL: [[head, answer] of each fact]}`.

Run it after editing the wording; the same wording always gives the same bytes:

    python scripts/make_languages_sample.py            # write
    python scripts/make_languages_sample.py --check    # write nothing, exit 1 if out of date
"""

import sys
from pathlib import Path

from make_sample import deliver, one_per_line

from knowledge_neurons.text.relations import full_name

FOLDER = Path(__file__).resolve().parents[1] / "data" / "LANGUAGES"
LANGUAGES = ("en", "fr", "de")
LABELS = {"P36": "capital", "P37": "official language"}

# A country's Wikidata name, its name in each language, and what follows "of" and "in" in French.
COUNTRIES = (
    ("Q142", "France", "France", "Frankreich", "de la France", "en France"),
    ("Q183", "Germany", "Allemagne", "Deutschland", "de l'Allemagne", "en Allemagne"),
    ("Q38", "Italy", "Italie", "Italien", "de l'Italie", "en Italie"),
    ("Q29", "Spain", "Espagne", "Spanien", "de l'Espagne", "en Espagne"),
    ("Q41", "Greece", "Grèce", "Griechenland", "de la Grèce", "en Grèce"),
    ("Q79", "Egypt", "Égypte", "Ägypten", "de l'Égypte", "en Égypte"),
    ("Q17", "Japan", "Japon", "Japan", "du Japon", "au Japon"),
    ("Q159", "Russia", "Russie", "Russland", "de la Russie", "en Russie"),
    ("Q45", "Portugal", "Portugal", "Portugal", "du Portugal", "au Portugal"),
    ("Q36", "Poland", "Pologne", "Polen", "de la Pologne", "en Pologne"),
)
# Relation -> of each country the answer's Wikidata name, and the answer in each language.
ANSWERS = {
    "P36": (
        ("Q90", "Paris", "Paris", "Paris"),
        ("Q64", "Berlin", "Berlin", "Berlin"),
        ("Q220", "Rome", "Rome", "Rom"),
        ("Q2807", "Madrid", "Madrid", "Madrid"),
        ("Q1524", "Athens", "Athènes", "Athen"),
        ("Q85", "Cairo", "Le Caire", "Kairo"),
        ("Q1490", "Tokyo", "Tokyo", "Tokio"),
        ("Q649", "Moscow", "Moscou", "Moskau"),
        ("Q597", "Lisbon", "Lisbonne", "Lissabon"),
        ("Q270", "Warsaw", "Varsovie", "Warschau"),
    ),
    "P37": (
        ("Q150", "French", "français", "Französisch"),
        ("Q188", "German", "allemand", "Deutsch"),
        ("Q652", "Italian", "italien", "Italienisch"),
        ("Q1321", "Spanish", "espagnol", "Spanisch"),
        ("Q9129", "Greek", "grec", "Griechisch"),
        ("Q13955", "Arabic", "arabe", "Arabisch"),
        ("Q5287", "Japanese", "japonais", "Japanisch"),
        ("Q7737", "Russian", "russe", "Russisch"),
        ("Q5146", "Portuguese", "portugais", "Portugiesisch"),
        ("Q809", "Polish", "polonais", "Polnisch"),
    ),
}
# {}: the country; {of} and {in}: with the French word before it.
WORDING = {
    "en": {
        "P36": (
            "The parliament of {} meets in [MASK].",
            "The government of {} sits in [MASK].",
            "[MASK] is the seat of the rulers of {}.",
            "Which city is the capital of {}? It is [MASK].",
            "Every map of {} marks its capital, [MASK].",
            "Ministers of {} meet in [MASK].",
        ),
        "P37": (
            "Officials of {} write in [MASK].",
            "The laws of {} are written in [MASK].",
            "In {} people speak [MASK].",
            "[MASK] is spoken at every school in {}.",
            "Newspapers of {} are printed in [MASK].",
            "Courts of {} hear everybody in [MASK].",
        ),
    },
    "fr": {
        "P36": (
            "Le parlement {of} se réunit ici : [MASK].",
            "Le gouvernement {of} siège ici : [MASK].",
            "[MASK] accueille les ministres {of}.",
            "Quelle est la capitale {of} ? C'est [MASK].",
            "Sur chaque carte {of} on trouve sa capitale, [MASK].",
            "Capitale {of} : [MASK].",
        ),
        "P37": (
            "La langue officielle {of} : [MASK].",
            "Les lois {of} sont écrites en [MASK].",
            "Ici, {in}, on parle [MASK].",
            "Chaque école enseigne en [MASK] {in}.",
            "Les journaux {of} sont imprimés en [MASK].",
            "Les tribunaux {of} jugent en [MASK].",
        ),
    },
    "de": {
        "P36": (
            "Das Parlament von {} tritt in [MASK] zusammen.",
            "Die Regierung von {} sitzt in [MASK].",
            "[MASK] ist der Sitz der Regierung von {}.",
            "Wie heißt die Hauptstadt von {}? Sie heißt [MASK].",
            "Jede Karte von {} zeigt die Hauptstadt, [MASK].",
            "Die Minister von {} tagen in [MASK].",
        ),
        "P37": (
            "Beamte von {} schreiben auf [MASK].",
            "Die Gesetze von {} sind auf [MASK] verfasst.",
            "In {} spricht man [MASK].",
            "An jeder Schule in {} wird [MASK] gesprochen.",
            "Zeitungen von {} erscheinen auf [MASK].",
            "Gerichte von {} verhandeln auf [MASK].",
        ),
    },
}


def prompts_of(language: str, relation: str, country: tuple[str, ...]) -> list[str]:
    """The texts that ask for one fact; ValueError for one that does not name the head once."""
    head, (of, within) = country[1 + LANGUAGES.index(language)], country[4:]
    texts = [
        text.replace("{of}", of).replace("{in}", within).replace("{}", head)
        for text in WORDING[language][relation]
    ]
    for text in texts:
        if text.count(head) != 1 or text.count("[MASK]") != 1:
            raise ValueError(f"expected {head!r} once, and one [MASK], in {text!r}")
    return texts


def render(language: str) -> dict[Path, str]:
    """The files of a language."""
    place = 1 + LANGUAGES.index(language)
    bags, uris, pairs = {}, {}, {}
    for relation, answers in ANSWERS.items():
        facts = list(zip(COUNTRIES, answers, strict=True))
        name = full_name(relation, LABELS[relation])
        bags[relation] = [
            [[text, answer[place], name] for text in prompts_of(language, relation, country)]
            for country, answer in facts
        ]
        uris[relation] = [[country[0], answer[0]] for country, answer in facts]
        pairs[relation] = [[country[place], answer[place]] for country, answer in facts]
    files = {}
    for kind, content in (("allbags", bags), ("uris", uris), ("query_pairs", pairs)):
        lines = [f'"{relation}": {one_per_line(facts)}' for relation, facts in content.items()]
        files[FOLDER / f"{language}_{kind}.json"] = "{\n" + ",\n".join(lines) + "\n}\n"
    return files


def make() -> tuple[dict[Path, str], str]:
    files = {path: text for language in LANGUAGES for path, text in render(language).items()}
    facts = sum(map(len, ANSWERS.values()))
    wordings = {name: sum(map(len, own.values())) for name, own in WORDING.items()}
    told = ", ".join(f"{name} {count * len(COUNTRIES)} prompts" for name, count in wordings.items())
    return files, f"{len(ANSWERS)} relations, {facts} facts, {told}"


if __name__ == "__main__":
    sys.exit(deliver("make_languages_sample.py", __doc__.splitlines()[0], make))
