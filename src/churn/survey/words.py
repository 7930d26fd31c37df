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
        if part.endswith(ending) and part[:-2] in (*OF_ACCOUNTS, *THINGS):
            return part[:-2], ending
    return (part,)


def is_id(name: str) -> bool:
    """Return whether a name is that of an id or code, and not that of a quantity: ``movieId``, ``patient_nbr``."""
    parts = [part for part in parts_of(name) if not part.isdigit()] or [""]
    if parts[-1] in CODE_ENDINGS:
        return not any(part in QUANTITIES for part in parts[:-1])
    return parts[-1] in ID and len(parts) > 1 and parts[-2] in (*OF_ACCOUNTS, *THINGS)


def is_code(name: str) -> bool:
    """Return whether a name is that of a code that stands for a place or a branch: ``zip_code``, ``PLZ``."""
    parts = parts_of(name)
    return has_word(name, CODES) and not any(part in QUANTITIES for part in parts)


def is_place(name: str) -> bool:
    """Return whether a name says nothing but a place or branch, of which numbers are codes if there are few."""
    parts = parts_of(name)
    return any(part in AREAS for part in parts) and all(
        part in (*AREAS, *ID, *OF_ACCOUNTS) or part.isdigit() for part in parts
    )


def is_owner(name: str) -> bool:
    """Return whether a name is that of somebody who looks after the account: ``Account Manager``, ``owner_name``."""
    parts = [part for part in parts_of(name) if part not in ("name", *ID) and not part.isdigit()] or [""]
    if parts[-1] in ("owner", "owners"):
        return all(part in (*OF_ACCOUNTS, *OF_SALES) for part in parts[:-1])
    return any(parts[-1] == word or (len(word) >= 5 and parts[-1].endswith(word)) for word in OWNERS if word != "owner")


def is_value(name: str) -> bool:
    """Return whether a name is that of what an account is worth: ``CLTV``, ``ARR in EUR``, ``annual_revenue``."""
    parts = [part for part in parts_of(name) if not part.isdigit()]
    rest = [part for part in parts if part not in CURRENCIES and part not in ("in", "value", "amount", "total")]
    if rest and rest[-1] in WORTH:
        return True
    if any(word in part for part in parts for word in WORTH if len(word) >= 5):
        return True
    yearly = any(part in YEARLY for part in parts)
    return yearly and any(part in MONEY or part in CURRENCIES for part in parts)


def has_word(name: str, words: Iterable[str]) -> bool:
    """Return whether a name has one of some words; those of five letters or more also count inside a word.

    They do not in the words of `OTHERWISE`, which have nothing to do with them.
    """
    parts = parts_of(name)
    joined = "".join(" " if part.removesuffix("s") in OTHERWISE else part for part in parts)
    return any(word in parts or (len(word) >= 5 and word in joined) for word in words)


