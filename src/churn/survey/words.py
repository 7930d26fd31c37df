"""Words in names of columns, and values of labels, by which an unknown table is understood: English, German, and some others."""

import re
import unicodedata
from collections.abc import Iterable


def parts_of(name: str) -> tuple[str, ...]:
    """Return the words of a column's name in lower case without accents: ``CustomerID`` is ``customer``, ``id``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name.replace("ß", "ss"))
    plain = unicodedata.normalize("NFKD", spaced).encode("ascii", "ignore").decode().lower()
    parts = [piece for part in re.findall(r"[a-z]+|[0-9]+", plain) for piece in _apart(part)]
    return tuple(parts) or (name.lower(),)


def _apart(part: str) -> tuple[str, ...]:
    """Return the words of one that begins with a word for accounts and ends with one for ids: ``custid``."""
    for ending in ("id", "no", "nr"):
        if part.endswith(ending) and part[:-2] in OF_ACCOUNTS:
            return part[:-2], ending
    return (part,)


def has_word(name: str, words: Iterable[str]) -> bool:
    """Return whether a name has one of some words; those of five letters or more also count inside a word."""
    parts = parts_of(name)
    joined = "".join(parts)
    return any(word in parts or (len(word) >= 5 and word in joined) for word in words)


ID = ("id", "no", "nr", "number", "num", "nummer", "key", "code", "uuid", "guid")
OF_ACCOUNTS = (
    "customer", "client", "clientnum", "account", "member", "user", "subscriber", "msisdn", "kunde", "kunden", "kundennr",
    "kundennummer", "konto", "mitglied", "vertrag", "contract", "policy", "cliente", "abonne", "cust", "row",
)  # fmt: skip
CHURN = (
    "churn", "churned", "attrition", "attrited", "exited", "cancelled", "canceled", "cancellation", "left", "lost", "terminated",
    "unsubscribed", "defected", "kundigung", "gekundigt", "abgewandert", "abwanderung", "kundigte", "desercion", "abandono",
    "resilie", "resiliation", "desabonne", "fuga",
)  # fmt: skip
STAYED = ("retained", "retention", "stayed", "active", "aktiv", "renewed", "verlangert", "actif", "activo")
OUTCOME = ("status", "target", "label", "outcome", "state", "class", "zustand", "y")
# Values of a label, as `churn.config.Label.key` writes them.
POSITIVE = (
    "churned", "churn", "attrited customer", "attrited", "cancelled", "canceled", "left", "lost", "exited", "inactive", "closed",
    "terminated", "gekündigt", "gekuendigt", "abgewandert", "verloren", "inaktiv", "resilié", "baja", "ehemalig",
)  # fmt: skip
NEGATIVE = (
    "stayed", "existing customer", "existing", "active", "retained", "current", "kept", "open", "not churned", "no churn",
    "renewed", "aktiv", "bestand", "geblieben", "bestandskunde", "actif", "activo", "alta", "loyal",
)  # fmt: skip
NEW = ("joined", "new", "neu", "neukunde", "trial", "test", "prospect", "interessent", "nouveau", "nuevo")
OPEN = ("pending", "unknown", "offen", "unbekannt", "n/a", "na", "?")
YES = ("1", "yes", "y", "t", "ja", "j", "oui", "si", "sí", "sim")
NO = ("0", "no", "n", "f", "nein", "non", "não")

LEAKS = (*CHURN, "exit", "termination", "cancel", "closure", "closing", "ended", "quit", "storno", "austritt")
REASONS = ("reason", "grund", "category", "comment", "motif", "motivo", "feedback", "cause", "raison")
SCORES = (
    "score",
    "probability",
    "propensity",
    "predicted",
    "prediction",
    "naive",
    "bayes",
    "likelihood",
    "forecast",
    "prognose",
)
ENDS = (
    "end",
    "renewal",
    "due",
    "expiry",
    "expiration",
    "expires",
    "until",
    "ende",
    "ablauf",
    "faellig",
    "fallig",
    "bis",
    "next",
)
SNAPSHOT = ("snapshot", "stichtag", "export", "extract", "extraction", "reporting", "report", "asof", "cutoff", "load")
PEOPLE = (
    "name", "firstname", "lastname", "surname", "nachname", "vorname", "owner", "manager", "betreuer", "kundenbetreuer", "rep",
    "salesperson", "contact", "kontakt", "ansprechpartner", "company", "firma", "email", "mail", "phone", "telephone", "telefon",
    "mobile", "handy", "nom", "prenom", "nombre", "csm", "responsible", "zustandig", "vertreter",
)  # fmt: skip
OWNERS = (
    "owner",
    "manager",
    "betreuer",
    "kundenbetreuer",
    "rep",
    "salesperson",
    "csm",
    "responsible",
    "zustandig",
    "vertreter",
)
PHONES = ("phone", "telephone", "telefon", "mobile", "handy", "msisdn")
PLACES = ("address", "street", "strasse", "adresse", "latlong", "coordinates", "url", "website", "link", "ip")
CODES = ("zip", "postal", "postcode", "plz", "zipcode", "area", "code", "vorwahl", "branch", "filiale")
INDEX = ("index", "rownumber", "rowid", "unnamed", "rownames", "zeile", "zeilennummer", "lfd")
VALUES = (
    "clv",
    "cltv",
    "ltv",
    "arr",
    "acv",
    "lifetime",
    "annual",
    "yearly",
    "jahresumsatz",
    "kundenwert",
    "jahreswert",
)
CURRENCIES = {
    "€": "EUR", "eur": "EUR", "euro": "EUR", "$": "USD", "us$": "USD", "usd": "USD", "dollar": "USD", "£": "GBP", "gbp": "GBP",
    "chf": "CHF", "fr.": "CHF", "jpy": "JPY", "¥": "JPY", "inr": "INR", "₹": "INR", "pln": "PLN", "zł": "PLN", "sek": "SEK",
    "nok": "NOK", "dkk": "DKK", "czk": "CZK", "kč": "CZK", "brl": "BRL", "r$": "BRL", "cad": "CAD", "aud": "AUD", "nzd": "NZD",
}  # fmt: skip