ID = ("id", "no", "nr", "nbr", "number", "num", "nummer", "key", "code", "uuid", "guid")
# Last words of the names of codes; a number, or no, may also be how many there are.
CODE_ENDINGS = ("id", "ids", "code", "codes", "key", "uuid", "guid")
QUANTITIES = (
    "count", "counts", "n", "num", "number", "numbers", "nof", "anzahl", "total", "sum", "avg", "average", "mean", "min", "max",
    "median", "std", "distance", "rate", "ratio", "share", "pct", "percent", "density", "population", "index", "score", "size",
    "income", "unique", "distinct", "days", "months", "age",
)  # fmt: skip
OF_ACCOUNTS = (
    "customer", "client", "clientnum", "account", "member", "user", "subscriber", "msisdn", "kunde", "kunden", "kundennr",
    "kundennummer", "konto", "mitglied", "vertrag", "contract", "policy", "cliente", "abonne", "cust", "row",
)  # fmt: skip
THINGS = (
    "patient", "subject", "person", "employee", "emp", "staff", "student", "product", "item", "article", "artikel",
    "movie", "film", "book", "song", "track", "order", "invoice", "ticket", "case", "agent", "store", "shop", "seller",
    "vendor", "supplier", "dealer", "device", "card", "campaign", "ad", "session", "visit", "encounter", "transaction",
    "loan", "claim", "household", "vehicle", "route", "location", "city", "region", "group", "team", "mgr", "manager",
    "owner", "site", "hotel", "school", "company", "org", "tariff", "plan", "provider", "category", "type", "filiale",
    "branch", "artist", "game", "event", "channel", "partner", "reference", "ref",
)  # fmt: skip
# Words in which a shorter one is no word of its own.
OTHERWISE = (
    "statement", "estate", "classe", "classic", "classroom", "attended", "recommended", "extended", "suspended", "intended",
    "blended", "ownership", "homeownership", "automobile", "microphone", "interactive", "proactive", "radioactive", "indexed",
    "because", "management", "exciting", "labeled",
)  # fmt: skip
CHURN = (
    "churn", "churned", "attrition", "attrited", "exited", "cancelled", "canceled", "cancellation", "left", "lost", "terminated",
    "unsubscribed", "defected", "kundigung", "gekundigt", "abgewandert", "abwanderung", "kundigte", "desercion", "abandono",
    "resilie", "resiliation", "desabonne", "fuga",
)  # fmt: skip
STAYED = ("retained", "retention", "stayed", "active", "aktiv", "renewed", "verlangert", "actif", "activo")
OUTCOME = ("status", "target", "label", "outcome", "state", "class", "zustand", "y")
# What has the state of an account.
SUBSCRIBED = (
    "subscription",
    "membership",
    "service",
    "relationship",
    "reservation",
    "booking",
    "order",
    "abo",
    "loan",
    "contracts",
)
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
# Words of dates on which an outcome was written down.
DECIDED = (
    "status",
    "outcome",
    "decision",
    "closed",
    "resolved",
    "resolution",
    "kundigung",
    "kuendigung",
    "deactivated",
)
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
OF_SALES = (
    "sale",
    "sales",
    "lead",
    "deal",
    "contact",
    "record",
    "opportunity",
    "company",
    "crm",
    "relationship",
    "business",
    "current",
)
# Words for people only: such names repeat in a long table.
NAMES = ("firstname", "lastname", "surname", "nachname", "vorname", "fullname", "prenom")
PHONES = ("phone", "telephone", "telefon", "mobile", "handy", "msisdn")
PLACES = ("address", "street", "strasse", "adresse", "latlong", "coordinates", "url", "website", "link", "ip")
CODES = ("zip", "postal", "postcode", "plz", "zipcode", "code", "vorwahl")
AREAS = ("area", "areas", "branch", "filiale", "district", "bezirk", "region", "depot", "store", "shop")
INDEX = ("index", "rownumber", "rowid", "unnamed", "rownames", "zeile", "zeilennummer", "lfd")
WORTH = ("clv", "cltv", "ltv", "arr", "acv", "jahresumsatz", "kundenwert", "jahreswert")
YEARLY = ("lifetime", "annual", "annually", "yearly")
MONEY = (
    "value", "revenue", "fee", "fees", "spend", "spent", "spending", "sales", "amount", "charge", "charges", "payment",
    "payments", "premium", "price", "turnover", "umsatz", "beitrag", "wert", "profit", "margin",
)  # fmt: skip
CURRENCIES = {
    "€": "EUR", "eur": "EUR", "euro": "EUR", "$": "USD", "us$": "USD", "usd": "USD", "dollar": "USD", "£": "GBP", "gbp": "GBP",
    "chf": "CHF", "fr.": "CHF", "jpy": "JPY", "¥": "JPY", "inr": "INR", "₹": "INR", "pln": "PLN", "zł": "PLN", "sek": "SEK",
    "nok": "NOK", "dkk": "DKK", "czk": "CZK", "kč": "CZK", "brl": "BRL", "r$": "BRL", "cad": "CAD", "aud": "AUD", "nzd": "NZD",
}  # fmt: skip
